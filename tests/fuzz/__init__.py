"""A differential fuzzer: random quantized networks, computed in several ways that must agree to the last bit.

    seed --draw--> Recipe --build--> ONNX file --load--> integer graph --golden.run------------> every tensor, mask
                   (plain data)          |                    |                                       ==
                                         +-- operations.execute: exact rationals, the file alone -----+
                                                              |                                       ==
                                              turned (the dial) --golden.run------------------- golden.run(planes=...)
                                                              |                                       ==
                                              compile_graph on a random array --Machine---------------+
                                                                              --Verilog---------------+

    python -m tests.fuzz --graphs 10000 --programs 5000 --verilog 200 --seed 1
    python -m tests.fuzz --show 1000042 --programs 1 --verilog 0

Read first: `recipe` (what a network is here), `draw` (from a seed to a recipe), `executor` and `operations` (the
referee), `checks` and `engine` (who is compared with whom), `campaign` (many of them).  `coverage` counts which
operations followed each other, in what ranges instruction fields were, which modes units had; `refusals` lists the
reasons for which a graph may be refused.  `under_test` has every import of what is tested.

A seed is a graph: `draw(seed)` depends on nothing else, and so do the array, the picture and the way in which a program
is run.  A failure is shrunk: `Recipe.simpler` gives recipes with fewer steps, smaller sizes and plainer numbers, and
the smallest one that fails in the same way is printed as source text:

    from tests.fuzz.steps import *          # makes the printed text a value again; build(...) is the ONNX file

**A new operation** is

1. a `Step` in one of the `steps_*` files: `accepts` (may it follow this tensor?), `draw` (its numbers), `emit` (its
   nodes, and what is known of its result: `net.Part`).  Numbers stand in the recipe as they are, so that shrinking can
   make them plainer; a field's default is its plainest value.  Add it to `STEPS` and, under the name by which pairs are
   counted, to `OPERATIONS` in `draw`; `coverage.label` gives a node that name.  Everything else follows: pairs with
   every other operation are drawn, and `test_campaign` fails until each was.
2. a function on exact numbers in `operations`, written from the operator's definition in ONNX or QONNX, not from the
   code under test.  Conv has groups, dilations and any kernel already, MaxPool any window.
3. if the engine has a new mode for it, a line of `coverage.MODES`; if it is one of several functions, a word of
   `coverage.DETAILS`.

If an operation rounds in between (a sigmoid, a gate's product), its operator in `operations` states the definition that
`docs/arithmetic.md` gives it, exactly.
"""

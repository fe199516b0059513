"""Which instructions, weights and addresses that is: the plans, walked in the order in which the array works.

In: `Chain`s of `LayerPlan`s, an array.  Out: program.bin, weights.bin and a `MemoryMap`, as bytes and dataclasses.
Read `layer_walk` first, then `schedule`.

memory            `map_memory`: where everything lies in DDR
parameters        weight tiles as bytes, requantizers as proven triples
walk              `Walk`: RUNs in order, and transfers that say after and before which RUN
fused             `walk_network`: chain after chain; the stages of a chain, strip by strip
layer_walk        `LayerWalk`: the rectangles, blocks and tiles of one layer
regions           what a layer's sources hold in the input banks, and the LOADs of it
feeds             the same where layers run fused: rings of rows
parameter_slots   where the requantizers' parameters lie, and the LOADs of them
runs              CONFIG and RUN, field by field
outputs           where results are written, and the STOREs of them
rings             memories that are used round and round
instruction       an instruction's values by the names of its fields
schedule          `schedule`: one stream of all of them, placed by simulating the clock, and its bytes
"""

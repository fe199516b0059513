"""The fuzzer's own parts: it sees faults, shrinks what fails, and knows reasons by their rule."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.fuzz.__main__ import main
from tests.fuzz.arrays import SHAPES, SIMULATED, random_array
from tests.fuzz.campaign import Stages, examine, smallest, spread
from tests.fuzz.checks import Loaded, Refusal, loaded
from tests.fuzz.coverage import instructions, sequences
from tests.fuzz.draw import draw
from tests.fuzz.engine import Way, check_machine, compiled
from tests.fuzz.net import Unbuildable
from tests.fuzz.recipe import replay
from tests.fuzz.refusals import reason, unknown
from tests.fuzz.shrink import shrunk
from tests.fuzz.steps import *  # noqa: F403
from tests.fuzz.steps import Affine, Conv, Enlarge, Picture, Pool, Quantize, Recipe, Transposed, Weights, build
from tests.fuzz.under_test import CONFIG, FORMATS, Opcode, Program, Requantize, golden, parse_array


def test_a_golden_model_that_rounds_ties_up_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = golden.RULES[Requantize]

    def wrong(node: Any, inputs: list[np.ndarray], dtype: Any) -> np.ndarray:
        y, op = right(node, inputs, dtype), node.op
        for c, acc in enumerate(inputs[0]):
            m, b = op.multiplier[c % len(op.multiplier)], op.offset[c % len(op.offset)]
            up = [min(max(floor(int(a) * m + b + Fraction(1, 2)), op.low), op.high) for a in acc.flat]
            y[c] = np.array(up).reshape(acc.shape)
        return y

    monkeypatch.setitem(golden.RULES, Requantize, wrong)
    assert any(examine(seed).findings for seed in range(60))


@pytest.mark.parametrize("op", golden.RULES, ids=lambda op: op.__name__)
def test_one_wrong_value_of_an_operation_is_found(monkeypatch: pytest.MonkeyPatch, op: type) -> None:
    right = golden.RULES[op]

    def wrong(node: Any, inputs: list[np.ndarray], dtype: Any) -> np.ndarray:
        y = np.array(right(node, inputs, dtype))
        y[-1, -1, -1] ^= 1
        return y

    monkeypatch.setitem(golden.RULES, op, wrong)
    assert any(examine(seed).findings for seed in range(60))


def changed(program: Program, opcode: Opcode, field: str, bit: int) -> Program:
    """One bit of a field of every such instruction, flipped."""
    words = np.frombuffer(program.program, "<u8").reshape(-1, 4).copy()
    word, place = divmod(FORMATS[opcode].offsets[field] + bit, 64)
    words[words[:, 0] & np.uint64(15) == opcode, word] ^= np.uint64(1 << place)
    return replace(program, program=words.tobytes())


@pytest.mark.parametrize(
    ("opcode", "field", "bit"),
    [(Opcode.CONFIG, "signed_in", 0), (Opcode.RUN, "tail", 2), (Opcode.RUN, "first", 0), (Opcode.RUN, "top", 0)],
)
def test_a_wrong_program_is_found(opcode: Opcode, field: str, bit: int) -> None:
    recipe = Recipe(Picture(4, 12), (Conv((0,), 3, Weights(fill="random"), kernel=3), Quantize((1,), 64.0, 5)))
    given = loaded(build(recipe), 4)
    assert isinstance(given, Loaded)
    way = Way(parse_array("8x8x8"))
    program = compiled(given.graph, way)
    assert isinstance(program, Program)
    assert check_machine(program, given.picture, way) is None
    assert check_machine(changed(program, opcode, field, bit), given.picture, way) is not None


def test_what_fails_is_shrunk_to_its_cause() -> None:
    def pools_a_transposed_map(recipe: Recipe) -> bool:
        return any(
            isinstance(step, Pool) and step.inputs[0] and isinstance(recipe.steps[step.inputs[0] - 1], Transposed)
            for step in recipe.steps
        )

    steps = (
        Conv((0,), 9, Weights(4, fill="random", seed=7), kernel=3),
        Quantize((1,), 0.25, 5, True),
        Enlarge((2,)),
        Transposed((3,), 5, Weights(fill="sparse")),
        Pool((4,)),
        Affine((5,), "Mul", (2.0, 3.0)),
        Quantize((6,), 0.5),
    )
    found = shrunk(Recipe(Picture(6, 10, 3, 5, True), steps, order=7, dead=(2,)), pools_a_transposed_map)
    assert found == Recipe(Picture(), (Transposed((0,)), Pool((1,)), *found.steps[2:]))
    assert len(found.steps) == 3, "what ends a network must be quantized"


def test_a_finding_comes_with_its_smallest_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "mask", lambda head, q: np.zeros(q.shape[:2], np.uint8))
    seed = next(seed for seed in range(50) if examine(seed).findings)
    (_, finding), *_ = examine(seed).findings
    recipe, again = smallest(seed, finding, Stages(), 20)
    assert (again.stage, again.sort) == (finding.stage, finding.sort)
    assert len(recipe.steps) <= 4
    assert len(recipe.steps) < len(draw(seed).steps)


def test_printed_recipes_are_source_text() -> None:
    for seed in range(60):
        recipe = draw(seed)
        assert eval(str(recipe)) == recipe


def test_recipes_without_a_step_read_what_it_read() -> None:
    recipe = Recipe(Picture(), (Conv((0,)), Quantize((1,)), Conv((2,)), Conv((1,))))
    assert recipe.without(1).steps == (Conv((0,)), Conv((1,)), Conv((1,)))
    with pytest.raises(Unbuildable):
        replay(Recipe(Picture(scale=1e-3), (Conv((0,), 2, Weights(scales=(1.0, 2.0))), Conv((1,)))))


def test_reasons_are_rules_without_places() -> None:
    one = Refusal(
        "compile", "Conv_12", "channel 3: 2 of 255 requantization steps, the first at -7, are not reproduced by"
    )
    two = Refusal(
        "compile", "Conv_9", "channel 11: 1 of 15 requantization steps, the first at 3, are not reproduced by"
    )
    assert reason(one) == reason(two)
    assert unknown([one, two]) == []
    assert unknown([one, Refusal("load", "x", "input must be magic")]) == ["load: input must be magic"]


def test_arrays() -> None:
    configs = {random_array(seed) for seed in range(300)}
    assert len({config.name for config in configs}) >= 12
    assert len(configs) > 100
    assert {"zynq7020", "small", "sim"} <= set(SHAPES)
    assert len(SIMULATED) >= 12


def test_stages_are_spread() -> None:
    chosen = [spread(100, 50, 10)(number) for number in range(100)]
    assert sum(stages.program for stages in chosen) == 50
    assert sum(stages.verilog for stages in chosen) == 10
    assert any(stages.verilog for stages in chosen[:15])


def test_fields_are_read_as_they_were_packed() -> None:
    word = CONFIG.pack(opcode=int(Opcode.CONFIG), pitch=12345, low=300, high=17, pool_pitch=9999, split=1)
    columns = dict(instructions(word.to_bytes(32, "little")))["CONFIG"]
    assert {name: int(values[0]) for name, values in columns.items()} == CONFIG.unpack(word)


def test_sequences_go_through_what_changes_every_number_alone() -> None:
    steps = (Transposed((0,)), Affine((1,)), Quantize((2,)), Pool((3,)))
    pairs, through = sequences(build(Recipe(Picture(1, 1), steps)))
    assert {("ConvTranspose", "Add constant"), ("Add constant", "Quant"), ("Quant", "MaxPool")} <= pairs
    assert ("ConvTranspose", "MaxPool") in through
    assert ("ConvTranspose", "Quant") not in through


def test_the_command_counts_what_was_drawn() -> None:
    result = CliRunner().invoke(main, ["--graphs", "6", "--programs", "2", "--seed", "3", "--jobs", "2"])
    assert result.exit_code == 0, result.output
    assert "6 graphs drawn" in result.output
    assert "0 differences" in result.output
    assert "| CONFIG | planes | 4 |" in result.output


def test_the_command_shows_one_graph() -> None:
    result = CliRunner().invoke(main, ["--show", "7", "--programs", "0"])
    assert result.exit_code == 0
    assert eval(result.output.strip()) == draw(7)

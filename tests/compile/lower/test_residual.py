"""Residual additions that convolutions do on the way out: which ones move, and that every value is right."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from fractions import Fraction

import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.clock.columns import unpack
from hwseg.compile.lower.residual import additions
from hwseg.compile.plan.chain import plans_of
from hwseg.ir import Graph
from hwseg.machine.state import MachineError
from hwseg.rtl.config import EngineConfig, parse_array
from hwseg.rtl.isa import Opcode
from tests.compile.proof import compiled, differences

ARRAY = parse_array("16x8x8")
WHOLE, HALF = Fraction(1), Fraction(1, 2)


def block(
    b: GraphBuilder, x: str, m: Fraction, low: int, high: int, bits: int = 8, signed: bool = False, twice: bool = False
) -> str:
    """clamp(m * (x + f(x))), or with twice f(x)"""
    f = b.conv(x, b.types[x].shape[2], bits=bits, signed=signed)
    return b.add(x, f, m, m * (1 + twice), low, high, Fraction(0))


def network(
    height: int, width: int, channels: int, m: Fraction, bits: int = 8, signed: bool = False, twice: bool = False
) -> Graph:
    """Two blocks, the first one pooled and kept, the second under the head."""
    b = GraphBuilder(height, width, 3, seed=height + width + channels)
    high = (1 << bits) - 1
    x = block(b, b.conv("image", channels, bits=bits), m, 0, high, bits, signed, twice)
    y = b.conv(b.concat(b.up(b.pool(x)), x), channels, bits=bits)
    return b.graph(b.sums(block(b, y, m, 0, high, bits, signed, twice), 1, 1))


def moved(graph: Graph, config: EngineConfig) -> list[str]:
    return [p.layer.residual.name for p in plans_of(compiled(graph, config).chains) if p.layer.residual]


@pytest.mark.parametrize("channels", [1, 8, 13, 16, 24, 40])
@pytest.mark.parametrize(("height", "width"), [(6, 8), (10, 20), (4, 48)])
@pytest.mark.parametrize(
    ("m", "signed", "twice"), [(HALF, False, False), (WHOLE, True, False), (HALF, True, True), (WHOLE, True, True)]
)
def test_every_value(channels: int, height: int, width: int, m: Fraction, signed: bool, twice: bool) -> None:
    graph = network(height, width, channels, m, signed=signed, twice=twice)
    program = compiled(graph, ARRAY)
    assert any(plan.layer.residual for plan in plans_of(program.chains))
    for policy in ("eager", "lazy", "random"):
        assert differences(program, policy) == {}


@pytest.mark.parametrize("bits", [1, 2, 4, 7])
@pytest.mark.parametrize("m", [HALF, WHOLE])
def test_any_number_of_planes(bits: int, m: Fraction) -> None:
    program = compiled(network(8, 24, 16, m, bits, signed=bits > 1), ARRAY)
    assert any(plan.layer.residual for plan in plans_of(program.chains))
    assert differences(program, "random") == {}


def test_more_steps_than_the_queue_holds_take_several_runs_of_the_last_tiles() -> None:
    b = GraphBuilder(20, 192, 4, seed=5)
    x = b.conv("image", 16)
    graph = b.graph(b.conv(block(b, x, HALF, 0, 255), 8))
    program = compiled(graph, ARRAY)
    (plan,) = [p for p in plans_of(program.chains) if p.layer.residual]
    assert plan.rows * plan.columns > 64 >= plan.chunk_rows * plan.columns
    assert differences(program, "random") == {}


def test_memories_without_room_leave_the_addition_a_layer() -> None:
    tight = replace(ARRAY, bank_words=64, psum_steps=64, out_words=128, pool_words=64)
    graph = network(12, 40, 24, HALF)
    assert moved(graph, tight) == []
    assert differences(compiled(graph, tight), "random") == {}


@pytest.mark.parametrize("array", ["8x8x8", "16x4x8", "16x8x4", "32x8x8"])
def test_other_arrays_leave_the_addition_a_layer(array: str) -> None:
    assert moved(network(6, 16, 8, HALF), parse_array(array)) == []


def pairs(b: GraphBuilder, y: str) -> int:
    from hwseg.compile.lower.lowering import lower

    return len(additions(lower(b.graph(b.conv(y, 4)), allow_inexact=True)[0]))


def test_which_additions_can_move() -> None:
    def fresh(channels: int = 8, signed: bool = False) -> tuple[GraphBuilder, str]:
        b = GraphBuilder(8, 16, 3, seed=1)
        return b, b.conv("image", channels, signed=signed)

    b, x = fresh()
    assert pairs(b, block(b, x, HALF, 0, 255)) == 1
    b, x = fresh()
    assert pairs(b, b.add(b.conv(x, 8), x, WHOLE, WHOLE, 0, 255, Fraction(0))) == 1
    b, x = fresh(signed=True)
    assert pairs(b, block(b, x, HALF, 0, 255)) == 0, "the input is signed"
    b, x = fresh()
    f = b.conv(x, 8)
    assert pairs(b, b.concat(b.add(x, f, HALF, HALF, 0, 255, Fraction(0)), f)) == 0, "others read f(x)"
    b, x = fresh()
    assert pairs(b, b.add(x, b.conv(b.conv(x, 8), 8), HALF, HALF, 0, 255, Fraction(0))) == 0, "two convolutions"
    b, x = fresh()
    assert pairs(b, b.add(x, b.conv(x, 8, 1), HALF, HALF, 0, 255, Fraction(0))) == 0, "a 1x1 convolution"
    b, x = fresh()
    assert pairs(b, b.add(x, b.conv(x, 8), HALF, Fraction(1, 4), 0, 255, Fraction(0))) == 0, "unlike scales"
    b, x = fresh()
    assert pairs(b, b.add(x, b.conv(x, 8), HALF, WHOLE, 0, 255, Fraction(0))) == 1, "f(x) at twice the scale"
    b, x = fresh()
    assert pairs(b, b.add(b.conv(x, 8), x, WHOLE, HALF, 0, 255, Fraction(0))) == 1, "the same in the other order"
    b, x = fresh()
    assert pairs(b, block(b, x, Fraction(1, 4), 0, 255)) == 0, "a quarter"
    b, x = fresh()
    assert pairs(b, b.add(x, b.conv(x, 8), HALF, HALF, 0, 255, Fraction(1, 3))) == 0, "ties go up"
    b, x = fresh()
    assert pairs(b, b.add(x, b.conv(x, 8), WHOLE, WHOLE, 0, 255, Fraction(1, 3))) == 1, "a third changes no sum"


def test_a_run_that_puts_nothing_by_is_seen() -> None:
    from tests.machine.test_machine import without

    program = compiled(network(6, 16, 16, HALF), ARRAY)
    for field in ("residual", "residual_set"):
        broken = replace(program, program=without(program.program, Opcode.RUN, field))
        with contextlib.suppress(MachineError):
            assert differences(broken, "random")


def test_signed_words_that_are_put_by_are_refused_by_the_machine() -> None:
    """The gates add them without a sign."""
    from tests.machine.test_machine import with_field

    program = compiled(network(6, 16, 16, HALF), ARRAY)
    again = with_field(program.program, Opcode.CONFIG, "signed_in", 1)
    with pytest.raises(MachineError, match="added without a sign"):
        differences(replace(program, program=again))


def test_taking_an_addition_along_saves_its_cycles() -> None:
    graph = network(16, 64, 16, HALF)
    with_it, without_it = (compiled(graph, config).timing() for config in (ARRAY, parse_array("16x8x4")))
    program = compiled(graph, ARRAY)
    _, columns = unpack(program.program)
    assert not any(plan.layer.op == "add" for plan in plans_of(program.chains))
    assert columns[Opcode.RUN][1]["residual"].any()
    assert 2 * with_it.total < without_it.total

"""Requantizers of additions that are right for every sum of two maps, though not for every integer."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.arith.requantize import fit
from hwseg.compile.lower.lowering import lower
from hwseg.compile.lower.reachable import as_good, sums
from hwseg.errors import HwsegError
from hwseg.ir import Node, TensorType
from hwseg.ops import Add, Requantize
from hwseg.rtl.config import parse_array
from tests.compile.proof import compiled, differences

MULTIPLIERS = [
    (Fraction(30580, 30586), Fraction(16097, 30586)),  # ties at every k, and none of the sums there
    (Fraction(1, 3), Fraction(-31337, 32000)),
    (Fraction(-7, 5), Fraction(9, 1001)),
    (Fraction(1, 2), Fraction(1, 2)),  # sums on ties
]


def graph(multipliers: tuple[Fraction, Fraction], signed: bool) -> GraphBuilder:
    b = GraphBuilder(6, 12, 3, seed=1)
    pair = [b.conv("image", 5, signed=signed) for _ in range(2)]
    kind = b.types[pair[0]]
    b.nodes.append(Node("sum", Add(multipliers, Fraction(0), -127, 127), tuple(pair), "total"))
    b.types["total"] = TensorType(kind.shape, -127, 127, (Fraction(1),))
    return b


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("multipliers", MULTIPLIERS, ids=str)
def test_additions_of_any_scales_and_signs(multipliers: tuple[Fraction, Fraction], signed: bool) -> None:
    b = graph(multipliers, signed)
    assert differences(compiled(b.graph("total"), parse_array("16x4x4")), "random") == {}


def test_sums_on_ties_of_both_kinds_are_refused() -> None:
    """At 1/2 the even integer is below, at 3/2 above: a slope that is no power of two has not both."""
    with pytest.raises(HwsegError, match="are not reproduced by a 29-bit multiplier"):
        compiled(graph((Fraction(-7, 5), Fraction(9, 1000)), True).graph("total"), parse_array("16x4x4"))


def test_another_requantizer_is_taken_where_the_engine_has_not_this_one() -> None:
    network, _ = lower(graph(MULTIPLIERS[0], True).graph("total"))
    (layer,) = (layer for layer in network.layers if layer.op == "add")
    op = layer.requantize
    assert op is not None
    assert op.multiplier != (Fraction(1, 30586),)
    assert fit(Fraction(1, 30586), Fraction(0), op.low, op.high, *layer.interval) is None
    assert fit(op.multiplier[0], op.offset[0], op.low, op.high, *layer.interval) is not None


@pytest.mark.parametrize("weights", [(7, 3), (-5, 11), (2, 4), (1, 1), (113, -29)])
@pytest.mark.parametrize("factor", [Fraction(1, 6), Fraction(-5, 22), Fraction(1, 8), Fraction(1, 70)])
def test_what_is_taken_rounds_every_sum_alike(weights: tuple[int, int], factor: Fraction) -> None:
    kinds = [TensorType((1, 1, 1), -4, 3, (Fraction(1),)), TensorType((1, 1, 1), 0, 7, (Fraction(1),))]
    reached = sums(weights, kinds)
    assert set(reached.tolist()) == {weights[0] * a + weights[1] * b for a in range(-4, 4) for b in range(8)}
    for offset in (Fraction(0), Fraction(1, 7), Fraction(1, 2)):
        op = Requantize((factor,), (offset,), -9, 11)
        other = as_good(op, reached)
        if other is not None:
            assert [other(n) for n in reached.tolist()] == [op(n) for n in reached.tolist()]
        elif fit(factor, offset, op.low, op.high, int(reached[0]), int(reached[-1])) is not None:
            raise AssertionError("what is right for all integers is right for some")


def test_ties_that_are_reached_are_kept_or_refused() -> None:
    """Every second integer is a tie, and all of them are sums: the exact function itself, or none."""
    reached = np.arange(-20, 21)
    op = Requantize((Fraction(1, 2),), (Fraction(0),), -9, 9)
    assert as_good(op, reached) is not None  # a power of two: the engine rounds half to even
    assert as_good(Requantize((Fraction(1, 6),), (Fraction(0),), -9, 9), 3 * reached) is None

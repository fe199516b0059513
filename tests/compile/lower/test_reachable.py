"""Requantizers of additions that are right for every sum of two maps, though not for every integer."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.arith.requantize import fit
from hwseg.compile.lower.lowering import lower
from hwseg.compile.lower.reachable import _offsets, sums
from hwseg.ir import Node, TensorType
from hwseg.ops import Add, Requantize
from hwseg.rtl.config import parse_array
from tests.compile.proof import compiled, differences

MULTIPLIERS = [
    (Fraction(30580, 30586), Fraction(16097, 30586)),  # ties at every k, and none of the sums there
    (Fraction(1, 3), Fraction(-31337, 32000)),
    (Fraction(-7, 5), Fraction(9, 1000)),
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


def test_the_offset_is_moved_where_the_engine_has_no_other_way() -> None:
    network, _ = lower(graph(MULTIPLIERS[0], True).graph("total"))
    (layer,) = (layer for layer in network.layers if layer.op == "add")
    op = layer.requantize
    assert op is not None
    assert op.offset != (Fraction(0),)
    assert fit(op.multiplier[0], Fraction(0), op.low, op.high, *layer.interval) is None
    assert fit(op.multiplier[0], op.offset[0], op.low, op.high, *layer.interval) is not None


@pytest.mark.parametrize("weights", [(7, 3), (-5, 11), (2, 4), (1, 1)])
@pytest.mark.parametrize("factor", [Fraction(1, 6), Fraction(5, 22), Fraction(1, 8)])
def test_moved_offsets_round_every_sum_alike(weights: tuple[int, int], factor: Fraction) -> None:
    kinds = [TensorType((1, 1, 1), -4, 3, (Fraction(1),)), TensorType((1, 1, 1), 0, 7, (Fraction(1),))]
    reached = sums(weights, kinds)
    assert set(reached.tolist()) == {weights[0] * a + weights[1] * b for a in range(-4, 4) for b in range(8)}
    op = Requantize((factor,), (Fraction(1, 7),), -100, 100)
    found = list(_offsets(op, reached))
    tied = any((2 * (factor * n + op.offset[0])) % 2 == 1 for n in reached.tolist())
    assert bool(found) is not tied
    for offset in found:
        moved = Requantize(op.multiplier, (offset,), op.low, op.high)
        assert [moved(n) for n in reached.tolist()] == [op(n) for n in reached.tolist()]


def test_sums_on_ties_keep_their_offset() -> None:
    assert list(_offsets(Requantize((Fraction(1, 2),), (Fraction(0),), -9, 9), np.arange(5))) == []

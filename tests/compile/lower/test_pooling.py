"""The 2x2 maximum of what every kind of layer makes, alone and with its map kept: values, and which layer pools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.compile.lower.layers import Layer
from hwseg.compile.plan.chain import plans_of
from hwseg.ir import Graph
from hwseg.rtl.config import EngineConfig, parse_array
from tests.compile.folding import force
from tests.compile.proof import compiled, differences
from tests.machine.test_machine import small

ARRAYS = ("8x2x2", "8x4x4", "8x8x8", "16x8x8-dsp", "8x4x4-merged")

Make = Callable[[GraphBuilder, str, bool], str]


def twice_transposed(b: GraphBuilder, x: str, signed: bool) -> str:
    return b.conv(b.conv(x, 9, 2), 5, 2, signed=signed)


def residual(b: GraphBuilder, x: str, signed: bool) -> str:
    """Moves into the convolution where the array adds."""
    first = b.conv(x, 12)
    low, high = (-128, 127) if signed else (0, 255)
    return b.add(first, b.conv(first, 12, signed=True), Fraction(1), Fraction(1), low, high, Fraction(0))


def unlike_addition(b: GraphBuilder, x: str, signed: bool) -> str:
    first = b.conv(x, 9)
    low, high = (-100, 90) if signed else (0, 200)
    return b.add(first, b.conv(first, 9, signed=True), Fraction(999, 2003), Fraction(-5, 7), low, high)


MAKERS: dict[str, Make] = {
    "3x3": lambda b, x, signed: b.conv(x, 5, signed=signed),
    "3x3 of few planes": lambda b, x, signed: b.conv(x, 19, bits=3, signed=signed),
    "3x3 of stride 2": lambda b, x, signed: b.conv(x, 9, 3, 2, signed=signed),
    "3x3 on an enlarged map": lambda b, x, signed: b.conv(b.up(x), 9, signed=signed),
    "1x1": lambda b, x, signed: b.conv(x, 17, 1, signed=signed),
    "1x1 of stride 2": lambda b, x, signed: b.conv(x, 3, 1, 2, signed=signed),
    "transposed": lambda b, x, signed: b.conv(x, 11, 2, signed=signed),
    "transposed of few planes": lambda b, x, signed: b.conv(x, 19, 2, bits=2, signed=signed),
    "transposed twice": twice_transposed,
    "requantizer": lambda b, x, signed: b.requantize(b.conv(x, 5), Fraction(3, 17), -8 if signed else 0, 7),
    "addition": residual,
    "addition of unlike scales": unlike_addition,
    "concatenation": lambda b, x, signed: b.concat(b.conv(x, 3, 2), b.conv(x, 9, 2, signed=signed)),
    "enlarging": lambda b, x, signed: b.up(b.conv(x, 3, 2, signed=signed)),
    "bilinear": lambda b, x, signed: b.bilinear(b.conv(x, 3, signed=signed)),
    "maximum": lambda b, x, signed: b.pool(b.conv(x, 5, 2, signed=signed)),
}


def pooled(make: Make, height: int, width: int, signed: bool, keep: bool) -> Graph:
    """The maximum under another layer, twice where the map is read on too."""
    b = GraphBuilder(height, width, 3, seed=height + width)
    x = make(b, b.conv("image", 6), signed)
    least = b.pool(x)
    if keep:
        least = b.concat(x, b.up(least), b.up(b.pool(x)))
    return b.graph(b.conv(least, 4))


@pytest.mark.parametrize("number", range(len(MAKERS)))
def test_the_maximum_of_what_every_layer_makes(number: int) -> None:
    """On two arrays each, with memories as they are and so small that strips and chunks occur."""
    name, make = list(MAKERS.items())[number]
    for keep in (False, True):
        array = parse_array(ARRAYS[(number + 2 * keep) % len(ARRAYS)])
        graph = pooled(make, 4 if keep else 8, 16 if array.splits else 20, keep ^ (number % 2 == 0), keep)
        for config in (array, small(array)):
            assert differences(compiled(graph, config), "random", number) == {}, (name, config)


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize(("height", "width", "keep"), [(1, 1, False), (1, 9, True), (2, 4, True), (5, 17, False)])
def test_the_maximum_of_a_transposed_convolution_of_any_size(array: str, height: int, width: int, keep: bool) -> None:
    """One row and one pixel of RUN too: its pairs of rows come from two output sets."""
    b = GraphBuilder(height, width, 3, seed=height + width)
    x = b.conv("image", 5, 2, signed=keep)
    graph = b.graph(b.concat(b.up(b.pool(x)), x) if keep else b.pool(x))
    program = compiled(graph, parse_array(array))
    assert differences(program, "random") == {}
    assert not any(plan.layer.kernel == 2 and plan.layer.pooled for plan in plans_of(program.chains))


AGAIN = {"transposed", "transposed of few planes", "transposed twice", "concatenation", "enlarging", "bilinear"}
"""Maps that a layer of its own reads for their maximum: made in phases or in pieces, or not stored at all."""


@pytest.mark.parametrize("name", MAKERS)
def test_only_what_no_layer_could_pool_on_its_way_out_is_read_again(name: str) -> None:
    program = compiled(pooled(MAKERS[name], 4, 16, False, False), parse_array("8x8x8"))
    again = [plan.layer.name for plan in plans_of(program.chains) if plan.layer.op == "maxpool"]
    assert len(again) == {"maximum": 2}.get(name, name in AGAIN), again


def test_a_folded_picture_is_not_read_by_a_layer_that_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Phases of a folded picture are passes of their own, as those of a transposed convolution."""
    b = GraphBuilder(8, 32, 1)
    x = b.conv("image", 5)
    graph = b.graph(b.concat(b.pool(x), b.pool(b.conv(x, 3))))
    force(monkeypatch, (1, 1))
    compiled(graph, parse_array("8x4x4"))
    for fold in ((2, 1), (2, 2)):
        force(monkeypatch, fold)
        with pytest.raises(KeyError):
            compiled(graph, parse_array("8x4x4"))


def test_a_layer_of_phases_that_pools_does_not_exist() -> None:
    b = GraphBuilder(4, 8, 3)
    layer: Layer = next(plans_of(compiled(b.graph(b.conv("image", 3, 2)), EngineConfig()).chains)).layer
    with pytest.raises(AssertionError, match="no neighbours"):
        replace(layer, pooled="anything")


@pytest.mark.parametrize("array", ["16x8x8-dsp", "8x4x4", "8x2x1"])
@pytest.mark.parametrize(("height", "width", "channels"), [(2, 2, 1), (4, 18, 9), (6, 34, 20)])
@pytest.mark.parametrize("signed", [False, True])
def test_averages(array: str, height: int, width: int, channels: int, signed: bool) -> None:
    """Of a map, of what is enlarged and joined, at scales that round; as the head's sums."""
    b = GraphBuilder(height, width, 3, seed=width)
    x = b.conv("image", channels, signed=signed)
    joined = b.average(b.concat(x, b.conv(x, 4, 1, bits=4, signed=signed)), 7)
    ties = b.average(b.up(joined), 5, Fraction(1, 8))
    graph = b.graph(b.conv(b.concat(joined, ties), 4))
    assert differences(compiled(graph, parse_array(array)), "random") == {}
    b = GraphBuilder(height, width, 3, seed=width)
    assert differences(compiled(b.graph(b.quarters(b.conv("image", channels))), parse_array(array))) == {}


def test_averages_leave_zero_tiles_out() -> None:
    """A pass of 16 channels reads two of 8 groups, not all: so the layer costs as much for each channel."""
    cycles = []
    for channels in (64, 128):
        b = GraphBuilder(16, 32, channels, seed=1)
        program = compiled(b.graph(b.average("image")), parse_array("16x8x8-dsp"))
        (plan,) = [plan for chain in program.chains for plan in chain.plans]
        assert {len(p.tiles) for p in plan.passes} == {2}
        assert plan.layer.macs == 0
        cycles.append(program.timing().total)
    assert cycles[1] < 2.2 * cycles[0]

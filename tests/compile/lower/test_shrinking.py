"""Kernels beyond 3x3 and the maximum of 3x3: every stored map ==, on several arrays, at every edge."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.compile.lower.lowering import lower
from hwseg.compile.lower.shrinking import place, window
from hwseg.errors import HwsegError
from hwseg.ops import Conv2d
from hwseg.rtl.config import parse_array
from tests.compile.proof import compiled, differences

LARGE = [(5, 1), (5, 2), (7, 2), (7, 1), (9, 1)]
SIZES = [(4, 4, 1), (8, 20, 3), (12, 36, 9)]


@pytest.mark.parametrize(("kernel", "stride"), LARGE)
@pytest.mark.parametrize("array", ["16x4x4", "8x2x1", "16x8x8-dsp"])
def test_large_kernels(array: str, kernel: int, stride: int) -> None:
    """On the picture, on maps that are joined, enlarged and signed, and as the head."""
    for height, width, channels in SIZES:
        b = GraphBuilder(height, width, channels, seed=width)
        x = b.conv("image", 5, kernel, stride)
        x = b.up(x) if stride == 2 else x
        y = b.conv(b.concat("image", x), 3, 5, 1, signed=True)
        b.sums(b.conv(b.up(y), 4, kernel, stride), 2, 5 if stride == 1 else 1)
        assert differences(compiled(b.graph(b.nodes[-1].output), parse_array(array)), "random") == {}


@pytest.mark.parametrize(("kernel", "stride"), LARGE)
def test_sums_at_the_end(kernel: int, stride: int) -> None:
    for out in (1, 11):
        b = GraphBuilder(8, 12, 2, seed=out)
        graph = b.graph(b.sums(b.conv("image", 4), out, kernel, stride))
        assert differences(compiled(graph, parse_array("16x8x8-dsp"))) == {}


def test_operands_of_different_signs() -> None:
    """No eight planes hold both: each is brought together by itself, and weights follow their channels."""
    b = GraphBuilder(8, 12, 3, seed=2)
    mixed = b.concat(b.conv("image", 5, signed=True), b.conv("image", 3), b.conv("image", 2, signed=True))
    graph = b.graph(b.conv(b.concat(b.pool(mixed, 3), b.conv(mixed, 4, 5, 2)), 3))
    assert differences(compiled(graph, parse_array("8x4x4"))) == {}


@pytest.mark.parametrize(("kernel", "stride", "fold"), [(5, 1, 2), (5, 2, 2), (7, 2, 4), (7, 1, 4), (9, 1, 4)])
def test_every_weight_has_one_place_in_each_phase(kernel: int, stride: int, fold: int) -> None:
    op, weights = Conv2d(kernel, 1, stride), np.arange(1, 1 + 2 * kernel**2).reshape(1, 2, kernel, kernel) % 127 + 1
    assert op.fold == fold
    for phase in np.ndindex(fold // stride, fold // stride):
        found = window(op, weights.astype(np.int8), [1, 1], phase)
        assert np.count_nonzero(found) == weights.size
        assert sorted(found[found != 0]) == sorted(weights.reshape(-1))


def test_pixels_become_channels_in_the_order_of_two_halvings() -> None:
    assert [place(2, *at, 3) for at in np.ndindex(2, 2)] == [0, 3, 6, 9]
    assert sorted(place(4, *at, 1) for at in np.ndindex(4, 4)) == list(range(16))
    assert [place(4, 0, column, 1) for column in range(4)] == [0, 1, 4, 5]


def test_macs_are_the_models() -> None:
    b = GraphBuilder(8, 16, 3, seed=0)
    network, _ = lower(b.graph(b.conv("image", 4, 7, 2)))
    assert [(layer.op, layer.macs) for layer in network.layers] == [
        ("fold", 0), ("fold", 0), ("conv7x7/2", 4 * 8 * 4 * 3 * 49),
    ]  # fmt: skip


def test_a_dilated_kernel_leaves_tiles_of_zeros_out() -> None:
    """Of dilation 2, each phase reads the pixels of its own parity alone: a plain 3x3 for each of four."""
    op = Conv2d(5, 8, taps=9)
    weights = np.zeros((8, 8, 5, 5), np.int8)
    weights[:, :, ::2, ::2] = 1
    for number, phase in enumerate(np.ndindex(2, 2)):
        used = np.any(window(op, weights, [8], phase).reshape(8, 4, 8, 9), axis=(0, 2, 3))
        assert used.tolist() == [i == number for i in range(4)]
    assert op.macs((6, 10, 8)) == 6 * 10 * 8 * 8 * 9


def test_sizes_that_do_not_divide_are_refused() -> None:
    b = GraphBuilder(6, 16, 3, seed=0)
    with pytest.raises(HwsegError, match="7x7 convolution of a map of 6x16, which 4 must divide"):
        lower(b.graph(b.conv("image", 4, 7, 2)))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("array", ["16x4x4", "8x2x1", "16x8x8-dsp"])
def test_the_maximum_of_three_by_three(array: str, signed: bool) -> None:
    """Outside is below every number: of signed maps, 0 at the edge would be wrong."""
    for height, width, channels in ((2, 2, 1), *SIZES):
        b = GraphBuilder(height, width, channels, seed=width)
        x = b.conv("image", 5, signed=signed)
        y = b.concat(b.pool(b.concat(x, x), 3), b.pool(x, 3))
        again = b.pool(b.up(y), 3)
        b.conv(b.concat(again, y), 4)
        assert differences(compiled(b.graph(b.nodes[-1].output), parse_array(array)), "random") == {}


def test_the_maximum_of_negative_numbers_at_the_edge() -> None:
    b = GraphBuilder(4, 4, 1, seed=0, low=-128, high=-1)
    graph = b.graph(b.pool("image", 3))
    assert differences(compiled(graph, parse_array("8x4x4"))) == {}


@pytest.mark.parametrize(("channels", "groups"), [(8, 8), (24, 24), (24, 6), (40, 2)])
def test_grouped_convolutions(channels: int, groups: int) -> None:
    """Dense ones of which tiles of zeros are left out; reports say what the model multiplies."""
    b = GraphBuilder(6, 20, 3, seed=channels)
    x = b.conv(b.grouped(b.conv("image", channels), groups), 3, 1)
    graph = b.graph(x)
    for array in ("16x8x8-dsp", "8x2x2"):
        program = compiled(graph, parse_array(array))
        assert differences(program, "random") == {}
    layer = next(plan.layer for plan in program.plans if plan.layer.op == "grouped conv3x3")
    assert layer.macs == 6 * 20 * 9 * channels * channels // groups
    if groups == channels:
        plan = next(plan for plan in program.plans if plan.layer is layer)
        assert {len(p.tiles) for p in plan.passes} == {4}, "the 4 slices of the one word that 8 outputs read"

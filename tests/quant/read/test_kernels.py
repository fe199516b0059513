"""Kernels of any form, pixels that become channels, and differences: against qonnx's executor, and by the machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hwseg.errors import HwsegError
from hwseg.ops import macs
from hwseg.quant.read.load import load
from hwseg.quant.read.referee import compare, run_qonnx
from hwseg.rtl.config import parse_array
from tests.compile.proof import compiled, differences
from tests.fuzz.steps_forms import FORMS
from tests.quant.handmade import Net
from tests.quant.models import random_image

ARRAY = parse_array("16x4x4")


def proven(path: Path) -> None:
    """Equal to the executor and to the machine, whatever the sums' signs."""
    graph = load(path)
    assert compare(path, random_image(graph, 1), "qonnx", run_qonnx).agrees
    assert differences(compiled(graph, ARRAY), "random") == {}


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_forms(tmp_path: Path, form: tuple[int, int, int, int, tuple[int, ...], int]) -> None:
    height, width, gap, stride, pads, _ = form
    net = Net((1, 3, 8, 12))
    given = {"kernel_shape": [height, width], "dilations": [gap] * 2, "strides": [stride] * 2, "pads": list(pads)}
    y = net.node("Conv", net.image(), net.weights("w", (5, 3, height, width)), name="c", **given)
    path = net.save(tmp_path / "net.onnx", net.conv(net.quant(y, 2**-4), 5, 2, 1, name="h"))
    proven(path)
    node = load(path).nodes[0]
    pixels = (8 // stride) * (12 // stride)
    assert macs(node.op, [(8, 12, 3)]) == pixels * 5 * 3 * height * width


def test_groups_and_gaps_together(tmp_path: Path) -> None:
    net = Net((1, 4, 8, 8))
    x = net.quant(net.conv(net.image(), 4, 4, name="a"), 2**-4)
    weights = net.weights("w", (4, 1, 3, 3))
    y = net.conv(x, 4, 4, weights=weights, group=4, dilations=[2, 2], pads=[2] * 4)
    path = net.save(tmp_path / "net.onnx", net.conv(net.quant(y, 2**-4), 4, 2, 1, name="h"))
    proven(path)
    assert macs(load(path).nodes[2].op, [(8, 8, 4)]) == 64 * 4 * 9


@pytest.mark.parametrize(("height", "width"), [(6, 8), (8, 10)])
def test_sizes_that_do_not_divide_name_those_that_do(tmp_path: Path, height: int, width: int) -> None:
    net = Net((1, 2, height, width))
    y = net.quant(net.conv(net.image(), 2, 2, dilations=[4, 4], pads=[4] * 4))
    with pytest.raises(HwsegError, match="a 3x3 kernel of dilation 4 and stride 1 wants maps that 4 ") as caught:
        load(net.save(tmp_path / "net.onnx", y))
    assert "8x8" in caught.value.cure


Make = Callable[[Net, str], str]
MOVES: dict[str, tuple[Make, int]] = {
    "pixel shuffle": (lambda n, x: n.node("DepthToSpace", x, blocksize=2, mode="CRD"), 2),
    "depth to space": (lambda n, x: n.node("DepthToSpace", x, blocksize=2), 2),
    "space to depth": (lambda n, x: n.node("SpaceToDepth", x, blocksize=2), 32),
    "there and back": (
        lambda n, x: n.node("DepthToSpace", n.node("SpaceToDepth", x, blocksize=2), blocksize=2), 8,
    ),
    "pooled": (
        lambda n, x: n.node("MaxPool", n.node("DepthToSpace", x, blocksize=2), kernel_shape=[2, 2], strides=[2, 2]), 2,
    ),
    "beside another": (
        lambda n, x: n.node("Concat", n.node("DepthToSpace", n.node("SpaceToDepth", x, blocksize=2), blocksize=2), x,
                            axis=1), 16,
    ),
    "difference": (lambda n, x: n.quant(n.node("Sub", x, n.quant(n.conv(x, 8, 8, name="o"), 2**-3)), 2**-4), 8),
    "difference of one map": (lambda n, x: n.quant(n.node("Sub", x, x), 2**-4), 8),
}  # fmt: skip


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("name", MOVES)
def test_moves_and_differences(tmp_path: Path, name: str, signed: int) -> None:
    make, channels = MOVES[name]
    net = Net((1, 3, 8, 12))
    y = make(net, net.quant(net.conv(net.image(), 3, 8, name="first"), 2**-4, signed=signed))
    proven(net.save(tmp_path / "last.onnx", y))
    proven(net.save(tmp_path / "inner.onnx", net.conv(y, channels, 2, name="h")))


def test_pixels_that_become_channels_are_no_multiplications(tmp_path: Path) -> None:
    net = Net((1, 2, 8, 8))
    x = net.node("SpaceToDepth", net.image(), blocksize=2)
    graph = load(net.save(tmp_path / "net.onnx", net.conv(x, 8, 2)))
    assert [macs(node.op, [graph.types[n].shape for n in node.inputs]) for node in graph.nodes] == [0, 16 * 8 * 2 * 9]


REFUSED: dict[str, tuple[Make, str]] = {
    "blocks of four": (lambda n, x: n.node("SpaceToDepth", x, blocksize=4), "attribute blocksize"),
    "no blocks": (lambda n, x: n.node("SpaceToDepth", x), "blocksize must be 2, is missing"),
    "channels": (
        lambda n, x: n.node("DepthToSpace", x, blocksize=2),
        "6 channels must be four for each of the result's; use a convolution with as many channels before it",
    ),
    "sums": (
        lambda n, x: n.node("SpaceToDepth", n.conv(x, 6, 4), blocksize=2),
        "inputs must be quantized to at most 8 bits",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(tmp_path: Path, name: str) -> None:
    make, sentence = REFUSED[name]
    net = Net((1, 6, 8, 8))
    with pytest.raises(HwsegError) as caught:
        load(net.save(tmp_path / "net.onnx", make(net, net.image())))
    assert sentence in str(caught.value)


def test_odd_maps_have_no_four_pixels(tmp_path: Path) -> None:
    net = Net((1, 2, 7, 8))
    y = net.conv(net.node("SpaceToDepth", net.image(), blocksize=2), 8, 2)
    with pytest.raises(HwsegError, match="two must divide the map, which is 7x8"):
        load(net.save(tmp_path / "net.onnx", y))

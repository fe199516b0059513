"""Zeros around a map are a convolution's padding; and groups of transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwseg.errors import HwsegError
from hwseg.ops import ConvTranspose2d, macs
from hwseg.quant.read.load import load
from tests.quant.handmade import Net
from tests.quant.read.proving import last, pool, proven
from tests.quant.read.qdq import LinearNet


def pad(net: Net, x: str, widths: Sequence[int], **given: Any) -> str:
    """widths: above, left, below, right."""
    top, left, bottom, right = widths
    whole = net.const(f"widths{len(net.nodes)}", [0, 0, top, left, 0, 0, bottom, right], np.int64)
    return net.node("Pad", x, whole, **given)


def conv(net: Net, x: str, kernel: int, pads: Sequence[int], ins: int = 5, **given: Any) -> str:
    return net.conv(x, ins, 4, kernel, name=f"conv{len(net.nodes)}", pads=list(pads), **given)


FORMS: list[tuple[Sequence[int], int, Sequence[int], dict[str, Any]]] = [
    ([1] * 4, 3, [0] * 4, {}),
    ([2] * 4, 5, [0] * 4, {}),
    ([1] * 4, 5, [1] * 4, {}),
    ([2] * 4, 3, [0] * 4, {"dilations": [2, 2]}),
    ([1] * 4, 3, [0] * 4, {"strides": [2, 2]}),
    ([0, 0, 1, 1], 3, [0] * 4, {"strides": [2, 2]}),
    ([0, 1, 2, 1], 3, [0] * 4, {}),
    ([1, 0, 0, 1], 3, [0, 1, 1, 0], {}),
    ([3] * 4, 7, [0] * 4, {"strides": [2, 2]}),
]


@pytest.mark.parametrize(("widths", "kernel", "pads", "given"), FORMS)
def test_before_a_convolution(
    tmp_path: Path, widths: Sequence[int], kernel: int, pads: Sequence[int], given: dict[str, Any]
) -> None:
    net = Net((1, 2, 8, 12))
    x = net.quant(net.conv(net.image(), 2, 5), 2**-4)
    y = net.quant(conv(net, pad(net, x, widths), kernel, pads, **given), 2**-3)
    proven(net.save(tmp_path / "net.onnx", last(net, y, 4)))


@pytest.mark.parametrize("zero", [0, 77, 128])
def test_in_qdq_files(tmp_path: Path, zero: int) -> None:
    """A quantizer behind the Pad, as onnxruntime writes one; the picture is padded, too, and read without."""
    net = LinearNet((1, 2, 8, 12))
    x = net.linear("x", 2**-8, np.uint8, 0, "input")
    y = net.linear(net.linear_conv(pad(net, x, [1] * 4), 2, 5, name="a", pads=[0] * 4), 2**-3, np.uint8, zero)
    padded = net.linear(pad(net, y, [1] * 4), 2**-3, np.uint8, zero)
    both = [net.linear_conv(padded, 5, 3, name="b", pads=[0] * 4), net.linear_conv(y, 5, 3, name="c")]
    maps = [net.linear(each, 2**-2, np.int8, 0) for each in both]
    end = net.linear_conv(net.node("Concat", *maps, axis=1), 6, 3, name="d")
    proven(net.save(tmp_path / "net.onnx", end), "8x4x4", "onnxruntime")


def test_axes_and_old_attributes(tmp_path: Path) -> None:
    net = Net((1, 2, 8, 12), opset=18)
    widths, axes = net.const("widths", [1, 1, 1, 1], np.int64), net.const("axes", [-1, 2], np.int64)
    x = net.node("Pad", net.image(), widths, net.const("zero", 0), axes)
    proven(net.save(tmp_path / "new.onnx", conv(net, x, 3, [0] * 4, 2)))
    net = Net((1, 2, 8, 12), opset=9)
    x = net.node("Pad", net.image(), pads=[0, 0, 1, 1, 0, 0, 1, 1], value=0.0)
    assert load(net.save(tmp_path / "old.onnx", conv(net, x, 3, [0] * 4, 2))).nodes[0].inputs == ("x",)


REFUSED = {
    "a larger map": (lambda n, x: conv(n, pad(n, x, [1] * 4), 3, [1] * 4), "leave it out, and use padding=1"),
    "pooling": (lambda n, x: last(n, pool(n, pad(n, x, [1] * 4))), "before a convolution only, not before MaxPool"),
    "an end": (lambda n, x: pad(n, x, [1] * 4), "before a convolution only, not before the output"),
    "a number": (
        lambda n, x: conv(n, n.node("Pad", x, n.const("w", [0, 0, 1, 1] * 2, np.int64), n.const("one", 1)), 3, [0] * 4),
        "must be by zeros",
    ),
    "a crop": (lambda n, x: conv(n, pad(n, x, [-1] * 4), 3, [2] * 4), "must be by zeros before and behind"),
    "channels": (
        lambda n, x: conv(n, n.node("Pad", x, n.const("w", [0, 1, 0, 0, 0, 0, 0, 0], np.int64)), 3, [1] * 4, 6),
        "must be by zeros before and behind rows and columns",
    ),
    "three axes": (
        lambda n, x: conv(n, n.node("Pad", x, n.const("w", [1] * 6, np.int64)), 3, [0] * 4),
        "padding must be two numbers for each of 4 axes",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_sentences(tmp_path: Path, name: str) -> None:
    make, sentence = REFUSED[name]
    net = Net()
    x = net.quant(net.conv(net.image(), 2, 5), 2**-4)
    with pytest.raises(HwsegError) as refused:
        load(net.save(tmp_path / "net.onnx", make(net, x)))
    assert sentence in str(refused.value)


@pytest.mark.parametrize(("kernel", "pads", "more"), [(2, 0, 0), (3, 1, 1), (4, 1, 0)])
@pytest.mark.parametrize("groups", [2, 6])
def test_groups_of_transposed_convolutions(tmp_path: Path, kernel: int, pads: int, more: int, groups: int) -> None:
    """Each group's channels have the scales of the file's second axis."""
    net = Net((1, 2, 4, 6))
    x = net.quant(net.conv(net.image(), 2, 6), 2**-4)
    scales = 2.0 ** -np.array([6, 7]).reshape(1, 2, 1, 1)
    w = net.weights("t", (6, 2, kernel, kernel), scales)
    y = net.node(
        "ConvTranspose", x, w, strides=[2, 2], pads=[pads] * 4, output_padding=[more] * 2, group=groups, name="t"
    )
    path = net.save(tmp_path / "net.onnx", last(net, net.quant(y, 2**-3), 2 * groups))
    graph = proven(path).graph
    (node,) = (node for node in graph.nodes if isinstance(node.op, ConvTranspose2d))
    assert macs(node.op, [(4, 6, 6)]) == 4 * 6 * 6 * 2 * kernel**2

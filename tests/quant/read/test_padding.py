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
from tests.quant.read.proving import up as nearest
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


ENLARGING: list[tuple[Sequence[int], int, Sequence[int], dict[str, Any], str, int]] = [
    ([1] * 4, 3, [1] * 4, {}, "leave it out, and use padding=1", 1),
    ([0, 0, 1, 1], 3, [1] * 4, {}, "leave it out, and use padding=1", 1),
    ([0, 2, 0, 0], 1, [0] * 4, {}, "leave it out, and use padding=0", 0),
    ([2, 1, 1, 1], 3, [1] * 4, {"strides": [2, 2]}, "leave it out, and use padding=1", 1),
    ([1, 2, 2, 1], 5, [1] * 4, {}, "leave it out, and use padding=2", 2),
    ([0, 0, 2, 2], 3, [2] * 4, {"dilations": [2, 2]}, "leave it out, and use padding=2", 2),
]
"""Around the map, kernel, its own padding; the cure, and the padding that it means."""


@pytest.mark.parametrize(("widths", "kernel", "pads", "given", "cure", "padding"), ENLARGING)
def test_what_makes_a_map_larger_has_a_cure(
    tmp_path: Path, widths: Sequence[int], kernel: int, pads: Sequence[int], given: dict[str, Any], cure: str,
    padding: int,
) -> None:  # fmt: skip
    net = Net((1, 2, 8, 12))
    x = net.quant(net.conv(net.image(), 2, 5), 2**-4)
    with pytest.raises(HwsegError, match="padding a map must keep its size") as refused:
        load(net.save(tmp_path / "net.onnx", conv(net, pad(net, x, widths), kernel, pads, **given)))
    assert refused.value.cure == cure
    net = Net((1, 2, 8, 12))
    x = net.quant(net.conv(net.image(), 2, 5), 2**-4)
    load(net.save(tmp_path / "cured.onnx", conv(net, x, kernel, [padding] * 4, **given)))


def test_a_decoder_that_pads_to_its_skip_wants_sizes_without_it(tmp_path: Path) -> None:
    """U-Nets for any size pad what is enlarged to what was pooled; of sizes that all poolings divide it is nothing."""

    def unet(size: int) -> Path:
        net, half = Net((1, 2, size, size)), size // 2
        top = net.quant(conv(net, net.image(), 3, [1] * 4, 2), 2**-4)
        low = net.quant(conv(net, pool(net, top), 3, [1] * 4, 4), 2**-4)
        bottom = net.quant(conv(net, pool(net, low), 3, [1] * 4, 4), 2**-4)
        missing = half - half // 2 * 2
        up = pad(net, nearest(net, bottom), [0, 0, missing, missing])
        joined = net.quant(conv(net, net.node("Concat", up, low, axis=1), 3, [1] * 4, 8), 2**-4)
        return net.save(tmp_path / f"{size}.onnx", last(net, net.node("Concat", nearest(net, joined), top, axis=1), 8))

    with pytest.raises(HwsegError) as refused:
        load(unet(10))
    assert (
        refused.value.cure
        == "the input is 10x10; export the model with an input that 4 divides, such as 8x8 or 8x12 or 12x8 or 12x12"
    )
    for size in (8, 12):
        load(unet(size))


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

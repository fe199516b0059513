"""Clip of real numbers, as ReLU6 and hard activations are exported: exact in every kind of file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwseg.errors import HwsegError
from hwseg.ops import Requantize
from hwseg.quant.read.load import load
from tests.quant.handmade import Net
from tests.quant.read.proving import by_channel, last, leaky, pool, proven, up
from tests.quant.read.qdq import LinearNet


def clip(net: Net, x: str, low: float | None = 0.0, high: float | None = 6.0) -> str:
    """An end that is None is left out."""
    ends = [
        "" if end is None else net.const(f"end{len(net.nodes)}{what}", end) for what, end in (("a", low), ("b", high))
    ]
    return net.node("Clip", x, *ends)


def conv(net: Net, x: str, name: str = "conv") -> str:
    return net.conv(x, 2, 5, name=name)


def q(net: Net, x: str, scale: float = 2**-3, **given: Any) -> str:
    return net.quant(x, scale, **given)


def times(net: Net, x: str, factor: float, addend: float) -> str:
    y = net.node("Mul", x, net.const(f"factor{len(net.nodes)}", factor))
    return net.node("Add", y, net.const(f"addend{len(net.nodes)}", addend))


def hard_swish(net: Net, x: str) -> str:
    more = net.node("Add", x, net.const(f"three{len(net.nodes)}", 3))
    return net.node("Div", net.node("Mul", x, clip(net, more)), net.const(f"six{len(net.nodes)}", 6))


READERS: dict[str, Callable[[Net, str], str]] = {
    "ReLU6": lambda n, x: q(n, clip(n, conv(n, x)), signed=0),
    "ReLU6, signed": lambda n, x: q(n, clip(n, conv(n, x))),
    "ends beyond the quantizer": lambda n, x: q(n, clip(n, conv(n, x), -1000, 1000)),
    "ends between integers": lambda n, x: q(n, clip(n, conv(n, x), -0.7, 0.9)),
    "ends on ties": lambda n, x: q(n, clip(n, conv(n, x), -2.5, 1.5), 1.0),
    "one integer": lambda n, x: q(n, clip(n, conv(n, x), 0.5, 0.5)),
    "above 0": lambda n, x: q(n, clip(n, conv(n, x), 0.5, 2)),
    "below 0": lambda n, x: q(n, clip(n, conv(n, x), -2, -0.5)),
    "beyond every integer": lambda n, x: q(n, clip(n, conv(n, x), 100, 200)),
    "no lower end": lambda n, x: q(n, clip(n, conv(n, x), None, 1)),
    "no upper end": lambda n, x: q(n, clip(n, conv(n, x), -0.3, None)),
    "no ends": lambda n, x: q(n, clip(n, conv(n, x), None, None)),
    "twice": lambda n, x: q(n, clip(n, clip(n, conv(n, x), -1, 2), 0.3, 9)),
    "apart": lambda n, x: q(n, clip(n, clip(n, conv(n, x), -2, -1), 0.3, 9)),
    "a scale of no power of two": lambda n, x: q(n, clip(n, conv(n, x)), 0.047, signed=0),
    "of a ReLU": lambda n, x: q(n, clip(n, n.node("Relu", conv(n, x)), -1, 2)),
    "of a LeakyReLU": lambda n, x: q(n, clip(n, leaky(n, conv(n, x), [0.25, -0.5, 1.25, 0, -1]), -0.3, 1)),
    "before a ReLU": lambda n, x: q(n, n.node("Relu", clip(n, conv(n, x), -1, 2))),
    "before a LeakyReLU": lambda n, x: q(n, leaky(n, clip(n, conv(n, x), 0, 2), [-0.3])),
    "a factor behind it": lambda n, x: q(n, times(n, clip(n, conv(n, x), -1, 0.3), 1.5, 0.2)),
    "a factor below 0 behind it": lambda n, x: q(n, times(n, clip(n, conv(n, x), -1, 0.3), -1.5, 0.2)),
    "a hard sigmoid of sums": lambda n, x: q(n, times(n, clip(n, times(n, conv(n, x), 1, 3)), 1 / 6, 0), 2**-7),
    "of factors of channels": lambda n, x: q(n, clip(n, by_channel(n, conv(n, x)), -1, 2)),
    "of a maximum": lambda n, x: up(n, q(n, clip(n, pool(n, conv(n, x)), -1, 0.3))),
    "before a maximum": lambda n, x: up(n, q(n, pool(n, clip(n, conv(n, x), -1, 0.3)))),
    "of an activation": lambda n, x: q(n, clip(n, q(n, conv(n, x)), -1, 0.3)),
    "of an addition": lambda n, x: q(n, clip(n, n.node("Add", *(q(n, conv(n, x, name)) for name in "ab")), -1, 0.3)),
    "of a product": lambda n, x: q(n, clip(n, n.node("Mul", q(n, conv(n, x), bits=3), q(n, conv(n, x, "b"))), -1, 0.3)),
    "of a concatenation": lambda n, x: q(
        n, clip(n, n.node("Concat", n.conv(x, 2, 2, name="a"), n.conv(x, 2, 3, name="b"), axis=1), -1, 0.3)
    ),
    "of a function": lambda n, x: q(n, clip(n, n.node("Tanh", q(n, conv(n, x))), -0.3, 0.7), 2**-6),
    "in a function": lambda n, x: q(n, n.node("Tanh", clip(n, q(n, conv(n, x)), -0.3, 0.7)), 2**-6),
    "HardSwish by hand": lambda n, x: q(n, hard_swish(n, q(n, conv(n, x), 2**-4)), 2**-5),
    "a square": lambda n, x: q(n, n.node("Mul", *[clip(n, q(n, conv(n, x)), -0.3, 0.7)] * 2), 2**-6),
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_every_place(tmp_path: Path, name: str) -> None:
    net = Net((1, 2, 8, 12))
    proven(net.save(tmp_path / "net.onnx", last(net, READERS[name](net, net.image()))))


@pytest.mark.parametrize(
    ("kind", "zero"), [(np.uint8, 0), (np.int8, -128), (np.uint8, 128), (np.uint8, 77), (np.int8, -50)]
)
@pytest.mark.parametrize("ends", [(0, 6), (-0.7, 0.9), (-6, 0.3), (0.5, 2)])
def test_qdq_files(tmp_path: Path, kind: type, zero: int, ends: tuple[float, float]) -> None:
    """Nothing of a map of 9 bits is left where its ends fit 8."""
    net = LinearNet((1, 2, 8, 12))
    x = net.linear("x", 2**-8, np.uint8, 0, "input")
    wide = net.linear(net.linear_conv(x, 2, 5, name="wide"), 2**-5, np.uint8, 99)
    maps = [net.linear(clip(net, y, *ends), 2**-4, kind, zero) for y in (net.linear_conv(x, 2, 5, name="a"), wide)]
    y = net.linear_conv(net.node("Concat", *maps, axis=1), 10, 3, name="b")
    proven(net.save(tmp_path / "net.onnx", y), "8x4x4", "onnxruntime")


def test_relu6_costs_nothing(tmp_path: Path) -> None:
    net = Net()
    graph = load(net.save(tmp_path / "net.onnx", last(net, q(net, clip(net, conv(net, net.image())), signed=0))))
    (found,) = (node.op for node in graph.nodes if isinstance(node.op, Requantize))
    assert (found.low, found.high) == (0, 48)


def test_attributes_of_old_files(tmp_path: Path) -> None:
    net = Net(opset=9)
    y = q(net, net.node("Clip", conv(net, net.image()), min=-0.5, max=2.0))
    proven(net.save(tmp_path / "net.onnx", last(net, y)))


REFUSED: dict[str, tuple[Callable[[Net, str], str], str]] = {
    "without a quantizer": (lambda n, x: clip(n, conv(n, x)), "last: inputs must be quantized to at most 8 bits"),
    "of an activation, without one": (lambda n, x: clip(n, q(n, conv(n, x))), "last: inputs must be quantized"),
    "turned around": (lambda n, x: clip(n, conv(n, x), 1, 0), "the minimum 1 must not exceed the maximum 0"),
    "no number": (lambda n, x: clip(n, conv(n, x), float("nan"), 0), "minimum must be finite numbers"),
    "many numbers": (
        lambda n, x: n.node("Clip", conv(n, x), n.const("low", [0, 1]), name="six"),
        "six: the minimum of Clip must be one number, is 2",
    ),
    "factors of channels behind it": (
        lambda n, x: q(n, by_channel(n, clip(n, conv(n, x)))),
        "numbers of each channel cannot follow a Clip without a quantizer; quantize before it",
    ),
    "slopes behind it": (
        lambda n, x: q(n, leaky(n, clip(n, conv(n, x), -1), [0.3])),
        "slopes cannot follow a Clip to numbers below 0 without a quantizer; quantize between them",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_sentences(tmp_path: Path, name: str) -> None:
    make, sentence = REFUSED[name]
    net = Net()
    with pytest.raises(HwsegError) as refused:
        load(net.save(tmp_path / "net.onnx", last(net, make(net, net.image()))))
    assert sentence in str(refused.value)


def test_their_cures(tmp_path: Path) -> None:
    net = Net((1, 2, 6, 8))
    x = q(net, clip(net, conv(net, net.image()), -1))
    both = [q(net, by_channel(net, x), 2**-4), q(net, leaky(net, x, [0.3]), 2**-4)]
    proven(net.save(tmp_path / "net.onnx", last(net, net.node("Concat", *both, axis=1), 10)))

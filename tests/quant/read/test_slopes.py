"""LeakyReLU and PReLU of any slopes: exact by an executor of rationals, by qonnx or onnxruntime, and on the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwseg.errors import HwsegError
from hwseg.ops import PRelu, Requantize, macs
from hwseg.quant.read.load import load
from hwseg.rtl.config import parse_array
from tests.compile.proof import compiled
from tests.quant.handmade import Net
from tests.quant.read.proving import by_channel, last, leaky, pool, proven, up
from tests.quant.read.qdq import LinearNet

SLOPES = {
    "by channel": [0.25, -0.5, 1.25, 0, -1], "an eighth": [0.125], "a third": [0.3], "above 1": [1.5],
    "below 0": [-0.25],
}  # fmt: skip


def block(net: Net, x: str, slopes: list[float], name: str = "a", **quantizer: Any) -> str:
    """A convolution of 5 channels, a PReLU, and a quantizer."""
    return net.quant(leaky(net, net.conv(x, 2, 5, name=name), slopes), **{"scale": 2**-3, **quantizer})


def transposed(net: Net, x: str) -> str:
    w = net.weights("t", (5, 5, 3, 3))
    return net.node("ConvTranspose", x, w, strides=[2, 2], pads=[1] * 4, output_padding=[1, 1])


READERS: dict[str, Callable[[Net, str, list[float]], str]] = {
    "3x3": lambda n, x, s: last(n, block(n, x, s)),
    "1x1": lambda n, x, s: last(n, block(n, x, s), 5, 1),
    "stride 2": lambda n, x, s: last(n, block(n, x, s, narrow=1), strides=[2, 2]),
    "5x5": lambda n, x, s: last(n, block(n, x, s), 5, 5),
    "transposed": lambda n, x, s: transposed(n, block(n, x, s)),
    "of a transposed one": lambda n, x, s: last(n, n.quant(leaky(n, transposed(n, block(n, x, s)), s))),
    "unsigned": lambda n, x, s: last(n, block(n, x, s, signed=0)),
    "two bits": lambda n, x, s: last(n, block(n, x, s, bits=2, scale=1)),
    "a fine quantizer": lambda n, x, s: last(n, block(n, x, s, scale=2**-10)),
    "maximum": lambda n, x, s: last(n, pool(n, block(n, x, s))),
    "maximum of 3x3, and the map": lambda n, x, s: last(
        n, n.node("Concat", up(n, pool(n, (y := block(n, x, s)), 3)), y, axis=1), 10
    ),
    "maximum before the quantizer": lambda n, x, s: last(n, n.quant(pool(n, leaky(n, n.conv(x, 2, 5), s)), 2**-3)),
    "enlarged": lambda n, x, s: last(n, up(n, block(n, x, s))),
    "joined": lambda n, x, s: last(n, n.node("Concat", block(n, x, s), block(n, x, [0.2], "b"), axis=1), 10),
    "joined before the quantizer": lambda n, x, s: last(
        n, n.quant(leaky(n, n.node("Concat", n.conv(x, 2, 3), n.conv(x, 2, 2, name="b"), axis=1), s), 2**-3)
    ),
    "of an activation": lambda n, x, s: last(n, n.quant(leaky(n, block(n, x, s), s), 2**-4)),
    "of an unsigned activation": lambda n, x, s: last(n, leaky(n, block(n, x, s, signed=0), s)),
    "of an enlarged activation": lambda n, x, s: last(n, n.quant(leaky(n, up(n, block(n, x, s)), s), 2**-4)),
    "twice": lambda n, x, s: last(n, n.quant(leaky(n, leaky(n, n.conv(x, 2, 5), s), [-0.5, 2, 0, 1, 0.7]), 2**-3)),
    "a ReLU behind it": lambda n, x, s: last(n, n.quant(n.node("Relu", leaky(n, n.conv(x, 2, 5), s)), 2**-3)),
    "behind a ReLU": lambda n, x, s: last(n, n.quant(leaky(n, n.node("Relu", n.conv(x, 2, 5)), s), 2**-3)),
    "a factor behind it": lambda n, x, s: last(n, n.quant(by_channel(n, leaky(n, n.conv(x, 2, 5), s)), 2**-3)),
    "a factor before it": lambda n, x, s: last(
        n, n.quant(leaky(n, by_channel(n, n.conv(x, 2, 5)), s), 2**-3)
    ),
    "an addition": lambda n, x, s: last(n, n.quant(n.node("Add", block(n, x, s), block(n, x, s, "b")), 2**-2)),
    "of an addition": lambda n, x, s: last(
        n, n.quant(leaky(n, n.node("Add", block(n, x, s), block(n, x, s, "b", scale=0.25)), s[:1]), 2**-2)
    ),
    "a residual addition": lambda n, x, s: last(
        n, n.quant(n.node("Add", y := block(n, x, s), n.quant(n.conv(y, 5, 5, name="c"), 2**-3)), 2**-3)
    ),
    "two quantizers": lambda n, x, s: last(
        n, n.node("Concat", n.quant(y := leaky(n, n.conv(x, 2, 5), s), 0.5, 4), n.quant(y, 0.5, 8), axis=1), 10
    ),
    "the head": lambda n, x, s: block(n, x, s),
    "a sigmoid": lambda n, x, s: n.node("Sigmoid", n.quant(leaky(n, n.conv(x, 2, 1), s[:1]), 2**-3)),
}  # fmt: skip


@pytest.mark.parametrize(("name", "slopes"), zip(READERS, cycle(SLOPES), strict=False))
def test_whatever_reads_it(tmp_path: Path, name: str, slopes: str) -> None:
    net, array = Net((1, 2, 12, 20)), ("8x4x4", "16x2x2", "16x8x8")[(len(name) + len(slopes)) % 3]
    proven(net.save(tmp_path / "net.onnx", READERS[name](net, net.image(), SLOPES[slopes])), array)


@pytest.mark.parametrize(("bits", "size"), zip(range(2, 9), cycle([(1, 1), (3, 17), (8, 9)]), strict=False))
def test_words_and_odd_sizes(tmp_path: Path, bits: int, size: tuple[int, int]) -> None:
    net = Net((1, 2, *size))
    x = block(net, net.image(bits=bits, scale=2.0**-bits), SLOPES["by channel"], bits=bits, scale=2.0 ** (3 - bits))
    proven(net.save(tmp_path / "net.onnx", last(net, x)), "16x8x8")


@pytest.mark.parametrize(
    ("zero", "slopes"), zip([1, 77, 126, 127, 180, 254], cycle(["an eighth", "a third", "above 1"]), strict=False)
)
def test_zero_points_that_want_nine_bits(tmp_path: Path, zero: int, slopes: str) -> None:
    net = LinearNet((1, 2, 12, 20))
    x = net.linear("x", 2**-8, np.uint8, 0, "input")
    a = net.linear(net.linear_conv(x, 2, 5, name="a"), 2**-3, np.uint8, zero, "qa")
    b = net.linear(leaky(net, a, SLOPES[slopes]), 2**-3, np.uint8, zero, "qb")
    proven(net.save(tmp_path / "net.onnx", net.linear_conv(pool(net, b), 5, 3, name="last")), executor="onnxruntime")


@pytest.mark.parametrize("low", [-128, -127, -8, 0])
@pytest.mark.parametrize("slopes", SLOPES)
def test_both_branches_are_the_number_at_every_tie(low: int, slopes: str) -> None:
    """Of every accumulator in reach, in halves and thirds of a step: what the lowering adds is the formula."""
    for unit in (Fraction(1, 2), Fraction(-1, 3)):
        slope = tuple(Fraction(float(s)) for s in SLOPES[slopes])
        op = PRelu((unit,), (Fraction(1, 4),), slope, low, 127)
        signs = [-1 if s > 0 else 1 for s in slope]
        below = op.below(tuple(sign * s for sign, s in zip(signs, slope, strict=True)))
        for channel, sign in enumerate(signs):
            above, rest = replace(op.above, low=0), replace(below, low=0, high=128)
            for acc in range(-700, 700):
                v = acc * unit + Fraction(1, 4)
                wanted = min(max(round(v if v >= 0 else v * slope[channel]), low), 127)
                found = above(acc, channel) + sign * rest(acc, channel)
                assert min(max(found, low), 127) == wanted == op(acc, channel)


def test_multiplications_are_those_of_the_model(tmp_path: Path) -> None:
    net = Net((1, 2, 12, 20))
    graph = load(net.save(tmp_path / "net.onnx", last(net, block(net, net.image(), [0.125]))))
    model = 12 * 20 * 9 * (2 * 5 + 5 * 3)
    assert sum(macs(node.op, [graph.types[x].shape for x in node.inputs]) for node in graph.nodes) == model
    assert sum(layer.macs for layer in compiled(graph, parse_array("8x4x4")).network.layers) == model


def test_what_is_a_relu_costs_no_more(tmp_path: Path) -> None:
    """Where the quantizer leaves nothing below 0, or the slope is 0 or 1."""
    for slopes, given in (([0.0], {}), ([1.0], {}), ([0.3], {"signed": 0})):
        net = Net((1, 2, 12, 20))
        graph = load(net.save(tmp_path / "net.onnx", last(net, block(net, net.image(), slopes, **given))))
        assert [type(node.op) for node in graph.nodes if isinstance(node.op, PRelu | Requantize)] == [Requantize]


def refusal(path: Path) -> str:
    with pytest.raises(HwsegError) as caught:
        load(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("slopes", "what"),
    [(None, "a ReLU"), ([0.5], "a LeakyReLU or PReLU"), (SLOPES["by channel"], "a LeakyReLU or PReLU")],
)
def test_a_factor_below_0_behind_it(tmp_path: Path, slopes: list[float] | None, what: str) -> None:
    for cured in (False, True):
        net = Net()
        x = net.conv(net.image(), 2, 5)
        x = net.node("Relu", x) if slopes is None else leaky(net, x, slopes)
        x = net.quant(x, 2**-4, name="own") if cured else x
        x = net.quant(net.node("Mul", x, net.const("minus", -2.0), name="turned"), 2**-3)
        path = net.save(tmp_path / "a.onnx", last(net, x))
        if cured:
            proven(path)
        else:
            assert refusal(path).startswith(f"turned: cannot follow {what} without a quantizer; quantize before it, or")


def test_what_is_refused(tmp_path: Path) -> None:
    net = Net()
    x = net.node("PRelu", net.conv(net.image(), 2, 5), net.const("s", np.ones((4, 1, 1))), name="act")
    assert refusal(net.save(tmp_path / "a.onnx", net.quant(x))) == (
        "act: slope must be one number or one per channel, has shape (4, 1, 1); give it the shape (5, 1, 1)"
    )
    net = Net()
    x = net.node("LeakyRelu", pool(net, net.conv(net.image(), 2, 5)), name="act", alpha=-0.5)
    assert refusal(net.save(tmp_path / "a.onnx", net.quant(x))) == (
        "act: a slope below 0 cannot follow pooling without a quantizer; quantize before it, or put the pooling behind"
        " it"
    )
    net = LinearNet()
    y = net.linear(net.linear_conv(net.linear("x", 2**-8, name="input"), 2, 5), 2**-3, np.uint8, 128, "y")
    z = net.linear(leaky(net, y, SLOPES["by channel"]), 2**-3, np.uint8, 60, "z")
    assert refusal(net.save(tmp_path / "a.onnx", net.linear_conv(z, 5, 3, name="last"))).startswith(
        "z: a slope below 0 wants a quantizer of 8 bits, this one has 9 because of its zero point; quantize activations"
    )
    net = Net()
    a, b = (net.quant(net.conv(net.image(name=f"i{n}"), 2, 5, name=n), name=f"q{n}") for n in "ab")
    x = net.node("PRelu", net.node("Add", a, b), net.const("s", np.arange(5).reshape(5, 1, 1)))
    assert "quantize the sum before normalizing it, or before a PReLU of many slopes" in refusal(
        net.save(tmp_path / "a.onnx", net.quant(x))
    )
    net = Net()
    assert "inputs must be quantized" in refusal(
        net.save(tmp_path / "a.onnx", last(net, leaky(net, net.quant(net.conv(net.image(), 2, 5)), [0.5])))
    )

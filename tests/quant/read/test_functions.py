"""Activation functions within the network: exact by an executor of rationals, by qonnx, and on the machine."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwseg import golden
from hwseg.errors import HwsegError
from hwseg.ops import Function, macs
from hwseg.quant.read.functions import FUNCTIONS
from hwseg.quant.read.load import load
from hwseg.rtl.config import parse_array
from tests.compile.proof import compiled
from tests.quant.handmade import Net
from tests.quant.read.proving import by_channel, last, leaky, pool, proven, refusal, up
from tests.quant.read.qdq import LinearNet


def silu(net: Net, x: str) -> str:
    return net.node("Mul", x, net.node("Sigmoid", x))


def gelu(net: Net, x: str) -> str:
    bent = net.node("Erf", net.node("Div", x, net.const(f"root{len(net.nodes)}", np.sqrt(2, dtype=np.float32))))
    more = net.node("Add", bent, net.const(f"one{len(net.nodes)}", 1))
    return net.node("Mul", net.node("Mul", x, more), net.const(f"half{len(net.nodes)}", 0.5))


def plain(op: str, **given: Any) -> Callable[[Net, str], str]:
    return lambda net, x: net.node(op, x, **given)


BENDS: dict[str, Callable[[Net, str], str]] = {
    "Sigmoid": plain("Sigmoid"),
    "SiLU": silu,
    "GELU": gelu,
    "HardSigmoid of PyTorch": plain("HardSigmoid", alpha=1 / 6),
    "HardSwish by hand": lambda net, x: net.node("Mul", x, net.node("HardSigmoid", x, alpha=1 / 6)),
    "Gelu by tanh": plain("Gelu", approximate="tanh"),
    "Elu": plain("Elu", alpha=0.7),
    "Celu": plain("Celu", alpha=1.5),
    **{op: plain(op) for op in FUNCTIONS if op not in ("Swish", "Elu", "Celu")},
}


def bent(net: Net, x: str, bend: Callable[[Net, str], str], **quantizer: Any) -> str:
    """A convolution of 5 channels, its quantizer, a function and its quantizer."""
    y = net.quant(net.conv(x, 2, 5, name=f"conv{len(net.nodes)}"), 2**-4)
    return net.quant(bend(net, y), **{"scale": 2**-6, **quantizer})


@pytest.mark.parametrize("name", BENDS)
def test_every_function(tmp_path: Path, name: str) -> None:
    net = Net((1, 2, 12, 20), opset=20)
    proven(net.save(tmp_path / "net.onnx", last(net, bent(net, net.image(), BENDS[name]))), "16x8x8")


@pytest.mark.parametrize(("bits", "size"), zip(range(2, 9), cycle([(1, 1), (3, 17), (8, 9)]), strict=False))
def test_words_and_odd_sizes(tmp_path: Path, bits: int, size: tuple[int, int]) -> None:
    net = Net((1, 2, *size))
    x = net.image()
    maps = [bent(net, x, BENDS[name], bits=bits, scale=2.0 ** (1 - bits)) for name in ("Sigmoid", "Tanh")]
    proven(net.save(tmp_path / "net.onnx", last(net, net.node("Concat", *maps, axis=1), 10)), "8x4x4")


READERS: dict[str, Callable[[Net, str], str]] = {
    "maximum": lambda n, x: last(n, pool(n, bent(n, x, silu))),
    "maximum before the quantizer": lambda n, x: last(n, n.quant(pool(n, silu(n, n.quant(n.conv(x, 2, 5)))), 2**-5)),
    "enlarged": lambda n, x: last(n, up(n, bent(n, x, gelu))),
    "of an enlarged map": lambda n, x: last(n, n.quant(gelu(n, up(n, n.quant(n.conv(x, 2, 5)))), 2**-5)),
    "joined": lambda n, x: last(n, n.node("Concat", bent(n, x, silu), bent(n, x, BENDS["Tanh"]), axis=1), 10),
    "joined before the quantizer": lambda n, x: last(
        n,
        n.quant(
            n.node(
                "Concat",
                silu(n, y := n.quant(n.conv(x, 2, 5))),
                n.node("Sigmoid", y),
                n.conv(x, 2, 3, name="c"),
                axis=1,
            ),
            2**-5,
        ),
        13,
    ),
    "of what was joined": lambda n, x: last(
        n, n.quant(silu(n, n.node("Concat", bent(n, x, silu), n.quant(n.conv(x, 2, 3), 2**-3), axis=1)), 2**-5), 8
    ),
    "numbers of a channel around it": lambda n, x: last(
        n, n.quant(by_channel(n, n.node("Tanh", by_channel(n, n.quant(n.conv(x, 2, 5))))), 2**-6)
    ),
    "a function of a function": lambda n, x: last(n, n.quant(silu(n, n.node("Tanh", n.quant(n.conv(x, 2, 5)))), 2**-6)),
    "ReLU and PReLU behind it": lambda n, x: last(
        n, n.quant(leaky(n, n.node("Tanh", leaky(n, n.quant(n.conv(x, 2, 5)), [0.3])), [-0.5]), 2**-6)
    ),
    "its sum with what it is of": lambda n, x: last(
        n, n.quant(n.node("Add", y := n.quant(n.conv(x, 2, 5)), n.node("Tanh", y)), 2**-4)
    ),
    "two quantizers": lambda n, x: last(
        n, n.node("Concat", n.quant(y := silu(n, n.quant(n.conv(x, 2, 5))), 2**-5, 4), n.quant(y, 2**-5, 7), axis=1), 10
    ),
    "the head": lambda n, x: bent(n, x, silu),
    "a last sigmoid that is read, too": lambda n, x: n.node(
        "Concat", n.quant(n.node("Sigmoid", y := n.quant(n.conv(x, 2, 5))), 2**-6), n.quant(y, 2**-6), axis=1
    ),
    "sums of few bits": lambda n, x: last(
        n,
        n.quant(
            silu(
                n, n.conv(n.quant(n.conv(x, 2, 3, name="a"), 1, 2), 3, 5, 1, weights=n.weights("w", (5, 3, 1, 1), 1, 2))
            ),
            2**-4,
        ),
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_whatever_reads_it(tmp_path: Path, name: str) -> None:
    net = Net((1, 2, 12, 20))
    array = ("8x4x4", "16x2x2", "16x8x8")[len(name) % 3]
    proven(net.save(tmp_path / "net.onnx", READERS[name](net, net.image())), array)


@pytest.mark.parametrize(
    ("name", "scales"),
    [
        ("Sigmoid", 2**-8),
        ("Sigmoid", 1 / 255),
        ("Tanh", 2**-5),
        ("HardSigmoid", 2**-5),
        ("Elu", 2**-3),
        ("Softplus", 2**-3),
    ],
)
def test_monotone_functions_of_sums(tmp_path: Path, name: str, scales: float) -> None:
    """No quantizer before it: steps of the accumulator, of few channels; 1 / 255 has a tie at 0."""
    net = Net((1, 2, 9, 12))
    signed = int(name in ("Tanh", "Elu"))
    bias = net.const("bias", np.float32([0.0, 0.3]))
    y = net.quant(BENDS[name](net, net.conv(net.image(), 2, 2, bias=bias)), scales, signed=signed)
    given = proven(net.save(tmp_path / "net.onnx", last(net, y, 2)), "16x8x8")
    (layer,) = (op for op in (node.op for node in given.graph.nodes) if isinstance(op, Function))
    assert layer.high > 20


def test_a_quantizer_with_a_zero_point(tmp_path: Path) -> None:
    """As onnxruntime quantizes SiLU and Tanh: 8 bits whose zero point is anywhere."""
    net = LinearNet((1, 2, 12, 20))
    x = net.linear(net.linear_conv(net.linear("x", 2**-8, np.uint8, 0, "input"), 2, 5), 2**-4, np.uint8, 100, "y")
    s = net.linear(net.node("Sigmoid", x), 2**-8, np.uint8, 0, "s")
    a = net.linear(net.node("Elu", x), 2**-4, np.uint8, 20, "a")
    z = net.linear(net.node("Tanh", x), 2**-7, np.int8, 3, "z")
    parts = [net.linear_conv(y, 5, 3, 1, name=n) for y, n in ((s, "cs"), (a, "ca"), (z, "cz"))]
    joined = net.linear(net.node("Concat", *parts, axis=1), 2**-3, np.int8, 0, "joined")
    proven(net.save(tmp_path / "net.onnx", net.linear_conv(joined, 9, 2, name="last")), executor="onnxruntime")


def test_multiplications_are_those_of_the_model(tmp_path: Path) -> None:
    net = Net((1, 2, 9, 12))
    y = net.quant(net.node("Sigmoid", net.conv(net.image(), 2, 2)), 2**-4, signed=0)
    graph = load(net.save(tmp_path / "net.onnx", last(net, y, 2)))
    model = 9 * 12 * 9 * (2 * 2 + 2 * 3)
    assert sum(macs(node.op, [graph.types[x].shape for x in node.inputs]) for node in graph.nodes) == model
    assert sum(layer.macs for layer in compiled(graph, parse_array("8x4x4")).network.layers) == model


def test_a_dial_that_no_number_can_be_rounded_for(tmp_path: Path) -> None:
    """GELU of 100 and more is the number itself but for hundred zeros; in steps twice as large it is next to a tie."""
    net = Net((1, 2, 8, 8))
    y = net.quant(net.conv(net.image(), 2, 2, name="c"), 0.25)
    y = net.quant(gelu(net, net.node("Mul", y, net.const("k", 1024.0))), 256.0, signed=0)
    graph = load(net.save(tmp_path / "net.onnx", last(net, y, 2)))
    node = next(node for node in graph.nodes if isinstance(node.op, Function))
    kind = graph.types[graph.input]
    picture = np.random.default_rng(0).integers(kind.low, kind.high, kind.shape, endpoint=True)
    with pytest.raises(HwsegError, match=f"{node.name}: rounded to 6 .* too near to a tie; choose another number"):
        golden.run(graph, picture, planes={node.output: 6})
    golden.run(graph, picture, planes={node.output: 7})


QUANTIZE = "quantize before the activation: put a QuantIdentity of at most 8 bits before it"


def test_what_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    net = Net()
    net.save(path, net.quant(silu(net, net.conv(net.image(), 2, 3)), name="act"))
    rule = "the function before it falls and rises, and what it reads is not quantized"
    assert refusal(path) == f"act: {rule}; {QUANTIZE}"
    net = Net()
    net.save(path, net.quant(net.node("Tanh", net.conv(net.image(), 2, 40), name="t"), 2**-7, name="act"))
    assert refusal(path, compiles=True).startswith("act: the function before it has 10")
    net = Net()
    net.save(path, net.quant(net.node("Tanh", pool(net, net.conv(net.image(), 2, 3)), name="act")))
    assert refusal(path) == f"act: cannot follow pooling or enlarging without a quantizer; {QUANTIZE}"
    net = Net()
    a, b = (net.quant(net.conv(net.image(name=f"i{n}"), 2, 3, name=n), name=f"q{n}") for n in "ab")
    net.save(path, net.quant(net.node("Tanh", net.node("Add", a, b), name="act")))
    assert refusal(path) == f"act: cannot follow an addition without a quantizer; {QUANTIZE}"
    net = Net()
    net.save(path, last(net, net.node("Tanh", net.quant(net.conv(net.image(), 2, 3)), name="t"), 3))
    assert "inputs must be quantized to at most 8 bits" in refusal(path)
    net = Net()
    x = net.quant(net.conv(net.image(), 2, 3))
    for _ in range(70):
        x = net.node("Tanh", x)
    net.save(path, net.quant(x))
    assert "is one operation too many since the last quantizer" in refusal(path)
    net = Net(opset=20)
    net.save(path, net.quant(net.node("Gelu", net.quant(net.conv(net.image(), 2, 3)), name="g", approximate="exp")))
    assert refusal(path) == "g: attribute approximate of Gelu must be none or tanh, not exp; use none or tanh"

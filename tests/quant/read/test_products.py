"""Gates: a map times a map, exact by an executor of rationals, by qonnx or onnxruntime, and on the machine."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product as every
from pathlib import Path

import numpy as np
import pytest

from hwseg.ir import Graph
from hwseg.ops import Product, macs
from hwseg.quant.read.load import load
from hwseg.rtl.config import parse_array
from tests.compile.proof import compiled
from tests.quant.handmade import Net
from tests.quant.read.proving import last, leaky, pool, proven, refusal, up
from tests.quant.read.qdq import LinearNet

Range = tuple[int, bool, bool]
"""Bits, signed, narrow."""


def quantized(net: Net, x: str, channels: int, what: Range, name: str) -> str:
    bits, signed, narrow = what
    sums = net.conv(x, 2, channels, name=name)
    return net.quant(sums, 2.0 ** (2 - bits), bits, signed=int(signed), narrow=int(narrow), name=f"q{name}")


RANGES: list[Range] = [
    (8, False, False),
    (8, True, False),
    (8, True, True),
    (7, False, False),
    (5, True, False),
    (3, False, True),
    (2, True, False),
    (1, False, False),
]


@pytest.mark.parametrize(("of", "by"), [(a, b) for i, (a, b) in enumerate(every(RANGES, repeat=2)) if i % 3 == 0])
def test_every_range(tmp_path: Path, of: Range, by: Range) -> None:
    """Both signs, 1 to 8 bits; of one channel or of all."""
    number = RANGES.index(of) + RANGES.index(by)
    net, gates = Net((1, 2, 7, 9)), (1, 5)[number % 2]
    x = net.image()
    z = net.node("Mul", quantized(net, x, 5, of, "x"), quantized(net, x, gates, by, "g"))
    given = proven(
        net.save(tmp_path / "net.onnx", last(net, net.quant(z, 2**-3))), ("8x4x4", "16x8x8")[number // 2 % 2]
    )
    assert any(isinstance(node.op, Product) for node in given.graph.nodes)


@pytest.mark.parametrize(("of", "by"), list(every(RANGES, repeat=2))[::5])
def test_at_the_end(tmp_path: Path, of: Range, by: Range) -> None:
    """The sums are what the network gives: a gate of one channel, or of all, and a product with itself."""
    number = RANGES.index(of) + RANGES.index(by)
    net, gates = Net((1, 2, 3, 9)), (1, 5)[number % 2]
    image = net.image()
    x = quantized(net, image, 5, of, "x")
    z = net.node("Mul", x, x if number % 4 == 3 else quantized(net, image, gates, by, "g"))
    proven(net.save(tmp_path / "net.onnx", z))


def attention(net: Net, x: str, skip: str, channels: int, **quantizer: float) -> str:
    """An attention gate: a sigmoid of a 1x1 convolution, times the skip connection."""
    sigmoid = net.node("Sigmoid", net.conv(x, 5, 1, 1, name=f"gate{len(net.nodes)}"))
    return net.node("Mul", skip, net.quant(sigmoid, **{"scale": 2**-5, "bits": 5, "signed": 0, **quantizer}))


def two(net: Net, x: str) -> tuple[str, str]:
    """Maps of 5 and of 4 channels."""
    relu = [net.node("Relu", net.conv(x, 2, n, name=f"c{n}")) for n in (5, 4)]
    return net.quant(relu[0], 2**-5, signed=0), net.quant(relu[1], 2**-4)


READERS: dict[str, Callable[[Net, str], str]] = {
    "an attention gate": lambda n, x: last(n, n.quant(attention(n, *two(n, x), 4), 2**-4), 4),
    "of 8 bits": lambda n, x: last(n, n.quant(attention(n, *two(n, x), 4, scale=1 / 255, bits=8), 2**-4), 4),
    "joined before the quantizer": lambda n, x: last(
        n, n.quant(n.node("Concat", attention(n, *(t := two(n, x)), 4), t[0], axis=1), 2**-5), 9
    ),
    "a function between": lambda n, x: last(
        n, n.quant(n.node("Mul", (t := two(n, x))[1], n.quant(n.node("Tanh", t[1]), 2**-7)), 2**-4), 4
    ),
    "ReLU, PReLU and pooling behind it": lambda n, x: last(
        n, n.quant(pool(n, leaky(n, attention(n, *two(n, x), 4), [0.3])), 2**-4), 4
    ),
    "twice": lambda n, x: last(
        n, n.quant(attention(n, (t := two(n, x))[0], n.quant(attention(n, *t, 4), 2**-4), 4), 2**-4), 4
    ),
    "the same gate for two maps": lambda n, x: last(
        n,
        n.node(
            "Concat",
            *(
                n.quant(n.node("Mul", y, g), 2**-4, name=f"m{y}")
                for g in [quantized(n, x, 1, (8, False, False), "g")]
                for y in two(n, x)
            ),
            axis=1,
        ),
        9,
    ),
    "itself": lambda n, x: last(n, n.quant(n.node("Mul", y := two(n, x)[1], y), 2**-3), 4),
    "of an enlarged map": lambda n, x: last(
        n,
        n.quant(
            n.node("Mul", up(n, pool(n, two(n, x)[1])), up(n, pool(n, quantized(n, x, 1, (6, True, False), "g")))),
            2**-3,
        ),
        4,
    ),
    "of what was joined": lambda n, x: last(
        n,
        n.quant(
            n.node(
                "Mul",
                n.node("Concat", *(quantized(n, x, c, (8, True, False), f"j{c}") for c in (2, 3)), axis=1),
                quantized(n, x, 5, (4, True, False), "g"),
            ),
            2**-3,
        ),
    ),
    "of few bits, read as it is": lambda n, x: last(
        n, n.node("Mul", quantized(n, x, 5, (3, True, False), "x"), quantized(n, x, 1, (4, False, False), "g"))
    ),
    "quantized twice": lambda n, x: last(
        n,
        n.node("Concat", n.quant(m := attention(n, *two(n, x), 4), 2**-4, 4), n.quant(m, 2**-4, 7), axis=1),
        8,
    ),
    "numbers of a channel behind it": lambda n, x: last(
        n,
        n.quant(
            n.node("Mul", attention(n, *two(n, x), 4), n.const("k", np.reshape([1, -0.5, 0.3, 2], (4, 1, 1)))), 2**-4
        ),
        4,
    ),
    "a residual gate": lambda n, x: last(
        n, n.quant(n.node("Add", (t := two(n, x))[1], n.quant(attention(n, *t, 4), 2**-4)), 2**-3), 4
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_whatever_reads_it(tmp_path: Path, name: str) -> None:
    net = Net((1, 2, 8, 12))
    proven(net.save(tmp_path / "net.onnx", READERS[name](net, net.image())), ("8x4x4", "16x8x8")[len(name) % 2])


def test_zero_points(tmp_path: Path) -> None:
    """QuantizeLinear's sigmoid is unsigned; a map with its zero point in the middle is signed."""
    net = LinearNet((1, 2, 8, 12))
    x = net.linear(net.linear_conv(net.linear("x", 2**-8, np.uint8, 0, "input"), 2, 5), 2**-4, np.uint8, 128, "y")
    g = net.linear(net.node("Sigmoid", net.linear(net.linear_conv(x, 5, 1, 1, name="g"), 2**-4, np.int8, 0)), 2**-8)
    z = net.linear(net.node("Mul", g, x), 2**-4, np.uint8, 77, "z")
    proven(net.save(tmp_path / "net.onnx", net.linear_conv(z, 5, 2, name="last")), executor="onnxruntime")


def test_a_gate_that_is_0(tmp_path: Path) -> None:
    """A function that its quantizer rounds to nothing but 0."""
    net = Net((1, 2, 6, 8))
    x = quantized(net, net.image(), 5, RANGES[0], "x")
    gate = net.quant(net.node("HardSigmoid", x, alpha=0.001, beta=0.0), 1.0, 3, signed=0)
    given = proven(net.save(tmp_path / "net.onnx", last(net, net.quant(net.node("Mul", x, gate), 2**-3))))
    assert any(isinstance(node.op, Product) for node in given.graph.nodes)


def many(channels: int) -> tuple[Net, str]:
    net = Net((1, 2, 6, 8))
    x = net.image()
    z = net.node("Mul", quantized(net, x, channels, RANGES[1], "x"), quantized(net, x, channels, RANGES[0], "g"))
    return net, last(net, net.quant(z, 2**-3), channels)


def test_many_channels(tmp_path: Path) -> None:
    net, y = many(40)
    proven(net.save(tmp_path / "net.onnx", y), "16x8x8")


def test_multiplications_are_those_of_the_model(tmp_path: Path) -> None:
    """Those with constants; a gate has none."""
    net, y = many(3)
    graph: Graph = load(net.save(tmp_path / "net.onnx", y))
    model = 6 * 8 * 9 * (2 * 6 + 3 * 3)
    assert sum(macs(node.op, [graph.types[x].shape for x in node.inputs]) for node in graph.nodes) == model
    assert sum(layer.macs for layer in compiled(graph, parse_array("8x4x4")).network.layers) == model


def test_what_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"

    def three() -> tuple[Net, str, str, str]:
        net = Net()
        x = net.image()
        a, b, c = (net.quant(net.conv(x, 2, n, name=f"c{n}"), name=f"q{n}") for n in (3, 4, 1))
        return net, a, b, c

    net, a, b, c = three()
    net.save(path, net.quant(net.node("Mul", a, b, name="mul")))
    assert refusal(path) == (
        "mul: a factor must have one channel or as many as the other, these have 3 and 4; make a gate of one channel"
    )
    net, a, b, c = three()
    net.save(path, net.quant(net.node("Mul", a, pool(net, c), name="mul")))
    assert "mul: both factors must have one size, have (8, 8, 3) and (4, 4, 1)" in refusal(path)
    net, a, b, c = three()
    net.save(path, net.quant(net.node("Mul", a, net.conv("input.out", 2, 3, name="sums"), name="mul")))
    assert "mul: inputs must be quantized to at most 8 bits, sums.out is not" in refusal(path)

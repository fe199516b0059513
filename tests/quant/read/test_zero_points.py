"""Activations of 9 bits: exact by an executor of rationals, by onnxruntime, and on the machine, whatever reads them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from hwseg.errors import HwsegError
from hwseg.ops import Conv2d, Requantize, macs
from hwseg.quant.read import referee
from hwseg.quant.read.load import load
from hwseg.quant.read.wide import meets_half
from hwseg.rtl.config import parse_array
from tests.compile.proof import compiled, differences
from tests.fuzz.checks import Loaded, check_golden, loaded
from tests.quant.read.qdq import LinearNet

pytest.importorskip("onnxruntime")


def proven(path: Path, array: str = "8x4x4") -> Loaded:
    """A file that all agree on; scales that are no powers of two may differ from onnxruntime's float32 at ties."""
    given = loaded(onnx.load(path), 1)
    assert isinstance(given, Loaded), given
    assert check_golden(given) is None
    verdict = referee.compare(path, given.picture, "onnxruntime", referee.run_onnxruntime)
    assert verdict.agrees, verdict
    assert not verdict.exact or verdict.different == verdict.own == 0
    assert differences(compiled(given.graph, parse_array(array))) == {}
    return given


def first(net: LinearNet, x: str, zero: int, outs: int = 5, name: str = "a", scale: float = 2**-3) -> str:
    return net.linear(net.linear_conv(x, 2, outs, name=name), scale, np.uint8, zero, f"q{name}")


def last(net: LinearNet, x: str, ins: int = 5, kernel: int = 3, **given: Any) -> str:
    return net.linear_conv(x, ins, 3, kernel, name="last", **given)


def pool(net: LinearNet, x: str, kernel: int = 2) -> str:
    return net.node("MaxPool", x, kernel_shape=[kernel] * 2, strides=[2, 2], pads=[kernel // 3] * 4)


def up(net: LinearNet, x: str) -> str:
    sizes = net.const(f"sizes{len(net.nodes)}", [1, 1, 2, 2])
    return net.node("Resize", x, "", sizes, mode="nearest", coordinate_transformation_mode="asymmetric",
                    nearest_mode="floor")  # fmt: skip


def transposed(net: LinearNet, x: str) -> str:
    w = net.linear("", 2**-5, np.int8, 0, "t.w", constant=net.rng.integers(-20, 21, (5, 3, 2, 2)))
    return net.linear(net.node("ConvTranspose", x, w, strides=[2, 2]), 2**-2, np.uint8, 90, "qt")


def again(net: LinearNet, x: str, zero: int, scale: float = 2**-2) -> str:
    return net.linear(x, scale, np.uint8, zero, "again")


def by_channel(net: LinearNet, x: str) -> str:
    return net.node("Mul", x, net.const("factors", np.array([0.75, -0.5, 1, 2, 0.3]).reshape(1, 5, 1, 1)))


def concat(net: LinearNet, *x: str) -> str:
    return net.node("Concat", *x, axis=1)


def relu(net: LinearNet, x: str) -> str:
    return net.node("Relu", x)


def mean(net: LinearNet, x: str) -> str:
    return net.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])


def bilinear(net: LinearNet, x: str) -> str:
    sizes = net.const(f"sizes{len(net.nodes)}", [1, 1, 2, 2])
    return net.node("Resize", x, "", sizes, mode="linear", coordinate_transformation_mode="half_pixel")


def twice(net: LinearNet, x: str) -> str:
    return net.node("Add", x, x)


def both(net: LinearNet, x: str) -> str:
    return net.node("Add", x, net.linear(net.linear_conv(x, 5, 5, name="d"), 2**-2, np.uint8, 50, "qd"))


def leaky(net: LinearNet, x: str, zero: int) -> str:
    """The slope's quantizer has a zero point of its own."""
    return net.linear(
        net.node("LeakyRelu", net.linear_conv(x, 2, 5, name="e"), alpha=0.25), 2**-3, np.uint8, zero, "qe"
    )


READERS: dict[str, Callable[[LinearNet, str, int], str]] = {
    "3x3": lambda n, x, z: last(n, first(n, x, z)),
    "1x1": lambda n, x, z: last(n, first(n, x, z), 5, 1),
    "stride 2": lambda n, x, z: last(n, first(n, x, z), strides=[2, 2]),
    "5x5": lambda n, x, z: last(n, first(n, x, z), 5, 5),
    "7x7 stride 2": lambda n, x, z: last(n, first(n, x, z), 5, 7, strides=[2, 2]),
    "transposed": lambda n, x, z: transposed(n, first(n, x, z)),
    "maximum": lambda n, x, z: last(n, pool(n, first(n, x, z))),
    "maximum of 3x3": lambda n, x, z: last(n, pool(n, first(n, x, z), 3)),
    "maximum before": lambda n, x, z: last(n, again(n, pool(n, n.linear_conv(x, 2, 5)), z, 2**-3)),
    "enlarged": lambda n, x, z: last(n, up(n, first(n, x, z))),
    "quantized alike": lambda n, x, z: last(n, again(n, pool(n, first(n, x, z)), z, 2**-3)),
    "quantized otherwise": lambda n, x, z: last(n, again(n, first(n, x, z), 33)),
    "ties": lambda n, x, z: last(n, again(n, first(n, x, 128), z)),
    "relu": lambda n, x, z: last(n, relu(n, first(n, x, z))),
    "by channel": lambda n, x, z: last(n, again(n, pool(n, relu(n, by_channel(n, first(n, x, z)))), 5)),
    "joined with 8 bits": lambda n, x, z: last(
        n, concat(n, first(n, x, z, 3), first(n, x, 0, 4, "b"), first(n, x, 128, 2, "c")), 9, 5
    ),
    "joined with another": lambda n, x, z: last(n, concat(n, first(n, x, z, 3), first(n, x, 40, 4, "b")), 7),
    "joined, enlarged": lambda n, x, z: last(
        n, concat(n, first(n, x, z, 3), up(n, first(n, pool(n, x), 40, 4, "b"))), 7
    ),
    "joined, quantized": lambda n, x, z: last(
        n,
        again(n, concat(n, first(n, x, z, 3), relu(n, first(n, x, 40, 4, "b", 0.25)), first(n, x, 0, 2, "c")), 70),
        9,
    ),
    "the sum of two": lambda n, x, z: last(
        n, again(n, n.node("Add", first(n, x, 128), first(n, x, 0, name="b")), z)
    ),
    "a sum": lambda n, x, z: last(n, again(n, n.node("Add", first(n, x, z), first(n, x, 41, name="b")), z)),
    "a sum of other scales": lambda n, x, z: last(
        n, again(n, n.node("Add", first(n, x, z, scale=0.11), first(n, x, 41, name="b", scale=0.3)), z, 0.37)
    ),
    "a difference": lambda n, x, z: last(n, again(n, n.node("Sub", first(n, x, 0), first(n, x, z, name="b")), 40)),
    "a sum with itself": lambda n, x, z: last(n, again(n, twice(n, first(n, x, z)), z)),
    "a sum and a convolution": lambda n, x, z: last(n, again(n, both(n, first(n, x, z)), z)),
    "a sum of maxima": lambda n, x, z: last(n, again(n, twice(n, pool(n, first(n, x, z))), z)),
    "a sum behind slopes": lambda n, x, z: last(n, again(n, twice(n, leaky(n, x, z)), z)),
    "a sum of the joined": lambda n, x, z: last(
        n, again(n, twice(n, concat(n, first(n, x, z, 3), first(n, x, z, 2, "b"))), z)
    ),
    "a mean": lambda n, x, z: last(n, again(n, mean(n, first(n, x, z)), z)),
    "bilinear": lambda n, x, z: last(n, again(n, bilinear(n, first(n, x, z)), z)),
    "bilinear at the end": lambda n, x, z: bilinear(n, first(n, x, z)),
    "a chain of sums": lambda n, x, z: last(
        n, n.linear(n.node("Add", again(n, both(n, first(n, x, z)), 99), first(n, x, 3, name="c")), 1, np.uint8, z, "y")
    ),
    "the head": lambda n, x, z: first(n, x, z),
    "a joined head": lambda n, x, z: concat(n, first(n, x, 0, 2, "b"), first(n, x, z, 3), first(n, x, 40, 2, "c")),
    "a head behind a factor": lambda n, x, z: by_channel(n, first(n, x, z)),
    "a sigmoid": lambda n, x, z: n.node("Sigmoid", first(n, x, z, 1)),
}  # fmt: skip


@pytest.mark.parametrize("zero", [77, 180])
@pytest.mark.parametrize("name", READERS)
def test_whatever_reads_it(tmp_path: Path, name: str, zero: int) -> None:
    net = LinearNet((1, 2, 12, 20))
    proven(net.save(tmp_path / "net.onnx", READERS[name](net, net.linear("x", 2**-8, np.uint8, 0, "input"), zero)))


def test_an_addition_of_9_bits_convolves_once_where_no_number_is_a_tie(tmp_path: Path) -> None:
    """Scales of trained networks: the map that is added is rounded from the accumulator, not from two other maps."""
    for scale, convolutions in ((0.1173, 3), (2**-3, 4)):
        net = LinearNet((1, 2, 12, 20))
        x = net.linear("x", 2**-8, np.uint8, 0, "input")
        branches = first(net, x, 77, scale=scale), first(net, x, 0, name="b", scale=scale)
        path = net.save(tmp_path / "net.onnx", last(net, again(net, net.node("Add", *branches), 0)))
        found = [node.op for node in load(path).nodes if isinstance(node.op, Conv2d)]
        assert len(found) == convolutions


def test_ties_are_found_where_they_are() -> None:
    """By trying every integer."""
    rng = np.random.default_rng(5)
    for _ in range(2000):
        a, o = (Fraction(int(rng.integers(-40, 41)), int(rng.integers(1, 30))) for _ in range(2))
        low = int(rng.integers(-20, 10))
        high = low + int(rng.integers(0, 30))
        expected = any((2 * (a * x + o)).denominator == 1 and int(2 * (a * x + o)) % 2 for x in range(low, high + 1))
        assert meets_half(a, o, low, high) == expected, (a, o, low, high)


def test_what_spans_more_than_8_bits_cannot_be_added(tmp_path: Path) -> None:
    net = LinearNet((1, 2, 12, 20))
    x = net.linear("x", 2**-8, np.uint8, 0, "input")
    joined = concat(net, first(net, x, 77, 3), first(net, x, 78, 2, "b"))
    path = net.save(tmp_path / "net.onnx", last(net, again(net, net.node("Add", joined, joined), 0)))
    with pytest.raises(HwsegError, match="must have at most 8 bits, has from -78 to 178 because of its zero points"):
        load(path)


@pytest.mark.parametrize("zero", [1, 2, 127, 129, 253, 254])
def test_the_outermost_zero_points(tmp_path: Path, zero: int) -> None:
    net = LinearNet((1, 2, 12, 20))
    x = first(net, net.linear("x", 2**-8, np.uint8, 0, "input"), zero)
    proven(net.save(tmp_path / "net.onnx", last(net, concat(net, x, pool(net, up(net, x))), 10)), "16x2x2")


@pytest.mark.parametrize("zero", [1, 2, 3, 77, 126, 127, 129, 130, 200, 253, 254])
def test_base_and_rest_are_the_number_at_every_tie(tmp_path: Path, zero: int) -> None:
    """Of every accumulator in reach of the quantizer, in halves of a step: rounded before the zero point is added."""
    net = LinearNet((1, 2, 2, 2))
    path = net.save(tmp_path / "net.onnx", last(net, first(net, net.linear("x", 1, np.uint8, 0, "x0"), zero, 1), 1))
    base, rest = (node.op for node in load(path).nodes if isinstance(node.op, Requantize))
    shift = base.offset[0] - rest.offset[0]
    for half in range(-600, 601):
        v = min(max(round(Fraction(half, 2)), -zero), 255 - zero)
        halves = Fraction(half, 2)
        found = (min(max(round(halves - s), op.low), op.high) for s, op in ((0, base), (shift, rest)))
        assert sum(found) == v, half


def test_multiplications_are_those_of_the_model(tmp_path: Path) -> None:
    """Neither the rest nor the sums that only the engine has are counted, nor what it computes twice."""
    net = LinearNet((1, 2, 12, 20))
    x = again(net, first(net, net.linear("x", 2**-8, np.uint8, 0, "input"), 60), 50)
    graph = load(net.save(tmp_path / "net.onnx", last(net, x)))
    model = 12 * 20 * 9 * (2 * 5 + 5 * 3)
    assert sum(macs(node.op, [graph.types[x].shape for x in node.inputs]) for node in graph.nodes) == model
    assert sum(layer.macs for layer in compiled(graph, parse_array("8x4x4")).network.layers) == model


def test_names_that_the_file_has_already(tmp_path: Path) -> None:
    """Tensors of the file are called what base, rest and sum would be."""
    net = LinearNet((1, 2, 12, 20))
    x = net.linear("x", 2**-8, np.uint8, 0, "input")
    a = first(net, x, 60)
    taken = [net.linear(net.linear_conv(x, 2, 5, name=f"c{i}"), 2**-3, np.uint8, 0, f"t{i}") for i in range(3)]
    path = net.save(tmp_path / "net.onnx", last(net, concat(net, *taken, again(net, a, 50, 2**-3)), 20))
    model = onnx.load(path)
    names = dict(zip(taken, (f"{a}/base", f"{a}/rest", f"{a}/base/sum"), strict=True))
    for node in model.graph.node:
        for field in (node.input, node.output):
            field[:] = [names.get(name, name) for name in field]
    onnx.save(model, path)
    proven(path)

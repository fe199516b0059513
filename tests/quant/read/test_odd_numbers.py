"""Attributes and constants that no exporter writes: what has a meaning is exact, anything else a sentence."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwseg.errors import HwsegError
from hwseg.quant.read.load import load
from tests.quant.handmade import Net
from tests.quant.read.proving import last, proven
from tests.quant.read.test_functions import silu

Bend = Callable[[Net, str], str]


def quantized(net: Net) -> str:
    return net.quant(net.conv(net.image(), 2, 5), 2**-4)


def network(path: Path, bend: Bend, of_sums: bool = False, **quantizer: Any) -> Path:
    net = Net((1, 2, 6, 8), opset=24)
    x = net.conv(net.image(), 2, 5) if of_sums else quantized(net)
    return net.save(path, last(net, net.quant(bend(net, x), **{"scale": 2**-5, **quantizer})))


def sentence(path: Path, bend: Bend, **choices: Any) -> str:
    with pytest.raises(HwsegError) as refused:
        load(network(path, bend, **choices))
    return str(refused.value)


FLOATS = [
    ("LeakyRelu", "alpha"), ("HardSigmoid", "alpha"), ("HardSigmoid", "beta"), ("Elu", "alpha"), ("Selu", "gamma"),
    ("Selu", "alpha"), ("Celu", "alpha"), ("Swish", "alpha"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "attribute"), FLOATS)
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_attributes_are_finite(tmp_path: Path, op: str, attribute: str, number: float) -> None:
    found = sentence(tmp_path / "n.onnx", lambda net, x: net.node(op, x, name="f", **{attribute: number}))
    assert found.startswith(f"f: attribute {attribute} of {op} must be finite, is {number}")


@pytest.mark.parametrize("alpha", [0.0, -0.001, -1.5])
def test_celu_of_no_positive_alpha(tmp_path: Path, alpha: float) -> None:
    """exp(x / alpha) grows where x falls: no float holds it."""
    found = sentence(tmp_path / "n.onnx", lambda net, x: net.node("Celu", x, name="f", alpha=alpha))
    assert found.startswith("f: alpha of Celu must be positive")


def chain(op: str, count: int, **given: Any) -> Bend:
    def bend(net: Net, x: str) -> str:
        more = [net.const(f"more{len(net.nodes)}", 1.01)] if op in ("Mul", "Add") else []
        return reduce(lambda y, _: net.node(op, y, *more, **given), range(count), net.node("Tanh", x))

    return bend


@pytest.mark.parametrize("op", ["Mul", "Add", "LeakyRelu", "Tanh"])
def test_thousands_of_operations_without_a_quantizer(tmp_path: Path, op: str) -> None:
    found = sentence(tmp_path / "n.onnx", chain(op, 2000))
    assert "one operation too many" in found


def test_a_few_operations_without_a_quantizer(tmp_path: Path) -> None:
    proven(network(tmp_path / "n.onnx", chain("Mul", 10), scale=2**-6))


def test_numbers_beyond_those_of_float64(tmp_path: Path) -> None:
    """A tanh of sums times 3e38 ** 9 is their sign; executors of float32 see infinities."""
    factors = lambda net, x: reduce(lambda y, i: net.node("Mul", y, net.const(f"f{i}", 3e38)), range(9), x)  # noqa: E731
    graph = load(network(tmp_path / "n.onnx", lambda net, x: net.node("Tanh", factors(net, x)), of_sums=True, bits=4))
    (function,) = (node.op for node in graph.nodes if type(node.op).__name__ == "Function")
    assert [function(x) for x in (-5, -1, 0, 1, 5)] == [-8, -8, 0, 7, 7]


def test_the_cure_of_what_is_too_near_to_a_tie(tmp_path: Path) -> None:
    """0.5 and what a sigmoid far from 0 adds to it."""

    def bend(net: Net, x: str) -> str:
        far = net.node("Mul", x, net.const("far", 2.0**12))
        return net.node("Add", net.node("Sigmoid", far), net.const("half", 0.5))

    assert "too near to a tie; halve the quantizer's scale" in sentence(tmp_path / "n.onnx", bend, scale=1.0)
    proven(network(tmp_path / "n.onnx", bend, scale=0.5))


SHAPES = [(1, 1, 1, 1, 1), (1, 1, 5, 1, 1), (5,), (5, 1, 8), (1, 5, 1, 2)]


@pytest.mark.parametrize("op", ["PRelu", "Mul", "Add", "Sub", "Div"])
@pytest.mark.parametrize("shape", SHAPES)
def test_constants_that_give_a_map_another_shape(tmp_path: Path, op: str, shape: tuple[int, ...]) -> None:
    found = sentence(tmp_path / "n.onnx", lambda net, x: net.node(op, x, net.const("c", np.ones(shape)), name="f"))
    assert found.startswith("f: ")
    assert "must be one number or one per channel, has shape" in found


@pytest.mark.parametrize("numbers", [[1.0], [0.5, -1, 0, 2, 0.75]])
def test_a_constant_less_a_map(tmp_path: Path, numbers: list[float]) -> None:
    """1 - x, of sums and of a sigmoid: reverse attention."""
    shape = (len(numbers), 1, 1)
    less: Bend = lambda net, x: net.node("Sub", net.const(f"c{len(net.nodes)}", np.reshape(numbers, shape)), x)  # noqa: E731
    proven(network(tmp_path / "sums.onnx", less, of_sums=True))
    proven(network(tmp_path / "bent.onnx", lambda net, x: less(net, net.node("Sigmoid", x))))


@pytest.mark.parametrize("turned", [False, True])
def test_differences_of_functions_of_one_map(tmp_path: Path, turned: bool) -> None:
    def bend(net: Net, x: str) -> str:
        both = [x, silu(net, x)]
        return net.node("Sub", *(both[::-1] if turned else both))

    proven(network(tmp_path / "n.onnx", bend))


def test_even_kernels_of_odd_maps(tmp_path: Path) -> None:
    net = Net((1, 2, 7, 9))
    path = net.save(tmp_path / "n.onnx", net.conv(net.image(), 2, 3, 2, pads=[0] * 4, strides=[2, 2]))
    with pytest.raises(HwsegError, match=r"the nearest sizes that fit are 6x8, .*8x10"):
        load(path)


def test_outputs_that_are_no_choice(tmp_path: Path) -> None:
    """The picture itself, and sizes of a map."""
    net = Net()
    y = net.conv(net.image(), 2, 3)
    sizes = net.node("Shape", y)
    path = net.save(tmp_path / "n.onnx", "x", outputs=(sizes, y))
    assert load(path).head.tensor == y

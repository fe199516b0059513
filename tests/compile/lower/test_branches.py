"""Readers of both branches of a LeakyReLU or PReLU: the same numbers without the 1x1, where they can be had."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.compile import program
from hwseg.compile.lower.branches import apart, joins
from hwseg.compile.lower.lowering import lower
from hwseg.compile.lower.slopes import JOIN
from hwseg.compile.program import compile_graph
from hwseg.ir import Graph
from hwseg.ops import PRelu
from hwseg.rtl.config import parse_array
from tests.compile.proof import BOARD, compiled, differences

ONE, MIXED = (Fraction(3, 32),), tuple(Fraction(n, 8) for n in (1, -3, 0, 9, -8))


def sloped(b: GraphBuilder, slopes: tuple[Fraction, ...], low: int = -127, high: int = 127) -> str:
    op = PRelu((Fraction(1, 256),), (Fraction(-3, 8),), slopes, low, high)
    return b.apply(op, b.sums("image", 5), low=low, high=high)


Reader = Callable[[GraphBuilder, str], str]
READERS: dict[str, Reader] = {
    "a convolution": lambda b, x: b.conv(x, 9, weight_bits=7),
    "two, one of stride 2": lambda b, x: b.concat(
        b.conv(x, 3, weight_bits=7), b.up(b.conv(x, 3, stride=2, weight_bits=7))
    ),
    "beside others": lambda b, x: b.conv(b.concat(b.conv("image", 3, bits=7), x, x), 4, weight_bits=7),
    "beside a signed one, enlarged": lambda b, x: b.conv(
        b.up(b.concat(b.conv("image", 3, signed=True, bits=7), x)), 4, weight_bits=7
    ),
    "a large kernel": lambda b, x: b.conv(x, 4, 5, weight_bits=7),
    "a transposed convolution": lambda b, x: b._rounded(b.sums(x, 3, 2, weight_bits=7), x, 8, signed=True),
    "four phases": lambda b, x: b.transposed(x, 3, 3, 1),
    "an addition": lambda b, x: b.add(x, b.conv("image", 5, signed=True, bits=7), Fraction(1, 2), Fraction(1, 4)),
    "a maximum of 3x3": lambda b, x: b.pool(x, 3),
    "an enlarging": lambda b, x: b.bilinear(x),
}


def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it costs."""

    def all_apart(graph: Graph, allow_inexact: bool = False):
        network, inexact = lower(graph, allow_inexact)
        for name in joins(network):
            network = next(apart(network, name), network)
        return network, inexact

    monkeypatch.setattr(program, "lower", all_apart)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("slopes", [ONE, MIXED], ids=["one slope", "many"])
def test_readers(monkeypatch: pytest.MonkeyPatch, name: str, slopes: tuple[Fraction, ...]) -> None:
    """The head is sums of what is read, so that no reader is the network's end."""
    b = GraphBuilder(8, 12, 3, seed=3)
    y = READERS[name](b, sloped(b, slopes))
    graph = b.graph(b.sums(y, 2, 1))
    assert any(layer.op == JOIN for layer in lower(graph)[0].layers)
    without(monkeypatch)
    for array in ("8x2x2", "16x8x8-dsp"):
        found = compile_graph(graph, parse_array(array), BOARD)
        assert not any(layer.op == JOIN for layer in found.network.layers)
        assert differences(found, "random") == {}


REFUSED: dict[str, Callable[[GraphBuilder], str]] = {
    "the head": lambda b: sloped(b, ONE),
    "pooled": lambda b: b.sums(b.pool(sloped(b, ONE)), 2, 1),
    "ends that differ": lambda b: b.sums(sloped(b, MIXED, -128, 127), 2, 3, weight_bits=7),
    "one end kept": lambda b: b.sums(sloped(b, MIXED, -100, 127), 2, 3, weight_bits=7),
    "weights of -128": lambda b: b.sums(sloped(b, ONE), 9, 3),
    "nine bits together": lambda b: b.sums(
        b.concat(b.conv("image", 3, signed=True), sloped(b, ONE, -128, 127)), 2, 3, weight_bits=7
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_stays_together(name: str) -> None:
    b = GraphBuilder(8, 12, 3, seed=3)
    network, _ = lower(b.graph(REFUSED[name](b)))
    assert not any(True for join in joins(network) for _ in apart(network, join))
    assert differences(compiled(b.graph(b.nodes[-1].output), parse_array("8x2x2"))) == {}


@pytest.mark.parametrize(("kernel", "kept"), [(1, False), (3, True)])
def test_the_planner_takes_the_cheaper_form(kernel: int, kept: bool) -> None:
    """A 1x1 of twice the channels takes no longer than the one that it saves; two 3x3 of twice the channels do."""
    b = GraphBuilder(32, 32, 8)
    op = PRelu((Fraction(1, 512),), (Fraction(0),), ONE, -127, 127)
    x = b.apply(op, b.sums("image", 16), low=-127, high=127)
    maps = [b.conv(x, 8, kernel, weight_bits=7) for _ in range(kernel // 2 + 1)]
    found = compiled(b.graph(b.sums(b.concat(*maps), 2, 1)), parse_array("8x4x4"))
    assert any(layer.op == JOIN for layer in found.network.layers) == kept
    network, _ = lower(found.graph)
    assert len(list(apart(network, joins(network)[0]))) == 1

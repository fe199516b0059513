"""The cures in the compiler's messages work: what is refused, changed as its sentence says, compiles and is exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from hwseg.boards import load_board
from hwseg.compile.program import Program, compile_graph
from hwseg.errors import HwsegError
from hwseg.ir import Graph
from hwseg.machine.execute import checked
from hwseg.quant.read.load import load
from hwseg.rtl.config import EngineConfig, parse_array
from tests.quant.handmade import Net

BOARD = load_board("zynq7020")
ARRAY = parse_array("8x2x2")


@dataclass(frozen=True)
class Attempt:
    """A network and how it is compiled."""

    make: Callable[[Net], str]
    array: EngineConfig = ARRAY
    shape: tuple[int, ...] = (1, 2, 8, 8)
    allow_inexact: bool = False

    def graph(self, folder: Path) -> Graph:
        net = Net(self.shape)
        return load(net.save(folder / "net.onnx", self.make(net)))

    def compile(self, graph: Graph) -> Program:
        return compile_graph(graph, self.array, BOARD, allow_inexact=self.allow_inexact)


def relu(n: Net, x: str, outs: int = 2, ins: int = 2, **given: object) -> str:
    number = len(n.nodes)
    made = n.conv(x, ins, outs, name=f"conv{number}")
    return n.quant(n.node("Relu", made), **{"scale": 2**-4, "signed": 0, **given})  # type: ignore[arg-type]


def head(n: Net, x: str, ins: int = 2, kernel: int = 1) -> str:
    return n.conv(x, ins, 1, kernel, name="head")


def pooled(n: Net, x: str) -> str:
    return n.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])


def enlarged(n: Net, x: str) -> str:
    scales = n.const(f"scales{len(n.nodes)}", [1, 1, 2.0, 2.0])
    return n.node("Resize", x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")


def added(n: Net, first: float, second: float) -> str:
    x = n.image()
    one = n.quant(n.conv(x, 2, 2, name="one"), first)
    two = n.quant(n.conv(x, 2, 2, name="two"), second)
    return head(n, n.quant(n.node("Add", one, two), 2**-4))


def quantized(n: Net, scale: float) -> str:
    """Sums of whole numbers over `scale`: a number that is no power of two has ties that no multiplier meets."""
    weights = n.weights("w", (2, 2, 3, 3), 2.0**-7)
    return head(n, n.quant(n.conv(n.image(scale=1.0), 2, 2, name="conv", weights=weights), scale * 2**-7))


def strip(n: Net) -> str:
    return head(n, pooled(n, relu(n, n.image())))


BESIDE = 2**-5 * (1 + 2**-20)
"""So near to its neighbour that no ratio of 16 bits says on which side of a half step their mean lies."""
WIDE = (1, 2, 16, 16)

CURES: dict[str, tuple[str, str, Attempt, Attempt]] = {
    "steps of a requantizer": (
        "requantization steps, the first at",
        "use power-of-two scales",
        Attempt(lambda n: quantized(n, 900.0)),
        Attempt(lambda n: quantized(n, 1024.0)),
    ),
    "steps of a requantizer, knowingly": (
        "requantization steps, the first at",
        "--allow-inexact",
        Attempt(lambda n: quantized(n, 900.0)),
        Attempt(lambda n: quantized(n, 900.0), allow_inexact=True),
    ),
    "scales of an addition": (
        "pairs of values that 16-bit weights do not reproduce",
        "use power-of-two scales",
        Attempt(lambda n: added(n, BESIDE, 2**-5)),
        Attempt(lambda n: added(n, 2**-5, 2**-5)),
    ),
    "scales of an addition, knowingly": (
        "pairs of values that 16-bit weights do not reproduce",
        "--allow-inexact",
        Attempt(lambda n: added(n, BESIDE, 2**-5)),
        Attempt(lambda n: added(n, BESIDE, 2**-5), allow_inexact=True),
    ),
    "partial sums": (
        "partial sums, has 16",
        "use 8 pixels per step",
        Attempt(strip, replace(parse_array("8x1x1"), psum_steps=16), WIDE),
        Attempt(strip, replace(parse_array("8x8x1"), psum_steps=16), WIDE),
    ),
    "deeper store": (
        "partial sums, has 16",
        "or a deeper store",
        Attempt(strip, replace(parse_array("8x1x1"), psum_steps=16), WIDE),
        Attempt(strip, replace(parse_array("8x1x1"), psum_steps=64), WIDE),
    ),
    "input banks": (
        "bank words, has 16",
        "use an array with deeper input banks",
        Attempt(strip, replace(ARRAY, bank_words=16), WIDE),
        Attempt(strip, replace(ARRAY, bank_words=256), WIDE),
    ),
}


@pytest.mark.parametrize("case", CURES)
def test_the_cure_works(tmp_path: Path, case: str) -> None:
    rule, cure, refused, cured = CURES[case]
    with pytest.raises(HwsegError) as caught:
        refused.compile(refused.graph(tmp_path))
    assert rule in caught.value.rule
    assert cure in caught.value.cure
    graph = cured.graph(tmp_path)
    program = cured.compile(graph)
    if cured.allow_inexact:
        assert program.timing().total > 0
        return
    kind = graph.types[graph.input]
    image = np.random.default_rng(0).integers(kind.low, kind.high + 1, kind.shape)
    checked(program, image)

"""The accuracy dial: turned graphs are the golden model with rounded activations, and cost planes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from benchmarks.graphs import GraphBuilder
from hwseg import golden, models
from hwseg.boards import load_board
from hwseg.compile.lower.dial import turned
from hwseg.compile.program import compile_graph
from hwseg.errors import HwsegError
from hwseg.golden.dial import drops
from hwseg.ir import Graph
from hwseg.ops import Add, Requantize
from hwseg.quant.read.load import load
from hwseg.rtl.config import parse_array
from tests.compile.proof import compiled, differences, image_of


def graph_of(kind: str) -> Graph:
    b = GraphBuilder(16, 24, 3, seed=3)
    x = b.conv("image", 9, signed=kind == "signed")
    if kind == "image in a concat":
        return b.graph(b.sums(b.conv(b.concat("image", x), 7), 2, 1))
    if kind == "residual":
        return b.graph(b.conv(b.add(x, b.conv(x, 9), Fraction(1, 2), Fraction(3, 4)), 5))
    low = b.conv(b.pool(x), 12, bits=4 if kind == "unlike words" else 8)
    return b.graph(b.sums(b.conv(b.concat(b.conv(low, 9, 2), x, b.up(low)), 8), 1, 1))


KINDS = ("plain", "signed", "unlike words", "image in a concat", "residual")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("planes", range(1, 9))
def test_a_turned_graph_is_the_rounded_golden_model(kind: str, planes: int) -> None:
    graph = graph_of(kind)
    lost = drops(graph, planes)
    kept = {
        node.output: graph.types[node.output].bits - lost[node.output]
        for node in graph.nodes
        if isinstance(node.op, Requantize | Add)
    }
    other, image = turned(graph, planes), image_of(graph)
    expected, found = golden.run(graph, image, planes=kept), golden.run(other, image)
    for name, wanted in kept.items():
        assert other.types[name].bits <= max(wanted, 1)
        assert np.array_equal(found.tensors[name].astype(np.int64) << lost[name], expected.tensors[name])
    assert np.array_equal(found.mask, expected.mask)
    assert np.array_equal(found.output, expected.output)


@pytest.mark.parametrize("kind", KINDS)
def test_programs_compute_turned_graphs(kind: str) -> None:
    for planes in (2, 5):
        assert differences(compiled(turned(graph_of(kind), planes), parse_array("8x8x8")), "random", planes) == {}


def test_all_activations_of_a_plain_network_are_rounded() -> None:
    graph = turned(graph_of("plain"), 5)
    assert {graph.types[n.output].bits for n in graph.nodes if isinstance(n.op, Requantize)} == {5}


def test_cycles_follow_the_planes() -> None:
    graph, board, config = load(models.path("nuclei-w8a8")), load_board("zynq7020"), parse_array("sim")
    dense = compile_graph(graph, config, board).timing()
    for planes in (5, 6, 7):
        timing = compile_graph(turned(graph, planes), config, board).timing()
        assert sum(timing.walking.values()) < sum(dense.walking.values())
        assert timing.total < dense.total


@pytest.mark.parametrize("planes", [0, 9])
def test_planes_out_of_range_are_refused(planes: int) -> None:
    with pytest.raises(HwsegError, match=f"--planes: must be from 1 to 8, is {planes}"):
        turned(graph_of("plain"), planes)


@pytest.mark.verilator
@pytest.mark.xdist_group("simulator")
def test_the_dial_on_the_simulated_engine(tmp_path) -> None:
    from hwseg.builds.build import compile_model
    from hwseg.builds.simulation import simulate
    from tests.quant.models import random_image, random_unet

    model = random_unet(4, tmp_path)
    image = random_image(load(model), 4)
    cycles = []
    for planes in (8, 3):
        build = compile_model(model, array="sim", planes=planes, out=tmp_path / str(planes)).path
        result = simulate(build, image)
        assert result.passed, result.first_mismatch
        cycles.append(result.cycles)
    assert cycles[1] < cycles[0]

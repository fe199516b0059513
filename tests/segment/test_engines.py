"""Tiles that a compiled program computes: their head's integers against the whole picture's in the golden model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwseg.boards import load_board
from hwseg.compile.program import Program, compile_graph
from hwseg.errors import HwsegError
from hwseg.machine.execute import execute
from hwseg.ops import Requantize
from hwseg.pictures import tiles
from hwseg.pictures.whole import Whole
from hwseg.reach import reach, reshaped
from hwseg.rtl.config import parse_array
from hwseg.sim.simulate import lay_out, simulate_program
from tests.segment.graphs import random_graph
from tests.segment.test_tiles import logits

QUICK, ALL, SIMULATED = range(2), range(2, 22), range(30, 33)


def program_of(number: int) -> tuple[Program, tiles.Grid, np.ndarray]:
    """A random graph that compiles, for the smallest tiles that it can be cut into, and a picture of four or more."""
    for seed in range(1000 * number, 1000 * number + 100):
        graph = random_graph(seed)
        found, kind = reach(graph), graph.types[graph.input]
        sides = zip(found.before, found.after, found.multiple, strict=True)
        size = tuple(before + after + 4 * multiple for before, after, multiple in sides)
        # Multipliers that the engine's requantizer has exactly.
        nodes = tuple(
            replace(node, op=replace(node.op, multiplier=tuple(_plain(m) for m in node.op.multiplier)))
            if isinstance(node.op, Requantize)
            else node
            for node in graph.nodes
        )
        graph = reshaped(replace(graph, nodes=nodes), size)
        try:
            program = compile_graph(graph, parse_array("sim"), load_board("zynq7020"))
        except HwsegError:
            continue
        rng = np.random.default_rng(seed)
        rows, columns = (int(n + rng.integers(1, 5)) for n in size)
        picture = rng.integers(0, 256, (rows, columns, kind.shape[2])).astype(np.uint8)
        cuts = tiles.grid((rows, columns), size, size, found)
        assert len(cuts) >= 4
        return program, cuts, picture
    raise AssertionError("no graph compiles")


def _plain(multiplier):
    """The nearest power of two."""
    power = 1
    while multiplier * power < 1:
        power *= 2
    return type(multiplier)(1, power)


def compare(program, cuts, picture, compute) -> None:
    """0 of all logits differ."""
    head = program.graph.head.tensor
    identity = Whole(picture, np.arange(256), "edge", picture.shape[:2])
    expected = logits(program.graph, identity.window((0, 0), cuts.whole))
    different = taken = 0
    for tile in cuts:
        found = compute(identity.tile(tile, cuts.tile))[head][tile.taken]
        different += int((found != expected[tile.place]).sum())
        taken += found.shape[0] * found.shape[1]
    assert different == 0
    assert taken == cuts.whole[0] * cuts.whole[1]


@pytest.mark.parametrize(
    "number", [*QUICK, *(pytest.param(number, marks=pytest.mark.slow) for number in ALL)]
)  # fmt: skip
def test_the_machine(number):
    program, cuts, picture = program_of(number)
    compare(program, cuts, picture, lambda integers: execute(program, integers))


@pytest.mark.slow
@pytest.mark.verilator
@pytest.mark.parametrize("number", SIMULATED)
def test_the_simulated_engine(number, tmp_path):
    program, cuts, picture = program_of(number)
    lay_out(tmp_path, program)

    def compute(integers):
        found = simulate_program(tmp_path, program, integers, least_bytes=1 << 21)
        assert found.passed  # every map, the head's among them, is the golden model's of this tile
        return execute(program, integers)

    compare(program, cuts, picture, compute)

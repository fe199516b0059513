"""Layers that run fused: that they do, what is then not stored, and that the waits between them are needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.clock.columns import unpack
from hwseg.compile.program import Program
from hwseg.ir import Graph
from hwseg.machine.state import MachineError
from hwseg.rtl.config import parse_array
from hwseg.rtl.isa import FORMATS, Opcode
from tests.compile.proof import compiled, differences


def pair(width: int = 256, head: int = 1) -> Graph:
    """Two narrow layers at full resolution and a 1x1 head: DDR would bound them alone."""
    b = GraphBuilder(24, width, 1)
    return b.graph(b.sums(b.conv(b.conv("image", 16), 16), head, 1))


def moves(program: Program) -> int:
    return int((unpack(program.program)[0] == Opcode.MOVE).sum())


@pytest.mark.parametrize("policy", ["eager", "lazy", "random"])
def test_a_map_inside_a_chain_is_moved_and_has_no_place_in_memory(policy: str) -> None:
    program = compiled(pair(), parse_array("16x8x8"))
    (chain,) = program.chains
    first, _ = chain.plans
    assert first.moved
    assert not first.stored
    assert first.layer.output not in program.memory.tensors
    assert moves(program) > 0
    assert differences(program, policy) == {}


def test_every_strip_of_a_chain_is_made_once_and_in_order() -> None:
    (chain,) = compiled(pair(), parse_array("16x8x8")).chains
    for number, stage in enumerate(chain.stages):
        strips = [s for s in chain.order if s.stage == number]
        assert [s.y0 for s in strips] == [0, *(s.y1 for s in strips[:-1])]
        assert strips[-1].y1 == stage.plan.run_shape[0]


@pytest.mark.parametrize(("array", "head", "fused"), [("16x8x8", 1, True), ("8x8x8", 1, False), ("16x8x8", 2, False)])
def test_a_head_of_one_class_joins_a_layer_of_one_pass(array: str, head: int, fused: bool) -> None:
    program = compiled(pair(64, head), parse_array(array))
    assert (program.plans[-1].layer.dot is not None) == fused
    assert differences(program, "random") == {}


def test_a_move_that_does_not_wait_is_seen() -> None:
    program = compiled(pair(), parse_array("16x8x8"))
    words = np.frombuffer(program.program, "<u8").reshape(-1, 4).copy()
    low, width = FORMATS[Opcode.MOVE].offsets["wait_runs"], FORMATS[Opcode.MOVE].fields["wait_runs"]
    assert low + width <= 64
    rows = words[:, 0] & np.uint64(15) == Opcode.MOVE
    words[rows, 0] &= ~np.uint64(((1 << width) - 1) << low)
    broken = replace(program, program=words.tobytes())
    try:
        found = differences(broken, "eager")
    except MachineError:
        return
    assert found

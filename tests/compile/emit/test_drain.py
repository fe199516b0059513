"""Where a RUN of fewer planes would overtake the rows of the one before, its CONFIG drains."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.clock.columns import unpack
from hwseg.ir import Graph
from hwseg.machine.state import MachineError
from hwseg.rtl.config import parse_array
from hwseg.rtl.isa import Opcode
from hwseg.rtl.latency import overtakes
from hwseg.sim.simulate import lay_out, simulate_program
from tests.compile.proof import compiled, differences, image_of
from tests.machine.test_machine import without


def narrowing(height: int = 6, width: int = 16) -> Graph:
    """Layers of one tile and one pass: of eight planes, then of one, then of three."""
    b = GraphBuilder(height, width, 1)
    x = b.conv("image", 4, bits=1)
    x = b.conv(x, 4, bits=3)
    return b.graph(b.conv(x, 3, bits=8))


@pytest.mark.parametrize("array", ["8x4x4-merged", "8x2x2-merged", "8x4x4", "8x8x8"])
def test_configs_of_fewer_planes_drain_where_weights_load_quickly(array: str) -> None:
    config = parse_array(array)
    program = compiled(narrowing(), config)
    fields = unpack(program.program)[1][Opcode.CONFIG][1]
    planes = fields["planes"].tolist()
    assert any(later < earlier for earlier, later in pairwise(planes))
    for (earlier, later), drains in zip(pairwise(planes), fields["drain"].tolist()[1:], strict=True):
        assert drains == (later < earlier and overtakes(config))
    assert differences(program) == {}


def test_the_machine_finds_a_missing_drain() -> None:
    program = compiled(narrowing(), parse_array("8x4x4-merged"))
    with pytest.raises(MachineError, match="rows meet those of fewer planes"):
        differences(replace(program, program=without(program.program, Opcode.CONFIG, "drain")))


def test_the_machine_finds_a_missing_reload() -> None:
    """Where no tables are loaded nothing keeps sums of fewer planes away, on any array."""
    program = compiled(narrowing(), parse_array("8x4x4"))
    with pytest.raises(MachineError, match="rows meet those of fewer planes"):
        differences(replace(program, program=without(program.program, Opcode.RUN, "reload")))


@pytest.mark.slow
@pytest.mark.verilator
def test_the_gates_compute_it(tmp_path: Path) -> None:
    program = compiled(narrowing(), parse_array("8x4x4-merged"))
    lay_out(tmp_path, program)
    found = simulate_program(tmp_path, program, image_of(program.graph))
    assert found.passed, found.first_mismatch

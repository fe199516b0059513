"""Where cycles go: shares are of the whole, and each bound is provoked by a network made for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from click.testing import CliRunner

from benchmarks.graphs import GraphBuilder
from hwseg import models
from hwseg.boards import load_board
from hwseg.cli import group
from hwseg.clock.timing import CAUSES
from hwseg.compile.explain import HELP, INSTEAD
from hwseg.compile.program import Program, compile_graph
from hwseg.rtl.config import parse_array

BOARD = load_board("zynq7020")


def program(width: int, channels: int, out: int, rate: float = 1.0, array: str = "16x8x8") -> Program:
    b = GraphBuilder(32, width, channels)
    graph = b.graph(b.conv(b.conv("image", out), out))
    board = replace(BOARD, ddr_bytes_per_second=BOARD.ddr_bytes_per_second * rate)
    return compile_graph(graph, parse_array(array), board)


def test_shares_add_up_to_the_layer() -> None:
    found = program(64, 16, 32)
    timing = found.timing()
    for row in found.explain():
        assert sum(row.shares.values()) == pytest.approx(1)
        assert set(row.shares) == {"compute", *CAUSES}
        assert row.help == HELP[row.bound]
    assert sum(row.cycles for row in found.explain()) + timing.startup == timing.total


@pytest.mark.parametrize(
    ("kernel", "stride", "layers", "op"), [(5, 1, 2, "conv5x5"), (7, 2, 3, "conv7x7/2"), (9, 1, 5, "conv9x9")]
)
def test_an_operation_of_several_layers_is_told_once(kernel: int, stride: int, layers: int, op: str) -> None:
    b = GraphBuilder(16, 16, 3)
    x = b.conv(b.conv("image", 8, 3), 8, kernel, stride)
    rows = compile_graph(b.graph(b.sums(x, 2, 1)), parse_array("8x4x4"), BOARD).explain()
    told = [row for row in rows if row.help.startswith(INSTEAD[op])]
    assert len(told) == 1
    nothing = [row for row in rows if not row.help]
    assert len(nothing) == layers - 1
    together = sum(row.cycles for row in (*told, *nothing))
    assert told[0].help == f"{INSTEAD[op]}: {layers} layers, {together:,} cycles"
    assert all(row.help == HELP[row.bound] for row in rows if row not in (*told, *nothing))


def test_wide_layers_are_bound_by_the_array() -> None:
    assert [row.bound for row in program(64, 64, 64).explain()][1] == "compute"


def test_a_single_input_channel_leaves_lanes_idle() -> None:
    row = program(256, 1, 16).explain()[0]
    assert row.lanes == pytest.approx(1 / 8)


def test_a_head_that_the_requantizers_compute_keeps_no_lanes_busy() -> None:
    b = GraphBuilder(32, 64, 8)
    graph = b.graph(b.sums(b.conv(b.conv("image", 16), 16), 1, 1))
    (first, last) = compile_graph(graph, parse_array("16x8x8"), BOARD).explain()
    assert first.lanes == last.lanes == 1


def test_a_slow_memory_is_named() -> None:
    slow = program(64, 64, 64, rate=0.02).explain()
    assert {row.bound for row in slow} <= {"input", "output", "weights"}
    assert sum(row.cycles for row in slow) > sum(row.cycles for row in program(64, 64, 64).explain())


def test_the_command_explains(tmp_path) -> None:
    model = str(models.path("nuclei-mixed"))
    done = CliRunner().invoke(group, ["compile", model, "-o", str(tmp_path / "b"), "--array", "sim", "--explain"])
    assert done.exit_code == 0, done.output
    assert "bound by" in done.output
    assert "timeline.svg" in done.output
    assert (tmp_path / "b" / "timeline.svg").is_file()

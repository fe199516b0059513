"""The drawings of a report: the network as a U, the roofs, the planes that are skipped, parts of the energy."""

from __future__ import annotations

import re
from copy import deepcopy
from itertools import pairwise
from typing import Any

import pytest

from benchmarks.graphs import GraphBuilder
from benchmarks.throughput import resunet
from hwseg.boards import load_board
from hwseg.compile.program import compile_graph
from hwseg.energy.frame import activity_of_program
from hwseg.ir import Graph
from hwseg.power.band import BOUNDARIES
from hwseg.power.coefficients import load
from hwseg.power.estimate import estimate
from hwseg.report.energy import with_energy
from hwseg.report.figures import build_report
from hwseg.report.html import html
from hwseg.report.pages.bars import energy_bars, part_bars, skip_bars
from hwseg.report.pages.network import BOX, LEVEL, network
from hwseg.report.pages.roofline import roofline
from hwseg.rtl.config import parse_array

BOARD = load_board("zynq7020")


def report_of(graph: Graph) -> dict[str, Any]:
    program = compile_graph(graph, parse_array("8x8x8"), BOARD)
    p = program
    report = build_report(p.graph, p.plans, p.memory.layouts, p.timing(), p.config, BOARD, 150.0)
    return with_energy(report, estimate(activity_of_program(program), load(), 150.0))


def unet() -> Graph:
    b = GraphBuilder(32, 64, 1)
    x, skips = "image", []
    for width in (8, 16):
        x = b.conv(b.conv(x, width, bits=4), width)
        skips.append(x)
        x = b.pool(x)
    x = b.conv(x, 24)
    for width in (16, 8):
        x = b.conv(b.concat(b.conv(x, width, kernel=2), skips.pop()), width)
    return b.graph(b.sums(x, 1, 1))


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return report_of(unet())


def corners(path: str) -> list[tuple[float, float]]:
    """Where an M, H, V path turns."""
    x = y = 0.0
    found = []
    for letter, numbers in re.findall(r"([MHV])([-\d. ]+)", path):
        values = [float(n) for n in numbers.split()]
        x = values[0] if letter in "MH" else x
        y = values[-1] if letter in "MV" else y
        found.append((x, y))
    return found


def test_a_unet_is_a_u(report: dict[str, Any]) -> None:
    drawn = network(report["layers"])
    nodes = drawn["nodes"][1:]
    heights = [row["output_shape"][0] for row in report["layers"][1:]]
    levels = [int((node["y"] - nodes[0]["y"]) / LEVEL) for node in nodes]
    assert [32 >> level for level in levels] == heights
    assert levels == sorted(levels[: len(levels) // 2]) + sorted(levels[len(levels) // 2 :], reverse=True)
    assert [node["x"] for node in nodes] == sorted(node["x"] for node in nodes)
    assert max(node["cycles"] for node in nodes) == max(node["energy"] for node in nodes) == BOX
    assert sum(edge["skip"] for edge in drawn["edges"]) == 2
    assert [level["text"] for level in drawn["levels"]] == ["32×64", "16×32", "8×16"]


@pytest.mark.parametrize("graph", [unet(), resunet(8, 64)], ids=["unet", "resunet"])
def test_every_operand_is_an_edge(graph: Graph) -> None:
    rows = report_of(graph)["layers"]
    drawn = network(rows)
    assert len(drawn["edges"]) == sum(len(row["inputs"]) for row in rows[1:])
    spans: dict[float, list[tuple[float, float]]] = {}
    for edge in drawn["edges"]:
        if edge["skip"]:
            (left, _), (_, height), (right, _), _ = corners(edge["path"])
            spans.setdefault(height, []).append((left, right))
    for lane in spans.values():
        lane.sort()
        assert all(a[1] < b[0] for a, b in pairwise(lane)), "lines lie upon each other"


def test_a_network_of_many_layers_stays_readable() -> None:
    rows = [{"name": "start-up", "op": "start-up", "cycles": 1}]
    shape = {"input_shape": [8, 8, 1], "output_shape": [8, 8, 1], "utilization": 0.5, "gops": 1.0, "ddr_bytes": 8}
    rows += [
        {"name": f"c{i}", "op": "conv", "cycles": i, "inputs": [f"t{i - 1}"], "outputs": [f"t{i}"], **shape}
        for i in range(1, 200)
    ]
    drawn = network(rows)
    assert drawn["wide"] >= 10
    assert drawn["width"] > 3000
    assert not drawn["energy"]


def test_no_layer_is_above_its_roof(report: dict[str, Any]) -> None:
    drawn = roofline(report)
    planes = {max(row["planes"], 4) for row in report["layers"][1:]}
    assert len(drawn["roofs"]) == len(planes | {8}) == 2
    highest = min(line["y"] for line in drawn["roofs"])
    assert all(dot["y"] >= highest for dot in drawn["dots"])
    texts = [note["text"] for note in drawn["notes"]]
    assert any("at 4 planes" in text for text in texts)
    assert any("at 8 planes" in text for text in texts)


def test_bars_lie_in_their_bands(report: dict[str, Any]) -> None:
    drawn = energy_bars(report["layers"])
    assert [view["boundary"] for view in drawn["views"]] == list(BOUNDARIES)
    for view in drawn["views"]:
        for panel in view["panels"]:
            for bar in panel["rows"]:
                assert bar["low"] <= panel["left"] + bar["width"] + 0.8
                assert panel["left"] + bar["width"] <= bar["high"] + 0.8
                assert bar["high"] <= panel["left"] + 210.1


def test_parts_fill_the_bar(report: dict[str, Any]) -> None:
    for view in part_bars(report["totals"]):
        assert sum(part["width"] for part in view["parts"]) == pytest.approx(960, abs=1)
    inner, outer = (len(part_bars(report["totals"])[i]["parts"]) for i in (0, 3))
    assert inner == 1 < outer


def test_planes_that_are_skipped(report: dict[str, Any]) -> None:
    assert skip_bars(report["layers"]) is None
    assert "Leading zero planes" not in html(report)
    looked = deepcopy(report)
    for row in looked["layers"]:
        row["skipped_planes"] = row["planes"] / 2
    drawn = skip_bars(looked["layers"])
    assert drawn is not None
    assert drawn["fewer"] == "2.000"
    assert all(bar["left"] * 2 == pytest.approx(bar["all"], abs=0.2) for bar in drawn["rows"])
    assert "Leading zero planes" in html(looked)

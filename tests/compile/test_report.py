"""report.json adds up, and report.html is one page that needs nothing and believes no name."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from html.parser import HTMLParser
from typing import Any

import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.boards import load_board
from hwseg.compile.api import compile_graph
from hwseg.compile.array import warnings
from hwseg.compile.report import STARTUP, build_report, markdown
from hwseg.compile.report_html import Axis, html, place_labels, round_step, si
from hwseg.rtl.config import parse_array

BOARD = load_board("zynq7020")
CLOCK = 150.0
VOID = {"meta"}


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """A small network with a pooling, a join and a head that leaves its sums."""
    b = GraphBuilder(24, 40, 3)
    wide = b.conv("image", 12)
    low = b.conv(b.pool(wide), 20)
    joined = b.concat(wide, b.conv(low, 12, kernel=2))
    graph = b.graph(b.sums(b.conv(joined, 9, bits=4), 2, kernel=1))
    config = parse_array("8x4x4")
    program = compile_graph(graph, config, BOARD)
    return build_report(
        graph, program.plans, program.memory.layouts, program.timing(), config, BOARD, CLOCK, None, {"odd": 3}
    )


class Page(HTMLParser):
    """Elements in order, with balance checked; `text` by the element that it stands in."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text.append((self.open[-1], data.strip()))

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def test_keys(report: dict[str, Any]) -> None:
    assert {"model", "board", "clock_mhz", "resources", "totals", "layers"} <= report.keys()
    assert json.loads(json.dumps(report)) == report
    for row in report["layers"][1:]:
        expected = {"name", "op", "output_shape", "macs", "planes", "cycles", "utilization", "ddr_bytes", "gops"}
        assert expected | {"accumulator"} <= row.keys()
    assert report["resources"].keys() == {"lut", "lutram", "ff", "bram36", "dsp"}


def test_sums(report: dict[str, Any]) -> None:
    layers, totals = report["layers"], report["totals"]
    assert layers[0]["name"] == STARTUP
    for key in ("cycles", "macs", "ddr_bytes"):
        assert sum(row[key] for row in layers) <= totals[key]
    assert sum(row["cycles"] for row in layers) == totals["cycles"]
    assert sum(row["macs"] for row in layers) == totals["macs"]
    seconds = totals["cycles"] / (CLOCK * 1e6)
    assert totals["latency_ms"] == pytest.approx(1e3 * seconds)
    assert totals["fps"] == pytest.approx(1 / seconds)
    assert totals["gops"] == pytest.approx(2 * totals["macs"] / seconds / 1e9)


def test_no_layer_is_above_the_roof(report: dict[str, Any]) -> None:
    totals = report["totals"]
    for row in report["layers"][1:]:
        assert row["gops"] <= totals["peak_gops"], row["name"]
        # the memory may run ahead into the layer before
        assert row["ddr_bytes"] <= 1.5 * totals["memory_bytes_per_second"] * row["cycles"] / (CLOCK * 1e6), row["name"]


def test_accumulators_hold_what_the_network_can_sum(report: dict[str, Any]) -> None:
    for row in report["layers"][1:]:
        low, high = row["accumulator"]
        assert low <= high
        assert low >= -(1 << 35)
        assert high < 1 << 35


def test_page_is_balanced_and_draws_every_layer(report: dict[str, Any]) -> None:
    page = Page(html(report))
    with_macs = [row for row in report["layers"] if row["macs"]]
    assert page.count("svg") == 2
    assert page.count("rect") == 2 * len(report["layers"])
    assert page.count("circle") == len(with_macs)
    assert page.count("h1") == 1
    drawn = {text for tag, text in page.text if tag == "td"}
    for row in report["layers"]:
        assert row["name"] in drawn
        assert f"{row['cycles']:,}" in drawn


def test_page_needs_nothing_from_elsewhere(report: dict[str, Any]) -> None:
    text = html(report)
    page = Page(text)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", text)
    loaders = {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in page.elements:
        assert tag not in loaders
        assert not {"src", "href", "xlink:href", "srcset", "action"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
    policy = [a for tag, a in page.elements if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert policy[0]["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_page_is_for_light_and_dark(report: dict[str, Any]) -> None:
    text = html(report)
    assert "prefers-color-scheme: dark" in text
    assert "color-scheme: light dark" in text


HOSTILE = "<script>alert('1')</script>\"&<b onclick=x>"


def test_names_are_escaped(report: dict[str, Any]) -> None:
    named = deepcopy(report)
    named["model"] = HOSTILE
    named["inexact"] = {HOSTILE: 1}
    named["warnings"] = [HOSTILE]
    named["layers"][1]["name"] = HOSTILE
    text = html(named)
    assert "<script" not in text
    page = Page(text)
    assert page.count("b") == Page(html(report)).count("b")
    shown = [data for _, data in page.text if HOSTILE in data]
    assert {"title", "h1", "td", "li", "p"} <= {tag for tag, data in page.text if HOSTILE in data}
    assert len(shown) >= 4


def test_equal_reports_make_equal_pages(report: dict[str, Any]) -> None:
    assert html(report) == html(json.loads(json.dumps(report)))


def test_resources_say_where_they_come_from(report: dict[str, Any]) -> None:
    measured = deepcopy(report)
    for row in measured["resources"].values():
        row["measured"] = row["available"] * 0.95
    measured["warnings"] = warnings(measured["resources"], "zynq7020")
    for content, source, crowded in ((report, "estimate", 0), (measured, "synthesis", 4)):
        page = Page(html(content))
        assert [text for tag, text in page.text if text == source] == [source] * 5
        # DSP slices may all be used.
        assert sum("over 90 %" in text for _, text in page.text) == crowded
        assert "full" not in str([a for tag, a in page.elements if tag == "div"]) or crowded
    assert "| 50,540.0 |" in markdown(measured)
    assert "95 % of zynq7020's LUT: over 90 %" in markdown(measured)


def test_a_network_of_one_layer_draws() -> None:
    b = GraphBuilder(8, 8, 1)
    graph = b.graph(b.sums("image", 1))
    config = parse_array("8x8x8")
    program = compile_graph(graph, config, BOARD)
    page = Page(
        html(build_report(graph, program.plans, program.memory.layouts, program.timing(), config, BOARD, 100.0))
    )
    assert page.count("circle") == 1


def test_axis_holds_its_values() -> None:
    axis = Axis.over([0.7, 345.6], 50, 900)
    assert axis.start < axis.at(0.7) < axis.at(345.6) < axis.end
    assert [tick["text"] for tick in axis.ticks()][:3] == ["0.5", "1", "2"]


def test_labels_do_not_overlap() -> None:
    labels = [x for x in place_labels([(10.0 * i, 50.0) for i in range(20)]) if x]
    assert len(labels) >= 5
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("value", "text"),
    [(999, "999"), (1500, "1.5 k"), (999_600, "1000 k"), (166_461_440, "166 M"), (2_614_000_000, "2.61 G")],
)
def test_si(value: int, text: str) -> None:
    assert si(value) == text


def test_round_step() -> None:
    assert [round_step(v) for v in (1, 3, 70, 101)] == [1, 5, 100, 200]

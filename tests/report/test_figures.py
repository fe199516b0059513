"""report.json adds up, and report.html is one page that needs nothing and believes no name."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from copy import deepcopy
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt

from benchmarks.graphs import GraphBuilder
from hwseg.boards import load_board
from hwseg.clock.timing import STARTUP
from hwseg.compile.program import Program, compile_graph
from hwseg.energy.frame import activity_of_program
from hwseg.errors import HwsegError, printable
from hwseg.power.band import BOUNDARIES
from hwseg.power.coefficients import load
from hwseg.power.estimate import EnergyReport, estimate
from hwseg.report.energy import with_energy
from hwseg.report.figures import build_report
from hwseg.report.html import Picture, html
from hwseg.report.pages.draw import Axis, place_labels, round_step, si, three
from hwseg.report.text import csv_text, markdown
from hwseg.rtl.config import parse_array
from hwseg.target.array import warnings

BOARD = load_board("zynq7020")
CLOCK = 150.0
VOID = {"meta", "input", "img"}
KEYS = {"name", "op", "macs", "planes", "cycles", "utilization", "gops", "ddr_bytes", "energy_mj", "gops_per_w"}


@pytest.fixture(scope="module")
def program() -> Program:
    """A small network with a pooling, a join and a head that leaves its sums."""
    b = GraphBuilder(24, 40, 3)
    wide = b.conv("image", 12)
    low = b.conv(b.pool(wide), 20)
    joined = b.concat(wide, b.conv(low, 12, kernel=2))
    graph = b.graph(b.sums(b.conv(joined, 9, bits=4), 2, kernel=1))
    return compile_graph(graph, parse_array("8x4x4"), BOARD)


@pytest.fixture(scope="module")
def bare(program: Program) -> dict[str, Any]:
    """Without energy, as older builds have it."""
    p, layouts = program, program.memory.layouts
    return build_report(p.graph, p.plans, layouts, p.timing(), p.config, BOARD, CLOCK, None, {"odd": 3})


def energy(program: Program) -> EnergyReport:
    return estimate(activity_of_program(program), load(), CLOCK)


@pytest.fixture(scope="module")
def report(program: Program, bare: dict[str, Any]) -> dict[str, Any]:
    return with_energy(bare, energy(program))


@pytest.fixture(scope="module")
def page(program: Program, report: dict[str, Any]) -> str:
    return html(report, program.timeline())


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
    assert {"model", "board", "clock_mhz", "resources", "totals", "layers", "energy"} <= report.keys()
    assert json.loads(json.dumps(report)) == report
    for row in (*report["layers"], report["totals"]):
        assert row.keys() >= KEYS
        for key in ("energy_mj", "gops_per_w"):
            assert tuple(row[key]) == BOUNDARIES
            for band in row[key].values():
                assert 0 <= band["low"] <= band["mid"] <= band["high"]
    for row in report["layers"][1:]:
        assert row.keys() >= {"output_shape", "accumulator", "inputs", "outputs"}
        assert row["compute_cycles"] + sum(row["stalls"].values()) == row["cycles"]
    assert report["resources"].keys() == {"lut", "lutram", "ff", "bram36", "dsp"}


def test_sums(report: dict[str, Any]) -> None:
    layers, totals = report["layers"], report["totals"]
    assert layers[0]["name"] == STARTUP
    for key in ("cycles", "macs", "ddr_bytes"):
        assert sum(row[key] for row in layers) == totals[key]
    for boundary in BOUNDARIES:
        for end in ("low", "mid", "high"):
            energy = totals["energy_mj"][boundary][end]
            assert sum(row["energy_mj"][boundary][end] for row in layers) == energy > 0
        best = totals["energy_mj"][boundary]["low"]
        assert totals["gops_per_w"][boundary]["high"] == pytest.approx(2e-6 * totals["macs"] / best)
    seconds = totals["cycles"] / (CLOCK * 1e6)
    assert totals["latency_ms"] == pytest.approx(1e3 * seconds)
    assert totals["fps"] == pytest.approx(1 / seconds)
    assert totals["gops"] == pytest.approx(2 * totals["macs"] / seconds / 1e9)
    assert totals["watts"]["pl"]["mid"] == pytest.approx(1e-3 * totals["energy_mj"]["pl"]["mid"] / seconds)


def test_a_boundary_holds_the_one_before(report: dict[str, Any]) -> None:
    for row in report["layers"]:
        for end in ("low", "mid", "high"):
            sizes = [row["energy_mj"][boundary][end] for boundary in BOUNDARIES]
            assert sizes == sorted(sizes)


def test_energy_of_another_build_is_refused(program: Program, bare: dict[str, Any]) -> None:
    other = {**bare, "layers": bare["layers"][:-1]}
    with pytest.raises(HwsegError, match="must be of the report's layers; estimate this build"):
        with_energy(other, energy(program))


def test_csv_is_the_table(report: dict[str, Any], bare: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(report))))
    expected = [*report["layers"], report["totals"]]
    assert len(rows) == len(expected)
    for row, layer in zip(rows, expected, strict=True):
        assert row["name"] == layer["name"]
        assert int(row["cycles"]) == layer["cycles"]
        assert float(row["energy_mj_pl_ps_high"]) == layer["energy_mj"]["pl_ps"]["high"]
        assert float(row["gops_per_w_board_low"]) == layer["gops_per_w"]["board"]["low"]
    assert next(csv.reader(io.StringIO(csv_text(bare))))[-1] == "ddr_bytes"


def test_a_bar_in_a_name_stays_in_its_cell(report: dict[str, Any]) -> None:
    named = deepcopy(report)
    named["layers"][1]["name"] = "a|b\nc"
    (line,) = (line for line in markdown(named).splitlines() if line.startswith("| a"))
    assert line.startswith("| a\\|b c | conv")


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", "[x](javascript:alert(1))", "![x](http://x/y.png)", "**b**", "`c`", "__d__", "~~e~~",
     "$f$", "&lt;", "# g", "\x1b[31mh", "\\", "a|b", "<!-- i", "\u202ej"],
)  # fmt: skip
def test_markup_in_a_name_is_shown_and_not_obeyed(report: dict[str, Any], name: str) -> None:
    """Rendered by the parser that rich brings, a name is one piece of text, and nothing else."""
    named = deepcopy(report)
    named["model"] = named["layers"][1]["name"] = name
    named["warnings"], named["inexact"] = [f"layer {name} is slow"], {name: 3}
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(markdown(named))
    inline = [token for token in tokens if token.type == "inline"]
    shown = printable(name)
    texts = ["".join(child.content for child in token.children or ()) for token in inline]
    assert {child.type for token in inline for child in token.children or ()} <= {"text", "text_special", "softbreak"}
    assert not any(token.type.startswith("html") for token in tokens)
    for wanted in (f"{shown} on {report['board']}", shown, f"layer {shown} is slow."):
        assert wanted in texts
    assert any(text.startswith(f"{shown}: 3 ") for text in texts)


def test_markdown_has_every_boundary(report: dict[str, Any], bare: dict[str, Any]) -> None:
    text = markdown(report)
    for boundary in BOUNDARIES:
        assert f"| {boundary} | " in text
    assert "no picture was looked at" in text
    assert "mJ" not in markdown(bare)


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


def drawing(page: Page, label: str) -> bool:
    return any(tag == "svg" and attributes.get("aria-label") == label for tag, attributes in page.elements)


def test_page_is_balanced_and_draws_every_layer(report: dict[str, Any], page: str) -> None:
    parsed = Page(page)
    with_macs = [row for row in report["layers"] if row["macs"]]
    for label in ("Cycles by layer", "Timeline of the engine", "Energy and operations per joule, by layer"):
        assert drawing(parsed, label)
    assert parsed.count("circle") == len(with_macs)
    assert parsed.count("h1") == 1
    drawn = {text for tag, text in parsed.text if tag in ("th", "data")}
    for row in report["layers"]:
        assert row["name"] in drawn
        assert f"{row['cycles']:,}" in drawn
        for boundary in BOUNDARIES:
            assert three(row["energy_mj"][boundary]["mid"]) in drawn


def test_page_without_energy_or_timeline(bare: dict[str, Any]) -> None:
    parsed = Page(html(bare))
    assert not drawing(parsed, "Timeline of the engine")
    assert parsed.count("fieldset") == 0
    assert "mJ" not in html(bare)


def test_page_needs_nothing_from_elsewhere(program: Program, report: dict[str, Any]) -> None:
    text = html(report, program.timeline(), [Picture(b"PNG", "a mask")])
    page = Page(text)
    assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttp|import\(", text)
    for tag, attributes in page.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        assert not {"href", "xlink:href", "srcset", "action"} & attributes.keys()
        assert tag == "img" or "src" not in attributes
        assert (attributes.get("src") or "data:image/png;base64,").startswith("data:image/png;base64,")
        assert not any(name.startswith("on") for name in attributes)


def test_policy_allows_the_page_s_own_scripts_and_no_others(page: str) -> None:
    policy = next(a["content"] for tag, a in Page(page).elements if a.get("http-equiv") == "Content-Security-Policy")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 2
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {allowed}"


def test_page_is_for_light_and_dark(page: str) -> None:
    assert "prefers-color-scheme: dark" in page
    assert "color-scheme: light dark" in page


HOSTILE = "<script>alert('1')</script>\"&<b onclick=x>"


def test_names_are_escaped(program: Program, report: dict[str, Any]) -> None:
    named = deepcopy(report)
    named["model"] = HOSTILE
    named["inexact"] = {HOSTILE: 1}
    named["warnings"] = [HOSTILE]
    named["layers"][1]["name"] = HOSTILE
    timeline, pictures = program.timeline(), [Picture(b"", HOSTILE)]
    text = html(named, timeline, pictures, simulated=HOSTILE)
    page, plain = Page(text), Page(html(report, timeline, [Picture(b"", "")]))
    for tag in ("b", "script"):
        assert page.count(tag) == plain.count(tag)
    assert {"title", "h1", "th", "li", "p", "figcaption"} <= {tag for tag, data in page.text if HOSTILE in data}
    words = re.search(r'id="words">(.*?)</script>', text, re.DOTALL)
    assert words is not None
    assert HOSTILE in json.loads(words[1])["layers"]


def test_equal_reports_make_equal_pages(report: dict[str, Any]) -> None:
    assert html(report) == html(json.loads(json.dumps(report)))
    assert csv_text(report) == csv_text(json.loads(json.dumps(report)))


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
    assert round_step(0.03) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.012345, "0.0123"), (1.5, "1.50"), (123.4, "123"), (4567, "4,567")]
)
def test_three(value: float, text: str) -> None:
    assert three(value) == text

"""The build folder: whole, deterministic, independent of the model where it must be, and refused with one sentence."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.graphs import GraphBuilder
from hwseg.boards import load_board
from hwseg.builds.build import compile_model
from hwseg.clock.timing import predict
from hwseg.commands.compile import command
from hwseg.compile.program import compile_graph
from hwseg.errors import HwsegError
from hwseg.ir import Graph
from hwseg.rtl.config import PRESETS, parse_array

MODELS = Path(__file__).parents[2] / "hwseg" / "models"
FILES = {
    *("top.v", "sim_cells.v", "program.bin", "weights.bin", "memory.json", "graph.json", "model.onnx"),
    *("report.json", "report.md", "report.csv", "report.html", "timeline.svg", "manifest.json", "hwseg-build.json"),
}


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_model(MODELS / "nuclei-mixed.onnx", array="sim", out=tmp_path_factory.mktemp("build") / "a").path


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_files_and_equal_bytes(build: Path, tmp_path: Path) -> None:
    assert {path.name for path in build.iterdir()} == FILES
    again = compile_model(MODELS / "nuclei-mixed.onnx", array="sim", out=tmp_path / "b").path
    assert digests(build) == digests(again)


def test_verilog_does_not_depend_on_the_model(build: Path, tmp_path: Path) -> None:
    other = compile_model(MODELS / "nuclei-w8a8.onnx", array="sim", out=tmp_path / "b").path
    assert digests(build)["top.v"] == digests(other)["top.v"]
    assert digests(build)["program.bin"] != digests(other)["program.bin"]


def test_report(build: Path) -> None:
    report = json.loads((build / "report.json").read_text())
    assert {"model", "board", "clock_mhz", "resources", "totals", "layers"} <= report.keys()
    assert sum(row["cycles"] for row in report["layers"]) == report["totals"]["cycles"]
    assert sum(row["macs"] for row in report["layers"]) == report["totals"]["macs"] > 0
    for row in report["layers"][1:]:
        assert 0 <= row["utilization"] <= 1, row["name"]
        assert row["compute_cycles"] <= row["cycles"] + 2000, row["name"]
    for row in report["resources"].values():
        assert row.keys() == {"estimated", "measured", "available"}


def test_html_is_one_well_formed_page(build: Path) -> None:
    text = (build / "report.html").read_text()
    assert "http://" not in text
    assert "https://" not in text

    class Balance(HTMLParser):
        open: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "input", "img"):
                self.open.append(tag)

        def handle_startendtag(self, tag: str, attrs: object) -> None:
            pass

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert text.count("<circle") >= 10


def test_memory_map(build: Path) -> None:
    memory = json.loads((build / "memory.json").read_text())
    spans = [(memory[name]["address"], memory[name]["bytes"]) for name in ("program", "weights")]
    spans += [(t["address"], t["bytes"]) for t in memory["tensors"].values()]
    if memory["head"]["kind"] == "sums":
        spans.append((memory["head"]["address"], memory["head"]["bytes"]))
    spans.sort()
    for (start, size), (after, _) in itertools.pairwise(spans):
        assert start + size <= after
    assert all(start % 8 == 0 for start, _ in spans)
    assert spans[-1][0] + spans[-1][1] <= memory["total_bytes"]
    assert (build / "program.bin").stat().st_size == memory["program"]["bytes"]
    assert (build / "weights.bin").stat().st_size == memory["weights"]["bytes"]


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(command, list(arguments))
    assert isinstance(result.exception, HwsegError), result.exception
    return str(result.exception)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--board", "zedd"), "--board: 'zedd' is not a board; use zynq7010"),
        (("--array", "7x8x8"), "output channels must be a multiple of 8"),
        (
            ("--array", "zynq7000"),
            "--array zynq7000: must be auto, a preset (zynq7020, small, sim) or RxCxN; use zynq7020",
        ),
        (("--array", "smal"), "(zynq7020, small, sim) or RxCxN; use small"),
        (("--array", "70x8x8"), "output channels must be a multiple of 8 from 8 to 64, not 70; use 16x8x8-dsp"),
        (("--array", "32x8x8"), "zynq7020 has"),
        (("--clock-mhz", "0"), "--clock-mhz: must be from 1 to 1000"),
        (("--clock-mhz", "nan"), "--clock-mhz: must be from 1 to 1000"),
    ],
)
def test_bad_options(options: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    model = str(MODELS / "nuclei-w8a8.onnx")
    assert sentence in refused(model, "-o", str(tmp_path / "b"), *options)
    assert not (tmp_path / "b").exists()


def test_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    assert "was not written by hwseg" in refused(
        str(MODELS / "nuclei-w8a8.onnx"), "-o", str(tmp_path), "--array", "sim"
    )
    assert (tmp_path / "mine").read_text() == "precious"


def test_command_prints_layers(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        command, [str(MODELS / "nuclei-mixed.onnx"), "-o", str(tmp_path / "b"), "--array", "sim"]
    )
    assert result.exit_code == 0, result.output
    assert "frames/s" in result.output


def conv_graph(channels: int, seed: int = 0, height: int = 8, width: int = 8) -> Graph:
    b = GraphBuilder(height, width, channels, seed)
    return b.graph(b.conv("image", 4))


def test_network_that_does_not_fit_the_memory() -> None:
    board = replace(load_board("zynq7020"), ddr_bytes=1 << 12)
    with pytest.raises(HwsegError, match="DDR, the board gives"):
        compile_graph(conv_graph(8, height=64, width=64), parse_array("8x8x8"), board)


def test_map_that_no_pooling_divides() -> None:
    b = GraphBuilder(9, 8, 3)
    graph = b.graph(b.pool(b.conv("image", 4)))
    with pytest.raises(HwsegError, match="pools a map of 9x8, which must be even; use 10x8"):
        compile_graph(graph, parse_array("8x8x8"), load_board("zynq7020"))


def test_accumulator_joined_without_quantizer() -> None:
    b = GraphBuilder(8, 8, 3)
    graph = b.graph(b.concat(b.sums("image", 3), "image"))
    with pytest.raises(HwsegError, match="must have at most 8 bits, is an accumulator; put a quantizer"):
        compile_graph(graph, parse_array("8x8x8"), load_board("zynq7020"))


def test_requantizer_beyond_the_multiplier() -> None:
    """acc / 900 has ties at whole accumulators, which no multiplier over a power of two meets."""
    b = GraphBuilder(4, 4, 3)
    graph = b.graph(b.requantize(b.sums("image", 2), Fraction(1, 900), 0, 15))
    config, board = parse_array("8x8x8"), load_board("zynq7020")
    with pytest.raises(HwsegError, match=r"channel \d: \d+ of 15 requantization steps"):
        compile_graph(graph, config, board)
    program = compile_graph(graph, config, board, allow_inexact=True)
    assert sum(program.inexact.values()) > 0


def test_residual_beyond_sixteen_bits() -> None:
    b = GraphBuilder(4, 4, 3)
    x = b.conv("image", 5)
    third = Fraction(1, 3) + Fraction(1, 1 << 40)
    graph = b.graph(b.add(x, b.conv(x, 5), third, Fraction(1, 3 << 20)))
    board = load_board("zynq7020")
    try:
        program = compile_graph(graph, parse_array("8x8x8"), board, allow_inexact=True)
    except HwsegError as error:
        pytest.fail(str(error))
    if program.inexact:
        with pytest.raises(HwsegError, match="residual add has"):
            compile_graph(graph, parse_array("8x8x8"), board)


def test_slower_memory_never_predicts_faster() -> None:
    program = compile_graph(conv_graph(20, height=24, width=40), parse_array("8x4x4"), load_board("zynq7020"))
    cycles = [predict(program.program, program.config, latency).total for latency in (2, 10, 40, 100, 400)]
    assert cycles == sorted(cycles)
    assert cycles[0] < cycles[-1]


def test_presets_fit_their_board() -> None:
    from hwseg.target.array import require_fit

    for config in PRESETS.values():
        require_fit(config, load_board("zynq7020"))


def test_report_command_reads_what_compile_wrote(build: Path, tmp_path: Path) -> None:
    from hwseg.commands.report import command as report

    result = CliRunner().invoke(report, [str(build)])
    assert result.exit_code == 0, result.output
    assert "frames/s" in result.output
    as_json = CliRunner().invoke(report, [str(build), "--json"])
    assert json.loads(as_json.output) == json.loads((build / "report.json").read_text())
    missing = CliRunner().invoke(report, [str(tmp_path)])
    assert isinstance(missing.exception, HwsegError)

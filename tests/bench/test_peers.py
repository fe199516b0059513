"""The peers' benchmark without the peers: what a process leaves becomes a finding, and findings a table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import onnx
import pytest

from benchmarks.peers import environment, ours
from benchmarks.peers.__main__ import TOOLS, Tool, of, request, run
from benchmarks.peers.finding import SHORT, Finding, compiler_error, first_line, read, report
from benchmarks.peers.networks import NETWORKS

TOLD = {
    "outcome": "estimated", "version": "1.6.1", "cycles": 1234567, "latency": 2000000, "lut": 40000, "bram36": 70.5,
    "dsp": 0, "fits": True,
}  # fmt: skip


def left(folder: Path, content: str) -> Path:
    path = folder / "told.json"
    path.write_text(content)
    return path


def test_what_a_process_tells_is_the_finding(tmp_path: Path) -> None:
    found = read(left(tmp_path, json.dumps(TOLD)), "unet", "finn-plus", 0, 3.0)
    assert found == Finding("unet", "finn-plus", seconds=3.0, **TOLD)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", ["", "{", "[]", '"estimated"', "{}", '{"outcome": "fine"}'])
def test_what_is_not_whole_is_a_crash(tmp_path: Path, content: str) -> None:
    assert read(left(tmp_path, content), "unet", "finn-plus", 0, 1.0).outcome == "crashed"


def test_a_tool_cannot_name_itself_otherwise(tmp_path: Path) -> None:
    found = read(left(tmp_path, json.dumps(TOLD | {"network": "x", "tool": "y", "seconds": 9})), "unet", "t", 0, 1.0)
    assert (found.network, found.tool, found.seconds) == ("unet", "t", 1.0)


def test_each_end_of_a_process_is_told(tmp_path: Path) -> None:
    absent = tmp_path / "told.json"
    assert read(absent, "n", "t", -11, 1.0).said == "ended by SIGSEGV"
    assert read(absent, "n", "t", 3, 1.0).said == "ended with status 3 and told nothing"
    assert read(absent, "n", "t", None, 60.0) == Finding("n", "t", "unfinished", said="more than 60 s", seconds=60.0)


def test_refusals_are_short_and_fit_a_cell() -> None:
    assert first_line("\n  ValueError: a | b\n  more") == "ValueError: a / b"
    assert first_line("") == "no message"
    long = first_line("word " * 100)
    assert len(long) <= SHORT
    assert long.endswith(" word...") or long.endswith("word...")


def test_a_compiler_is_heard_past_its_warnings() -> None:
    output = "a.h:1:2: warning: deprecated\nm.cpp:160:48: error: no matching function\nm.cpp:161:1: error: other\n"
    assert compiler_error(output) == "error: no matching function"
    assert compiler_error("all well") == ""


def test_a_project_that_does_not_compile_is_told_in_the_compilers_words(tmp_path: Path) -> None:
    told = {"outcome": "converted", "stage": "g++", "said": "Exception: Failed to compile"}
    script = tmp_path / "script.py"
    script.write_text(
        f"import pathlib, sys; print('m.cpp:1:1: error: no such thing'); "
        f"pathlib.Path(sys.argv[2], 'told.json').write_text({json.dumps(told)!r})"
    )
    found = run(Tool("t", "hls4ml", str(script)), Path(sys.executable), "n", tmp_path / "m.onnx", tmp_path / "run", 60)
    assert (found.outcome, found.said) == ("converted", "error: no such thing")


def test_the_table_has_a_line_for_each_and_says_each_refusal_once() -> None:
    findings = [
        Finding("a", "hwseg 8x8x8", "estimated", cycles=5, lut=1000, bram36=1.5, dsp=0, fits=True),
        Finding("a", "hls4ml", "refused", "convert", "Exception: no ConvTranspose"),
        Finding("b", "hls4ml", "refused", "convert", "Exception: no ConvTranspose"),
        Finding("b", "finn-plus", "unfinished", said="more than 60 s"),
    ]
    lines = report(findings).splitlines()
    head, rows, notes = lines[0], lines[2:6], lines[9:]
    assert {line.count("|") for line in [head, *rows]} == {11}
    assert "| 1,000 | 1.5 | 0 | yes |" in rows[0]
    assert "refused (1)" in rows[1]
    assert "refused (1)" in rows[2]
    assert notes == ["| 1 | convert: Exception: no ConvTranspose |", "| 2 | more than 60 s |"]


def test_a_table_without_refusals_has_no_notes() -> None:
    assert len(report([Finding("a", "t", "converted", exact="equal")]).splitlines()) == 3


SCRIPTS = {
    "tells": "import json, pathlib, sys; pathlib.Path(sys.argv[2], 'told.json').write_text(sys.argv[3])",
    "dies": "import os; os.abort()",
    "ends": "raise SystemExit(3)",
    "waits": "import time; time.sleep(60)",
}


@pytest.mark.parametrize(
    ("name", "outcome"), [("tells", "crashed"), ("dies", "crashed"), ("ends", "crashed"), ("waits", "unfinished")]
)
def test_a_process_of_its_own_whatever_becomes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, outcome: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPTS[name])
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "told.json").write_text(json.dumps(TOLD))  # of an earlier run: not taken for this one's
    tool = Tool("t", "finn", str(script))
    found = run(tool, Path(sys.executable), "n", tmp_path / "m.onnx", folder, 2 if name == "waits" else 60)
    assert found.outcome == outcome
    assert found.version == ""


def test_scripts_are_told_the_part() -> None:
    told = json.loads(request(TOOLS[1]))
    assert (told["part"], told["steps"]) == ("xc7z020clg400-1", "unet")
    assert (told["lut"], told["bram36"], told["dsp"]) == (53200, 140, 220)


def test_every_tool_has_a_script_and_a_list_of_exact_versions() -> None:
    for tool in TOOLS:
        assert (environment.HERE / tool.script).is_file()
        lines = environment.requirements(tool.home).read_text().splitlines()
        named = [line for line in lines if line and not line.startswith(("#", "--"))]
        assert len(named) > 20
        assert all(line.count("==") == 1 for line in named)


def test_an_environment_that_is_made_is_kept(tmp_path: Path) -> None:
    home = tmp_path / "finn"
    home.mkdir()
    (home / "installed.txt").write_text(environment.requirements("finn").read_text())
    assert environment.python("finn", tmp_path) == home / "bin" / "python"


def test_ours_has_every_figure() -> None:
    network = next(network for network in NETWORKS if network.shipped)
    found = ours.measure(network.name, network.file(Path("unused")))
    assert found.cycles == found.latency
    assert found.fits
    assert None not in (found.cycles, found.lut, found.bram36, found.dsp)


def test_shipped_networks_are_what_the_list_says() -> None:
    """Their own configuration, in the file, has the list's upsampling, depth and width."""
    for network in NETWORKS:
        if network.shipped:
            told = {p.key: p.value for p in onnx.load(network.file(Path("unused"))).metadata_props}
            config = json.loads(told["hwseg.config"])
            assert (config["upsampling"], config["depth"], config["width"]) == (
                network.upsampling,
                network.depth,
                network.width,
            )


def test_findings_come_in_the_order_of_the_tools() -> None:
    found = [Finding("a", tool.name, "converted") for tool in reversed(TOOLS)] + [Finding("b", "hls4ml", "converted")]
    assert [f.tool for f in of(found, "a")] == [tool.name for tool in TOOLS]

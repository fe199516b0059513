"""The peers' benchmark without the peers: what a process leaves becomes a finding, and findings a table."""

from __future__ import annotations

import importlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

from benchmarks.peers import environment, ours
from benchmarks.peers.__main__ import TOOLS, Tool, of, request, run
from benchmarks.peers.finding import SHORT, Finding, compiler_error, first_line, is_done, known, read, report
from benchmarks.peers.networks import NETWORKS
from hwseg.errors import HwsegError

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


def test_an_earlier_run_is_what_it_has_written_or_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "findings.json"
    names = [network.name for network in NETWORKS], [tool.name for tool in TOOLS]
    assert known(path, *names) == []
    found = Finding("tiny", "hls4ml", "estimated", seconds=1.5, cycles=3, bram36=2.5, fits=True)
    path.write_text(json.dumps([asdict(found)]))
    assert known(path, *names) == [found]
    for content, sentence in (
        ("{", r"must be JSON: .*; remove it, or name another with --json"),
        ("null", r"must be what this benchmark writes: "),
        ("[1]", r"must be what this benchmark writes: "),
        ('[{"network": "tiny"}]', r"must be what this benchmark writes: .* missing"),
        (json.dumps([asdict(found) | {"tool": "x"}]), r"must be what this benchmark writes, has 'x' on 'tiny'"),
        (json.dumps([asdict(found) | {"cycles": "many"}]), r"must be what this benchmark writes, has cycles 'many'"),
        (json.dumps([asdict(found) | {"outcome": "fine"}]), r"must be what this benchmark writes, has outcome 'fine'"),
    ):
        path.write_text(content)
        with pytest.raises(HwsegError, match=sentence):
            known(path, *names)
    with pytest.raises(HwsegError, match="must be a file, not a folder"):
        known(tmp_path, *names)


def test_what_was_not_finished_is_done_again_with_more_time() -> None:
    cut = Finding("tiny", "hls4ml", "unfinished", seconds=1.1)
    assert [is_done(cut, seconds) for seconds in (1, 2, 1800)] == [True, False, False]
    assert is_done(Finding("tiny", "hls4ml", "crashed", seconds=1.1), 1800)


def test_an_interpreter_without_the_tool_is_none(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho 1.3.0\n")
    for path in (other, tmp_path, Path(sys.executable), tmp_path / "none", Path("/bin/true")):
        assert not environment.has("hls4ml", path)
    other.chmod(0o755)
    assert environment.has("hls4ml", other)


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


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """As their tools' interpreters see them: their folder first on the path."""
    monkeypatch.syspath_prepend(str(environment.HERE))
    return {name: importlib.import_module(name) for name in ("telling", "finn_estimate", "hls4ml_convert")}


def refuse() -> None:
    raise ValueError("a shape\nand more")


@pytest.mark.parametrize(
    ("imported", "where", "outcome"),
    [
        (True, "", "converted"),
        (True, "tool", "refused"),
        (False, "tool", "crashed"),  # what cannot be imported has refused nothing
        (True, "here", "crashed"),  # nor has a tool that our own script does not get to
    ],
)
def test_what_ends_a_script_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripts: dict[str, ModuleType],
    imported: bool, where: str, outcome: str,
) -> None:  # fmt: skip
    telling = scripts["telling"]

    def work(model: str, folder: Path, request: dict[str, Any], told: dict[str, Any]) -> None:
        told["version"] = request["version"]
        if imported:
            told |= {"outcome": "refused", "stage": "convert"}
        if where:
            refuse()
        told["outcome"] = "converted"

    monkeypatch.setattr(sys, "argv", ["script", "m.onnx", str(tmp_path), '{"version": "1"}'])
    if where == "here":
        monkeypatch.setattr(telling, "HERE", Path(__file__).parent)
    telling.tell(work)
    found = read(tmp_path / "told.json", "n", "t", 0, 1.0)
    assert (found.outcome, found.version) == (outcome, "1")
    stage = "" if not where else "convert" if imported else "import"
    assert found.stage == stage
    if where:
        assert f"{stage}: ValueError: a shape |" in report([found])


def test_what_a_process_started_ends_with_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "pathlib.Path(sys.argv[2], 'child').write_text(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    folder = tmp_path / "run"
    assert run(Tool("t", "finn", str(script)), Path(sys.executable), "n", tmp_path, folder, 4).outcome == "unfinished"
    child = int((folder / "child").read_text())
    deadline = time.monotonic() + 5
    while running(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not running(child)


def running(pid: int) -> bool:
    """Whether the process works on; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_difference_is_counted(scripts: dict[str, ModuleType]) -> None:
    difference, x = scripts["telling"].difference, np.arange(2000.0)
    assert difference(x, x.reshape(2, 1000)) == "equal"
    assert difference(x, x[:5]) == "5 values, not 2,000"
    assert difference(x, np.where(x == 7, 9, x)) == "1 of 2,000 differ, by 2 of 2e+03"


@pytest.mark.parametrize(
    ("luts", "cycles", "fits"),
    [
        ([1, 2, 3, 3, 5], 25, True),  # the wider weights bring the last step
        ([1, 2, 99, 99], 50, True),  # full
        ([99], 100, False),  # nothing has room
    ],
)
def test_folding_ends_at_the_fastest_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripts: dict[str, ModuleType],
    luts: list[int], cycles: int, fits: bool,
) -> None:  # fmt: skip
    class Config:
        mvau_wwidth_max = 36

    asked: list[tuple[int | None, int]] = []
    # the third folding gains nothing with weights of 36 bits
    gained = iter([100, 50, 50, 25, 25])

    def folded(model: Any, cfg: Config, target: int | None, folder: Path) -> dict[str, float]:
        asked.append((target, cfg.mvau_wwidth_max))
        return {"cycles": next(gained), "latency": 0, "lut": luts[len(asked) - 1], "bram36": 0, "dsp": 0}

    finn = scripts["finn_estimate"]
    monkeypatch.setattr(finn, "folded", folded)
    found = finn.best(None, Config(), tmp_path, {"lut": 10, "bram36": 1, "dsp": 1})
    assert (found["cycles"], found["fits"]) == (cycles, fits)
    assert asked[0] == (None, 36)
    assert {width for _, width in asked[1:]} == ({36, finn.WIDEST} if fits else set())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("brevitas")
    return NETWORKS[0].file(tmp_path_factory.mktemp("networks"))


def outcome(model: Any, picture: np.ndarray) -> np.ndarray:
    from qonnx.core.onnx_exec import execute_onnx

    found: np.ndarray = execute_onnx(model, {model.graph.input[0].name: picture.astype(np.float32)})[
        model.graph.output[0].name
    ]
    return found


def test_pixels_that_arrive_as_integers_give_the_same(tiny: Path, scripts: dict[str, ModuleType]) -> None:
    wrapper = pytest.importorskip("qonnx.core.modelwrapper").ModelWrapper
    finn = scripts["finn_estimate"]
    picture = np.random.default_rng(0).integers(0, 256, (1, 1, 32, 32))
    wanted = outcome(wrapper(str(tiny)), picture / 256)
    model = finn.vectors(finn.bytes_in(wrapper(str(tiny)), None), None)
    assert model.get_tensor_datatype(model.graph.input[0].name).name == "UINT8"
    assert all(model.get_initializer(n.input[2]).shape for n in model.graph.node if n.op_type == "Quant")
    assert np.array_equal(outcome(model, picture), wanted)


def test_an_input_that_is_not_bytes_stays(tiny: Path, scripts: dict[str, ModuleType]) -> None:
    wrapper = pytest.importorskip("qonnx.core.modelwrapper").ModelWrapper
    for change in ("zero point", "sign"):
        model = wrapper(str(tiny))
        quant = model.find_consumer(model.graph.input[0].name)
        if change == "zero point":
            model.set_initializer(quant.input[2], np.asarray(3.0, np.float32))
        else:
            next(a for a in quant.attribute if a.name == "signed").i = 1
        before = model.model.SerializeToString()
        assert scripts["finn_estimate"].bytes_in(model, None).model.SerializeToString() == before


def test_joins_with_channels_last_give_the_same(tiny: Path, scripts: dict[str, ModuleType]) -> None:
    wrapper = pytest.importorskip("qonnx.core.modelwrapper").ModelWrapper
    from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
    from qonnx.util.cleanup import cleanup_model

    picture = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 1)) / 256
    model = cleanup_model(wrapper(str(tiny)))
    model = cleanup_model(model.transform(ConvertToChannelsLastAndClean(make_input_channels_last=True)))
    wanted = outcome(model, picture)
    turned = cleanup_model(scripts["hls4ml_convert"].joins_last(model))
    joins = [node for node in turned.graph.node if node.op_type in ("Resize", "Concat")]
    assert len(joins) == 2
    assert all(turned.get_tensor_shape(node.output[0])[1:3] == [32, 32] for node in joins)
    assert np.array_equal(outcome(turned, picture).ravel(), wanted.ravel())

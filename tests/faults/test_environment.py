"""hwseg does the same in every environment, or says in one line what is wrong with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hwseg import caches
from hwseg.builds.simulation import FOUND, OWNER
from hwseg.errors import HwsegError
from hwseg.files import MANIFEST, owner_of, verify_manifest
from hwseg.rtl.config import parse_array
from hwseg.sim import build as simulators
from hwseg.sim.build import Simulator, engine_sources
from hwseg.sim.build import build as build_simulator
from hwseg.toolchain.plain import is_plain, plain_folder
from tests.faults.cache import empty_but_for_yosys
from tests.faults.small import ARRAY, build, environment, hwseg, model, picture

ODD = "a ü'$(x)\"#%;&"
"""What make, sh, Perl or Yosys would take apart."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("small"))


@contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own at `folder`."""
    folder.mkdir()
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o {options} tmpfs '{folder}' 2>/dev/null"):
        pytest.skip("mounting needs root")
    try:
        yield folder
    finally:
        os.system(f"umount '{folder}'")


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


@pytest.mark.verilator
def test_a_simulator_is_compiled_and_run_at_any_path(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache, the folder for temporary files, the build and the picture lie at paths that break tools.  What is
    found there again is not compiled again; what is damaged is.
    """
    folder = tmp_path / ODD
    folder.mkdir()
    shutil.copytree(built, folder / "build")
    shutil.copyfile(built.parent / "picture.png", folder / "picture.png")
    place = {"XDG_CACHE_HOME": str(folder / "cache"), "TMPDIR": str(folder)}
    hostile = {
        "MAKEFLAGS": "--no-such-option",
        "CXXFLAGS": "--no-such-option",
        "WAVES": "1",
        "OPT_FAST": "-x",
        "LC_ALL": "C",
    }
    done = hwseg("simulate", folder / "build", "--image", folder / "picture.png", **place, **hostile)
    assert done.returncode == 0, done.stderr
    assert "0 mismatches" in done.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["build", "cache", "picture.png"]
    assert not list((folder / "build").rglob(".*"))
    (simulator,) = (folder / "cache" / "hwseg" / "simulators").iterdir()
    program = simulator / "bench"
    made, sound = program.stat().st_mtime_ns, program.read_bytes()
    again = hwseg("simulate", folder / "build", "--image", folder / "picture.png", **place)
    assert again.returncode == 0, again.stderr
    assert program.stat().st_mtime_ns == made
    program.write_bytes(sound[: len(sound) // 2])
    monkeypatch.setenv("XDG_CACHE_HOME", place["XDG_CACHE_HOME"])
    monkeypatch.setattr(
        simulators, "_compile", lambda bench, sources, made, *choices: (made / bench).write_bytes(sound)
    )
    third = build_simulator(folder / "build" / "top.v", sets=parse_array(ARRAY).sets, memory_bytes=1)
    assert third == Simulator(simulator, fresh=True)
    assert program.read_bytes() == sound


def test_a_result_is_whole_and_of_its_build(built: Path, tmp_path: Path) -> None:
    from hwseg.builds.simulation import simulation
    from hwseg.commands.simulate import keep
    from hwseg.files import sha256

    found = {"cycles": 1, "predicted_cycles": 1, "mismatches": 0, "image": "a", "manifest": sha256(built / MANIFEST)}
    folder = built / "simulation"
    for mask in (b"one", b"two"):
        keep(folder, {"mask": mask, "overlay": mask}, found)
    assert sorted(path.name for path in folder.iterdir()) == ["hwseg-build.json", "mask.png", "overlay.png", FOUND]
    assert owner_of(folder) == OWNER
    assert simulation(built) is not None
    (folder / "overlay.png").write_bytes(b"of another picture")
    with pytest.raises(HwsegError, match=r"overlay\.png: is not the picture of this simulation; run hwseg simulate"):
        simulation(built)
    keep(folder, {"mask": b"three", "overlay": b"three"}, found)  # the cure
    assert simulation(built) is not None
    shutil.rmtree(folder)
    (tmp_path / "notes.txt").write_text("mine")
    keep(tmp_path, {"mask": b"m", "overlay": b"o"}, found)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask.png", "notes.txt", "overlay.png", FOUND]


@pytest.mark.parametrize("program", ["g++", "make", "perl"])
def test_a_program_that_is_missing_is_named_with_its_cure(
    program: str, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "cache_folder", lambda *parts: tmp_path)
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, *more, **other: None if name == program else which(name))
    with pytest.raises(HwsegError, match=rf"{program.replace('+', '.')}: must be installed to .*; (install|pip)"):
        build_simulator(built / "top.v", sets=1, memory_bytes=1 << 20)


@pytest.mark.verilator
def test_verilog_that_was_changed_is_refused_and_compiling_again_is_the_cure(built: Path, tmp_path: Path) -> None:
    broken = tmp_path / "build"
    shutil.copytree(built, broken)
    text = (broken / "top.v").read_text()
    (broken / "top.v").write_text(text.replace("endmodule", "nonsense", 1))
    said = hwseg("simulate", broken, "--image", built.parent / "picture.png")
    assert lines(said.stderr)[-1].endswith("; build it again")
    forced = hwseg("simulate", broken, "--image", built.parent / "picture.png", "--force")
    assert (forced.returncode, len(lines(forced.stderr))) == (2, 2), forced.stderr  # what pixels are taken for, first
    assert "top.v, and the model is not to blame: %Error" in forced.stderr
    assert forced.stderr.endswith("; compile the model again\n")
    cured = hwseg("compile", built.parent / "model.onnx", "--array", ARRAY, "-o", broken)
    assert cured.returncode == 0
    verify_manifest(broken)
    assert engine_sources(broken / "top.v")[-1].read_text() == text


def test_a_plain_folder_is_found_where_the_usual_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    odd = tmp_path / ODD
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    with plain_folder() as folder:
        assert is_plain(folder)
        assert list(folder.iterdir()) == []
    assert not folder.exists()
    monkeypatch.setattr("hwseg.toolchain.plain._OTHERS", ())
    with pytest.raises(HwsegError, match="set TMPDIR to a folder whose path has letters"), plain_folder():
        pytest.fail("the body must not run")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with plain_folder():
        pass


def test_the_reader_of_the_output_may_leave(built: Path) -> None:
    """`hwseg report | head -1`, and `2>&1 | head -1`."""
    for words in (["report", str(built)], ["report", str(built), "--json"], ["doctor"], ["--help"]):
        for error in (subprocess.PIPE, subprocess.STDOUT):
            process = subprocess.Popen(
                [sys.executable, "-m", "hwseg", *words], stdout=subprocess.PIPE, stderr=error, env=environment({})
            )
            assert process.stdout is not None
            process.stdout.read(1)
            process.stdout.close()
            said = process.stderr.read() if process.stderr else b""
            assert (process.wait(timeout=300), said) == (0, b"")


def test_a_verdict_survives_a_reader_that_leaves(built: Path, tmp_path: Path) -> None:
    """The status and the files are those of a command that was read to its end."""
    missing = subprocess.Popen(
        [sys.executable, "-m", "hwseg", "compare", str(built), str(tmp_path / "none")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment({}),
    )  # fmt: skip
    assert missing.stdout is not None
    missing.stdout.close()
    assert missing.wait(timeout=300) == 2
    command = [sys.executable, "-m", "hwseg", "compare", str(built), str(built), "-o", str(tmp_path / "c.json")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment({}))
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=300) == 0
    assert (tmp_path / "c.json").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_the_output_is_one_line(built: Path) -> None:
    for words in (["report", str(built)], ["report", str(built), "--json"], ["--help"]):
        with open("/dev/full", "w") as full:
            command = [sys.executable, "-m", "hwseg", *words]
            done = subprocess.run(
                command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment({}), check=False
            )
        assert done.returncode == 2
        assert done.stderr == "hwseg: standard output: the disk is full; free space or write elsewhere\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_streams_may_be_closed(closed: str, built: Path, tmp_path: Path) -> None:
    command = f"'{sys.executable}' -m hwseg compare '{built}' '{built}' -o '{tmp_path / 'c.md'}' {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment({}), check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "c.md").read_text().startswith("# Comparison")


def test_names_that_the_output_cannot_write(tmp_path: Path) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    graph = model(tmp_path / "prüfbild.onnx", "größe[red]\x1b[31m/漢")
    folder = tmp_path / "bäu"
    done = hwseg("compile", graph, "--array", ARRAY, "-o", folder, "--explain", **ascii_only)
    assert (done.returncode, done.stderr) == (0, "")
    assert "[red]" in done.stdout
    assert "\x1b" not in done.stdout
    for words in (["report", folder], ["report", folder, "--json"], ["compare", folder, folder], ["doctor"]):
        done = hwseg(*words, **ascii_only)
        assert (done.returncode, done.stderr) == (0, "")
    done = hwseg("golden", graph, "--image", tmp_path / "nö.png", **ascii_only)
    assert done.returncode == 2
    assert len(lines(done.stderr)) == 1
    assert "no such file" in done.stderr


def test_names_of_files_that_are_not_utf_8(tmp_path: Path) -> None:
    """As a disk of another system brings them."""
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/pr\xfcf"))
    odd.mkdir()
    graph = model(tmp_path / "model.onnx").rename(odd / os.fsdecode(b"\xe4.onnx"))
    assert hwseg("compile", graph, "--array", ARRAY, "-o", odd / "build").returncode == 0
    verify_manifest(odd / "build")
    for words in (["report", odd / "build"], ["compare", odd / "build", odd / "build", "-o", tmp_path / "c.html"]):
        done = hwseg(*words)
        assert (done.returncode, done.stderr) == (0, "")
    done = hwseg("golden", graph, "--image", odd / "none.png")
    assert (done.returncode, len(lines(done.stderr))) == (2, 1)


def test_markup_in_names_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hwseg.builds.read import load_build
    from hwseg.commands.tables import show, show_energy, show_explanations

    monkeypatch.setenv("COLUMNS", "400")
    for name in ("[/]", "[bold]x[/bold]", "\\[red]", ":smile:", "[link=http://x]y[/link]"):
        program = build(tmp_path, name)
        _, loaded, report = load_build(program)
        show({**report, "warnings": [f"{name} is slow"], "inexact": {name: 3}})
        show_energy(report, "pl")
        show_explanations(loaded.explain())
        said = capfd.readouterr().out.replace("\n", "")
        assert said.count(name) >= 5, said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_command_and_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """Where Ctrl-C would end it: in the middle of compiling, with children at work."""
    cache = empty_but_for_yosys(tmp_path / "cache")
    graph = model(tmp_path / "model.onnx", side=64)
    process = subprocess.Popen(
        [sys.executable, "-m", "hwseg", "compile", str(graph), "-o", str(tmp_path / "build")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment({"XDG_CACHE_HOME": str(cache)}),
    )  # fmt: skip
    while not (tmp_path / ".build.hwseg-partial").exists() and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.3)  # a folder that was just made is taken over by the next command instead
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert said.strip() == ("hwseg: interrupted" if number == signal.SIGINT else f"hwseg: interrupted by {number.name}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "model.onnx"]
    assert not [entry for entry in (cache / "hwseg").rglob("*") if entry.parent.name == "engines"]
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=False).stdout
    assert str(cache) not in left


def test_two_processes_on_an_empty_cache_make_the_same(tmp_path: Path) -> None:
    """Both at once, each into its own folder: one waits for the other's entry or makes its own, and nobody fails."""
    cache = empty_but_for_yosys(tmp_path / "cache")
    graph = model(tmp_path / "model.onnx")
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "hwseg", "compile", str(graph), "--array", ARRAY, "-o", str(tmp_path / name)],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            env=environment({"XDG_CACHE_HOME": str(cache)}),
        )
        for name in ("first", "second")
    ]  # fmt: skip
    said = [process.communicate(timeout=240)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    first, second = [(tmp_path / name / MANIFEST).read_bytes() for name in ("first", "second")]
    assert first == second
    assert [path.name for path in (cache / "hwseg" / "engines").iterdir() if path.name.startswith(".tmp")] == []


@pytest.mark.slow
@pytest.mark.parametrize("options", ["size=1m", "ro"])
def test_compile_with_a_full_or_read_only_home(options: str, tmp_path: Path) -> None:
    """It takes as long as on a machine that has never compiled, says why, and gives the same bytes."""
    graph = model(tmp_path / "model.onnx")
    wanted = hwseg("compile", graph, "--array", ARRAY, "-o", tmp_path / "wanted")
    assert wanted.returncode == 0, wanted.stderr
    with disk(tmp_path / "home", options) as home:
        start = time.monotonic()
        done = hwseg("compile", graph, "--array", ARRAY, "-o", tmp_path / "build", HOME=str(home), XDG_CACHE_HOME="")
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - start < 400
        told = lines(done.stderr)
        said = "so that nothing is kept there and it is made each time; free space or set XDG_CACHE_HOME"
        assert told
        assert all(said in line for line in told)
    assert (tmp_path / "build" / MANIFEST).read_bytes() == (tmp_path / "wanted" / MANIFEST).read_bytes()


@pytest.mark.slow
@pytest.mark.verilator
@pytest.mark.parametrize("options", ["size=1m", "ro"])
def test_simulate_with_a_full_or_read_only_home(options: str, built: Path, tmp_path: Path) -> None:
    with disk(tmp_path / "home", options) as home:
        done = hwseg(
            "simulate", built, "--image", built.parent / "picture.png", "--pictures", tmp_path / "out",
            HOME=str(home), XDG_CACHE_HOME="",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "0 mismatches" in done.stdout
    assert all("so that nothing is kept there" in line for line in lines(done.stderr))


def test_a_full_disk_under_the_results_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    graph = model(tmp_path / "model.onnx")
    with disk(tmp_path / "full", "size=64k") as full:
        done = hwseg("compile", graph, "--array", ARRAY, "-o", full / "build")
        assert done.returncode == 2
        assert lines(done.stderr) == [f"hwseg: {full}/build: the disk is full; free space or write elsewhere"]
        assert list(full.iterdir()) == []
        picture(tmp_path / "picture.png")
        (full / "fill").write_bytes(bytes(60_000))
        done = hwseg("golden", graph, "--image", tmp_path / "picture.png", "--out", full / "out.npy")
        assert done.returncode in (0, 2)
        assert sorted(path.name for path in full.iterdir()) in (["fill"], ["fill", "out.npy"])


def test_a_limit_on_the_size_of_files_is_one_line(tmp_path: Path) -> None:
    """As `ulimit -f`; Python turns the signal into an error."""
    graph = model(tmp_path / "model.onnx")
    command = f"ulimit -f 64; exec '{sys.executable}' -m hwseg compile '{graph}' --array {ARRAY} -o '{tmp_path}/build'"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment({}), check=False)
    assert done.returncode == 2, done.stderr
    assert "the file would be larger than the system's limits allow; write elsewhere, or raise ulimit -f" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx"]

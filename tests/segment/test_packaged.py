"""`hwseg segment` of a package: on the board, here a stand-in, with the bytes that the golden model gives."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from hwseg.boards import load_board
from hwseg.boards.zynq7020.package import package
from hwseg.builds.build import compile_model
from hwseg.commands.segment import command
from hwseg.errors import HwsegError
from hwseg.runtime import accelerator as driver
from hwseg.segment.engines import open_engine
from hwseg.segment.packaged import open_package
from hwseg.segment.program import main
from hwseg.segment.results import Options
from hwseg.segment.run import segment
from tests.runtime import fake
from tests.segment.networks import blobs, small

SIZES = ((31, 53), (60, 40))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Two networks and their builds, the package of both, and pictures."""
    folder = tmp_path_factory.mktemp("packaged")
    builds = []
    for name, classes in (("one", 1), ("two", 2)):
        model = small(folder / f"{name}.onnx", classes=classes)
        builds.append(compile_model(model, array="8x1x1", out=folder / name).path)
    package(builds, load_board("pynq-z2"), folder / "package")
    (folder / "pictures").mkdir()
    for seed, size in enumerate(SIZES):
        np.save(folder / "pictures" / f"{seed}.npy", blobs(size, seed))
    return folder


@pytest.fixture(params=["fake", pytest.param("simulation", marks=pytest.mark.verilator)])
def board(request, monkeypatch):
    """Something that stands where the board is."""
    stand_in = driver.BACKENDS["simulation"]
    if request.param == "fake":
        stand_in = ("tests.runtime.fake", "FakeBoard")
    else:
        pytest.importorskip("cocotb")
    monkeypatch.setitem(driver.BACKENDS, "board", stand_in)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setitem(driver.BACKENDS, "board", ("tests.runtime.fake", "FakeBoard"))


def run(*words):
    return CliRunner().invoke(command, [str(word) for word in words])


def same(one, other):
    names = {path.name for path in one.iterdir()}
    assert names == {path.name for path in other.iterdir()}
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_the_command_and_the_boards_program_give_the_golden_models_bytes(work, board, tmp_path, capsys):
    done = run(work / "one.onnx", work / "pictures", "-o", tmp_path / "golden")
    assert done.exit_code == 0, done.exception
    done = run(work / "package", work / "pictures", "-o", tmp_path / "command", "--on", "board")
    assert done.exit_code == 0, done.exception
    assert "0.npy: 31x53, 6 tiles of 24x24, 110.3% more pixels than its own" in done.output
    assert "2 masks on board in " in done.output
    assert main(["segment", *map(str, (work / "package", work / "pictures", "-o", tmp_path / "program"))]) == 0
    assert "2 masks on board in " in capsys.readouterr().out
    assert same(tmp_path / "golden", tmp_path / "command")
    assert same(tmp_path / "golden", tmp_path / "program")
    masks = [np.load(tmp_path / "golden" / f"{seed}.npy") for seed in range(len(SIZES))]
    assert [mask.shape for mask in masks] == list(SIZES)
    assert all(0 < (mask > 0).mean() < 1 for mask in masks)


def test_a_model_of_the_package_is_chosen_by_its_name(work, quick, tmp_path):
    done = run(work / "two.onnx", work / "pictures", "-o", tmp_path / "golden")
    assert done.exit_code == 0, done.exception
    done = run(work / "package", work / "pictures", "-o", tmp_path / "board", "--model", "two")
    assert done.exit_code == 0, done.exception
    assert same(tmp_path / "golden", tmp_path / "board")
    with pytest.raises(HwsegError, match="model 'three': must be one of this package; use one, two"):
        open_package(work / "package", "board", "three")


def test_on_another_machine_it_is_refused_with_place_rule_and_cure(work, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "hwseg", "segment", work / "package", work / "pictures", "-o", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("hwseg: board: must be xlnx,zynq-7000, as the pynq-z2 is, this program runs on ")
    assert "; copy the package to the board and run this there, or choose simulation" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("source", "options", "sentence"),
    [
        ("package", {"on": "golden"}, r"--on golden: needs a model or a build, .*package is a package; use --on board"),
        ("package", {"on": "machine"}, r"--on machine: needs a model or a build"),
        ("package", {"tile": (24, 24)}, r"--tile: does not go with this: a package's models have what they were comp"),
        ("package", {"meaning": "unit"}, r"--input: does not go with this"),
        ("one", {"on": "board"}, r"--on board: needs a package, .*one is a build; make one with hwseg package"),
        ("one.onnx", {"on": "board"}, r"--on board: needs a package, .*one.onnx is a model file; make one with"),
        (
            "one.onnx",
            {"model": "two"},
            r"--model: does not go with this: a model or a build is one model; leave it out",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(work, source, options, sentence):
    with pytest.raises(HwsegError, match=sentence):
        open_engine(work / source, **options)


def test_several_jobs_are_refused(work, quick, tmp_path):
    done = run(work / "package", work / "pictures", "-o", tmp_path / "out", "--jobs", "2")
    assert "--jobs: computes one tile at a time with --on board; leave it out" in str(done.exception)


class Failing(fake.FakeBoard):
    """Its memory answers the third run with an error."""

    runs = 0

    def _run(self):
        Failing.runs += 1
        self.error = Failing.runs == 3
        super()._run()


def test_a_fault_in_the_middle_keeps_finished_tiles_and_resume_goes_on(work, tmp_path, monkeypatch):
    monkeypatch.setattr(fake, "Failing", Failing, raising=False)
    monkeypatch.setitem(driver.BACKENDS, "board", ("tests.runtime.fake", "Failing"))
    picture, out = work / "pictures" / "0.npy", tmp_path / "mask.npy"
    engine = open_package(work / "package", "board")
    with pytest.raises(HwsegError, match="must end by itself, ended early"):
        segment(engine, [picture], out)
    engine.close()
    assert not out.exists()
    engine = open_package(work / "package", "board")
    (found,) = segment(engine, [picture], out, Options(resume=True))
    engine.close()
    assert found.resumed >= 1
    assert Failing.runs == 3 + 6 - found.resumed
    assert run(work / "one.onnx", picture, "-o", tmp_path / "golden.npy").exit_code == 0
    assert out.read_bytes() == (tmp_path / "golden.npy").read_bytes()


@pytest.mark.parametrize("words", [[], ["--on", "golden"], ["--page", "-1"], ["--jobs", "2"]])
def test_the_boards_program_refuses_other_words(work, words, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["segment", str(work / "package"), *(["x.npy", "-o", str(tmp_path / "x")] if words else []), *words])
    assert stop.value.code == 2
    assert "usage: hwseg" in capsys.readouterr().err

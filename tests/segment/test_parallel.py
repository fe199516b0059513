"""Several tiles at once, on other processes or a cluster, and on whatever computes: the same masks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hwseg.builds.build import compile_model
from hwseg.errors import HwsegError
from hwseg.segment.engines import open_engine
from hwseg.segment.results import Options
from hwseg.segment.run import segment
from tests.segment.networks import blobs, small

INPUT = json.dumps({"format": 1, "values": "percentile 1 99"})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return small(tmp_path_factory.mktemp("model") / "small.onnx", hwseg__input=INPUT)


@pytest.fixture(scope="module")
def build(model, tmp_path_factory):
    return compile_model(model, array="sim", out=tmp_path_factory.mktemp("build") / "build").path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for number, size in enumerate(((60, 50), (24, 24), (30, 100))):
        Image.fromarray(blobs(size, number)).save(tmp_path / f"in/{number}.png")
    return tmp_path / "in"


def masks(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)) for path in folder.glob("*.png")}


def same(found: Path, expected: Path) -> bool:
    one, other = masks(found), masks(expected)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_two_jobs_give_what_one_gives(model, folder, tmp_path):
    segment(open_engine(model), [folder], tmp_path / "one")
    engine = open_engine(model, tile=(20, 20))
    seen = []
    found = segment(engine, [folder], tmp_path / "two", Options(jobs=2), lambda *given: seen.append(given))
    assert same(tmp_path / "two", tmp_path / "one")
    total = sum(each.plan.tiles for each in found)
    assert total > 20
    assert seen[-1][1:] == (total, total)
    assert [given[1] for given in seen] == sorted(given[1] for given in seen)


def test_a_job_of_the_golden_model_starts_without_the_compiler():
    """Every process imports what its engine needs: gates and compiler would take longer than a tile."""
    code = (
        "import sys, hwseg.segment.engines; print([m for m in sys.modules if m in ('amaranth', 'onnx', 'hwseg.rtl')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_two_jobs_can_be_interrupted_and_resumed(model, folder, tmp_path):
    def stop(name: str, done: int, total: int) -> None:
        if done >= 5:
            raise KeyboardInterrupt

    engine = open_engine(model, tile=(20, 20))
    with pytest.raises(KeyboardInterrupt):
        segment(engine, [folder], tmp_path / "out", Options(jobs=2), stop)
    found = segment(engine, [folder], tmp_path / "out", Options(jobs=2, resume=True))
    assert sum(each.resumed for each in found) == 5
    segment(open_engine(model), [folder], tmp_path / "one")
    assert same(tmp_path / "out", tmp_path / "one")


def test_a_local_cluster_gives_what_one_process_gives(model, folder, tmp_path):
    distributed = pytest.importorskip("distributed")
    segment(open_engine(model), [folder], tmp_path / "one")
    settings = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**settings) as cluster:
        options = Options(dask=cluster.scheduler_address)
        segment(open_engine(model, tile=(20, 20)), [folder], tmp_path / "dask", options)
    assert same(tmp_path / "dask", tmp_path / "one")


def test_an_address_where_nobody_is(model, folder, tmp_path):
    pytest.importorskip("distributed")
    for address in ("tcp://127.0.0.1:9", "nonsense://x", ""):
        if address:
            with pytest.raises(HwsegError, match=r"--dask .*: must be the address of a Dask scheduler"):
                segment(open_engine(model), [folder], tmp_path / "out", Options(dask=address))
    assert not (tmp_path / "out").exists()


def test_the_machine_gives_what_the_golden_model_gives(model, build, folder, tmp_path):
    segment(open_engine(model), [folder], tmp_path / "golden")
    segment(open_engine(build, "machine"), [folder], tmp_path / "machine")
    segment(open_engine(build), [folder], tmp_path / "of the build")
    assert same(tmp_path / "machine", tmp_path / "golden")
    assert same(tmp_path / "of the build", tmp_path / "golden")
    segment(open_engine(build, "machine"), [folder], tmp_path / "two", Options(jobs=2))
    assert same(tmp_path / "two", tmp_path / "golden")


@pytest.mark.slow
@pytest.mark.verilator
def test_the_simulated_engine_gives_what_the_golden_model_gives(model, build, folder, tmp_path):
    segment(open_engine(model), [folder / "0.png"], tmp_path / "golden")
    segment(open_engine(build, "simulation"), [folder / "0.png"], tmp_path / "simulation")
    assert same(tmp_path / "simulation", tmp_path / "golden")


class TestRefusals:
    def test_a_model_file_has_no_program(self, model):
        with pytest.raises(
            HwsegError, match=r"--on machine: needs a build, .* is a model file; make one with hwseg comp"
        ):
            open_engine(model, "machine")

    def test_a_folder_that_only_looks_like_a_package(self, tmp_path):
        (tmp_path / "package.json").write_text("{}")
        with pytest.raises(HwsegError, match=r"manifest.json: must exist"):
            open_engine(tmp_path)

    def test_tiles_of_a_program_are_its_own(self, build):
        with pytest.raises(HwsegError, match="--tile: goes with --on golden alone, not with machine"):
            open_engine(build, "machine", tile=(32, 32))

    def test_nothing_there(self, tmp_path):
        with pytest.raises(HwsegError, match="must be a model, a build or a package, but there is none"):
            open_engine(tmp_path / "no.onnx")

    def test_a_folder_that_is_neither(self, tmp_path):
        with pytest.raises(HwsegError, match="must be a build folder"):
            open_engine(tmp_path)

    def test_one_simulator_computes_one_tile_at_a_time(self, build, folder, tmp_path):
        with pytest.raises(HwsegError, match="--jobs: computes one tile at a time with --on simulation"):
            segment(open_engine(build, "simulation"), [folder], tmp_path / "out", Options(jobs=2))

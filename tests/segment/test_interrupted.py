"""What is finished of an interrupted run stays, and is not computed again; nothing else is taken for finished."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from hwseg.errors import HwsegError
from hwseg.pictures.read import read_one
from hwseg.segment import journal
from hwseg.segment.engines import Golden, open_engine
from hwseg.segment.results import Options
from hwseg.segment.run import segment
from tests.segment.networks import blobs, small

INPUT = json.dumps({"format": 1, "values": "percentile 1 99"})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return small(tmp_path_factory.mktemp("model") / "small.onnx", hwseg__input=INPUT)


class Stop(KeyboardInterrupt):
    """Instead of Ctrl-C."""


def stopping(after: int):
    """Progress that interrupts when so many tiles are done."""

    def show(name: str, done: int, total: int) -> None:
        if done >= after:
            raise Stop

    return show


class Counting:
    """An engine that counts what it computes."""

    def __init__(self, engine: Golden) -> None:
        self.engine, self.count = engine, 0

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def classes(self, integers):
        self.count += 1
        return self.engine.classes(integers)

    def each(self, inputs):
        return map(self.classes, inputs)


def engine(model: Path) -> Counting:
    return Counting(open_engine(model, tile=(20, 20)))


def pixels(path: Path) -> np.ndarray:
    return read_one(path).pixels


@pytest.fixture
def picture(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", blobs((60, 50)), resolution=(3, 3))
    return tmp_path / "a.tif"


@pytest.fixture
def expected(model, picture, tmp_path):
    segment(engine(model), [picture], tmp_path / "expected.tif")
    return pixels(tmp_path / "expected.tif")


@pytest.mark.parametrize("after", [1, 7, 15])
def test_resume_computes_what_is_missing_and_no_more(model, picture, expected, tmp_path, after):
    first, second, out = engine(model), engine(model), tmp_path / "m.tif"
    with pytest.raises(Stop):
        segment(first, [picture], out, progress=stopping(after))
    assert not out.exists()
    assert first.count == after
    (found,) = segment(second, [picture], out, Options(resume=True))
    assert second.count == len(found.plan.grid) - after
    assert found.resumed == after
    assert np.array_equal(pixels(out), expected)
    assert [p.name for p in tmp_path.glob(".*")] == []


def test_of_several_files_those_that_are_written_are_not_made_again(model, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(4):
        Image.fromarray(blobs((30, 30), number)).save(tmp_path / f"in/{number}.png")
    segment(engine(model), [tmp_path / "in"], tmp_path / "expected", Options(measure=tmp_path / "expected.csv"))
    with pytest.raises(Stop):
        segment(engine(model), [tmp_path / "in"], tmp_path / "out", Options(measure=tmp_path / "m.csv"), stopping(10))
    written = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*.png")}
    assert len(written) == 2
    counted = engine(model)
    options = Options(resume=True, measure=tmp_path / "m.csv")
    found = segment(counted, [tmp_path / "in"], tmp_path / "out", options)
    assert counted.count == 4 * 4 - 10
    assert [one.resumed for one in found] == [4, 4, 2, 0]
    assert {p: p.stat().st_mtime_ns for p in written} == written
    assert (tmp_path / "m.csv").read_text() == (tmp_path / "expected.csv").read_text()
    for path in (tmp_path / "expected").iterdir():
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()
    assert not (tmp_path / "out" / journal.UNFINISHED).exists()


class TestWhatDoesNotCount:
    @pytest.fixture
    def unfinished(self, model, picture, tmp_path):
        with pytest.raises(Stop):
            segment(engine(model), [picture], tmp_path / "m.tif", progress=stopping(5))
        (folder,) = tmp_path.glob(f".m.tif{journal.UNFINISHED}")
        return folder

    def resumed(self, model, picture, tmp_path, count):
        counted = engine(model)
        (found,) = segment(counted, [picture], tmp_path / "m.tif", Options(resume=True))
        assert counted.count == len(found.plan.grid) - count
        return pixels(tmp_path / "m.tif")

    def test_a_tile_whose_classes_are_not_what_its_line_says(self, model, picture, expected, tmp_path, unfinished):
        path = next(unfinished.rglob("classes"))
        content = bytearray(path.read_bytes())
        content[3] ^= 1
        path.write_bytes(content)
        assert np.array_equal(self.resumed(model, picture, tmp_path, 4), expected)

    def test_a_line_that_a_crash_tore(self, model, picture, expected, tmp_path, unfinished):
        path = next(unfinished.rglob("tiles.jsonl"))
        path.write_bytes(path.read_bytes()[:-20])
        assert np.array_equal(self.resumed(model, picture, tmp_path, 4), expected)

    @pytest.mark.parametrize("line", [b"null", b"[]", b'{"picture": 0, "tile": 99, "sha256": ""}', b"\xff\xfe", b"{}"])
    def test_lines_that_are_none(self, model, picture, expected, tmp_path, unfinished, line):
        path = next(unfinished.rglob("tiles.jsonl"))
        path.write_bytes(line + b"\n" + path.read_bytes())
        assert np.array_equal(self.resumed(model, picture, tmp_path, 5), expected)

    def test_a_class_map_that_was_cut(self, model, picture, expected, tmp_path, unfinished):
        os.truncate(next(unfinished.rglob("classes")), 100)
        assert np.array_equal(self.resumed(model, picture, tmp_path, 0), expected)

    def test_another_picture_of_the_same_name(self, model, picture, tmp_path, unfinished):
        tifffile.imwrite(picture, blobs((60, 50), 5))
        with pytest.raises(HwsegError, match="was begun with another picture, network or option; remove that folder"):
            segment(engine(model), [picture], tmp_path / "m.tif", Options(resume=True))

    def test_another_network(self, model, picture, tmp_path, unfinished):
        other = small(tmp_path / "other.onnx", hwseg__input=json.dumps({"format": 1, "values": "unit", "bits": 8}))
        with pytest.raises(HwsegError, match="was begun with another picture, network or option"):
            segment(engine(other), [picture], tmp_path / "m.tif", Options(resume=True))

    def test_it_is_not_thrown_away_without_a_word(self, model, picture, tmp_path, unfinished):
        with pytest.raises(HwsegError, match="holds what an interrupted run has finished; go on with it by --resume"):
            segment(engine(model), [picture], tmp_path / "m.tif")

    def test_a_mask_that_was_changed_since(self, model, tmp_path):
        (tmp_path / "in").mkdir()
        for number in range(2):
            Image.fromarray(blobs((30, 30), number)).save(tmp_path / f"in/{number}.png")
        with pytest.raises(Stop):
            segment(engine(model), [tmp_path / "in"], tmp_path / "out", progress=stopping(5))
        first = (tmp_path / "out/0.png").read_bytes()
        (tmp_path / "out/0.png").write_bytes(b"changed")
        counted = engine(model)
        segment(counted, [tmp_path / "in"], tmp_path / "out", Options(resume=True))
        assert counted.count == 4 + 3
        assert (tmp_path / "out/0.png").read_bytes() == first


def test_nothing_is_left_of_a_run_that_finished_nothing(model, tmp_path):
    Image.fromarray(blobs((30, 30))).convert("RGB").resize((30, 30)).save(tmp_path / "a.png")
    Image.fromarray(blobs((30, 30), channels=4)).save(tmp_path / "b.png")
    with pytest.raises(HwsegError):
        segment(engine(model), [tmp_path / "b.png"], tmp_path / "m.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


class TestFullDisk:
    def test_while_tiles_are_kept(self, model, picture, expected, tmp_path, monkeypatch):
        calls, real = [0], os.pwrite

        def pwrite(handle, content, offset):
            calls[0] += 1
            if calls[0] > 60:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(handle, content, offset)

        monkeypatch.setattr(journal.os, "pwrite", pwrite)
        with pytest.raises(HwsegError, match="the disk is full"):
            segment(engine(model), [picture], tmp_path / "m.tif")
        monkeypatch.undo()
        counted = engine(model)
        (found,) = segment(counted, [picture], tmp_path / "m.tif", Options(resume=True))
        assert found.resumed > 0
        assert counted.count == len(found.plan.grid) - found.resumed
        assert np.array_equal(pixels(tmp_path / "m.tif"), expected)

    def test_in_the_middle_of_a_large_mask(self, model, tmp_path):
        """The system itself refuses to let a file grow: what is computed stays, no half mask is left."""
        noise = np.random.default_rng(0).integers(0, 256, (400, 400), np.uint8)
        tifffile.imwrite(tmp_path / "a.tif", noise)
        code = (
            "import resource, signal, sys\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "from hwseg.segment import write\n"
            "real = write.WRITERS['tiff']\n"
            "def full(*given):\n"
            "    resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY))\n"
            "    real(*given)\n"
            "write.WRITERS['tiff'] = full\n"
            "from hwseg.cli import main\n"
            "main(sys.argv[1:])\n"
        )
        command = ["segment", str(model), str(tmp_path / "a.tif"), "-o", str(tmp_path / "m.tif"), "--tile", "200"]
        done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert "m.tif" in done.stderr
        assert not (tmp_path / "m.tif").exists()
        counted = engine(model)
        counted.engine = open_engine(model, tile=(200, 200))
        (found,) = segment(counted, [tmp_path / "a.tif"], tmp_path / "m.tif", Options(resume=True))
        assert counted.count == 0
        assert found.resumed == len(found.plan.grid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_and_resume_goes_on(model, tmp_path, number):
    Image.fromarray(blobs((240, 240))).save(tmp_path / "a.png")
    command = [
        sys.executable,
        "-m",
        "hwseg",
        "segment",
        str(model),
        str(tmp_path / "a.png"),
        "-o",
        str(tmp_path / "m.png"),
    ]
    command += ["--tile", "24"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    lines = tmp_path / f".m.png{journal.UNFINISHED}/m.png.tiles/tiles.jsonl"
    limit = time.monotonic() + 120
    while not (lines.exists() and lines.stat().st_size > 500):
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode in (130, 143, -signal.SIGTERM)
    assert not (tmp_path / "m.png").exists()
    engine = open_engine(model, tile=(24, 24))
    (found,) = segment(engine, [tmp_path / "a.png"], tmp_path / "m.png", Options(resume=True))
    assert 0 < found.resumed < len(found.plan.grid)
    segment(engine, [tmp_path / "a.png"], tmp_path / "again.png")
    assert (tmp_path / "m.png").read_bytes() == (tmp_path / "again.png").read_bytes()

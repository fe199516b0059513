"""Pictures and names that cannot be: told before the first tile, in one sentence, and nothing is written."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from hwseg.commands.segment import command
from hwseg.errors import HwsegError
from hwseg.segment import run as running
from hwseg.segment.engines import open_engine
from hwseg.segment.results import Options
from hwseg.segment.run import segment
from tests.pictures.files import dicom, nifti, series
from tests.segment.networks import blobs, small


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return small(tmp_path_factory.mktemp("model") / "net.onnx", hwseg__normalize="none")


def mixed_series(folder):
    pytest.importorskip("pydicom")
    series(folder / "ct", np.zeros((3, 24, 30), np.uint16))
    dicom(folder / "ct" / "zz.dcm", np.zeros((24, 31), np.uint16), ImagePositionPatient=[0, 0, 50.0],
          ImageOrientationPatient=[1, 0, 0, 0, 1, 0])  # fmt: skip
    return "ct"


def four_dimensions(folder):
    pytest.importorskip("nibabel")
    nifti(folder / "a.nii.gz", np.zeros((24, 24, 3, 5), np.int16))
    return "a.nii.gz"


def pages_that_differ(folder):
    with tifffile.TiffWriter(folder / "a.tif") as file:
        file.write(blobs((30, 30)))
        file.write(blobs((30, 31)))
    return "a.tif"


def bomb(folder):
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return "a.png"


CASES = [
    (mixed_series, r"zz\.dcm: is 31x24, MONOCHROME2, while"),
    (four_dimensions, r"a\.nii\.gz: must have 2 or 3 dimensions, has 4: 24x24x3x5; choose one volume of it"),
    (pages_that_differ, r"a\.tif: has pages that differ: 30x30 uint8; 30x31 uint8; save those that belong together"),
    (bomb, r"a\.png: must have at most \d+ pixels|a\.png: .*60000"),
]


@pytest.mark.parametrize(("make", "sentence"), CASES, ids=[make.__name__ for make, _ in CASES])
def test_it_is_told_before_the_first_tile_of_any_picture(model, tmp_path, monkeypatch, make, sentence):
    """A sound picture stands before it: not one tile of that is computed either."""
    (tmp_path / "in").mkdir()
    Image.fromarray(blobs((30, 40))).save(tmp_path / "in" / "0.png")
    name = make(tmp_path / "in")
    monkeypatch.setattr(running, "Pool", None)
    inputs = [tmp_path / "in" / "0.png", tmp_path / "in" / name]
    done = CliRunner().invoke(command, [str(model), *map(str, inputs), "-o", str(tmp_path / "out")])
    assert isinstance(done.exception, HwsegError)
    assert done.exception.cure
    with pytest.raises(HwsegError, match=sentence):
        raise done.exception
    assert not (tmp_path / "out").exists()


def test_a_link_to_nothing_is_no_picture_less(model, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(blobs((30, 40))).save(folder / "0.png")
    (folder / "1.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(HwsegError, match=r"1\.png: is a link to a file that is not there; restore the file"):
        segment(open_engine(model), [folder], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_line_break_in_a_name_is_none_on_the_terminal(model, tmp_path):
    Image.fromarray(blobs((30, 40))).save(tmp_path / "a\n9 masks.png")
    done = CliRunner().invoke(command, [str(model), str(tmp_path / "a\n9 masks.png"), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert "a\\n9 masks.png: 30x40" in done.stdout
    assert len(done.stdout.splitlines()) == 2


def test_a_picture_that_is_damaged_behind_its_header_leaves_what_is_finished(model, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(blobs((30, 40))).save(folder / "0.png")
    tifffile.imwrite(folder / "a.tif", blobs((60, 60)), compression="zlib")
    sound = (folder / "a.tif").read_bytes()
    with tifffile.TiffFile(folder / "a.tif") as file:
        start, count = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
    (folder / "a.tif").write_bytes(sound[: start + count // 2] + bytes(count // 2) + sound[start + count // 2 * 2 :])
    with pytest.raises(HwsegError, match=r"a\.tif: "):
        segment(open_engine(model), [folder], tmp_path / "out")
    assert not (tmp_path / "out" / "a.tif").exists()
    assert (tmp_path / "out" / "0.png").exists()
    (folder / "a.tif").write_bytes(sound)
    found = segment(open_engine(model), [folder], tmp_path / "out", Options(resume=True))
    assert [one.resumed for one in found] == [1, 0]


@pytest.mark.parametrize(
    "long", ["x" * 5000, "x" * 300 + ".png", "/".join(["y" * 200] * 30)], ids=["5000", "300", "deep"]
)
@pytest.mark.parametrize("place", ["source", "input", "out", "measure"])
def test_a_name_that_is_too_long_is_a_sentence_of_the_library_too(model, tmp_path, monkeypatch, long, place):
    """`Path.exists` would raise OSError."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(blobs((30, 40))).save("a.png")
    given = {"source": str(model), "input": "a.png", "out": "out.png", "measure": "m.csv", place: long}
    with pytest.raises(HwsegError, match=r"must be|the name is too long; choose a shorter one"):
        segment(
            open_engine(Path(given["source"])),
            [Path(given["input"])],
            Path(given["out"]),
            Options(measure=Path(given["measure"])),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


class TestNothingReplacesAnything:
    """Each is refused before the first tile."""

    def refused(self, model, folder, sentence, inputs=("a.png",), out="out", **options):
        for name in inputs:
            Image.fromarray(blobs((30, 40))).save(folder / name)
        before = {path: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(HwsegError, match=sentence):
            segment(open_engine(model), [folder / name for name in inputs], folder / out, Options(**options))
        assert {path: path.read_bytes() for path in folder.iterdir()} == before

    def test_a_table_is_not_the_picture(self, model, tmp_path):
        sentence = r"a\.png: would replace a picture of this run; name another folder"
        self.refused(model, tmp_path, sentence, measure=tmp_path / "a.png")

    def test_a_table_is_not_the_picture_under_another_name(self, model, tmp_path):
        (tmp_path / "b.csv").symlink_to(tmp_path / "a.png")
        Image.fromarray(blobs((30, 40))).save(tmp_path / "a.png")
        self.refused(model, tmp_path, r"b\.csv: would replace a picture", measure=tmp_path / "b.csv")

    def test_a_table_is_not_the_mask(self, model, tmp_path):
        sentence = r"m\.png: would be the mask of .*a\.png and the table of --measure; rename one"
        self.refused(model, tmp_path, sentence, out="m.png", measure=tmp_path / "m.png")

    def test_outlines_are_not_the_mask_of_another(self, model, tmp_path):
        sentence = r"a\.overlay\.png: would be the mask of .*a\.overlay\.png and the outlines of .*a\.png"
        self.refused(model, tmp_path, sentence, ("a.png", "a.overlay.png"), overlay=True)

    def test_outlines_are_not_a_picture(self, model, tmp_path):
        sentence = r"m\.overlay\.png: would replace a picture"
        self.refused(model, tmp_path, sentence, ("m.overlay.png",), out="m.png", overlay=True)

    def test_a_table_is_no_folder(self, model, tmp_path):
        with pytest.raises(HwsegError, match=r"must be a file, not a folder; name a \.csv file"):
            Image.fromarray(blobs((30, 40))).save(tmp_path / "a.png")
            segment(open_engine(model), [tmp_path / "a.png"], tmp_path / "out", Options(measure=tmp_path))

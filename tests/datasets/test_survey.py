"""`hwseg data`: everything that is wrong, at once and before anything is trained, and what a data set holds."""

from __future__ import annotations

import io
import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from hwseg.cli import main
from hwseg.datasets import data
from hwseg.datasets.faults import Faults
from hwseg.datasets.look import look
from hwseg.datasets.survey import class_weights, opened, survey
from hwseg.pictures.labels import Labels
from hwseg.pictures.meaning import DEFAULT, Meaning
from tests.datasets.sets import SIDE, add, disc, discs, grey

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return discs(tmp_path / "set")


def call(*arguments: str | Path) -> str:
    with pytest.raises(SystemExit) as done:
        main([str(a) for a in arguments])
    return str(done.value.code)


def report(folder: Path, capsys: Capture, *more: str) -> dict:  # type: ignore[type-arg]
    capsys.readouterr()
    call("data", folder, "--json", "-o", folder.parent / "sheet.png", *more)
    return dict(json.loads(capsys.readouterr().out))


def rows(found: dict, kind: str = "faults") -> list[str]:  # type: ignore[type-arg]
    return [f"{Path(row['place']).name}: {row['rule']}; {row['cure']}" for row in found[kind]]


def test_a_sound_set(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    assert call("data", folder, "-o", tmp_path / "sheet.png") == "0"
    said = capsys.readouterr().out
    assert "sizes: 32x32 (10)" in said
    assert "mask values: 0 (" in said
    assert "wrong" not in said
    found = report(folder, capsys)
    pixels = sum(int(disc(n).sum()) for n in range(10))
    assert sum(part["pixels"]["foreground"] for part in found["parts"].values()) == pixels
    assert found["mask_values"] == {"0": 10 * SIDE * SIDE - pixels, "255": pixels}
    assert [part["pictures"] for part in found["parts"].values()] == [6, 2, 2]
    assert len(found["pictures"]) == 10
    train = [n for n in range(10) if any(p["name"] == f"p{n}" and p["part"] == "train" for p in found["pictures"])]
    share = sum(int(disc(n).sum()) for n in train) / (len(train) * SIDE * SIDE)
    weights = found["class_weights"]
    assert weights[1] / weights[0] == pytest.approx(((1 - share) / share) ** 0.5, rel=1e-3)
    assert (1 - share) * weights[0] + share * weights[1] == pytest.approx(1, rel=1e-3)


def test_everything_wrong_is_told_at_once(folder: Path, capsys: Capture) -> None:
    """One fault of each kind, in one table: not the first alone."""
    images, masks = folder / "images", folder / "masks"
    for number in range(20, 30):
        add(folder, number)
    (images / "p0.png").write_bytes((images / "p0.png").read_bytes()[:200])  # damaged
    (masks / "p1.png").unlink()
    Image.fromarray(disc(2).astype(np.uint8)[:20]).save(masks / "p2.png")
    Image.fromarray((np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 9).astype(np.uint8)).save(masks / "p3.png")
    colour = np.stack([grey(4)] * 4, axis=2)
    Image.fromarray(colour).save(images / "p4.png")  # transparent
    (images / "p5.png").unlink()
    Image.fromarray(disc(6)).save(masks / "p6.bmp")
    bomb = struct.pack(">IIBBBBB", 1 << 20, 1 << 20, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + bomb + struct.pack(">I", zlib.crc32(b"IHDR" + bomb))
    (images / "p7.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    (images / "._p8.png").write_bytes(b"left by another system")
    found = rows(report(folder, capsys, "--in-channels", "1"))
    wanted = {
        "p0.png": "is not a picture, or is damaged", "p1.png": "has no mask", "p2.png": "must be 32x32 like its",
        "p3.png": "must mark the foreground with one value", "p4.png": "must not be transparent",
        "p5.png": "is a mask without a picture", "p6.png": "is the second file of this name", "p7.png": "",
    }  # fmt: skip
    for name, what in wanted.items():
        assert any(row.startswith(f"{name}: ") and what in row for row in found), (name, found)
    assert len(found) == len(wanted)
    assert all(not row.endswith("; ") for row in found)
    assert call("data", folder, "-o", folder.parent / "sheet.png") == "2"
    said = capsys.readouterr()
    assert "has 8 faults, listed above; mend them, or leave pictures out with --exclude" in said.err
    assert "images/p0.png" in said.out


def test_a_fault_alone_is_the_error_itself(folder: Path, capsys: Capture) -> None:
    (folder / "masks" / "p1.png").unlink()
    assert call("data", folder, "-o", folder.parent / "s.png") == "2"
    assert "images/p1.png: has no mask" in capsys.readouterr().err
    assert call("data", folder, "-o", folder.parent / "s.png", "--exclude", "p1.png") == "0"


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_damaged_picture_is_found_in_every_part(part: str, folder: Path, capsys: Capture) -> None:
    name = data.load(folder)[part][0].image.name
    content = (folder / "images" / name).read_bytes()
    (folder / "images" / name).write_bytes(content[:-60])
    (row,) = rows(report(folder, capsys))
    assert row.startswith(f"{name}: is not a picture, or is damaged")


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_picture_of_another_depth_is_found_in_every_part(part: str, folder: Path, capsys: Capture) -> None:
    (folder / "dataset.toml").write_text('[input]\nvalues = "range 0 255"\nbits = 8\n')
    path = data.load(folder)[part][0].image
    tifffile.imwrite(path.with_suffix(".tif"), grey(0).astype(np.uint16) * np.uint16(200))
    path.unlink()
    found = rows(report(folder, capsys))
    assert all(row.startswith(f"{path.stem}.tif: ") for row in found), found
    assert any("16 bits" in row for row in found), found


def test_the_same_picture_in_two_parts_is_wrong(folder: Path, capsys: Capture) -> None:
    """By content, whatever the file; in one part it is a remark, and a near copy is one in two."""
    parts = data.load(folder)
    trained, tested = parts["train"][0].name, parts["test"][0].name
    shutil.copy(folder / "masks" / f"{trained}.png", folder / "masks" / f"{tested}.png")
    (folder / "images" / f"{tested}.png").unlink()
    pixels = np.asarray(Image.open(folder / "images" / f"{trained}.png"))
    tifffile.imwrite(folder / "images" / f"{tested}.tif", pixels)
    (row,) = rows(report(folder, capsys))
    cure = f"remove it, or leave it out with --exclude {tested}"
    assert row == f"{tested}.tif: is the same picture as {trained} of train, and is in test; {cure}"
    assert report(folder, capsys, "--exclude", tested)["faults"] == []
    noise = np.random.default_rng(5).integers(0, 3, pixels.shape).astype(np.uint8)
    tifffile.imwrite(folder / "images" / f"{tested}.tif", pixels + noise)
    found = report(folder, capsys)
    assert found["faults"] == []
    assert any(
        f"{tested}.tif: looks like {trained} of train, and is in test (says a perceptual hash)" in row
        for row in rows(found, "remarks")
    )


def test_the_same_picture_twice_in_one_part_is_told(folder: Path, capsys: Capture) -> None:
    for kind in ("images", "masks"):
        shutil.copy(folder / kind / "p0.png", folder / kind / "q0.png")
    names = [p.name for p in sorted((folder / "images").iterdir())]
    split = {"train": ["p0.png", "q0.png", *names[1:7]], "val": [names[7]], "test": names[8:10]}
    (folder / "split.json").write_text(json.dumps(split))
    found = report(folder, capsys)
    assert found["faults"] == []
    assert "q0.png: is the same picture as p0 of train, and is in train" in rows(found, "remarks")[0]


def test_a_class_without_a_pixel(folder: Path, capsys: Capture) -> None:
    for n in range(10):
        Image.fromarray((disc(n) * 2).astype(np.uint8)).save(folder / "masks" / f"p{n}.png")
    (row,) = rows(report(folder, capsys, "--out-channels", "3"))
    assert row.startswith("masks: no pixel of the 6 training masks is of class 1 (class 1); add pictures that have it")
    (row,) = rows(report(folder, capsys, "--labels", "from 3"))
    assert row.startswith("masks: every pixel of the 6 training masks is 0; check how masks are coded")


def test_void_values_have_their_cure_and_are_counted_when_declared(folder: Path, capsys: Capture) -> None:
    for n in range(10):
        mask = disc(n).astype(np.uint8)
        mask[:2] = 255
        Image.fromarray(mask).save(folder / "masks" / f"p{n}.png")
    found = rows(report(folder, capsys))
    assert len(found) == 10
    assert all("with --ignore N where N means that nobody knows" in row for row in found)
    pixels = report(folder, capsys, "--ignore", "255")["parts"]["train"]["pixels"]
    assert pixels["ignored"] == 6 * 2 * SIDE


def test_pages_of_a_stack_are_pictures_of_their_own(folder: Path, capsys: Capture) -> None:
    for kind, made in (("images", grey), ("masks", lambda n: disc(n).astype(np.uint8) * np.uint8(255))):
        (folder / kind / "p0.png").unlink()
        tifffile.imwrite(folder / kind / "p0.tif", np.stack([made(n) for n in (0, 41, 42)]), photometric="minisblack")
    found = report(folder, capsys)
    assert found["faults"] == []
    assert {"p0#0", "p0#1", "p0#2"} <= {row["name"] for row in found["pictures"]}
    digests = {row["name"]: row["digest"] for row in found["pictures"]}
    parts = data.load(folder)
    assert digests == {pair.name: pair.digest.hex() for part in parts.values() for pair in part}


def test_what_is_looked_at_is_what_is_trained_on(folder: Path) -> None:
    """Digests and counts that were found by looking are those that a pair finds itself, with any number of threads."""
    for jobs in (1, 5):
        looked = look(data.load(folder), Meaning(DEFAULT), jobs=jobs)
        alone = data.load(folder)
        for part, pairs in alone.items():
            assert [(one.pair.name, one.digest, one.counts) for one in looked[part]] == [
                (pair.name, pair.digest, pair.counts) for pair in pairs
            ]


def test_further_parts_are_looked_at_and_may_repeat_pictures(folder: Path, capsys: Capture) -> None:
    names = [f"p{n}.png" for n in range(10)]
    split = {"train": names[:6], "val": names[6:8], "test": names[8:], "ward": names[7:9]}
    (folder / "split.json").write_text(json.dumps(split))
    found = report(folder, capsys)
    assert (found["parts"]["ward"]["pictures"], found["faults"]) == (2, [])
    (folder / "set.csv").write_text(
        "image;mask;part\n" + "".join(f"images/{n};masks/{n};{'train' if n < 'p5' else 'ward'}\n" for n in names)
    )
    (row,) = rows(report(folder / "set.csv", capsys))
    assert "has no val pictures" in row


@pytest.mark.parametrize("name", ["../p0.png", "/etc/hostname"])
def test_faults_of_a_csv_file_are_gathered(name: str, folder: Path, capsys: Capture) -> None:
    lines = ["image,mask", *(f"images/p{n}.png,masks/p{n}.png" for n in range(5)), f"{name},masks/p6.png",
             "images/p0.png,masks/p0.png", "images/none.png,masks/p7.png", "images/p8.png"]  # fmt: skip
    (folder / "set.csv").write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    found = rows(report(folder / "set.csv", capsys))
    assert len(found) == 4
    for row, what in zip(found, ("line 7", "line 8", "line 9", "line 10"), strict=True):
        assert what in row


def test_class_weights() -> None:
    assert class_weights([1, 1]) == [1, 1]
    weights = class_weights([960, 30, 10])
    assert sum(w * n for w, n in zip(weights, (960, 30, 10), strict=True)) == pytest.approx(1000, rel=1e-3)
    assert weights[1] / weights[0] == pytest.approx(32**0.5, rel=1e-3)
    assert class_weights([5, 0]) == []
    assert class_weights([]) == []


def test_the_contact_sheet_shows_pictures_and_outlines(folder: Path) -> None:
    """Of 30 pictures in train 24, none twice, and an outline in the colour of its class."""
    from hwseg.datasets.sheet import MOST, sheet
    from hwseg.datasets.survey import chosen_views

    for number in range(10, 43):
        add(folder, number)
    labels = Labels(1, colours=("#000000", "#ff00ff"))
    parts, faults = opened(folder, 1, 1, 0, (), labels)
    views = chosen_views(parts, MOST)
    assert len({pair.name for pair in views}) == len(views) == MOST + 6 + 6
    looked = look(parts, Meaning(DEFAULT), views)
    picture = Image.open(io.BytesIO(sheet(survey(folder, looked, labels, Meaning(DEFAULT), faults))))
    pixels = np.asarray(picture)
    assert picture.width == 1356
    outlined = (pixels == (255, 0, 255)).all(axis=2)
    assert 24 * 100 < outlined.sum() < 0.1 * outlined.size
    assert not (pixels == (230, 159, 0)).all(axis=2).any()


def test_a_sheet_of_nothing_that_can_be_read(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    for path in (folder / "images").iterdir():
        path.write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    assert call("data", folder, "-o", tmp_path / "s.png") == "2"
    assert Image.open(tmp_path / "s.png").width > 300
    assert call("data", folder / "images", "-o", tmp_path / "t.png") == "2"
    assert not (tmp_path / "t.png").exists()
    assert call("data", tmp_path / "none") == "2"


def test_faults_are_kept_once() -> None:
    faults = Faults()
    for _ in range(2):
        with faults.each():
            data.load("/nonexistent")
    assert len(faults.found) == 1

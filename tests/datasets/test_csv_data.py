"""Data sets as CSV files: what they load, and what is wrong with a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hwseg.datasets import data
from hwseg.datasets.pairs import Pair
from hwseg.errors import HwsegError

GOOD = "image,mask,part\na.png,ma.png,train\nb.png,mb.png,val\nc.png,mc.png,ward2\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abc":
        Image.fromarray(np.full((8, 8), 9, np.uint8)).save(tmp_path / f"{name}.png")
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / f"m{name}.png")
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "wide.png")
    return tmp_path


def table(folder: Path, text: str) -> Path:
    (folder / "set.csv").write_text(text)
    return folder / "set.csv"


def stems(pairs: list[Pair]) -> list[str]:
    return [pair.image.stem for pair in pairs]


def test_parts_are_those_of_the_lines(folder: Path) -> None:
    parts = data.load(table(folder, GOOD))
    assert {part: stems(pairs) for part, pairs in parts.items()} == {"train": ["a"], "val": ["b"], "test": []}
    assert stems(data.load(folder / "set.csv", extra="ward2")["ward2"]) == ["c"]
    assert parts["train"][0].mask == folder / "ma.png"


def test_without_parts_the_lines_are_shuffled(folder: Path) -> None:
    parts = data.load(table(folder, "mask,image\nma.png,a.png\nmb.png,b.png\n\nmc.png,c.png\n"))
    assert sorted(stems([pair for pairs in parts.values() for pair in pairs])) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must begin with the columns image, mask and perhaps part, not ''"),
        (
            "picture,mask\na.png,ma.png\n",
            "must begin with the columns image, mask and perhaps part, not 'picture, mask'",
        ),
        ("image,mask\n", "lists no picture"),
        (GOOD + "a.png,ma.png\n", "line 5: must have 3 values, not 2"),
        (GOOD + "d.png,ma.png,train\n", "line 5: image d.png does not exist"),
        (GOOD + "wide.png,md.png,train\n", "line 5: mask md.png does not exist"),
        (GOOD + "a.png,ma.png,test\n", "line 5: names a.png again, after line 2"),
        (GOOD + "wide.png,,test\n", "line 5: has no mask"),
        (GOOD + "wide.png,mc.png,train\n", "must be 9x8 like its picture, not 8x8"),
        (GOOD.replace("val", "test"), "has no val pictures"),
        (GOOD + '"', "is not a readable CSV file"),
    ],
)
def test_bad_lines_are_named(text: str, sentence: str, folder: Path) -> None:
    with pytest.raises(HwsegError) as caught:
        data.load(table(folder, text))
    assert sentence in str(caught.value)


def test_a_part_that_is_not_there(folder: Path) -> None:
    with pytest.raises(HwsegError, match="has no picture of part ward3"):
        data.load(table(folder, GOOD), extra="ward3")


def test_pictures_of_one_name_in_different_folders_are_different_ones(folder: Path) -> None:
    """As of many patients; by one name, scores and splits would lose all but one of them."""
    from hwseg.datasets.split import Split

    for patient in ("a", "b", "c", "d"):
        for kind in ("images", "masks"):
            (folder / patient / kind).mkdir(parents=True)
            value = ord(patient) if kind == "images" else 255
            pixels = np.full((8, 8), value, np.uint8) * np.eye(8, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / patient / kind / "1.png")
    pixels = np.asarray(Image.open(folder / "a" / "images" / "1.png"))
    Image.fromarray(pixels + np.uint8(1)).save(folder / "a" / "images" / "1.bmp")
    lines = [f"{p}/images/1.png,{p}/masks/1.png,{'val' if p == 'd' else 'train'}" for p in "abcd"]
    lines += ["a/images/1.bmp,a/masks/1.png,train"]
    (folder / "set.csv").write_text("image,mask,part\n" + "\n".join(lines) + "\n")
    parts = data.load(folder / "set.csv")
    names = [pair.name for pair in parts["train"]]
    assert names == ["a/images/1.png", "b/images/1", "c/images/1", "a/images/1.bmp"]
    arranged, changes = Split.of(parts, 0, False).arrange(data.load(folder / "set.csv"))
    assert [pair.name for pair in arranged["train"]] == names
    assert changes.sentences() == []
    kept = data.load(folder / "set.csv", exclude=["b/images/1"])
    assert [pair.name for pair in kept["train"]] == ["a/images/1.png", "c/images/1", "a/images/1.bmp"]

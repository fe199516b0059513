"""Masks: what values mean, and one coding for what is written."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hwseg.errors import HwsegError
from hwseg.pictures.draw import mask_png
from hwseg.pictures.labels import IGNORE, Labels, declared, parse
from hwseg.pictures.masks import read_mask


def saved(path: Path, array: np.ndarray, **options: object) -> Path:
    file = path / "mask.png"
    Image.fromarray(array).save(file, **options)  # type: ignore[arg-type]
    return file


def row(*values: int) -> np.ndarray:
    return np.array([values, values], np.uint8)


@pytest.mark.parametrize(
    ("labels", "values", "classes"),
    [
        (Labels(), (0, 255, 255), (0, 1, 1)),
        (Labels(), (0, 1, 0), (0, 1, 0)),
        (Labels(), (0, 7, 0), (0, 1, 0)),
        (Labels(), (0, 0, 0), (0, 0, 0)),
        (Labels(1, "nonzero"), (0, 3, 200), (0, 1, 1)),
        (Labels(1, "instances"), (1, 0, 140), (1, 0, 1)),
        (Labels(1, "instances", ignore=255), (1, 0, 255), (1, 0, IGNORE)),
        (Labels(1, "from 128"), (127, 128, 255), (0, 1, 1)),
        (Labels(1, "values 2 5"), (0, 2, 5), (0, 1, 1)),
        (Labels(1, ignore=128), (0, 128, 255), (0, IGNORE, 1)),
        (Labels(3), (0, 2, 1), (0, 2, 1)),
        (Labels(4, ignore=255), (3, 255, 0), (3, IGNORE, 0)),
        (Labels(3, "values 0 128 255"), (128, 255, 0), (1, 2, 0)),
    ],
)
def test_values_become_classes(
    labels: Labels, values: tuple[int, ...], classes: tuple[int, ...], tmp_path: Path
) -> None:
    assert read_mask(saved(tmp_path, row(*values)), labels)[0].tolist() == list(classes)


@pytest.mark.parametrize(
    ("labels", "values", "sentence"),
    [
        (Labels(), (0, 1, 140), "must mark the foreground with one value, has 1, 140 beside 0; declare what they are"),
        (
            Labels(4),
            (0, 3, 255),
            "must hold labels below 4, holds 255; add --ignore 255 if that means that nobody knows",
        ),
        (Labels(2), (0, 1, 3), "must hold labels below 2, holds 3"),
        (Labels(1, "values 2 5"), (0, 2, 3), "must hold the values 0, 2, 5, holds 3"),
        (Labels(3, "values 0 128 255"), (0, 64, 128), "must hold the values 0, 128, 255, holds 64"),
    ],
)
def test_values_without_a_meaning_are_refused(
    labels: Labels, values: tuple[int, ...], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(HwsegError) as caught:
        read_mask(saved(tmp_path, row(*values)), labels)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"coding": "blue"}, 'must be "binary"'),
        ({"coding": "from"}, 'must be "binary"'),
        ({"coding": "from 0"}, "must begin above 0"),
        ({"coding": "values 0 1"}, "0 is the background"),
        ({"coding": "values 4 4"}, "different values"),
        ({"coding": "classes"}, "classes need two output channels or more"),
        ({"channels": 3, "coding": "instances"}, "'instances' has no more than two classes, the network has 3"),
        ({"channels": 3, "coding": "values 0 1"}, "must list 3 different values"),
        ({"channels": 3, "ignore": 2}, "ignore = 2 is a class, too"),
        ({"ignore": 0}, "ignore must be a value from 1 to 65535"),
        ({"names": ("cell",)}, "must have 2 names, the background first, has 1"),
        ({"colours": ("red", "blue")}, "colours must be like '#ff8000', not 'red'"),
        ({"colours": ("#ff0000", "#FF0000")}, "colours must be different, one for each class"),
    ],
)
def test_labels_that_contradict_themselves(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(HwsegError) as caught:
        Labels(**options)  # type: ignore[arg-type]
    assert sentence in str(caught.value)


def test_labels_are_read_back() -> None:
    labels = Labels(3, "values 0 9 255", 77, ("sky", "cell", "dust"), ("#000000", "#ff0000", "#00ff00"))
    assert parse(labels.text(), 3) == labels
    assert declared({"hwseg.labels": labels.text()}, 3, "m") == labels
    assert declared({}, 3, "m") == Labels(3)
    with pytest.raises(HwsegError, match="is for 3 output channels, the network has 1"):
        parse(labels.text(), 1)


@pytest.mark.parametrize("channels", [1, 2, 3, 12])
def test_a_written_mask_has_one_coding_whatever_it_holds(channels: int, tmp_path: Path) -> None:
    """A mask without the second class is written like one with it, and both are read back."""
    labels = Labels(channels)
    for classes in (row(*range(labels.classes)), row(0, 1, 0), row(0, 0, 0), row(labels.classes - 1, 0, 0)):
        content = mask_png(classes, labels)
        picture = Image.open(io.BytesIO(content))
        assert picture.mode == ("L" if channels == 1 else "P")
        stored = np.asarray(picture)
        assert (stored == (classes * 255 if channels == 1 else classes)).all()
        (tmp_path / "m.png").write_bytes(content)
        assert (read_mask(tmp_path / "m.png", labels.written) == classes).all()
        if channels > 1:
            shown = np.asarray(picture.convert("RGB"))
            assert len(np.unique(shown.reshape(-1, 3), axis=0)) == len(np.unique(classes))


def palette(path: Path, index: np.ndarray, colours: list[tuple[int, int, int]]) -> Path:
    picture = Image.fromarray(index).convert("P")
    picture.putdata(index.reshape(-1).tolist())
    picture.putpalette([value for colour in colours for value in colour])
    picture.save(path / "mask.png")
    return path / "mask.png"


def test_a_palettes_numbers_are_classes_and_black_is_no_foreground(tmp_path: Path) -> None:
    index = row(0, 1, 2)
    file = palette(tmp_path, index, [(0, 0, 0), (128, 0, 0), (0, 128, 0)])
    assert (read_mask(file, Labels(3)) == index).all()
    # Foreground or not: number 0 is white here, and was taken for the background.
    file = palette(tmp_path, row(0, 1, 1), [(255, 255, 255), (0, 0, 0)])
    assert read_mask(file, Labels())[0].tolist() == [1, 0, 0]
    file = palette(tmp_path, row(0, 1, 2), [(0, 0, 0), (9, 9, 9), (200, 0, 0)])
    with pytest.raises(HwsegError, match="must mark the foreground with one value"):
        read_mask(file, Labels())


def test_declared_colours_are_classes(tmp_path: Path) -> None:
    labels = Labels(3, names=("a", "b", "c"), colours=("#000000", "#ff0000", "#0000ff"))
    pixels = np.array([[(0, 0, 255), (0, 0, 0), (255, 0, 0)]], np.uint8)
    assert read_mask(saved(tmp_path, pixels), labels)[0].tolist() == [2, 0, 1]
    with pytest.raises(HwsegError, match="must be a mask of one channel, is coloured; declare the colours"):
        read_mask(saved(tmp_path, pixels), Labels(3))
    pixels[0, 0] = (1, 2, 3)
    with pytest.raises(HwsegError, match="holds the colour #010203, which is declared for no class"):
        read_mask(saved(tmp_path, pixels), labels)
    void = Labels(3, ignore=255, colours=labels.colours)
    assert read_mask(saved(tmp_path, pixels), void)[0].tolist() == [IGNORE, 0, 1]


def test_masks_of_other_depths(tmp_path: Path) -> None:
    """Labels are the values in the file, however many bits they have there."""
    file = tmp_path / "m.png"
    Image.fromarray(np.array([[0, 300, 70]], np.uint16)).save(file)
    assert read_mask(file, Labels(1, "instances"))[0].tolist() == [0, 1, 1]
    Image.fromarray(np.array([[False, True]])).save(file)
    assert read_mask(file, Labels())[0].tolist() == [0, 1]
    assert read_mask(file, Labels(2))[0].tolist() == [0, 1]
    np.save(tmp_path / "m.npy", np.array([[0, 2, 1]], np.int64))
    assert read_mask(tmp_path / "m.npy", Labels(3))[0].tolist() == [0, 2, 1]
    np.save(tmp_path / "m.npy", np.array([[0, 0.5]]))
    with pytest.raises(HwsegError, match="must hold whole labels from 0 to 65535"):
        read_mask(tmp_path / "m.npy", Labels())


def test_grey_stored_as_colour_is_grey(tmp_path: Path) -> None:
    assert read_mask(saved(tmp_path, np.repeat(row(0, 255)[..., None], 3, 2)), Labels())[0].tolist() == [0, 1]

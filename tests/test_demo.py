"""The demo's picture: what it is, that no network was trained on it, and what is drawn of it."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hwseg import demo
from hwseg.errors import HwsegError

SIDE = 48
"""Side of the compared patches after binning 2x2."""


def binned(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    rows, columns = pixels.shape
    return pixels.reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))


class Matcher:
    """Normalized cross-correlation of patches with every place of a picture."""

    def __init__(self, picture: NDArray[np.float64]) -> None:
        self.shape = picture.shape
        self.valid = np.s_[: picture.shape[0] - SIDE + 1, : picture.shape[1] - SIDE + 1]
        self.spectrum = np.fft.rfft2(picture)
        box = self.transform(np.ones((SIDE, SIDE)))
        total = np.fft.irfft2(self.spectrum * box, s=self.shape)[self.valid]
        squares = np.fft.irfft2(np.fft.rfft2(picture**2) * box, s=self.shape)[self.valid]
        self.deviation = np.sqrt(np.maximum(squares - total**2 / SIDE**2, 1e-9))

    def transform(self, patch: NDArray[np.float64]) -> NDArray[np.complex128]:
        padded = np.zeros(self.shape)
        padded[:SIDE, :SIDE] = patch
        return np.fft.rfft2(padded).conj()

    def best(self, patch: NDArray[np.float64]) -> tuple[float, int, int]:
        """(correlation, row, column) of the best place."""
        centred = patch - patch.mean()
        norm = float(np.sqrt((centred**2).sum()))
        if norm < 1e-6:
            return 0.0, 0, 0
        found = np.fft.irfft2(self.spectrum * self.transform(centred), s=self.shape)[self.valid] / self.deviation / norm
        row, column = np.unravel_index(int(found.argmax()), found.shape)
        return float(found[row, column]), int(row), int(column)


def overlaps(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return all(a[i] < b[i] + b[i + 2] and b[i] < a[i] + a[i + 2] for i in (0, 1))


@pytest.mark.network
def test_the_picture_is_the_one_that_was_checked() -> None:
    picture = demo.nuclei()
    assert picture.pixels.shape == picture.mask.shape == (512, 512)
    assert (int(picture.pixels.min()), int(picture.pixels.max())) == (0, 235)
    assert set(np.unique(picture.mask)) == {0, 1}
    crop = picture.crop(*demo.CROP)
    assert (crop.pixels == picture.pixels[192:320, 384:512]).all()
    assert 0.1 < crop.mask.mean() < 0.4


@pytest.mark.network
@pytest.mark.parametrize("orientation", [0, *(pytest.param(o, marks=pytest.mark.slow) for o in range(1, 8))])
def test_no_training_picture_shows_the_crop(data: Path, orientation: int) -> None:
    matcher = Matcher(binned(demo.nuclei().pixels))
    places = range(8, 128 - SIDE + 1, 64)
    alike = {}
    for path in sorted((data / "nuclei-dsb2018" / "images").iterdir()):
        small = np.rot90(binned(np.asarray(Image.open(path))), orientation % 4)[:, :: -1 if orientation > 3 else 1]
        found = max((*matcher.best(small[y : y + SIDE, x : x + SIDE]), y, x) for y in places for x in places)
        if found[0] > 0.975:
            alike[path.name] = (2 * (found[1] - found[3]), 2 * (found[2] - found[4]))
    assert alike == ({"4dbbb275960a.png": demo.SEEN[:2]} if orientation == 0 else {})
    assert not overlaps(demo.SEEN, demo.CROP)


def test_a_wheel_with_another_picture_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(command: list[str], **_: object) -> object:
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "stardist.whl", "w") as wheel:
            for name in demo.MEMBERS:
                wheel.writestr(f"stardist/data/images/{name}", b"another picture")
        return type("Done", (), {"returncode": 0, "stderr": ""})()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(demo.subprocess, "run", download)
    with pytest.raises(HwsegError, match=r"img2d\.tif must have SHA-256 f9ccc1571b92\.\.\., not "):
        demo.nuclei()
    assert list((tmp_path / "hwseg" / "demo").iterdir()) == []


def test_no_network_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(HwsegError, match=r"stardist==0\.9\.2: must come from the package index: .*; check the network"):
        demo.nuclei()


def test_a_picture_changed_in_the_cache_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"the picture"
    monkeypatch.setattr(demo, "MEMBERS", {"img2d.tif": hashlib.sha256(content).hexdigest()})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "hwseg" / "demo" / demo.PACKAGE
    folder.mkdir(parents=True)
    (folder / "img2d.tif").write_bytes(b"the pictura")
    with pytest.raises(HwsegError, match="delete the file and try again"):
        demo.nuclei()


@pytest.mark.parametrize(
    ("found", "drawn", "expected"), [([0, 0], [0, 0], 1), ([1, 1], [0, 1], 2 / 3), ([1, 0], [0, 1], 0)]
)
def test_dice(found: list[int], drawn: list[int], expected: float) -> None:
    assert demo.dice(np.array(found, np.uint8), np.array(drawn, np.uint8)) == pytest.approx(expected)


@pytest.mark.parametrize("crop", [(385, 0, 128, 128), (0, -1, 8, 8), (0, 0, 0, 8)])
def test_a_crop_outside_is_refused(crop: tuple[int, int, int, int]) -> None:
    blank = demo.Picture(np.zeros((512, 512), np.uint8), np.zeros((512, 512), np.uint8))
    with pytest.raises(HwsegError, match="crop: must lie in 512x512"):
        blank.crop(*crop)


def test_panels_mark_agreement_and_both_kinds_of_error() -> None:
    found, drawn = np.zeros((16, 16), np.uint8), np.zeros((16, 16), np.uint8)
    found[4:8, 4:8] = drawn[4:8, 6:10] = 1
    image = demo.panels(demo.Picture(np.arange(256, dtype=np.uint8).reshape(16, 16), drawn), found, zoom=2)
    assert image.size == (2 * (3 * 16 + 2 * 2), 32)
    pixels = np.asarray(image)[::2, ::2]
    third = pixels[:, -16:]
    assert tuple(third[5, 5]) == (230, 159, 0)
    assert tuple(third[5, 6]) == (0, 158, 115)
    assert tuple(third[5, 9]) == (0, 114, 178)
    saved = io.BytesIO()
    image.save(saved, "PNG")
    assert saved.getvalue().startswith(b"\x89PNG")

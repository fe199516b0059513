"""The demo's picture: what it is, that no network was trained on it, and what is drawn of it."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hwseg import demo, golden
from hwseg.builds.build import compile_model
from hwseg.errors import HwsegError
from hwseg.pictures.tiles import Reach, grid
from hwseg.trust.judge import Doubts, Review
from tests.segment.networks import blobs, small

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


def segmented(mask: NDArray[np.uint8], tile: tuple[int, int], sure: int | None = None) -> demo.Segmented:
    """A result whose third tile was simulated; sure: of every pixel."""
    cuts = grid(mask.shape, tile, tile, Reach((2, 2), (2, 2), (2, 2)))
    simulation: Any = SimpleNamespace(passed=True, mismatches=0, cycles=7, predicted_cycles=7)
    doubts = None
    if sure is not None:
        confidence = np.full(mask.shape, sure, np.uint8)
        doubts = Doubts(confidence, confidence < 65, Review("overlap", 0.25, 0.125))
    return demo.Segmented(mask, simulation, cuts, list(cuts)[2], 0, 0.5, 150.0, doubts)


def test_views_mark_agreement_both_kinds_of_error_and_the_tile_that_was_simulated() -> None:
    found, drawn = np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.uint8)
    found[4:8, 4:8] = drawn[4:8, 6:10] = 1
    picture = demo.Picture(np.arange(1024, dtype=np.uint16).reshape(32, 32).astype(np.uint8), drawn)
    result = segmented(found, (16, 32))
    plain, overlay, compared = demo.views(picture, result)  # nothing is known of doubts
    assert plain.shape == overlay.shape == compared.shape == (32, 32, 3)
    assert tuple(compared[5, 5]) == (230, 159, 0)
    assert tuple(compared[5, 6]) == (0, 158, 115)
    assert tuple(compared[5, 9]) == (0, 114, 178)
    rows, columns = result.tile.place
    assert (rows.start, rows.stop, columns.start, columns.stop) == (26, 32, 0, 32)
    yellow = (overlay == (255, 220, 0)).all(axis=2)
    assert yellow[26:29].all()
    assert yellow[26:32, :3].all()
    assert not yellow[:26].any()
    assert (overlay[14] != plain[14]).any()
    assert (overlay[4, 4] != plain[4, 4]).any()


def test_the_drawing_is_small_and_says_what_was_simulated() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (512, 512), np.uint8)
    picture = demo.Picture(noise, noise // 200)
    for sure, count in ((None, 3), (128, 4)):
        image = demo.panels(picture, segmented(noise // 128, (64, 64), sure))
        assert image.size == (2 * 512 + demo.GAP, 2 * (512 + demo.CAPTION))
        grey = np.asarray(image.convert("L"))
        for number in range(4):
            left, top = number % 2 * (512 + demo.GAP), 512 + number // 2 * (512 + demo.CAPTION)
            words = grey[top : top + demo.CAPTION, left : left + 512]
            assert ((words < 128).sum() > 100) == (number < count)  # a sentence under each view
    assert (grey[-512 - demo.CAPTION : -demo.CAPTION, -512:] == 128).all()
    said = demo.summary(segmented(noise // 128, (64, 64), 32))
    assert said["trust"]["verdict"] == "review"
    assert said["trust"]["deferred"] == 1
    assert said["simulated"] == {"rows": [0, 61], "columns": [122, 181]}
    assert said["passed"] is True


@pytest.mark.network
def test_what_the_simulated_tile_gives_was_in_no_training_picture() -> None:
    cuts = grid((512, 512), demo.TILE, demo.TILE, Reach((48, 48), (48, 48), (8, 8)))
    tile = list(cuts)[demo.SIMULATED[0] * len(cuts.columns) + demo.SIMULATED[1]]
    rows, columns = tile.place
    place = (rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)
    assert not overlaps(demo.SEEN, place)
    assert len(cuts) == 16
    assert demo.nuclei().crop(*place).mask.mean() > 0.05


def test_golden_tiles_and_the_simulated_one_make_the_picture_at_once(tmp_path: Path) -> None:
    """`_segmented` with a stand-in for the simulator; where that gives another mask, it is seen."""
    model = small(tmp_path / "net.onnx")
    build = compile_model(model, array="8x1x1", out=tmp_path / "build")
    graph = build.program.graph
    pixels = blobs((60, 70))
    picture = demo.Picture(pixels, (pixels > 100).astype(np.uint8))
    for wrong in (0, 1):

        def simulate(folder: Path, integers: NDArray[np.int16], progress: Any, wrong: int = wrong) -> Any:
            mask = golden.run(graph, integers, taps=()).mask ^ np.uint8(wrong)
            return SimpleNamespace(mask=mask, passed=not wrong, mismatches=wrong, cycles=1, predicted_cycles=1)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("hwseg.builds.simulation.simulate", simulate)
            result = demo._segmented(picture, build, lambda _: None, lambda *_: None)
        assert result.mask.shape == (60, 70)
        assert 0 < result.mask.mean() < 1
        area = (result.tile.row.last - result.tile.row.first) * (
            min(70, result.tile.column.last) - result.tile.column.first
        )
        assert result.different == wrong * area
        assert result.passed == (not wrong)

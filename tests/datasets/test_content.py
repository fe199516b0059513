"""Which picture it is: the same pixels have one digest, whatever the file; what looks alike is found, and only that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hwseg.datasets import content
from hwseg.pictures.raster import raster
from hwseg.pictures.read import read_one
from tests.datasets.sets import grey


def test_a_digest_is_of_pixels_not_of_the_file(tmp_path: Path) -> None:
    pixels = grey(3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels).save(tmp_path / "b.png", compress_level=0)
    Image.fromarray(np.stack([pixels] * 3, axis=2)).save(tmp_path / "c.bmp")
    tifffile.imwrite(tmp_path / "d.tif", pixels.astype(np.uint16), description="stained")
    np.save(tmp_path / "e.npy", pixels)
    found = {content.digest(read_one(path)) for path in sorted(tmp_path.iterdir())}
    assert len(found) == 1
    assert len(found.pop()) == content.WIDTH == 16


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 31), st.integers(0, 31), st.integers(1, 255))
def test_one_other_pixel_is_another_picture(y: int, x: int, change: int) -> None:
    pixels = grey(1)
    other = pixels.copy()
    other[y, x] ^= change
    assert content.digest(raster(other)) != content.digest(raster(pixels))


def test_size_and_type_are_part_of_it() -> None:
    flat = np.zeros(64, np.uint8)
    shapes = [(8, 8, 1), (4, 16, 1), (16, 4, 1), (4, 8, 2), (4, 4, 4)]
    found = {content.digest(raster(flat.reshape(shape))) for shape in shapes}
    found |= {content.digest(raster(flat.reshape(8, 8).astype(kind))) for kind in (np.float32, np.float64, np.int32)}
    assert len(found) == len(shapes) + 3
    assert content.digest(raster(np.full((8, 8), 300, np.uint16))) != content.digest(
        raster(np.full((8, 8), 44, np.uint8))
    )


def scene(seed: int) -> np.ndarray:
    """Something with structure at every scale, [128, 128]."""
    rng = np.random.default_rng(seed)
    total = np.zeros((128, 128))
    for cells in (4, 8, 16, 32):
        coarse = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
        total += np.asarray(coarse.resize((128, 128), Image.Resampling.BICUBIC)) / cells**0.5
    return np.asarray(np.clip(128 + 40 * total, 0, 255).astype(np.uint8))


def hashed(pixels: np.ndarray) -> tuple[int, np.ndarray]:
    thumbnail = content.small(content.shown(raster(pixels)))
    return content.perceptual(thumbnail), thumbnail


@pytest.mark.parametrize("seed", range(4))
def test_copies_look_alike_and_others_do_not(seed: int) -> None:
    pixels = scene(seed)
    noisy = np.clip(pixels + np.random.default_rng(9).normal(0, 3, pixels.shape), 0, 255).astype(np.uint8)
    copies = [
        np.asarray(Image.fromarray(pixels).resize((90, 90), Image.Resampling.BICUBIC)), pixels // 2 + 30, noisy,
        pixels.astype(np.uint16) * np.uint16(257),
    ]  # fmt: skip
    others = [scene(100 + seed), scene(200 + seed), np.ascontiguousarray(pixels[::-1])]
    hashes, thumbnails = zip(*map(hashed, [pixels, *copies, *others]), strict=True)
    found = content.near(hashes, thumbnails)
    assert {pair for pair in found if pair[0] == 0} == {(0, n + 1) for n in range(len(copies))}
    assert not [pair for pair in found if pair[1] > len(copies)]


def test_flat_pictures_look_like_nothing() -> None:
    hashes, thumbnails = zip(*(hashed(np.full((40, 40), value, np.uint8)) for value in (0, 9)), strict=True)
    assert content.near(hashes, thumbnails) == []
    assert content.near([], []) == []


def test_many_of_one_kind_are_compared_in_time() -> None:
    """3,000 blank slices and 3,000 equal ones: not every one with every other."""
    blank, equal = hashed(np.zeros((40, 40), np.uint8)), hashed(scene(5))
    hashes, thumbnails = zip(*([blank] * 3000 + [equal] * 3000), strict=True)
    found = content.near(hashes, thumbnails)
    assert {j for _, j in found} == set(range(3001, 6000))
    assert len(found) <= 3000 * content.CLOSEST

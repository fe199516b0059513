"""Masks on pictures of any size, theirs or not."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from hwseg.ir import TensorType
from hwseg.pictures.draw import COLOURS, enlarged, overlay_png

SIZES = [(16, 16), (32, 32), (8, 8), (5, 7), (32, 8), (1, 1), (3, 40)]


def read(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("picture", [(16, 16), (9, 13), (1, 1), (40, 3)])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_mask_of_any_size_is_outlined_where_it_lies(size: tuple[int, int], picture: tuple[int, int], channels: int):
    kind = TensorType((*picture, channels), 0, 255, (Fraction(1),))
    q = np.zeros(kind.shape, np.uint8)
    mask = np.zeros(size, np.uint8)
    mask[: size[0] // 2] = 1
    found = read(overlay_png(q, kind, mask, mask))
    height, width = (max(both) for both in zip(size, picture, strict=True))
    scale = max(1, 512 // max(height, width))
    assert found.shape == (height * scale, width * scale, 3)
    shown = enlarged(mask, height, width)
    inside = (0.2 * np.array(COLOURS[0])).astype(np.uint8)
    middles = found[scale // 2 :: scale, scale // 2 :: scale]
    border = np.any([(middles == colour).all(-1) for colour in (COLOURS[0], (255, 255, 255))], axis=0)
    assert (border | (middles == np.where(shown[..., None], inside, 0)).all(-1)).all()
    assert border.mean() < 0.5 or scale < 3


def test_twice_and_half_the_picture_lie_on_the_same_pixels() -> None:
    """A square in a corner of the mask covers that corner of the picture, whatever the mask's size."""
    kind = TensorType((16, 16, 1), 0, 255, (Fraction(1),))
    q = np.random.default_rng(0).integers(0, 256, kind.shape)
    corner = np.zeros((16, 16), np.uint8)
    corner[:8, :8] = 1
    shown = read(overlay_png(q, kind, corner))
    for size in (8, 4, 2):
        small = corner[:: 16 // size, :: 16 // size]
        assert (read(overlay_png(q, kind, small)) == shown).all()
    twice = read(overlay_png(q, kind, corner.repeat(2, 0).repeat(2, 1)))
    assert (twice == shown).all()


@pytest.mark.parametrize(("old", "new"), [(1, 5), (5, 5), (5, 7), (7, 20)])
def test_enlarging_keeps_order_and_every_pixel(old: int, new: int) -> None:
    found = enlarged(np.arange(old)[:, None], new, 1)[:, 0]
    assert (np.diff(found) >= 0).all()
    assert set(found) == set(range(old))

"""Crop and resize, in integers, the same on a workstation and on a board.

`resize` is a box filter: a new pixel is the mean of the old ones whose middles lie in it (one alone where the picture
grows), along one axis and then, rounded, along the other: first along rows, but along columns where the height loses
more than twice what the width does.  Of 8 bits it is what Pillow's `BOX` gives, bit for bit: weights of 22 fractional
bits, the window from float64 as there.  Of 16 bits the same rule has 38.
"""

from __future__ import annotations

import numpy as np

from hwseg.errors import require

FITS = ("crop", "resize")


def fitted(pixels: np.ndarray, size: tuple[int, int], fit: str, place: str) -> np.ndarray:
    """The picture [H, W, C] at a network's height and width: as it is, its middle (`crop`), or all of it, scaled."""
    height, width = pixels.shape[:2]
    if (height, width) == tuple(size):
        return pixels
    wanted = f"must be {size[1]} wide and {size[0]} high, is {width} by {height}"
    require(fit in FITS, place, wanted, f"use --fit {' or --fit '.join(FITS)}")
    if fit == "crop":
        require(height >= size[0] and width >= size[1], place, f"{wanted}, too small to crop", "use --fit resize")
        top, left = (height - size[0]) // 2, (width - size[1]) // 2
        return pixels[top : top + size[0], left : left + size[1]]
    return resize(pixels, size)


def resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 or uint16 [H, W, ...] scaled to `size` (height, width)."""
    height, width = pixels.shape[:2]
    if height - size[0] > 2 * (width - size[1]):
        return _along(_along(pixels, 0, size[0]), 1, size[1])
    return _along(_along(pixels, 1, size[1]), 0, size[0])


def nearest(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A class map [H, W, ...] scaled to `size`: every new pixel is the old one in which its middle lies."""
    sizes = zip(labels.shape[:2], size, strict=True)
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for old, new in sizes)
    scaled: np.ndarray = labels[rows[:, None], columns]
    return scaled


def _along(pixels: np.ndarray, axis: int, new: int) -> np.ndarray:
    old = pixels.shape[axis]
    if old == new:
        return pixels
    first, count = windows(old, new)
    bits = 22 if pixels.dtype == np.uint8 else 38
    weight = (0.5 + (1.0 / np.maximum(count, 1)) * float(1 << bits)).astype(np.int64)
    sums = np.cumsum(np.moveaxis(pixels, axis, 0), axis=0, dtype=np.int64)
    sums = np.concatenate([np.zeros_like(sums[:1]), sums])
    shape = (-1,) + (1,) * (pixels.ndim - 1)
    total = (sums[first + count] - sums[first]) * weight.reshape(shape)
    result = np.clip((total + (1 << (bits - 1))) >> bits, 0, np.iinfo(pixels.dtype).max)
    return np.moveaxis(result.astype(pixels.dtype), 0, axis)


def windows(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """First old pixel and number of old pixels of every new one; float64 as in Pillow, step by step."""
    scale = old / new
    wide = max(scale, 1.0)
    centre = (np.arange(new) + 0.5) * scale
    support = 0.5 * wide
    low = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    high = np.minimum((centre + support + 0.5).astype(np.int64), old)
    inverse = 1.0 / wide
    for _ in range(2):  # the window's ends may lie just outside the box
        position = (low - centre + 0.5) * inverse
        low = np.where((low < high) & ~((position > -0.5) & (position <= 0.5)), low + 1, low)
        position = (high - 1 - centre + 0.5) * inverse
        high = np.where((low < high) & ~((position > -0.5) & (position <= 0.5)), high - 1, high)
    return low, high - low

"""A picture as an array in a .npy file: [H, W], [H, W, C] or slices [S, H, W, C]; at most 8 channels."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

from hwseg.borders import given
from hwseg.errors import require
from hwseg.pictures.formats import Head, require_pages, require_size
from hwseg.pictures.raster import CHANNELS, Geometry, Picture, stored


def opened(path: Path, place: str) -> np.ndarray:
    """The array, not yet read: nothing in the file is executed, and no size is believed."""
    require(os.path.isfile(path), place, "must be a .npy file, but there is no such file", "check the path")
    with given(place, "a .npy file of numbers", "write it with numpy.save"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    require(isinstance(array, np.ndarray), place, "must hold one array", "write one array with numpy.save")
    return np.asarray(array)


def _slices(array: np.ndarray, place: str) -> np.ndarray:
    """[S, H, W, C].  Three axes are [H, W, C] where the last has at most 8 places, else [S, H, W]."""
    rule = f"must be [H, W], [H, W, C], [S, H, W] or [S, H, W, C] with at most {CHANNELS} channels"
    if array.ndim == 2:
        array = array[None, :, :, None]
    elif array.ndim == 3:
        array = array[None] if array.shape[2] <= CHANNELS else array[..., None]
    fits = array.ndim == 4 and 0 < array.shape[3] <= CHANNELS and array.size > 0
    require(fits, place, f"{rule}, is {list(array.shape)}", "reorder its axes")
    return array


def _bits(array: np.ndarray) -> int:
    return stored(np.zeros(1, array.dtype), "array").bits if array.dtype.kind in "uifb" else 0


def head(path: Path, place: str) -> Head:
    """Size, depth and pages."""
    array = _slices(opened(path, place), place)
    require(array.dtype.kind in "uifb", place, f"must hold numbers, holds {array.dtype}", "convert it first")
    pages, height, width, channels = array.shape
    return Head(pages, height, width, channels, _bits(array))


def read(path: Path, place: str, page: int | None) -> Picture:
    """All slices, or one."""
    array = _slices(opened(path, place), place)
    require_pages(place, len(array), page)
    array = array if page is None else array[page : page + 1]
    require_size(place, array.shape[1], array.shape[2], len(array), array.shape[3] * array.dtype.itemsize)
    found = stored(np.array(array), place)
    geometry = Geometry("npy", (str(path),), shape=array.shape)
    return Picture(found.pixels, found.bits, geometry, offset=found.offset, place=place)

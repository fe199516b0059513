"""One file per kind of picture file: `head`, from its header alone, and `read`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from hwseg.errors import HwsegError, require

MAX_PIXELS = 1 << 27
"""Of one picture: 134 million; Pillow's own limit is a third higher."""

MAX_BYTES = 1 << 32
"""Of everything that is read from a file at once."""


@dataclass(frozen=True)
class Head:
    """What a file's header declares.  pages: pictures in it.  bits: as of `Raster`."""

    pages: int
    height: int
    width: int
    channels: int
    bits: int


def needed(name: str, place: str, what: str, cure: str = "pip install 'hwseg[formats]'") -> Any:
    """A package of an extra, or the sentence that says how to get it."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise HwsegError(place, f"is {what}, which needs the package {package}", cure) from error


def require_size(place: str, height: int, width: int, pages: int = 1, sample_bytes: int = 1) -> None:
    """Refuse what would not fit in memory, before anything is unpacked."""
    rule = f"must have at most {MAX_PIXELS} pixels and no empty side, is {width}x{height}"
    require(height > 0 and width > 0 and height * width <= MAX_PIXELS, place, rule, "crop it first")
    total = height * width * pages * sample_bytes
    rule = f"must hold at most {MAX_BYTES >> 30} GiB, holds {total >> 20} MiB unpacked"
    require(total <= MAX_BYTES, place, rule, "choose one picture of it with --page, or split the file")


def require_pages(place: str, pages: int, page: int | None) -> None:
    """Refuse a page that is not there."""
    inside = page is None or 0 <= page < pages
    require(inside, place, f"has the pages 0 to {pages - 1}, not {page}", "choose one of them")


def oriented(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """[..., H, W] plus channels last, [S, H, W, C], as EXIF and TIFF orientation 1 to 8 say it is to be seen."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(1, 2)
    # After the swap: 2, 7 and 3, 6 are mirrored left to right; 3, 7 and 4, 8 top to bottom.
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, :, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[:, ::-1]
    return pixels


def without_alpha(pixels: np.ndarray, place: str, opaque: int) -> np.ndarray:
    """The channels before the last, which is alpha and must be opaque everywhere."""
    rule = f"must not be transparent, its alpha falls to {pixels[..., -1].min()} of {opaque}"
    require(bool((pixels[..., -1] == opaque).all()), place, rule, "flatten it onto a background")
    return pixels[..., :-1]

"""A mask file as a class map, by the declared meaning of its values.

A value is what the file says it is: the number of a palette's colour, or the grey value; colours are labels only where
they are declared.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwseg.errors import require
from hwseg.pictures.labels import IGNORE, Labels
from hwseg.pictures.raster import Picture
from hwseg.pictures.read import head, read


def read_mask(path: str | Path, labels: Labels, page: int | None = None) -> np.ndarray:
    """uint8 [H, W]: classes, and 255 where nobody knows."""
    place = str(path)
    if page is None:
        pages = head(path).pages
        require(pages == 1, place, f"holds {pages} masks, one is wanted", "use one page for each picture")
    found: np.ndarray = classes(read(path, page), labels)[0]
    return found


def classes(picture: Picture, labels: Labels) -> np.ndarray:
    """Class maps [slices, H, W] of a mask file."""
    found = values(picture, labels)
    if found is None:
        return np.stack([_coloured(p, labels, picture.place) for p in picture.pixels])
    return np.stack([labels.read(v, picture.place) for v in found])


def values(picture: Picture, labels: Labels) -> np.ndarray | None:
    """What the file says in each pixel [slices, H, W]; None where that is colours, and `labels` declare them."""
    place = picture.place
    rule = "must have black as zero: with white as zero nobody knows which of both is the background"
    require(not picture.geometry.facts.get("white_is_zero"), place, rule, "save it again, with black as zero")
    if picture.palette is not None and picture.index is not None:
        if labels.colours and not _numbered(picture, labels):
            return None
        return picture.index if labels.channels > 1 or labels.coding != "binary" else _two_colours(picture)
    if picture.pixels.shape[3] == 3:
        if labels.colours:
            return None
        grey = picture.pixels[..., :1]
        rule = "must be a mask of one channel, is coloured"
        require(bool((grey == picture.pixels).all()), place, rule, "declare the colours of its classes, or convert it")
        return _whole(grey[..., 0], picture)
    require(picture.pixels.shape[3] == 1, place, f"must have one channel, has {picture.pixels.shape[3]}")
    return _whole(picture.pixels[..., 0], picture)


def _whole(values: np.ndarray, picture: Picture) -> np.ndarray:
    """Labels as they are in the file: not moved up, not multiplied; integers even where stored as floats."""
    if picture.palette is not None:
        return values
    place = picture.place
    if picture.scale > 1:
        return np.asarray(values // picture.scale, values.dtype)
    if picture.bits == 32 or picture.slope != 1 or picture.offset:
        real = values.astype(np.float64) * float(picture.slope) + float(picture.offset)
        valid = bool(
            np.isfinite(real).all() and (real == np.rint(real)).all() and real.min() >= 0 and real.max() < 65536
        )
        require(valid, place, "must hold whole labels from 0 to 65535", "convert it to 8 or 16 bits")
        return real.astype(np.uint16)
    return values


def _two_colours(picture: Picture) -> np.ndarray:
    """A binary mask with a palette: what is black is the background, whatever its number."""
    black = (picture.pixels == 0).all(axis=3)
    if not black.any():
        assert picture.index is not None
        return picture.index
    packed = picture.pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    found = np.unique(packed)
    numbers = np.searchsorted(found, packed)
    return np.where(black, 0, numbers + (0 if found[0] == 0 else 1)).astype(np.uint16)


def _numbered(picture: Picture, labels: Labels) -> bool:
    """Whether the file's palette begins as declared, so that its numbers are the classes."""
    assert picture.palette is not None
    wanted = labels.palette()
    return len(picture.palette) >= len(wanted) and bool((picture.palette[: len(wanted)] == wanted).all())


def _coloured(pixels: np.ndarray, labels: Labels, place: str) -> np.ndarray:
    """Classes by their declared colours."""
    found = np.full(pixels.shape[:2], IGNORE, np.uint8)
    known = np.zeros(pixels.shape[:2], bool)
    for number, colour in enumerate(labels.palette()):
        here = (pixels == colour).all(axis=2)
        found[here], known = number, known | here
    strange = pixels[~known]
    if len(strange):
        shown = "#{:02x}{:02x}{:02x}".format(*strange[0])
        require(labels.ignore is not None, place, f"holds the colour {shown}, which is declared for no class",
                "declare it, or an ignore label for all other colours")  # fmt: skip
    return found

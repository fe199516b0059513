"""The pictures of a file, each read when it is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hwseg.pictures.raster import Picture, Raster
from hwseg.pictures.read import read
from hwseg.segment.plan import Item

AT_ONCE = 1 << 28
"""Bytes of a file's pictures that are read at once; of more, one after the other."""


def pictures(item: Item) -> Iterator[Callable[[], Raster]]:
    """How to read each of the item's pictures; several small ones, and the slices of a volume, are read at once."""
    bytes_each = item.size[0] * item.size[1] * item.head.channels * max(1, item.head.bits // 8)
    together = len(item.pages) > 1 and (item.format == "nifti" or len(item.pages) * bytes_each <= AT_ONCE)
    held: list[Picture] = []

    def picture(page: int) -> Raster:
        if not together:
            return read(item.source, page).slice(0)
        if not held:
            held.append(read(item.source))
        return held[0].slice(page)

    return (lambda page=page: picture(page) for page in item.pages)  # type: ignore[misc]

"""Tiles that are exact: every number that a tile gives equals that of the whole picture computed at once.

A picture is first extended, below and to the right, to a multiple of what its network pools by and to at least the
network's own size: that is *the whole*.  A pixel of the result looks some rows up and down, and some columns to each
side (`Reach`); what a tile gives nearer to its edge is not used, for inside a network what lies beyond a tile's edge
counts as zero, and only beyond the whole's edge it is.

    |<------------------ whole ------------------>|
    |<----- tile ----->|                              origins are multiples of the pooling
    |=============|....|                              = taken    . computed, not taken
             |....|========|....|
                     |....|=======================|   the last tile is moved inward, none reaches beyond

Rows and columns are cut alike, each by itself.  NumPy alone, so that a board cuts as a workstation does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwseg.errors import require

Size = tuple[int, int]
"""(height, width)."""

AXES = ("rows", "columns")
MOST = 1 << 16
"""Pixels of a reach, whatever a file says."""


@dataclass(frozen=True)
class Reach:
    """What a pixel of the result depends on.  before: rows above it, columns to its left.  after: below, to the right.

    multiple: rows and columns by which a network may be moved without changing what it computes; `before` and `after`
    are multiples of it.
    """

    before: Size
    after: Size
    multiple: Size

    def json(self) -> dict[str, Any]:
        """For model.json."""
        return {"before": list(self.before), "after": list(self.after), "multiple": list(self.multiple)}


def of_json(content: Any, place: str, cure: str = "make the package again with hwseg package") -> Reach:
    """The inverse of `Reach.json`; HwsegError for what is not that."""
    found = []
    for key, least in (("before", 0), ("after", 0), ("multiple", 1)):
        pair: Any = content.get(key) if isinstance(content, Mapping) else None
        whole = isinstance(pair, list) and len(pair) == 2 and all(type(n) is int and least <= n <= MOST for n in pair)
        require(whole, place, f"{key} must be two numbers from {least} to {MOST}, is {str(pair)[:40]}", cure)
        found.append((pair[0], pair[1]))
    before, after, multiple = found
    fits = all(n % m == 0 for pair in (before, after) for n, m in zip(pair, multiple, strict=True))
    require(fits, place, f"before and after must be multiples of {multiple[0]} and {multiple[1]}", cure)
    return Reach(before, after, multiple)


@dataclass(frozen=True)
class Cut:
    """One tile along one axis: it begins at `start` of the whole and gives the pixels from `first` to before `last`."""

    start: int
    first: int
    last: int

    @property
    def taken(self) -> slice:
        """In the tile."""
        return slice(self.first - self.start, self.last - self.start)

    @property
    def place(self) -> slice:
        """In the whole."""
        return slice(self.first, self.last)


@dataclass(frozen=True)
class Tile:
    """A rectangle: one cut of the rows, one of the columns."""

    row: Cut
    column: Cut

    @property
    def taken(self) -> tuple[slice, slice]:
        """What is used of the tile."""
        return self.row.taken, self.column.taken

    @property
    def place(self) -> tuple[slice, slice]:
        """Where that is in the whole."""
        return self.row.place, self.column.place


@dataclass(frozen=True)
class Grid:
    """All tiles of a picture.  picture: its own size.  whole: with its extension.  tile: of each."""

    picture: Size
    whole: Size
    tile: Size
    rows: tuple[Cut, ...]
    columns: tuple[Cut, ...]

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def __iter__(self) -> Iterator[Tile]:
        """Row after row, from the left."""
        return (Tile(row, column) for row in self.rows for column in self.columns)

    @property
    def computed(self) -> int:
        """Pixels of all tiles."""
        return len(self) * self.tile[0] * self.tile[1]

    @property
    def surplus(self) -> float:
        """Pixels computed beyond the picture's own, as a share of those."""
        return self.computed / (self.picture[0] * self.picture[1]) - 1


def whole(picture: Size, least: Size, multiple: Size) -> Size:
    """Size of a picture with its extension: a multiple of the pooling, and no less than the network's own size."""
    height, width = (max(-(-n // m) * m, own) for n, own, m in zip(picture, least, multiple, strict=True))
    return height, width


def grid(picture: Size, least: Size, tile: Size, reach: Reach) -> Grid:
    """How a picture is cut for a network of the size `least` that computes tiles of the size `tile`.

    HwsegError where tiles are so small that nothing of them could be used.
    """
    size = whole(picture, least, reach.multiple)
    tile = min(tile[0], size[0]), min(tile[1], size[1])
    cuts = [cut(size[i], tile[i], reach.before[i], reach.after[i], reach.multiple[i], AXES[i]) for i in (0, 1)]
    return Grid(picture, size, tile, cuts[0], cuts[1])


def cut(length: int, tile: int, before: int, after: int, multiple: int, axis: str = "rows") -> tuple[Cut, ...]:
    """One axis of the whole; every pixel belongs to one tile."""
    for what, n in (("the whole", length), ("a tile", tile)):
        rule = f"{axis} of {what} must be a multiple of {multiple}, which the network pools by, are {n}"
        require(n > 0 and n % multiple == 0, "tiles", rule, f"use {max(1, -(-n // multiple)) * multiple}")
    if tile >= length:
        return (Cut(0, 0, length),)
    step = tile - before - after
    least = before + after + multiple
    rule = f"must have at least {least} {axis}: the network looks at {before} before and {after} after each, has {tile}"
    require(step > 0, "tiles", rule, f"compile or export it for {least} or more; twice as many cost a quarter")
    found, start, first = [], 0, 0
    while start + tile < length:
        last = start + tile - after
        found.append(Cut(start, first, last))
        start, first = start + step, last
    return (*found, Cut(length - tile, first, length))


def balanced(picture: Size, least: Size, most: Size, reach: Reach) -> Size:
    """The smallest tiles that are no more than those of the size `most` would be: less is computed twice."""
    size = whole(picture, least, reach.multiple)
    sides = []
    for axis, (length, own, step) in enumerate(zip(size, most, reach.multiple, strict=True)):
        halo = reach.before[axis] + reach.after[axis]
        most_of = max(own // step * step, halo + step)
        if length <= most_of:
            sides.append(length)
            continue
        count = -(-(length - halo) // (most_of - halo))
        sides.append(-(-(length + (count - 1) * halo) // (count * step)) * step)
    return sides[0], sides[1]


def window(pixels: np.ndarray, origin: Size, size: Size) -> np.ndarray:
    """`size` pixels from `origin` on, of a picture [H, W, ...]; beyond it, its last row and column again."""
    ends = [start + n for start, n in zip(origin, size, strict=True)]
    if ends[0] <= pixels.shape[0] and ends[1] <= pixels.shape[1]:
        return pixels[origin[0] : ends[0], origin[1] : ends[1]]
    # A tile may lie beyond the picture altogether.
    ranges = zip(origin, ends, pixels.shape[:2], strict=True)
    rows, columns = (np.minimum(np.arange(start, end), own - 1) for start, end, own in ranges)
    return np.asarray(pixels[rows[:, None], columns])

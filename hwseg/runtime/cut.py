"""A picture of any size: the tiles that the accelerator computes of it, and the result that they are put together to.

Cut, extended, scaled and looked up by the functions that `hwseg segment` has, in `hwseg.pictures`: the same bytes.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import chain

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.layout import HeadLayout
from hwseg.pictures import tiles
from hwseg.pictures.raster import Raster, raster
from hwseg.pictures.tiles import Grid, Tile
from hwseg.pictures.whole import Whole, whole
from hwseg.runtime.model import Model
from hwseg.runtime.run import Mask


class Cut:
    """One picture for one model.  fit: "crop" or "resize" for one tile of it, as `hwseg golden --fit` does.

    HwsegError for a picture that the model does not take, before anything is computed.
    """

    def __init__(self, image: np.ndarray | Raster, model: Model, fit: str = "") -> None:
        picture = image if isinstance(image, Raster) else raster(image, bits=model.pixels.meaning.bits)
        self.model, self.size = model, picture.pixels.shape[:2]
        self.grid: Grid | None = None
        self._whole: Whole | None = None
        self._one: np.ndarray | None = None
        shape, reach = model.input.shape, model.tiles
        own = self.size == shape[:2]
        if fit or (own and isinstance(reach, str)):
            self._one = model.pixels.integers(picture, shape, fit)
            return
        self._whole = whole(picture, model.pixels, shape)
        if self._whole.to_size:
            return
        if isinstance(reach, str):
            rule = f"must have {shape[0]}x{shape[1]} pixels, has {self.size[0]}x{self.size[1]}"
            cure = f'add fit="crop" or fit="resize": no tiles can be cut for {model.name}, which {reach}'
            raise HwsegError(picture.place, rule, cure)
        self.grid = tiles.grid((self.size[0], self.size[1]), shape[:2], shape[:2], reach)

    def __len__(self) -> int:
        return 1 if self.grid is None else len(self.grid)

    def inputs(self) -> Iterator[np.ndarray]:
        """The network's input [H, W, C] of each tile."""
        if self._one is not None:
            yield self._one
            return
        assert self._whole is not None
        size = self.model.input.shape[:2]
        if self.grid is None:
            yield self._whole.window((0, 0), size)
        else:
            for tile in self.grid:
                yield self._whole.tile(tile, size)

    def joined(self, found: Iterator[Mask]) -> Mask:
        """The picture's mask of those of its tiles, in the order of `inputs`."""
        if self.grid is None or len(self.grid) == 1:
            return self._single(next(found))
        height, width = self.size
        layout = self.model.head_layout
        mask = np.empty((height, width), np.uint8)
        sums = np.empty((height, width, layout.shape[2]), np.int32 if isinstance(layout, HeadLayout) else np.int16)
        cycles, counters = 0, Counter[str]()
        for tile, part in zip(self.grid, found, strict=False):  # `found` goes on with the next picture's
            place, taken = _inside(tile, (height, width))
            mask[place], sums[place] = part.mask[taken], part.sums[taken]
            cycles += part.cycles
            counters.update(part.counters)
        return Mask(mask, sums, cycles, dict(counters), self.model, self.grid)

    def _single(self, mask: Mask) -> Mask:
        if self.grid is not None:
            height, width = self.size
            inside = np.s_[:height, :width]
            kept = [np.ascontiguousarray(array[inside]) for array in (mask.mask, mask.sums)]
            return replace(mask, mask=kept[0], sums=kept[1], grid=self.grid)
        if self._whole is not None and self._whole.size != mask.mask.shape:
            return replace(mask, mask=self._whole.restored(mask.mask))
        return mask


def masks(
    images: Iterable[np.ndarray | Raster],
    model: Model,
    fit: str,
    compute: Callable[[Iterator[np.ndarray]], Generator[Mask, None, None]],
) -> list[Mask]:
    """Masks of pictures, one after the other; compute: gives the result of each input, in their order."""
    waiting: deque[Cut] = deque()

    def inputs() -> Iterator[np.ndarray]:
        for image in _pictures(images):
            waiting.append(Cut(image, model, fit))
            yield from waiting[-1].inputs()

    done: list[Mask] = []
    with closing(compute(inputs())) as found:
        for first in found:
            done.append(waiting.popleft().joined(chain((first,), found)))
    return done


def _pictures(images: Iterable[np.ndarray | Raster]) -> Iterator[np.ndarray | Raster]:
    """One after the other; HwsegError if there is no such thing."""
    try:
        return iter(images)
    except TypeError as error:
        found = type(images).__name__
        raise HwsegError("images", f"must be pictures, one after the other, is {found}", "give a list") from error


def one(image: np.ndarray | Raster, model: Model, fit: str = "") -> np.ndarray:
    """The input of a picture that is computed at once; HwsegError for one that takes several tiles."""
    cut = Cut(image, model, fit)
    shape = model.input.shape
    rule = f"must be one tile of {shape[0]}x{shape[1]}, has {cut.size[0]}x{cut.size[1]} pixels"
    require(cut.grid is None or cut.grid.picture == shape[:2], "image", rule, "use segment or batch, or add a fit")
    return next(cut.inputs())


def _inside(tile: Tile, size: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a tile's part of the picture is in the picture, and in the tile; what lies beyond is left out."""
    place, taken = [], []
    for cut, length in zip((tile.row, tile.column), size, strict=True):
        first, last = min(cut.first, length), min(cut.last, length)
        place.append(slice(first, last))
        taken.append(slice(first - cut.start, last - cut.start))
    return (place[0], place[1]), (taken[0], taken[1])

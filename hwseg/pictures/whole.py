"""A picture that is cut into tiles: prepared once, as a whole, so that percentiles are the whole picture's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwseg.pictures.fit import nearest
from hwseg.pictures.packed import PixelInput
from hwseg.pictures.prepare import prepare
from hwseg.pictures.raster import Raster
from hwseg.pictures.table import table
from hwseg.pictures.tiles import Size, Tile, window


@dataclass(frozen=True)
class Whole:
    """pixels: [H, W, C], uint8 or uint16, of the picture's own size or scaled to the network's.

    table: the network's integer of each pixel value, [levels] or [C, levels].  extend: what lies beyond the picture.
    size: of the picture as it came.  to_size: whether the network was trained on pictures scaled to its size.
    """

    pixels: np.ndarray
    table: np.ndarray
    extend: str
    size: Size
    to_size: bool = False

    def window(self, origin: Size, size: Size) -> np.ndarray:
        """The network's integers [h, w, C] of a part of the whole."""
        found = self._looked_up(window(self.pixels, origin, size))
        if self.extend == "zero":
            height, width = (max(0, own - start) for own, start in zip(self.pixels.shape[:2], origin, strict=True))
            found[height:] = 0
            found[:, width:] = 0
        return found

    def tile(self, tile: Tile, size: Size) -> np.ndarray:
        """The input of one tile."""
        return self.window((tile.row.start, tile.column.start), size)

    def _looked_up(self, pixels: np.ndarray) -> np.ndarray:
        if self.table.ndim == 1:
            return np.asarray(self.table[pixels])
        return np.stack([row[pixels[:, :, c]] for c, row in enumerate(self.table)], axis=2)

    def restored(self, classes: np.ndarray) -> np.ndarray:
        """A class map of the network's size at that of the picture as it came."""
        return nearest(classes, self.size)


def whole(picture: Raster, pixels: PixelInput, shape: tuple[int, int, int]) -> Whole:
    """A picture of any size for a network of `shape`; scaled where the network was trained on scaled ones."""
    scaled = pixels.meaning.fit == "resize"
    prepared = prepare(picture, pixels.meaning, shape[2], shape[:2] if scaled else None, pixels.meaning.fit)
    found = table(prepared.span, prepared.meaning, pixels.quantizer)
    return Whole(prepared.pixels, found, pixels.meaning.extend, picture.pixels.shape[:2], scaled)

"""A picture on its way to a network, in one order everywhere: depth, percentiles, fit, table.

Workstation, training and driver call these functions; they need NumPy and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hwseg.errors import require
from hwseg.pictures.fit import fitted
from hwseg.pictures.meaning import PIXEL, Meaning
from hwseg.pictures.raster import Raster
from hwseg.pictures.table import Quantizer, Span, normalize, spanned, table, values

__all__ = ["Prepared", "integers", "prepare", "standardized"]


@dataclass(frozen=True)
class Prepared:
    """A picture with the channels and the size of the network.  pixels: uint8 or uint16 [H, W, C].

    span: pixels that become 0 and 1; of the whole picture, whatever `pixels` is cut to.
    """

    pixels: np.ndarray
    meaning: Meaning
    span: Span

    def integers(self, quantizer: Quantizer) -> np.ndarray:
        """What the network's first quantizer gives, [H, W, C]."""
        found = table(self.span, self.meaning, quantizer)
        if found.ndim == 1:
            return np.asarray(found[self.pixels])
        return np.stack([row[self.pixels[:, :, c]] for c, row in enumerate(found)], axis=2)

    def values(self) -> np.ndarray:
        """t of every pixel, float32 [H, W, C] from 0 to 1; mean and deviation are not applied."""
        return np.asarray(values(self.span)[self.pixels])


def prepare(
    picture: Raster, meaning: Meaning, channels: int, size: tuple[int, int] | None = None, fit: str = ""
) -> Prepared:
    """The picture as a network of `channels` takes it; `size`: its height and width, if it is to be fitted.

    New files: percentiles of the whole picture, then raw pixels are fitted, then the table.  Older ones
    (`Meaning.before`): 8 bits first, then fitted, then p / 256.
    """
    meaning.check(channels, picture.place)
    picture = picture.channels(channels)
    if meaning.before:
        rule = f"must have 8 bits per channel, which the network was trained on, has {picture.bits}"
        cure = "convert it to 8 bits, or declare what its values are with --input"
        require(picture.bits == 8, picture.place, rule, cure)
        picture = replace(picture, pixels=normalize(picture.pixels, meaning.before))
        meaning = PIXEL
    narrow, span = spanned(picture, meaning)
    pixels = narrow.pixels if size is None else fitted(narrow.pixels, size, fit, picture.place)
    return Prepared(pixels, meaning, span)


def integers(
    picture: Raster,
    meaning: Meaning,
    shape: tuple[int, int, int],
    quantizer: Quantizer,
    fit: str = "",
) -> np.ndarray:
    """The network's input [H, W, C] for a picture; HwsegError where its size is another and `fit` is not given."""
    return prepare(picture, meaning, shape[2], shape[:2], fit).integers(quantizer)


def standardized(values: np.ndarray, meaning: Meaning) -> np.ndarray:
    """x = (t - mean) / deviation of t [..., C], float32, for training; integers come from `Prepared.integers`."""
    if not meaning.mean:
        return values
    mean, deviation = (np.array([float(v) for v in texts]) for texts in (meaning.mean, meaning.deviation))
    return np.asarray((values - mean) / deviation, np.float32)

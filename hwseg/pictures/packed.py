"""What a package says of a model's pixels, so that the driver prepares a picture as the workstation does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.pictures import labels as declared
from hwseg.pictures.fit import FITS
from hwseg.pictures.labels import Labels
from hwseg.pictures.meaning import Meaning, older, parse
from hwseg.pictures.prepare import prepare
from hwseg.pictures.raster import Raster, raster
from hwseg.pictures.table import BYTE, Quantizer

KEY = "pixels"
"""Of model.json."""


@dataclass(frozen=True)
class PixelInput:
    """meaning, labels: of the model's pictures and classes.  quantizer: its first.  table: instead, in old packages."""

    meaning: Meaning
    quantizer: Quantizer
    labels: Labels
    table: np.ndarray | None = None

    def integers(self, image: np.ndarray | Raster, shape: tuple[int, int, int], fit: str = "") -> np.ndarray:
        """The network's input [H, W, C] for an array [H, W] or [H, W, C].

        Another size is refused, unless `fit` is "crop" or "resize", or the network was trained on scaled pictures.
        """
        picture = image if isinstance(image, Raster) else raster(image, bits=self.meaning.bits)
        fit = fit or self.meaning.fit
        height, width = picture.pixels.shape[:2]
        found = f"{picture.pixels.dtype} [{height}, {width}, {picture.pixels.shape[2]}]"
        rule = f"must be [{shape[0]}, {shape[1]}, {shape[2]}], is {found}"
        require((height, width) == shape[:2] or fit in FITS, picture.place, rule, 'crop it, or add fit="resize"')
        prepared = prepare(picture, self.meaning, shape[2], shape[:2], fit)
        return prepared.integers(self.quantizer) if self.table is None else np.asarray(self.table[prepared.pixels])

    def json(self) -> dict[str, Any]:
        """For model.json."""
        found = self.meaning
        said = {"older": found.before, "fit": found.fit} if found.before else {"meaning": found.text()}
        q = self.quantizer
        return said | {"scale": str(q.scale), "low": q.low, "high": q.high, "labels": self.labels.text()}


def of_json(content: Any, channels: int, place: str) -> PixelInput:
    """The inverse of `PixelInput.json`; HwsegError for what is not that."""
    cure = "make the package again with hwseg package"
    require(isinstance(content, Mapping), place, f"must say what pixels are, says {str(content)[:40]!r}", cure)
    try:
        top, _, bottom = str(content["scale"]).partition("/")
        scale = _whole(top) / _whole(bottom or "1")
        low, high = content["low"], content["high"]
        valid = all(isinstance(v, int) and not isinstance(v, bool) for v in (low, high))
        require(valid and -128 <= low < high <= 255 and scale > 0, place, "must have a quantizer of 8 bits", cure)
        meaning = older(content["older"], content["fit"]) if "older" in content else parse(content["meaning"], place)
        labels = declared.parse(content["labels"], channels, place)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError) as error:
        raise HwsegError(place, f"must say what pixels are: {error!r}", cure) from error
    return PixelInput(meaning, Quantizer(scale, low, high), labels)


def _whole(text: str) -> Fraction:
    """A positive whole number of bounded length."""
    require(text.isascii() and text.isdigit() and len(text) < 64, "scale", f"must be a fraction, is {text[:20]!r}")
    return Fraction(int(text))


def of_table(normalize: str, table: np.ndarray, channels: int) -> PixelInput:
    """Of a package of an older hwseg, which listed the integer of each of the 256 pixel values."""
    return PixelInput(older(normalize), BYTE, Labels(channels), table)

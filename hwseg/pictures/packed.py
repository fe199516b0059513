"""What a package says of a model's pixels, so that the driver prepares a picture as the workstation does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hwseg.errors import require
from hwseg.pictures.fit import FITS
from hwseg.pictures.labels import Labels
from hwseg.pictures.meaning import Meaning
from hwseg.pictures.prepare import prepare
from hwseg.pictures.raster import Raster, raster
from hwseg.pictures.table import Quantizer

KEY = "pixels"
"""Of model.json."""


@dataclass(frozen=True)
class PixelInput:
    """meaning, labels: of the model's pictures and classes.  quantizer: its first."""

    meaning: Meaning
    quantizer: Quantizer
    labels: Labels

    def integers(self, image: np.ndarray | Raster, shape: tuple[int, int, int], fit: str = "") -> np.ndarray:
        """The network's input [H, W, C] for an array [H, W] or [H, W, C].

        Another size is refused, unless `fit` is "crop" or "resize", or the network was trained on scaled pictures.
        """
        require(fit in ("", *FITS), "fit", f"must be {' or '.join(FITS)}, is {fit!r}", "or leave it out")
        picture = image if isinstance(image, Raster) else raster(image, bits=self.meaning.bits)
        fit = fit or self.meaning.fit
        height, width = picture.pixels.shape[:2]
        found = f"{picture.pixels.dtype} [{height}, {width}, {picture.pixels.shape[2]}]"
        rule = f"must be [{shape[0]}, {shape[1]}, {shape[2]}], is {found}"
        require((height, width) == shape[:2] or fit in FITS, picture.place, rule, 'crop it, or add fit="resize"')
        prepared = prepare(picture, self.meaning, shape[2], shape[:2], fit)
        return prepared.integers(self.quantizer)

    def json(self) -> dict[str, Any]:
        """For model.json, where `hwseg.runtime.model` reads it."""
        found = self.meaning
        said = {"older": found.before, "fit": found.fit} if found.before else {"meaning": found.text()}
        q = self.quantizer
        return said | {"scale": str(q.scale), "low": q.low, "high": q.high, "labels": self.labels.text()}

"""What happens to a picture before its pixels are the network's integers: 8 bits in, 8 bits out, integers throughout.

A specification is "none", or "percentile LOW HIGH": the LOW-th percentile of the picture's values becomes 0, the
HIGH-th 255, and the rest lies on the line between, clipped.  It belongs to a trained network and travels in its file's
metadata (`hwseg.normalize`).  Percentiles are nearest ranks over all channels: no library version changes the result.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import ceil

import numpy as np
from numpy.typing import NDArray

from hwseg.errors import HwsegError, require

NONE = "none"
PERCENTILE = "percentile 0.5 99.5"
_NUMBER = re.compile(
    r"[0-9]{1,20}(\.[0-9]{0,20})?(e-?[0-9])?|\.[0-9]{1,20}(e-?[0-9])?|[0-9]{1,20}/[0-9]{1,20}", re.ASCII
)
"""Short enough to be computed with: 1e999999999 is not."""


def parse(spec: str) -> tuple[Fraction, Fraction] | None:
    """(low, high) percentiles, or None for "none"."""
    words = spec.split()
    if words == [NONE]:
        return None
    try:
        kind, low, high = words
        if not all(_NUMBER.fullmatch(word) for word in (low, high)):
            raise ValueError(spec)
        bounds = Fraction(low), Fraction(high)
    except (ValueError, ZeroDivisionError) as error:
        raise HwsegError(
            "normalization", f'must be "none" or "percentile LOW HIGH", not {spec[:80]!r}', f'use "{PERCENTILE}"'
        ) from error
    valid = kind == "percentile" and 0 <= bounds[0] < bounds[1] <= 100
    rule = f'must be "none" or "percentile LOW HIGH" (0 <= LOW < HIGH <= 100), not {spec[:80]!r}'
    require(valid, "normalization", rule, f'use "{PERCENTILE}"')
    return bounds


def normalize(pixels: NDArray[np.uint8], spec: str) -> NDArray[np.uint8]:
    """The 8-bit picture that the hardware sees."""
    bounds = parse(spec)
    require(pixels.dtype == np.uint8, "picture", f"must have 8-bit values, not {pixels.dtype}")
    if bounds is None or pixels.size == 0:
        return pixels
    result: NDArray[np.uint8] = table(pixels, bounds)[pixels]
    return result


def table(pixels: NDArray[np.uint8], bounds: tuple[Fraction, Fraction]) -> NDArray[np.uint8]:
    """The new value of each of the 256 old ones, rounded half up; a picture of one value becomes 0."""
    ranks = np.cumsum(np.bincount(pixels.reshape(-1), minlength=256))
    low, high = (int(np.searchsorted(ranks, max(1, ceil(b * pixels.size / 100)))) for b in bounds)
    if high == low:
        high = max(low + 1, int(pixels.max()))
    values = np.clip(np.arange(256), low, high) - low
    return ((2 * 255 * values + (high - low)) // (2 * (high - low))).astype(np.uint8)

"""One number for a picture: how doubtful it is.  0 is no doubt; validation pictures say which of these tells best.

A mean over all pixels is known to be a poor score: most pixels are background, and every outline is doubtful, however
good the mask is.  So others look at where the doubt is (after Guarino and Kainmueller's spatially aware aggregation).
Doubt is the probability that a pixel is wrong, in 65536ths, from its byte of confidence; sums are integers, so a score
is one division of two integers, and the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from hwseg.trust.confidence import DOUBT
from hwseg.trust.regions import largest_area

ONE = 1 << 16
BAND = 2
"""Pixels on either side of an outline."""
WEIGHT = 16
"""Of a pixel near an outline, where one elsewhere weighs 1."""
PATCHES = 8
"""A patch is this part of the shorter side."""


@dataclass(frozen=True)
class Doubtful:
    """A picture: confidence, mask, uint8 [H, W]; deferred, bool [H, W]; doubt, uint16 [H, W]."""

    confidence: np.ndarray
    mask: np.ndarray
    deferred: np.ndarray
    doubt: np.ndarray

    @classmethod
    def of(cls, confidence: np.ndarray, mask: np.ndarray, bound: int) -> Doubtful:
        """bound: pixels of less confidence are deferred."""
        return cls(confidence, mask, confidence < bound, DOUBT.take(confidence))


def mean(picture: Doubtful) -> float:
    """Mean doubt of all pixels."""
    return _sum(picture.doubt) / (ONE * picture.doubt.size)


def patch(picture: Doubtful) -> float:
    """Mean doubt of the worst patch: squares of an eighth of the shorter side, each overlapping the next by half."""
    height, width = picture.doubt.shape
    side = max(1, min(height, width) // (2 * PATCHES))
    rows, columns = np.arange(0, height, side), np.arange(0, width, side)
    sums = np.add.reduceat(np.add.reduceat(picture.doubt, rows, axis=0, dtype=np.int64), columns, axis=1)
    tall, wide = np.diff(rows, append=height), np.diff(columns, append=width)
    areas = np.multiply.outer(_pairs(tall), _pairs(wide))
    return float((_pairs(_pairs(sums).T).T / (ONE * areas)).max())


def outline(picture: Doubtful) -> float:
    """Mean doubt, in which pixels near the mask's outline weigh 16 times as much as others."""
    near = _near_outline(picture.mask)
    count = int(np.count_nonzero(near))
    weighted = _sum(picture.doubt) + (WEIGHT - 1) * _sum(picture.doubt, near)
    return weighted / (ONE * (picture.doubt.size + (WEIGHT - 1) * count))


def apart(picture: Doubtful) -> float:
    """Doubt away from the mask's outline, where a good mask has none, over all pixels."""
    return _sum(picture.doubt, ~_near_outline(picture.mask)) / (ONE * picture.doubt.size)


def share(picture: Doubtful) -> float:
    """Share of the pixels that are deferred."""
    return int(np.count_nonzero(picture.deferred)) / picture.deferred.size


def area(picture: Doubtful) -> float:
    """The largest connected area of deferred pixels whose neighbours are deferred too (thin outlines are not), over
    all pixels.
    """
    deep = np.zeros(picture.deferred.shape, bool)
    rows = picture.deferred[:-2] & picture.deferred[1:-1] & picture.deferred[2:]
    deep[1:-1, 1:-1] = rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]
    return largest_area(deep) / deep.size


def overlap(picture: Doubtful) -> float:
    """1 - the Dice of foreground that is to be expected if every pixel is wrong with its probability."""
    found = picture.mask > 0
    doubted, pixels = _sum(picture.doubt, found), int(np.count_nonzero(found))
    hit = ONE * pixels - doubted
    missed = _sum(picture.doubt) - doubted
    return 1 - 2 * hit / both if (both := ONE * pixels + hit + missed) else 0.0


SCORES: Mapping[str, Callable[[Doubtful], float]] = {
    "patch": patch,
    "area": area,
    "overlap": overlap,
    "apart": apart,
    "outline": outline,
    "share": share,
    "mean": mean,
}
"""By name; of two that tell equally well, the first is taken."""

WORDS: Mapping[str, str] = {
    "patch": "mean doubt of the worst patch",
    "area": "the largest connected area of doubt, of the picture,",
    "overlap": "the expected loss of Dice",
    "apart": "doubt away from the outline",
    "outline": "doubt weighted towards the outline",
    "share": "the share of deferred pixels",
    "mean": "mean doubt of all pixels",
}
"""Of each, for people."""


def _sum(doubt: np.ndarray, where: np.ndarray | None = None) -> int:
    return int(doubt.sum(dtype=np.int64) if where is None else doubt[where].sum(dtype=np.int64))


def _pairs(values: np.ndarray) -> np.ndarray:
    """Sums of neighbours along the first axis; a single entry is its own sum."""
    return np.asarray(values[:-1] + values[1:] if len(values) > 1 else values)


def _near_outline(mask: np.ndarray) -> np.ndarray:
    """Pixels from which another class is at most BAND pixels away along a row or a column."""
    near = np.zeros(mask.shape, bool)
    for step in range(1, BAND + 1):
        rows, columns = mask[step:] != mask[:-step], mask[:, step:] != mask[:, :-step]
        near[step:] |= rows
        near[:-step] |= rows
        near[:, step:] |= columns
        near[:, :-step] |= columns
    return near

"""How good confidence is, from counts of right and wrong pixels of each byte of it.

`counts` is [256, 2]: right and wrong pixels.  All measures are functions of it, so that an interval over pictures needs
only sums of the pictures' counts.  Bytes that are equal are in no order: of those only a part of which is deferred,
right and wrong ones go in proportion.  `tests/trust/test_measures.py` compares with torchmetrics and SciPy, pixel by
pixel.

    calibration error   mean |confidence - share of right pixels| over 15 bins of equal width (Guo et al., ICML 2017)
    risk, coverage      wrong ones among the pixels kept, and the share that is kept (Geifman and El-Yaniv, 2017)
    removed             share of the wrong pixels among those deferred, if so many are
    AUROC               how often a wrong pixel has less confidence than a right one; equal ones count half
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwseg.trust.confidence import STEPS

LEVELS = 256
BINS = 15
RESAMPLES = 1000

Counts = NDArray[np.int64]

PROBABILITY = 1 / (1 + np.exp(-np.arange(LEVELS) / STEPS))
"""That a pixel is right, by its byte of confidence."""


def reliability(counts: Counts) -> NDArray[np.float64]:
    """[bins, 3]: pixels, their mean confidence, the share that is right; nan where a bin has none."""
    bins = np.minimum((PROBABILITY * BINS).astype(int), BINS - 1)
    pixels = counts.sum(axis=1)
    total, sure, right = (np.bincount(bins, w, BINS) for w in (pixels, pixels * PROBABILITY, counts[:, 0]))
    with np.errstate(invalid="ignore"):
        return np.stack([total, sure / total, right / total], axis=1)


def calibration_error(counts: Counts) -> float:
    """Expected calibration error."""
    rows = reliability(counts)
    gaps = np.nan_to_num(np.abs(rows[:, 1] - rows[:, 2]))
    return float((rows[:, 0] * gaps).sum() / max(1, rows[:, 0].sum()))


def likelihood(counts: Counts) -> float:
    """Mean negative logarithm of the likelihood, in nats a pixel."""
    log = np.log(np.stack([PROBABILITY, np.maximum(1 - PROBABILITY, 1e-12)], axis=1))
    return float(-(counts * log).sum() / max(1, counts.sum()))


def error(counts: Counts) -> float:
    """Share of the pixels that are wrong."""
    return float(counts[:, 1].sum() / max(1, counts.sum()))


def risk_coverage(counts: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coverage from 0 to 1 and the risk at it, by falling confidence."""
    kept = np.cumsum(counts[::-1], axis=0)
    pixels = kept.sum(axis=1)
    some = pixels > 0
    coverage, risk = pixels[some] / pixels[-1], kept[some, 1] / pixels[some]
    return np.concatenate([[0.0], coverage]), np.concatenate([risk[:1], risk])


def area(counts: Counts) -> float:
    """Under the risk-coverage curve: mean risk over all coverages; 0 is best."""
    coverage, risk = risk_coverage(counts)
    return float(np.trapezoid(risk, coverage))


def removed(counts: Counts, share: float) -> float:
    """Share of the wrong pixels among those deferred, if the least confident `share` of the pixels is."""
    pixels = np.concatenate([[0], np.cumsum(counts.sum(axis=1))])
    wrong = np.concatenate([[0], np.cumsum(counts[:, 1])])
    return float(np.interp(share * pixels[-1], pixels, wrong) / wrong[-1]) if wrong[-1] else 1.0


def auroc(counts: Counts) -> float:
    """For wrong pixels; nan where all are right, or none is."""
    right, wrong = counts[:, 0].astype(np.float64), counts[:, 1].astype(np.float64)
    if not right.sum() or not wrong.sum():
        return float("nan")
    above = right.sum() - np.cumsum(right)
    return float((wrong * (above + right / 2)).sum() / (right.sum() * wrong.sum()))


def deferred(counts: Counts, bound: int) -> float:
    """Share of the pixels that a bound defers."""
    return float(counts[:bound].sum() / max(1, counts.sum()))


def remaining(counts: Counts, bound: int) -> float:
    """Share of wrong ones among the pixels that a bound keeps."""
    return error(counts[bound:]) if bound < LEVELS else 0.0


def removed_by(counts: Counts, bound: int) -> float:
    """Share of the wrong pixels that a bound defers."""
    wrong = int(counts[:, 1].sum())
    return float(counts[:bound, 1].sum() / wrong) if wrong else 1.0


@dataclass(frozen=True)
class Figure:
    """A measure, with a 95 % bootstrap interval over pictures."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "-"
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"

    def json(self) -> dict[str, float | None]:
        """Plain values; what cannot be measured is null."""
        return {name: None if np.isnan(value) else value for name, value in asdict(self).items()}


def _interval(value: float, values: Sequence[float]) -> Figure:
    finite = np.asarray([v for v in values if not np.isnan(v)])
    low, high = np.percentile(finite, (2.5, 97.5)) if len(finite) else (np.nan, np.nan)
    return Figure(value, float(low), float(high))


def figure(measure: Callable[[Counts], float], counts: Sequence[Counts], seed: int = 0) -> Figure:
    """A measure of all pictures' pixels together; pictures are drawn again for its interval."""
    stack = np.stack(list(counts)).astype(np.int64)
    weights = np.random.default_rng(seed).multinomial(len(stack), np.full(len(stack), 1 / len(stack)), RESAMPLES)
    drawn = np.tensordot(weights, stack, axes=1)
    return _interval(measure(stack.sum(axis=0)), [measure(one) for one in drawn])


def figure_of_pictures(
    measure: Callable[[NDArray[Any], NDArray[Any]], float],
    values: Sequence[float],
    truth: Sequence[Any] | NDArray[Any],
    seed: int = 0,
) -> Figure:
    """A measure of one number for each picture against another."""
    one, other = np.asarray(values, np.float64), np.asarray(truth)
    draws = np.random.default_rng(seed).integers(0, len(one), (RESAMPLES, len(one)))
    return _interval(measure(one, other), [measure(one[draw], other[draw]) for draw in draws])


def rank_correlation(values: NDArray[Any], dice: NDArray[Any]) -> float:
    """Spearman's, of doubt and the loss of Dice: 1 where they have one order; nan where one of them is constant."""
    from scipy.stats import rankdata

    if len(values) < 2:
        return float("nan")
    one, other = rankdata(values), rankdata(1 - dice)
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / size if size else float("nan")


def ranking(values: NDArray[Any], bad: NDArray[Any]) -> float:
    """AUROC of a score for the pictures that are bad; nan where all are, or none is."""
    from scipy.stats import rankdata

    bad = bad.astype(bool)
    count, others = int(bad.sum()), int((~bad).sum())
    if not count or not others:
        return float("nan")
    return float((rankdata(values)[bad].sum() - count * (count + 1) / 2) / (count * others))

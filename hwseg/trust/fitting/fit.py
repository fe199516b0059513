"""Temperature, bound and picture score of a network, fitted on validation pictures alone.

The temperature minimizes the likelihood's negative logarithm over all known pixels.  The bound is the largest that
defers no more pixels than was asked for, or the smallest that leaves no more errors.  The score is the one whose order
of the pictures is closest to that of their Dice (Spearman), over the validation pictures and disturbed copies of them:
a handful of good pictures alone would choose by chance.  Its limit is the one that best parts pictures below and above
a Dice (the most of true less false alarms); where no picture is below it, the largest score that was seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwseg.datasets.pairs import Pair
from hwseg.datasets.seen import named
from hwseg.errors import require
from hwseg.ir import Graph
from hwseg.pictures.labels import IGNORE
from hwseg.trust.fitted import Trust
from hwseg.trust.fitting import measures
from hwseg.trust.fitting.disturb import DISTURBANCES, disturbance
from hwseg.trust.fitting.observe import Progress, Seen, observe, silent
from hwseg.trust.graph import digest, judge_with, linear
from hwseg.trust.scores import SCORES

COOLEST, HOTTEST = 0.1, 10.0
"""Temperatures that are tried."""
COPIES = 96
"""Disturbed pictures, at most."""
DEFER, DICE = 0.12, 0.8


@dataclass(frozen=True)
class Wanted:
    """What is asked for.  defer: share of the pixels to be deferred, or error: share of wrong ones among those kept.

    dice: a picture below it is one to review.
    """

    defer: float | None = DEFER
    error: float | None = None
    dice: float = DICE

    def __post_init__(self) -> None:
        one = (self.defer is None) != (self.error is None)
        require(one, "--defer", "goes without --error: one of them decides", "leave out one")
        for name, value in (("--defer", self.defer), ("--error", self.error), ("--dice", self.dice)):
            fits = value is None or 0 < value < 1
            require(fits, name, f"must be between 0 and 1, is {value}")

    def __str__(self) -> str:
        what = f"error {self.error:g}" if self.defer is None else f"defer {self.defer:g}"
        return f"{what}, dice {self.dice:g}"


@dataclass(frozen=True)
class Fit:
    """trust: for the file.  before, after: counts of all validation pixels, without and with the temperature.

    correlations: of each score, over `copies` pictures, `bad` of which are below the Dice that was asked for.
    """

    trust: Trust
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    correlations: Mapping[str, float]
    copies: int
    bad: int


def fit(
    graph: Graph, pairs: Sequence[Pair], wanted: Wanted | None = None, scaling: str = "", progress: Progress = silent
) -> Fit:
    """What the metadata of a graph should say, from pictures that neither trained it nor measure it.

    scaling: "resize" where pictures are scaled to the model's size.
    """
    wanted = wanted or Wanted()
    require(bool(pairs), "trust", "needs at least one picture", "choose another --split")
    seen = observe(graph, pairs, scaling, progress=progress, doing="validation pictures")
    channels = graph.types[graph.head.tensor].shape[2]
    require_classes(pairs, seen, channels)
    scale, offset = linear(graph.head, channels)
    plain = Trust(digest(graph), ("1",) * channels, 0, "mean", "0", len(pairs), str(wanted))
    before = _counts(graph, plain, seen)
    trust = Trust(plain.graph, temperatures(seen, scale, offset), 0, "mean", "0", len(pairs), str(wanted))
    after = _counts(graph, trust, seen)
    bound = bound_of(after, wanted)
    trust = Trust(trust.graph, trust.temperatures, bound, "mean", "0", len(pairs), str(wanted))
    shown = [*seen, *_disturbed(graph, pairs, scaling, progress)]
    judge = judge_with(graph, trust)
    values = [one.scores(one.confidence(judge), bound) for one in shown]
    dice = np.array([one.dice for one in shown])
    columns = {name: np.array([row[name] for row in values]) for name in SCORES}
    correlations = {name: measures.rank_correlation(column, dice) for name, column in columns.items()}
    best = max(SCORES, key=lambda name: (np.nan_to_num(correlations[name], nan=-1.0), -list(SCORES).index(name)))
    limit = limit_of(columns[best], dice < wanted.dice)
    said = trust.pictures, trust.wanted
    return Fit(
        Trust(trust.graph, trust.temperatures, bound, best, limit, *said),
        before,
        after,
        correlations,
        len(shown),
        int((dice < wanted.dice).sum()),
    )


def temperatures(seen: Sequence[Seen], scale: tuple[Fraction, ...], offset: tuple[Fraction, ...]) -> tuple[str, ...]:
    """One for each channel, as decimal texts; a class that no mask has shares that of all pixels."""
    logits, right, classes = [], [], []
    for one in seen:
        values = one.sums * np.array([float(s) for s in scale]) + np.array([float(o) for o in offset])
        two = np.sort(values, axis=2)[:, :, -2:] if len(scale) > 1 else np.abs(values)
        logits.append((two[:, :, -1] - (two[:, :, 0] if len(scale) > 1 else 0))[one.known])
        right.append(~one.wrong[one.known])
        classes.append(one.mask[one.known])
    logit, correct, winner = (np.concatenate(parts) for parts in (logits, right, classes))
    overall = _temperature(logit, correct)
    if len(scale) == 1:
        return (overall,)
    parts = [winner == number for number in range(len(scale))]
    return tuple(_temperature(logit[part], correct[part]) if part.any() else overall for part in parts)


def _temperature(logit: NDArray[Any], correct: NDArray[Any]) -> str:
    """The most likely one."""
    from scipy.optimize import minimize_scalar

    signed = np.where(correct, -logit, logit)

    def loss(log: float) -> float:
        return float(np.logaddexp(0, signed * np.exp(-log)).mean())

    found = minimize_scalar(loss, bounds=(np.log(COOLEST), np.log(HOTTEST)), method="bounded")
    return f"{float(np.exp(found.x)):.3f}"


def bound_of(counts: NDArray[np.int64], wanted: Wanted) -> int:
    """The byte below which pixels are deferred."""
    bounds = range(measures.LEVELS)
    if wanted.defer is not None:
        return max(bound for bound in bounds if measures.deferred(counts, bound) <= wanted.defer)
    assert wanted.error is not None
    found = next((bound for bound in bounds if measures.remaining(counts, bound) <= wanted.error), None)
    least = measures.remaining(counts, measures.LEVELS - 1)
    rule = f"must be one that can be reached, is {wanted.error:g}: of the surest pixels {least:.2g} are wrong"
    require(found is not None, "--error", rule, "allow more, or defer a share with --defer")
    assert found is not None
    return found


def limit_of(values: NDArray[Any], bad: NDArray[np.bool_]) -> str:
    """The score above which a picture is reviewed, as a decimal text."""
    if not bad.any():
        return _decimal(float(values.max()), 1)
    if bad.all():
        return "0"
    order = np.unique(values)
    middles = (order[:-1] + order[1:]) / 2
    if not len(middles):
        return _decimal(float(order[0]), 1)
    gains = [(values[bad] > one).mean() - (values[~bad] > one).mean() for one in middles]
    return _decimal(float(middles[int(np.argmax(gains))]), 0)


def _decimal(value: float, up: int) -> str:
    """Six digits behind the point; `up`: rounded up, so that the value itself is not above it."""
    steps = int(np.ceil(value * 1e6)) if up else round(value * 1e6)
    return f"{steps // 1_000_000}.{steps % 1_000_000:06d}"


def _counts(graph: Graph, trust: Trust, seen: Sequence[Seen]) -> NDArray[np.int64]:
    judge = judge_with(graph, trust)
    return np.asarray(sum(one.counts(one.confidence(judge)) for one in seen))


def _disturbed(graph: Graph, pairs: Sequence[Pair], scaling: str, progress: Progress) -> list[Seen]:
    """Disturbed copies of pictures: every disturbance of each, or as many as `COPIES` allows, in turn."""
    kind, names = graph.types[graph.input], list(DISTURBANCES)
    each = max(1, min(len(names), COPIES // len(pairs)))
    chosen = [(n, pair, names[(n + k) % len(names)]) for n, pair in enumerate(pairs) for k in range(each)][:COPIES]
    changes = [disturbance(name, kind, n) for n, _, name in chosen]
    return observe(graph, [pair for _, pair, _ in chosen], scaling, changes, progress, "disturbed copies")


def require_classes(pairs: Sequence[Pair], seen: Sequence[Seen], channels: int) -> None:
    """Refuse pictures whose masks lack a class: nothing can be fitted for it."""
    found: set[int] = set()
    for one in seen:
        found.update(np.unique(one.target).tolist())
    place, labels = str(pairs[0].mask.parent), pairs[0].labels
    missing = [number for number in range(max(2, channels)) if number not in found]
    names = ", ".join(f"{number} ({labels.name(number)})" for number in missing[:8])
    only = " (all are ignored)" if found <= {IGNORE} else ""
    rule = f"no pixel of the {len(pairs)} pictures to fit on is of class {names}{only}"
    require(not missing, place, rule, "add pictures that have it to the split, or choose another --split")


def require_apart(pairs: Sequence[Pair], trained: Sequence[Pair], place: str) -> None:
    """Refuse pictures among those that the network was trained on, by their pixels, whatever their names."""
    known = {pair.digest for pair in trained}
    twins = [pair for pair in pairs if pair.digest in known]
    rule = f"must not be pictures that the network was trained on, {len(twins)} of {len(pairs)} are: {named(twins)}"
    require(not twins, place, rule, "choose other pictures: a network is surer of those it was trained on")

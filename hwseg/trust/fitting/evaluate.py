"""What a network's doubts are worth on pictures that chose nothing: measures with intervals over pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwseg.datasets.pairs import Pair
from hwseg.errors import HwsegError
from hwseg.ir import Graph
from hwseg.trust.confidence import STEPS, SURE
from hwseg.trust.fitted import FIT
from hwseg.trust.fitting import measures, witnesses
from hwseg.trust.fitting.measures import Counts, Figure, figure, figure_of_pictures
from hwseg.trust.fitting.observe import Progress, Seen, observe, silent
from hwseg.trust.graph import judge_with, linear, trust_of
from hwseg.trust.judge import REVIEW, Judge
from hwseg.trust.scores import SCORES

SHARES = (0.05, 0.12, 0.2)
"""Of the pixels, deferred."""
DICE = 0.8


@dataclass(frozen=True)
class Picture:
    """One picture: its Dice, all scores, and what was decided of it."""

    name: str
    dice: float
    scores: Mapping[str, float]
    verdict: str
    reason: str


@dataclass(frozen=True)
class Part:
    """Measures of one set of pictures.

    counts: right and wrong pixels of all, by fitted confidence and by unfitted (`before`).  figures: by name.
    scores: of each picture score, its rank correlation with the loss of Dice, and its AUROC for Dice below a bound.
    """

    name: str
    counts: Counts
    before: Counts
    figures: Mapping[str, Figure]
    scores: Mapping[str, Mapping[str, Figure]]
    pictures: tuple[Picture, ...]
    bad: int

    def json(self) -> dict[str, Any]:
        """Plain values."""
        coverage, risk = measures.risk_coverage(self.counts)
        reviewed = [one for one in self.pictures if one.verdict == REVIEW]
        return {
            "pictures": len(self.pictures),
            "bad": self.bad,
            "reviewed": len(reviewed),
            "figures": {name: found.json() for name, found in self.figures.items()},
            "scores": {name: {key: f.json() for key, f in row.items()} for name, row in self.scores.items()},
            "reliability": {
                "before": _plain(measures.reliability(self.before)),
                "after": _plain(measures.reliability(self.counts)),
            },
            "risk_coverage": {"coverage": _plain(coverage), "risk": _plain(risk)},
            "each": [
                {"name": p.name, "dice": p.dice, "verdict": p.verdict, "reason": p.reason, "scores": dict(p.scores)}
                for p in self.pictures
            ],
        }


@dataclass(frozen=True)
class Witness:
    """Another sign of doubt.  cycles: of all its runs together, and those of the network alone.  figures: as of a part,
    by its name.
    """

    name: str
    cycles: int
    own: int
    figures: Mapping[str, Mapping[str, Figure]]


@dataclass(frozen=True)
class Evaluation:
    """parts: the test set, and the shifted one if there is one.  shift: AUROC of each score for telling them apart.

    score, limit: that the model's metadata chose.  dice: below it a picture is bad.
    """

    parts: tuple[Part, ...]
    shift: Mapping[str, Figure]
    witnesses: tuple[Witness, ...]
    score: str
    limit: float
    dice: float

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "score": self.score,
            "limit": self.limit,
            "dice": self.dice,
            "parts": {part.name: part.json() for part in self.parts},
            "shift": {name: found.json() for name, found in self.shift.items()},
            "witnesses": {
                one.name: {
                    "cycles": one.cycles,
                    "own_cycles": one.own,
                    "parts": {n: {k: f.json() for k, f in row.items()} for n, row in one.figures.items()},
                }
                for one in self.witnesses
            },
        }


def evaluate(
    graph: Graph,
    parts: Mapping[str, Sequence[Pair]],
    others: Sequence[str] = (),
    scaling: str = "",
    dice: float = DICE,
    progress: Progress = silent,
) -> Evaluation:
    """Measure what the metadata of a graph say on parts of a data set, the shifted one last.

    others: witnesses by name.  HwsegError for a model to which nothing was fitted, and where no part has a wrong pixel.
    """
    trust = trust_of(graph)
    if trust is None:
        raise HwsegError(graph.name, "has no metadata hwseg.trust, so there are no doubts to measure", FIT)
    judge = judge_with(graph, trust)
    runs = {name: witnesses.runs_of(name, graph) for name in others}
    seen = {name: observe(graph, pairs, scaling, progress=progress, doing=name) for name, pairs in parts.items()}
    plain = judge_with(graph, replace(trust, temperatures=("1",) * trust.channels))
    found = tuple(_part(graph, name, listed, judge, plain, dice) for name, listed in seen.items())
    shift: dict[str, Figure] = {}
    if len(found) > 1:
        listed = [(one.scores, number > 0) for number, part in enumerate(found) for one in part.pictures]
        truth = [shifted for _, shifted in listed]
        for name in SCORES:
            shift[name] = figure_of_pictures(measures.ranking, [scores[name] for scores, _ in listed], truth)
    heard = tuple(_witness(graph, judge, name, runs[name], seen, parts, scaling, progress) for name in others)
    return Evaluation(found, shift, heard, trust.score, float(trust.limit), dice)


def _part(graph: Graph, name: str, seen: Sequence[Seen], judge: Judge, plain: Judge, dice: float) -> Part:
    maps = [one.confidence(judge) for one in seen]
    counts = [one.counts(found) for one, found in zip(seen, maps, strict=True)]
    before = [one.counts(one.confidence(plain)) for one in seen]
    bound = judge.trust.bound
    figures = _figures(counts) | {
        "calibration_error_before": figure(measures.calibration_error, before),
        "likelihood_before": figure(measures.likelihood, before),
        "deferred": figure(partial(measures.deferred, bound=bound), counts),
        "removed": figure(partial(measures.removed_by, bound=bound), counts),
        "remaining": figure(partial(measures.remaining, bound=bound), counts),
    }
    if judge.trust.channels > 1:
        soft = [one.counts(softmax(graph, one)) for one in seen]
        figures |= {f"{key}_softmax": f for key, f in _figures(soft).items() if key in ("calibration_error", "auroc")}
    pictures = []
    for one, found in zip(seen, maps, strict=True):
        review = judge.review(found, one.mask)
        pictures.append(Picture(one.name, one.dice, one.scores(found, bound), review.verdict, review.reason))
    truth = np.array([one.dice for one in seen])
    scores = {}
    for score in SCORES:
        values = [picture.scores[score] for picture in pictures]
        scores[score] = {
            "rank": figure_of_pictures(measures.rank_correlation, values, truth),
            "bad": figure_of_pictures(measures.ranking, values, truth < dice),
        }
    total, unfitted = np.sum(counts, axis=0), np.sum(before, axis=0)
    return Part(name, total, unfitted, figures, scores, tuple(pictures), int((truth < dice).sum()))


def _figures(counts: Sequence[Counts]) -> dict[str, Figure]:
    found = {
        "error": figure(measures.error, counts),
        "calibration_error": figure(measures.calibration_error, counts),
        "likelihood": figure(measures.likelihood, counts),
        "area": figure(measures.area, counts),
        "auroc": figure(measures.auroc, counts),
    }
    for share in SHARES:
        found[f"removed_at_{round(100 * share)}"] = figure(partial(measures.removed, share=share), counts)
    return found


def softmax(graph: Graph, one: Seen) -> NDArray[np.uint8]:
    """The largest probability of a float softmax as a byte of confidence, for comparison."""
    scale, offset = linear(graph.head, one.sums.shape[2])
    values = one.sums * np.array([float(s) for s in scale]) + np.array([float(o) for o in offset])
    values = np.sort(values, axis=2)
    rest = values[:, :, :-1]
    odds = values[:, :, -1] - rest[:, :, -1] - np.log(np.exp(rest - rest[:, :, -1:]).sum(axis=2))
    return np.asarray(np.clip(np.rint(STEPS * odds), 0, SURE), np.uint8)


def _witness(
    graph: Graph,
    judge: Judge,
    name: str,
    runs: Sequence[witnesses.Run],
    seen: Mapping[str, Sequence[Seen]],
    parts: Mapping[str, Sequence[Pair]],
    scaling: str,
    progress: Progress,
) -> Witness:
    hot = [float(text) for text in judge.trust.temperatures]
    figures = {}
    for part, pairs in parts.items():
        doing = f"{name}, {part}"
        maps = witnesses.confidences(graph, hot, seen[part], pairs, runs, scaling, progress, doing)
        figures[part] = _figures([one.counts(found) for one, found in zip(seen[part], maps, strict=True)])
    own = witnesses.cycles(graph)
    networks = {id(run.graph): run.graph for run in runs}
    cost = {key: own if network is graph else witnesses.cycles(network) for key, network in networks.items()}
    return Witness(name, own + sum(cost[id(run.graph)] for run in runs), own, figures)


def _plain(values: NDArray[np.float64]) -> Any:
    """Lists for JSON; what is not a number is null."""
    return np.where(np.isnan(values), None, values.astype(object)).tolist()  # type: ignore[call-overload]

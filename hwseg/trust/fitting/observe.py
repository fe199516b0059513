"""The golden model's integers on pictures, beside the masks that they should give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwseg import golden
from hwseg.datasets.pairs import Pair
from hwseg.ir import Graph
from hwseg.pictures.labels import IGNORE
from hwseg.quant.train.evaluate import masks
from hwseg.trust.fitting.measures import LEVELS
from hwseg.trust.judge import Judge
from hwseg.trust.scores import SCORES, Doubtful

Change = Callable[[NDArray[Any]], NDArray[Any]]
"""From the input's integers [H, W, C] to others."""
Progress = Callable[[str, int, int], None]
"""Called with what is under way, how many pictures are done, and all of them."""


def silent(_doing: str, _done: int, _total: int) -> None:
    """No progress."""


@dataclass(frozen=True)
class Seen:
    """One picture: the head's integers [H, W, C], their mask and the one that it should be, uint8 [H, W]."""

    name: str
    sums: NDArray[Any]
    mask: NDArray[np.uint8]
    target: NDArray[np.uint8]

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Where somebody knows the class."""
        return np.asarray(self.target != IGNORE)

    @cached_property
    def wrong(self) -> NDArray[np.bool_]:
        """Where the mask is known to be wrong."""
        return np.asarray(self.known & (self.mask != self.target))

    @cached_property
    def dice(self) -> float:
        """Of all foreground; 1 where there is none."""
        found, wanted = ((one > 0) & self.known for one in (self.mask, self.target))
        both = int(found.sum() + wanted.sum())
        return 2 * int((found & wanted).sum()) / both if both else 1.0

    def counts(self, confidence: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Right and wrong pixels of each byte of confidence, [256, 2]."""
        index = 2 * confidence[self.known].astype(np.intp) + self.wrong[self.known]
        return np.bincount(index, minlength=2 * LEVELS).reshape(LEVELS, 2)

    def scores(self, confidence: NDArray[np.uint8], bound: int) -> dict[str, float]:
        """Every score of `hwseg.trust.scores`."""
        picture = Doubtful.of(confidence, self.mask, bound)
        return {name: score(picture) for name, score in SCORES.items()}

    def confidence(self, judge: Judge) -> NDArray[np.uint8]:
        """By a network's judge."""
        return judge.confidence(self.sums, self.mask)


def observe(
    graph: Graph,
    pairs: Sequence[Pair],
    fit: str = "",
    changes: Sequence[Change] = (),
    progress: Progress = silent,
    doing: str = "pictures",
) -> list[Seen]:
    """What the golden model gives for pictures; with `changes`, for the changed ones, one change for each picture.

    fit: as of `hwseg.quant.train.evaluate.evaluate`.
    """
    found = []
    for number, pair in enumerate(pairs):
        progress(doing, number, len(pairs))
        found.append(_seen(graph, pair, fit, changes[number] if changes else None))
    progress(doing, len(pairs), len(pairs))
    return found


def _seen(graph: Graph, pair: Pair, fit: str, change: Change | None) -> Seen:
    kept: dict[str, NDArray[Any]] = {}

    def segment(image: NDArray[Any]) -> NDArray[np.uint8]:
        result = golden.run(graph, image if change is None else change(image), taps=())
        kept["sums"] = np.ascontiguousarray(result.tensors[graph.head.tensor])
        return result.mask

    mask, target = masks(graph, pair, fit=fit, segment=segment)
    return Seen(pair.name, kept["sums"], mask, target)

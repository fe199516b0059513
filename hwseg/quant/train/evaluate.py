"""What a finished model is worth: the integer golden model on every picture of a part, and its metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwseg import golden
from hwseg.datasets.pairs import Pair
from hwseg.errors import require
from hwseg.ir import Graph
from hwseg.pictures.labels import IGNORE
from hwseg.pictures.source import choice_of, quantizer
from hwseg.quant.train import metrics

Segment = Callable[[NDArray[Any]], NDArray[np.uint8]]
"""From the input's integers [H, W, C] to the mask [H, W]."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of each picture by name, and their means with intervals."""

    pictures: Mapping[str, Mapping[str, float]]

    @property
    def means(self) -> dict[str, metrics.Score]:
        """Mean and 95 % interval of each metric."""
        return {name: metrics.summarize(self.values(name)) for name in metrics.NAMES}

    def values(self, name: str) -> list[float]:
        """One metric, in the order of the pictures."""
        return [row[name] for row in self.pictures.values()]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"means": {k: asdict(v) for k, v in self.means.items()}, "pictures": dict(self.pictures)}


def evaluate(
    graph: Graph,
    pairs: Sequence[Pair],
    planes: int | Mapping[str, int] = 8,
    fit: str = "",
    segment: Segment | None = None,
) -> Evaluation:
    """Run `graph` in integers on whole pictures: the golden model, or what `segment` puts in its place.

    With `fit` "resize", or where the model was trained so (its metadata say), pictures of another size are scaled to
    the model's, and their masks likewise; otherwise they are refused.
    """
    require(bool(pairs), "evaluation", "needs at least one picture", "choose another --split")
    classes = max(2, graph.types[graph.head.tensor].shape[2])
    shown = {pair.name: masks(graph, pair, planes, fit, segment) for pair in pairs}
    return Evaluation({name: metrics.of_mask(*both, classes) for name, both in shown.items()})


def masks(
    graph: Graph, pair: Pair, planes: int | Mapping[str, int] = 8, fit: str = "", segment: Segment | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The integers' mask of one picture, and the one it should be: 255 where nobody knows."""
    meaning = choice_of(graph).meaning
    kind = graph.types[graph.input]
    size, made = kind.shape[:2], graph.types[graph.head.tensor].shape[:2]
    require(
        made == size,
        graph.head.tensor,
        f"is {made[1]} wide and {made[0]} high, which no mask of a picture of {size[1]} by {size[0]} is compared with",
        "evaluate a model whose output has the size of its input",
    )
    shape = pair.read()[1].shape
    require(
        shape == size or (fit or meaning.fit) == "resize",
        str(pair.image),
        f"must be {size[1]} wide and {size[0]} high like the model, is {shape[1]} by {shape[0]}",
        f"export the model with --size {shape[0]}x{shape[1]}, or add --fit resize",
    )
    prepared, target = pair.prepared(meaning, None if shape == size else size)
    image = prepared.integers(quantizer(kind))
    return segment(image) if segment else golden.run(graph, image, taps=(), planes=planes).mask, target


def dices(graph: Graph, pairs: Sequence[Pair], planes: int | Mapping[str, int] = 8, fit: str = "") -> list[float]:
    """Dice alone of each picture, for one foreground class."""
    scores = []
    for pair in pairs:
        mask, target = masks(graph, pair, planes, fit)
        found, wanted = ((one > 0) & (target != IGNORE) for one in (mask, target))
        both = int(found.sum() + wanted.sum())
        scores.append(2 * int((found & wanted).sum()) / both if both else 1.0)
    return scores

"""What the conversion cost: masks of the exact integers beside the float network's, and the noise of every layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwseg import golden
from hwseg.ir import Graph
from hwseg.pictures.meaning import Meaning
from hwseg.pictures.source import quantizer
from hwseg.quant.convert.pictures import Picture, as_batch
from hwseg.quant.networks.graph import Network
from hwseg.quant.networks.layered import QuantizedNetwork
from hwseg.quant.networks.operations import run
from hwseg.quant.train import metrics

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Compared:
    """One picture: Dice between float and integer mask, and both against its mask, if it has one."""

    name: str
    agree: float
    float_scores: dict[str, float] | None = None
    integer_scores: dict[str, float] | None = None


@dataclass(frozen=True)
class Comparison:
    """Of some pictures.  masks: float and integer mask and the target, by name of the picture."""

    pictures: tuple[Compared, ...]
    masks: dict[str, tuple[Mask, Mask, Mask | None]]

    @property
    def agree(self) -> metrics.Score:
        """Dice between float and integer masks."""
        return metrics.summarize([one.agree for one in self.pictures])

    def score(self, who: str, name: str) -> metrics.Score | None:
        """Of the `float` or the `integer` masks against the true ones."""
        rows = [getattr(one, f"{who}_scores") for one in self.pictures]
        found = [row[name] for row in rows if row is not None]
        return metrics.summarize(found) if found else None

    @property
    def loss(self) -> metrics.Score | None:
        """Dice of the float masks less Dice of the integer ones, both against the true masks."""
        rows = [(one.float_scores, one.integer_scores) for one in self.pictures]
        found = [a["dice"] - b["dice"] for a, b in rows if a is not None and b is not None]
        return metrics.summarize(found) if found else None

    @property
    def worst(self) -> list[Compared]:
        """Those that agree least first."""
        return sorted(self.pictures, key=lambda one: one.agree)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        means: dict[str, Any] = {"agree": asdict(self.agree)}
        for who in ("float", "integer"):
            for name in metrics.NAMES:
                score = self.score(who, name)
                if score is not None:
                    means[f"{who} {name}"] = asdict(score)
        if self.loss is not None:
            means["loss of dice"] = asdict(self.loss)
        return {"means": means, "pictures": [asdict(one) for one in self.pictures]}


def compare(
    network: Network, graph: Graph, pictures: Sequence[Picture], meaning: Meaning,
    told: Callable[[str], None] = lambda _: None,
) -> Comparison:  # fmt: skip
    """Masks of the float network and of the exact integers of `graph`, on whole pictures of the graph's size."""
    kind = graph.types[graph.input]
    size = (kind.shape[0], kind.shape[1])
    rows, masks = list[Compared](), dict[str, tuple[Mask, Mask, Mask | None]]()
    for number, picture in enumerate(pictures):
        told(f"comparing masks, {number} of {len(pictures)}")
        prepared, target = picture.prepared(meaning, size)
        with torch.no_grad():
            logits = run(network, as_batch(picture, meaning, size))[network.output]
        float_mask = metrics.labels(logits)[0].numpy().astype(np.uint8)
        integer_mask = golden.run(graph, prepared.integers(quantizer(kind)), taps=()).mask.astype(np.uint8)
        integer_mask = (integer_mask > 0).astype(np.uint8) if logits.shape[1] == 1 else integer_mask
        classes = max(2, logits.shape[1])
        ours, theirs = (torch.from_numpy(mask.astype(np.int64))[None] for mask in (integer_mask, float_mask))
        agree = float(metrics.dice(ours, theirs, classes)[0])
        scores = (None, None)
        if target is not None:
            scores = metrics.of_mask(float_mask, target, classes), metrics.of_mask(integer_mask, target, classes)  # type: ignore[assignment]
        rows.append(Compared(picture.name, agree, *scores))
        masks[picture.name] = float_mask, integer_mask, target
    return Comparison(tuple(rows), masks)


@dataclass(frozen=True)
class Noise:
    """Signal to noise of a layer's value in decibels, and how many of them it lost since its operands."""

    layer: str
    decibels: float
    lost: float


def noise(quantized: QuantizedNetwork, network: Network, batches: Sequence[Tensor]) -> list[Noise]:
    """Of every layer, on float inputs; `network` is the float one of the same layers."""
    names = tuple(layer.name for layer in network.layers)
    signal, wrong = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    with torch.no_grad():
        for batch in batches:
            right, found = run(network, batch, names), quantized.values(batch, names)
            for name in names:
                signal[name] += float(right[name].double().square().sum())
                wrong[name] += float((found[name] - right[name]).double().square().sum())
    decibels = {n: min(99.0, 10 * float(np.log10(max(signal[n], 1e-30) / max(wrong[n], 1e-30)))) for n in names}
    rows = []
    for layer in network.layers:
        before = [decibels[name] for name in layer.inputs if name in decibels]
        rows.append(Noise(layer.name, decibels[layer.name], max(0.0, min(before, default=99.0) - decibels[layer.name])))
    return rows

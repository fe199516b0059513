"""What a run takes from its data, and must find again: what pixels and labels are, its split, class weights, and which
pictures it has seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwseg.datasets import seen, split
from hwseg.datasets.pairs import PARTS, depth, pixels_of_classes
from hwseg.datasets.seen import Seen
from hwseg.datasets.split import Changes, Parts, Split
from hwseg.datasets.survey import class_weights
from hwseg.errors import require
from hwseg.files import read_file, write_whole
from hwseg.pictures import labels as declared
from hwseg.pictures import meaning
from hwseg.pictures.labels import Labels
from hwseg.quant.networks.architecture import Architecture
from hwseg.quant.train.config import TrainConfig


class RunData:
    """met: whether the data was there.  before: what the network that the run began with has seen.  seen: that, and
    what this run has.  drawn: whether the seed decides parts.  weights: of classes; None before they were counted.
    """

    def __init__(
        self, folder: Path, architecture: Architecture, config: TrainConfig, before: Seen | None = None
    ) -> None:
        self.folder, self.seed = folder, config.seed
        self.meaning, self.labels = config.meaning.check(architecture.in_channels), Labels(architecture.out_channels)
        self.weights = config.weights(self.labels.classes)
        self.before = self.seen = Seen() if before is None else before
        self.split: Split | None = None
        self.met, self.drawn = False, True

    def arrange(self, parts: Parts) -> tuple[Parts, Changes]:
        """The pictures in the parts that the run began with, and what is otherwise now."""
        return (parts, Changes()) if self.split is None else self.split.arrange(parts)

    def meet(self, parts: Parts) -> Parts:
        """Take all of this from the pictures; a run that goes on must find pixels and labels as they were.

        The result is `arrange`'s.  Raises HwsegError where no picture is left to train or to validate on.
        """
        parts, _ = self.arrange(parts)
        for part in ("train", "val"):
            rule = f"has no picture left of those that it began to {part} with"
            require(bool(parts.get(part)), str(self.folder), rule, "give it the data that it began with")
        pairs = [pair for part in parts.values() for pair in part]
        labels, pixels = pairs[0].labels, depth(pairs, self.meaning)
        for what, now, old in (("labels", labels, self.labels), ("pixels", pixels, self.meaning)):
            rule = f"the data's {what} are {now.text()}, the run began with {old.text()}"
            require(not self.met or now == old, str(self.folder), rule, "declare them as they were, or begin anew")
        if self.weights is None:
            self.weights = tuple(class_weights(pixels_of_classes(parts["train"])[:-1]))
        self.meaning, self.labels, self.met = pixels, labels, True
        self.seen |= seen.of_parts(parts)
        self.split = Split.of(parts, self.seed, self.drawn) if self.split is None else self.split.renewed(parts)
        return parts

    def state(self) -> dict[str, Any]:
        """For last.pt."""
        return {
            "input": "" if self.meaning.before else self.meaning.text(),
            "labels": self.labels.text(),
            "class_weights": list(self.weights or ()),
            "seen": self.seen.text(),
            "seen_before": self.before.text(),
            "split": "" if self.split is None else self.split.text(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """From last.pt; an older hwseg kept less."""
        if state.get("labels"):
            self.met, self.labels = True, declared.parse(state["labels"], self.labels.channels)
            self.meaning = meaning.parse(state["input"]) if state["input"] else self.meaning
        if "seen" not in state:
            self.before = self.seen = Seen(known=False)
            return
        place = f"{self.folder / 'last.pt'}, seen"
        self.weights = tuple(float(weight) for weight in state["class_weights"])
        self.seen, self.before = (seen.parse(state[key], place) for key in ("seen", "seen_before"))
        if state["split"]:
            self.split = split.parse(state["split"].encode(), place)
            self.drawn = self.split.drawn
            self._unchanged()

    def _unchanged(self) -> None:
        """split.json is a copy for people and for `hwseg eval`: one that says otherwise would mislead them."""
        path = self.folder / split.NAME
        if path.is_file() and self.split is not None:
            same = split.parse(read_file(path), str(path)) == self.split
            rule = "was changed; a run keeps the split that it began with"
            require(same, str(path), rule, "remove it, and it is written again, or begin another run")

    def written(self) -> bool:
        """Whether split.json is as it should be."""
        path = self.folder / split.NAME
        return self.split is None or (path.is_file() and read_file(path) == self.split.text().encode())

    def write(self) -> None:
        """Write split.json, unless it is there."""
        if self.split is not None and not self.written():
            write_whole(self.folder / split.NAME, self.split.text().encode())

    def told_before(self, parts: Parts) -> list[str]:
        """Which pictures the network that the run began with knows."""
        return seen.sentences(self.before, {part: parts.get(part, []) for part in PARTS}, "the network it began with")

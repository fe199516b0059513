"""What all pictures and masks of a data set together say: sizes, depths, labels and their shares, copies, and faults.

A fault is what training or a score would be wrong with; a remark is what one should know.  The same picture in two
parts is a fault: what was trained on would be scored.  Two that only look the same are a remark, for a hash said so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwseg.datasets import content, data
from hwseg.datasets.faults import Faults
from hwseg.datasets.look import Looked
from hwseg.datasets.pairs import PARTS, Pair, depth, require_classes
from hwseg.errors import HwsegError
from hwseg.pictures.labels import Labels
from hwseg.pictures.meaning import Meaning


@dataclass(frozen=True)
class Survey:
    """What a data set holds.  parts: every picture in its part, in order.  faults, remarks: in the order of finding."""

    source: str
    labels: Labels
    meaning: Meaning
    parts: Mapping[str, Sequence[Looked]]
    faults: tuple[HwsegError, ...]
    remarks: tuple[HwsegError, ...]

    @property
    def all(self) -> list[Looked]:
        return [one for part in self.parts.values() for one in part]

    def counts(self, part: str = "") -> list[int]:
        """Pixels of each class, and last of those that nobody knows; of a part, or of train, val and test."""
        rows = [one.counts for one in (self.parts.get(part, ()) if part else self.known) if one.counts]
        return [sum(column) for column in zip(*rows, strict=True)] or [0] * (self.labels.classes + 1)

    @property
    def known(self) -> list[Looked]:
        """Of train, val and test."""
        return [one for part in PARTS for one in self.parts.get(part, ())]

    @property
    def weights(self) -> list[float]:
        """Of classes in the training masks, as --class-weights auto takes them; empty where one has no pixel."""
        return class_weights(self.counts("train")[:-1])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        names = [self.labels.name(number) for number in range(self.labels.classes)]
        return {
            "source": self.source,
            "input": self.meaning.text() if not self.meaning.before else self.meaning.sentence(),
            "labels": self.labels.text(),
            "classes": names,
            "class_weights": self.weights,
            "parts": {
                part: {
                    "pictures": len(found),
                    "pixels": dict(zip([*names, "ignored"], self.counts(part), strict=True)),
                }
                for part, found in self.parts.items()
            },
            "sizes": _told(f"{one.size[1]}x{one.size[0]}" for one in self.all if one.channels),
            "depths": _told(str(one.bits) for one in self.all if one.channels),
            "channels": _told(str(one.channels) for one in self.all if one.channels),
            "mask_values": {str(k): v for k, v in sorted(values(self.all).items())},
            "faults": [_row(fault) for fault in self.faults],
            "remarks": [_row(remark) for remark in self.remarks],
            "pictures": [_picture(one) for one in self.all],
        }


def class_weights(pixels: Sequence[int]) -> list[float]:
    """1 / sqrt(share) of each class, scaled so that the mean weight of a pixel is 1; empty where a class has none."""
    total = sum(pixels)
    if not total or not all(pixels):
        return []
    roots = [(count / total) ** 0.5 for count in pixels]
    return [round(1 / (root * sum(roots)), 4) for root in roots]


def values(pictures: Iterable[Looked]) -> Counter[int]:
    """Pixels of all masks by their value in the file."""
    found: Counter[int] = Counter()
    for one in pictures:
        found.update(one.values or {})
    return found


def survey(
    source: Path | str,
    looked: Mapping[str, Sequence[Looked]],
    labels: Labels,
    meaning: Meaning,
    faults: Faults,
) -> Survey:
    """What the pictures that `look` has opened are together.  faults: what was wrong before; all else is added."""
    for one in (one for part in looked.values() for one in part):
        for fault in one.faults:
            faults.add(fault)
    with faults.each():
        depth([one.pair for part in PARTS for one in looked.get(part, ())], meaning)
    remarks = Faults()
    _classes(looked.get("train", []), labels, faults)
    _copies(looked, faults, remarks)
    _flat(looked, remarks)
    return Survey(str(source), labels, meaning, looked, tuple(faults.found), tuple(remarks.found))


def require_sizes(
    looked: Mapping[str, Sequence[Looked]], crop: int, multiple: int, faults: Faults, scored: Sequence[str] = ()
) -> None:
    """Pictures that are smaller than a crop, of those to train with, or than what the network's poolings divide.

    scored: parts whose pictures must have the size of a crop, because a model of that size is scored with them.
    """
    for part, pictures in looked.items():
        least, why = (crop, ", the size of a training crop") if part == "train" else (multiple, "")
        cure = "lower --size, or leave it out with --exclude" if part == "train" else "leave it out with --exclude"
        for one in pictures:
            size = f"{one.size[1]}x{one.size[0]}"
            if one.digest and min(one.size) < least:
                rule = f"must be at least {least}x{least}{why}, not {size}"
                faults.add(HwsegError(str(one.pair.image), rule, cure))
            if one.digest and part in scored and one.size != (crop, crop):
                rule = f"must be {crop}x{crop} like the model that is scored with it, not {size}"
                faults.add(HwsegError(str(one.pair.image), rule, "set --size to its side, or scale all with --resize"))


def chosen_views(parts: Mapping[str, Sequence[Pair]], most: int) -> list[Pair]:
    """At most `most` pictures of each part, evenly over it."""
    found: list[Pair] = []
    for pairs in parts.values():
        count = min(most, len(pairs))
        found += [pairs[i * len(pairs) // count] for i in range(count)]
    return found


def opened(
    source: Path, channels: int, classes: int, seed: int, exclude: Sequence[str], labels: Labels
) -> tuple[dict[str, list[Pair]], Faults]:
    """Pairs of every part that the data set lists, and what was wrong with finding them."""
    faults = Faults()
    further: list[str] = []
    with faults.each():
        further = data.parts_of(source)
    return data.load(source, channels, classes, seed, exclude, further, labels, faults), faults


def _classes(train: Sequence[Looked], labels: Labels, faults: Faults) -> None:
    """A class without a pixel is wrong; where a mask could not be read, none is said to be missing."""
    rows = [one.counts for one in train if one.counts]
    if rows and len(rows) == len(train):
        there = [number for number in range(labels.classes) if any(row[number] for row in rows)]
        with faults.each():
            require_classes(there, labels, str(train[0].pair.mask.parent), len(train))


def _copies(looked: Mapping[str, Sequence[Looked]], faults: Faults, remarks: Faults) -> None:
    """The same pictures, and those that look the same.  A further part may list those of another one again."""
    files: dict[tuple[Path, int | None], Looked] = {}
    for part in sorted(looked, key=lambda name: name not in PARTS):
        for one in looked[part]:
            if one.digest:
                files.setdefault((one.pair.image, one.pair.page), one)
    every = list(files.values())
    same: dict[bytes, Looked] = {}
    for one in every:
        first = same.setdefault(one.digest, one)
        if first is not one:
            apart = one.part != first.part and one.part in PARTS
            rule = f"is the same picture as {first.pair.name} of {first.part}, and is in {one.part}"
            cure = f"remove it, or leave it out with --exclude {one.pair.name.partition('#')[0]}"
            (faults if apart else remarks).add(HwsegError(str(one.pair.image), rule, cure))
    every = list(same.values())
    told = set[int]()
    for i, j in content.near([one.hash for one in every], [one.small for one in every if one.small is not None]):
        one, other = every[i], every[j]
        if one.part != other.part and j not in told:
            told.add(j)
            rule = f"looks like {one.pair.name} of {one.part}, and is in {other.part} (says a perceptual hash)"
            remarks.add(HwsegError(str(other.pair.image), rule, "if it is a copy, put both in one part"))


def _flat(looked: Mapping[str, Sequence[Looked]], remarks: Faults) -> None:
    flat = [one for part in looked.values() for one in part if one.digest and one.low == one.high]
    for one in flat:
        rule = f"has the value {one.low:g} in every pixel"
        remarks.add(HwsegError(str(one.pair.image), rule, "look at it"))


def _told(texts: Iterable[str]) -> dict[str, int]:
    return dict(Counter(texts).most_common())


def _row(error: HwsegError) -> dict[str, str]:
    return {"place": error.place, "rule": error.rule, "cure": error.cure}


def _picture(one: Looked) -> dict[str, Any]:
    return {
        "name": one.pair.name, "part": one.part, "width": one.size[1], "height": one.size[0], "channels": one.channels,
        "bits": one.bits, "low": one.low, "high": one.high, "digest": one.digest.hex(), "phash": f"{one.hash:016x}",
        "pixels": list(one.counts),
    }  # fmt: skip

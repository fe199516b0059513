"""Pictures to calibrate on, and others to measure with: a data set with masks, or a folder of pictures alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hwseg.datasets import content, data
from hwseg.datasets.pairs import Classes, Pair
from hwseg.datasets.seen import Seen
from hwseg.errors import require
from hwseg.pictures.labels import Labels
from hwseg.pictures.meaning import Meaning
from hwseg.pictures.prepare import Prepared, prepare, standardized
from hwseg.pictures.raster import Raster
from hwseg.pictures.read import head, is_picture, read, stem
from hwseg.quant.train.tensors import to_tensor

HELD = 0.3
"""Share of pictures that calibrate nothing, where the data do not say which."""
BATCH = 4
Told = Callable[[str], None]


@dataclass(frozen=True)
class Picture:
    """A picture, as a file or a page of one, and perhaps its mask."""

    name: str
    path: Path
    channels: int
    page: int | None = None
    pair: Pair | None = None

    def raster(self) -> Raster:
        """As the file has it."""
        if self.pair is not None:
            return self.pair.read()[0]
        return read(self.path, 0).slice(0) if self.page is None else read(self.path, self.page).slice(self.page)

    @property
    def digest(self) -> bytes:
        """Which picture it is, by its pixels."""
        return self.pair.digest if self.pair is not None else content.digest(self.raster())

    def prepared(self, meaning: Meaning, size: tuple[int, int]) -> tuple[Prepared, Classes | None]:
        """What the network sees, and its class map: scaled to `size`, or cut to it at the right and below."""
        scaled = meaning.fit == "resize"
        if self.pair is not None:
            found, classes = self.pair.prepared(meaning, size if scaled else None)
        else:
            found, classes = prepare(self.raster(), meaning, self.channels, size if scaled else None, "resize"), None
        shape = found.pixels.shape[:2]
        rule = f"must be at least {size[1]}x{size[0]}, is {shape[1]}x{shape[0]}"
        require(shape[0] >= size[0] and shape[1] >= size[1], str(self.path), rule, "lower --size, or add --resize")
        cut = replace(found, pixels=found.pixels[: size[0], : size[1]])
        return cut, None if classes is None else classes[: size[0], : size[1]]

    def values(self, meaning: Meaning, size: tuple[int, int]) -> np.ndarray:
        """The float input [H, W, C]."""
        return standardized(self.prepared(meaning, size)[0].values(), meaning)


@dataclass(frozen=True)
class Pictures:
    """calibrate: what is learned from.  held: what is measured with, and nothing is learned from."""

    calibrate: tuple[Picture, ...]
    held: tuple[Picture, ...]
    labels: Labels
    extra: dict[str, tuple[Picture, ...]] = field(default_factory=dict)

    @property
    def seen(self) -> Seen:
        """Digests of what was learned from; what the float network was trained on is not known."""
        return Seen(frozenset(picture.digest for picture in self.calibrate), known=False)


def load(
    source: Path, channels: int, labels: Labels, seed: int = 0, most: int = 50, held: str = "test",
    extra: Sequence[str] = (),
) -> Pictures:  # fmt: skip
    """Pictures of a data set: at most `most` of its training part to calibrate on, the part `held` to measure with.

    A folder of pictures without masks is parted by a seeded shuffle.  extra: further parts to measure with.
    """
    require(most > 0, "--pictures", f"must be at least 1, not {most}")
    masks = source.suffix.lower() == ".csv" or (source / "masks").is_dir()
    if not masks:
        rule = "has no masks and no parts"
        require(held == "test", str(source), f"{rule}, and --split {held} names one", "leave --split out")
        require(not extra, str(source), f"{rule}, and --shifted {', '.join(extra)} names one", "leave --shifted out")
        every = _alone(source, channels)
        order = [every[int(i)] for i in np.random.default_rng(seed).permutation(len(every))]
        count = max(1, round(HELD * len(every)))
        return Pictures(tuple(order[count:][:most]), tuple(order[:count]), labels)
    found = data.channels_of(source)
    fits = found == channels or {found, channels} == {1, 3}
    rule = f"has pictures of {found} channels, the network takes {channels}"
    require(fits, str(source), rule, "give pictures of the network's channels, or another --in-channels")
    parts = data.load(source, channels, labels.channels, seed, extra=[held, *extra], labels=labels)
    train = parts["train"]
    chosen = [train[int(i)] for i in np.random.default_rng(seed).permutation(len(train))][:most]
    require(bool(parts.get(held)), str(source), f"has no {held} pictures", f"it has {', '.join(parts)}")
    others = {part: _of(parts[part]) for part in extra if parts.get(part)}
    return Pictures(_of(chosen), _of(parts[held]), labels, others)


def _of(pairs: Sequence[Pair]) -> tuple[Picture, ...]:
    return tuple(Picture(pair.name, pair.image, pair.channels, pair.page, pair) for pair in pairs)


def _alone(source: Path, channels: int) -> list[Picture]:
    require(source.is_dir(), str(source), "must be a folder of pictures, or a CSV file", "check the path")
    folder = source / "images" if (source / "images").is_dir() else source
    paths = sorted(path for path in folder.iterdir() if is_picture(path))
    found: list[Picture] = []
    for path in paths:
        seen = head(path)
        fits = seen.channels == channels or {seen.channels, channels} == {1, 3}
        rule = f"has {seen.channels} channels, the network takes {channels}"
        require(fits, str(path), rule, "give pictures of the network's channels, or another --in-channels")
        pages = [None] if seen.pages == 1 else list(range(seen.pages))
        found += [Picture(stem(path) + ("" if p is None else f"#{p}"), path, channels, p) for p in pages]
    rule = f"must hold at least 2 pictures, one to calibrate on and one to measure with, holds {len(found)}"
    require(len(found) >= 2, str(source), rule, "add pictures: 20 to 50 are good")
    return found


def common_size(pictures: Sequence[Picture]) -> tuple[int, int]:
    """The height and width that all have; HwsegError where they differ."""
    sizes: dict[tuple[int, int], str] = {}
    for picture in pictures:
        found = head(picture.path)
        sizes.setdefault((found.height, found.width), picture.name)
    rule = " and ".join(f"{name} is {size[1]}x{size[0]}" for size, name in list(sizes.items())[:2])
    require(len(sizes) == 1, "--size", f"is needed: {rule}", "say --size HxW, or --resize N to scale whole pictures")
    return next(iter(sizes))


def batches(
    pictures: Sequence[Picture], meaning: Meaning, size: tuple[int, int], told: Told = lambda _: None
) -> list[Tensor]:
    """Float inputs of all, a few at a time, [n, C, H, W]."""
    found: list[Tensor] = []
    for start in range(0, len(pictures), BATCH):
        told(f"opening pictures, {start} of {len(pictures)}")
        some = [picture.values(meaning, size) for picture in pictures[start : start + BATCH]]
        found.append(to_tensor(np.stack(some)))
    return found


def depth(pictures: Sequence[Picture], meaning: Meaning) -> Meaning:
    """The meaning with the depth of these pictures, as `datasets.pairs.depth` has it."""
    for picture in pictures:
        bits = picture.pair.bits if picture.pair is not None else head(picture.path).bits
        meaning = meaning.of_depth(bits)
        rule = f"has {bits} bits per channel, and {meaning.values!r} is declared for pictures of {meaning.bits}"
        require(meaning.accepts(bits), str(picture.path), rule, "bring all to one depth, or declare theirs")
    return meaning


def as_batch(picture: Picture, meaning: Meaning, size: tuple[int, int]) -> Tensor:
    """One picture, [1, C, H, W]."""
    return to_tensor(picture.values(meaning, size)[None]).to(torch.float32)

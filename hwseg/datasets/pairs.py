"""One picture with its mask, as integers, and the parts that a set of them is split into."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwseg.datasets import content
from hwseg.datasets.faults import Faults, each
from hwseg.datasets.held import MEMORY
from hwseg.errors import require
from hwseg.pictures import masks
from hwseg.pictures.fit import nearest, resize
from hwseg.pictures.labels import IGNORE, Labels
from hwseg.pictures.meaning import Meaning
from hwseg.pictures.prepare import Prepared, prepare
from hwseg.pictures.raster import Raster
from hwseg.pictures.read import Head, head, read, stem

PARTS = ("train", "val", "test")

Classes = NDArray[np.uint8]
"""Class map [height, width]; 255 where nobody knows."""


@dataclass(frozen=True)
class Pair:
    """One picture and its mask, as files, or as one page of both.

    channels: of the network's input.  labels: what the mask's values are.  bits: depth that the picture's header
    declares.  samples: numbers in all of the picture's file, unpacked.  title: its name, where that is not the file's.
    """

    image: Path
    mask: Path
    channels: int
    labels: Labels
    bits: int = 8
    page: int | None = None
    samples: int = 0
    title: str = ""
    _cache: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Of the picture among those of its set; of a page with its number."""
        title = self.title or stem(self.image)
        return title if self.page is None else f"{title}#{self.page}"

    def picture(self) -> Raster:
        """As the file has it, read anew."""
        return _slice(self.image, self.page)

    def drawn(self) -> Classes:
        """The class map of its mask, read anew."""
        return _mask(self.mask, self.labels, self.page)

    @property
    def digest(self) -> bytes:
        """Which picture it is, by its pixels (`content.digest`)."""
        if "digest" not in self._cache:
            self._cache["digest"] = content.digest(self.picture())
        return bytes(self._cache["digest"])

    @property
    def counts(self) -> tuple[int, ...]:
        """Pixels of each class in its mask, and last of those that nobody knows."""
        if "counts" not in self._cache:
            self._cache["counts"] = count(self.drawn(), self.labels)
        found: tuple[int, ...] = self._cache["counts"]
        return found

    def looked_at(self, digest: bytes, counts: tuple[int, ...]) -> None:
        """Keep what was found elsewhere."""
        self._cache.update(digest=digest, counts=counts)

    def read(self) -> tuple[Raster, Classes]:
        """The picture and its class map; kept after the first time, in memory or mapped (`held`)."""
        if None not in self._cache:
            whole = self.picture()
            self._cache.setdefault("digest", content.digest(whole))
            picture, classes = whole.channels(self.channels), self.drawn()
            require_size(picture.pixels.shape[:2], classes.shape, str(self.mask))
            self._cache[None] = replace(picture, pixels=MEMORY.hold(picture.pixels)), MEMORY.hold(classes)
        found: tuple[Raster, Classes] = self._cache[None]
        return found

    def prepared(self, meaning: Meaning, size: tuple[int, int] | None = None) -> tuple[Prepared, Classes]:
        """What the network sees, and the class map at that size: scaled to `size` (height, width), if given.

        A map of two classes is 1 where at least half of the known part of the scaled pixel is; more classes are those
        of the nearest pixel.
        """
        key = meaning, size
        if key not in self._cache:
            picture, classes = self.read()
            scaled = classes if size is None else MEMORY.hold(_scaled(classes, size, self.labels.channels))
            found = prepare(picture, meaning, self.channels, size, "resize")
            same = found.pixels is picture.pixels
            self._cache[key] = found if same else replace(found, pixels=MEMORY.hold(found.pixels)), scaled
        known: tuple[Prepared, Classes] = self._cache[key]
        return known


@lru_cache(maxsize=2)
def _volume(path: Path) -> Any:
    return read(path)


def _slice(path: Path, page: int | None) -> Raster:
    """A picture; of a file with several, which is unpacked once for all of its pages that follow each other."""
    return read(path, 0).slice(0) if page is None else _volume(path).slice(page)


@lru_cache(maxsize=2)
def _mask_volume(path: Path, labels: Labels) -> Any:
    return masks.classes(read(path), labels)


def _mask(path: Path, labels: Labels, page: int | None) -> Classes:
    found: Classes = masks.read_mask(path, labels) if page is None else _mask_volume(path, labels)[page]
    return found


def paired(image: Path, mask: Path, channels: int, labels: Labels, title: str = "") -> list[Pair]:
    """A pair of files as it is, or one for each page of both; HwsegError where headers say that they do not fit."""
    picture, drawn = head(image), head(mask)
    require_size((picture.height, picture.width), (drawn.height, drawn.width), str(mask))
    rule = f"must hold {picture.pages} masks like its picture, holds {drawn.pages}"
    require(drawn.pages == picture.pages, str(mask), rule, "give each page of the picture a page of the mask")
    _require_channels(picture, channels, str(image))
    numbers = [None] if picture.pages == 1 else list(range(picture.pages))
    samples = picture.pages * picture.height * picture.width * picture.channels
    return [Pair(image, mask, channels, labels, picture.bits, page, samples, title) for page in numbers]


def _require_channels(picture: Head, channels: int, place: str) -> None:
    fits = picture.channels == channels or {picture.channels, channels} == {1, 3}
    rule = f"must have {channels} channels, has {picture.channels}"
    require(fits, place, rule, f"set --in-channels {picture.channels}, or choose channels first")


def require_size(picture: Sequence[int], mask: Sequence[int], place: str) -> None:
    """Refuse a mask of another size than its picture."""
    same = tuple(picture) == tuple(mask)
    require(
        same, place, f"must be {picture[1]}x{picture[0]} like its picture, not {mask[1]}x{mask[0]}", "draw it again"
    )


def chosen(parts: dict[str, list[Pair]], place: str, faults: Faults | None = None) -> dict[str, list[Pair]]:
    """The parts, of which there must be something to train and something to validate on; none if that was a fault."""
    for part in ("train", "val") if parts or faults is None else ():
        cure = "add some to its split, or let all be split anew"
        with each(faults):
            require(bool(parts.get(part)), place, f"has no {part} pictures", cure)
    return parts


def without(stems: Iterable[str], exclude: Sequence[str], place: str, faults: Faults | None = None) -> set[str]:
    """Which of the pictures are left out."""
    known = set(stems)
    left_out = {name if name in known else stem(Path(name)) for name in exclude}
    for name in sorted(left_out - known):
        with each(faults):
            require(name in known, "--exclude", f"names {name}, which is not in {place}")
    return left_out & known


def shuffled(stems: list[str], seed: int, place: str) -> dict[str, list[str]]:
    """A seeded split: 15 % to validate, 15 % to test, the rest to train."""
    rule = f"must hold at least 3 pictures to be split into train, val and test, holds {len(stems)}"
    require(
        len(stems) >= 3, place, rule, "add pictures, or say which are train and which are val in a split of your own"
    )
    order = [stems[int(i)] for i in np.random.default_rng(seed).permutation(len(stems))]
    held = max(1, round(0.15 * len(stems)))
    return {"train": order[2 * held :], "val": order[:held], "test": order[held : 2 * held]}


def count(classes: Classes, labels: Labels) -> tuple[int, ...]:
    """Pixels of each class in a map, and last of those that nobody knows."""
    found = np.bincount(classes.ravel(), minlength=IGNORE + 1).tolist()
    return (*found[: labels.classes], found[IGNORE])


def pixels_of_classes(pairs: Sequence[Pair]) -> list[int]:
    """`Pair.counts` of all together."""
    return [sum(column) for column in zip(*(pair.counts for pair in pairs), strict=True)]


def every_class(pairs: Sequence[Pair]) -> None:
    """Refuse masks in which a class has no pixel at all: there is nothing to learn of it."""
    labels, found = pairs[0].labels, set[int]()
    for pair in pairs:
        found.update(np.unique(pair.read()[1]).tolist())
        if found >= set(range(labels.classes)):
            return
    require_classes(found, labels, str(pairs[0].mask.parent), len(pairs))


def require_classes(found: Iterable[int], labels: Labels, place: str, count: int) -> None:
    """Refuse `count` training masks of which these classes have pixels, unless that is all classes."""
    known = sorted(set(found) - {IGNORE})
    said = "ignored" if not known else ", ".join(map(str, known))
    cure = "check how masks are coded: --labels says what their values are"
    require(len(known) > 1, place, f"every pixel of the {count} training masks is {said}", cure)
    missing = [number for number in range(labels.classes) if number not in known]
    names = ", ".join(f"{number} ({labels.name(number)})" for number in missing[:8])
    cure = "add pictures that have it, or lower --out-channels"
    require(not missing, place, f"no pixel of the {count} training masks is of class {names}", cure)


def depth(pairs: Iterable[Pair], meaning: Meaning) -> Meaning:
    """The meaning with the depth of these pictures; one of another depth is refused, where that would matter."""
    for pair in pairs:
        meaning = meaning.of_depth(pair.bits)
        declared = f"{meaning.values!r} is declared for pictures of {_bits(meaning.bits)}, or the first has them"
        rule = f"has {_bits(pair.bits)} per channel, and {declared}"
        require(meaning.accepts(pair.bits), str(pair.image), rule, "bring all to one depth, or declare theirs")
    return meaning


def _bits(bits: int) -> str:
    return "floats or long integers" if bits == 32 else f"{bits} bits"


def _scaled(classes: Classes, size: tuple[int, int], channels: int) -> Classes:
    if channels > 1:
        return nearest(classes, size)
    full = np.uint8(255)
    shares = resize((classes == 1) * full, size)
    void = classes == IGNORE
    if not void.any():
        return (shares >= 128).astype(np.uint8)
    unknown = resize(void * full, size)
    result = (2 * shares.astype(np.int32) >= 255 - unknown.astype(np.int32) + 1).astype(np.uint8)
    result[unknown >= 128] = IGNORE
    return result

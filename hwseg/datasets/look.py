"""Every picture and mask opened once, before anything is done with them: what they hold, and what is wrong.

Files are looked at side by side in threads: what takes time is unpacking, hashing and counting, in which Pillow,
hashlib and NumPy let other threads run.  Of each picture there remain a few kilobytes, whatever its size.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from hwseg.datasets import content, thumbnail
from hwseg.datasets.faults import Faults
from hwseg.datasets.pairs import Pair, count, require_size
from hwseg.errors import HwsegError
from hwseg.pictures.masks import classes as classes_of
from hwseg.pictures.masks import values as values_of
from hwseg.pictures.meaning import Meaning
from hwseg.pictures.raster import Picture, Raster
from hwseg.pictures.read import read
from hwseg.pictures.table import spanned

VALUES = 300
"""Most different values of a mask that are counted one by one."""

LARGE = 1 << 25
"""Numbers in a file of which one at a time is opened, so that memory does not grow with the threads."""

_alone = threading.Lock()


@dataclass(frozen=True)
class Looked:
    """What a picture and its mask hold.

    size: (height, width).  channels, bits: of the picture's file.  low, high: its smallest and largest pixel.
    values: pixels of the mask by their value, empty where there are more than `VALUES` or the file has colours.
    counts: pixels of each class, and last of those that nobody knows; empty where the mask could not be read.
    digest, hash, small: of `content`; empty, 0 and None where the picture could not be read.
    view: for the contact sheet, uint8 [h, w, 3], where one was wanted.
    faults: what is wrong with either file.
    """

    part: str
    pair: Pair
    size: tuple[int, int]
    channels: int = 0
    bits: int = 0
    low: float = 0
    high: float = 0
    values: Mapping[int, int] | None = None
    counts: tuple[int, ...] = ()
    digest: bytes = b""
    hash: int = 0
    small: np.ndarray | None = None
    view: np.ndarray | None = None
    faults: tuple[HwsegError, ...] = ()


def look(
    parts: Mapping[str, Sequence[Pair]],
    meaning: Meaning,
    views: Iterable[Pair] = (),
    jobs: int = 0,
    told: Callable[[int, int], None] = lambda done, all_: None,
) -> dict[str, list[Looked]]:
    """Every pair by its part, in its order.

    meaning: what pixels are; a picture that it does not fit is a fault.  views: those of which a small picture is
    wanted.  jobs: threads, 0 for as many as processors.  told: how many are done, of how many.
    """
    wanted = {id(pair) for pair in views}
    listed = [(part, pair) for part, pairs in parts.items() for pair in pairs]
    # Pages of a file follow each other, so it is unpacked once.
    files = [list(pages) for _, pages in groupby(listed, key=lambda entry: (entry[1].image, entry[1].mask))]
    found: dict[tuple[str, int], Looked] = {}
    with ThreadPoolExecutor(jobs or os.cpu_count() or 1) as pool:
        waiting = [pool.submit(_file, pages, meaning, wanted) for pages in files]
        try:
            for done in as_completed(waiting):
                found |= {(one.part, id(one.pair)): one for one in done.result()}
                told(len(found), len(listed))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    result: dict[str, list[Looked]] = {part: [] for part in parts}
    for part, pair in listed:
        one = found[part, id(pair)]
        result[part].append(one)
        if one.digest and one.counts:
            pair.looked_at(one.digest, one.counts)
    return result


def regrouped(looked: Mapping[str, Sequence[Looked]], parts: Mapping[str, Sequence[Pair]]) -> dict[str, list[Looked]]:
    """The same in other parts; pictures of none are left out."""
    found = {id(one.pair): one for part in looked.values() for one in part}
    return {part: [replace(found[id(pair)], part=part) for pair in pairs] for part, pairs in parts.items()}


def _file(pages: Sequence[tuple[str, Pair]], meaning: Meaning, wanted: set[int]) -> list[Looked]:
    """All pages of one file, and of its mask."""
    with _alone if pages[0][1].samples > LARGE else nullcontext():
        return _opened(pages, meaning, wanted)


def _opened(pages: Sequence[tuple[str, Pair]], meaning: Meaning, wanted: set[int]) -> list[Looked]:
    pair, faults = pages[0][1], Faults()
    image: Picture | None = None
    mask: Picture | None = None
    with faults.each():
        image = read(pair.image, 0 if pair.page is None else None)
    with faults.each():
        mask = read(pair.mask)
    found = []
    for part, one in pages:
        found.append(_page(part, one, image, mask, meaning, id(one) in wanted, faults))
        faults = Faults()  # said once, with the first page
    return found


def _page(
    part: str, pair: Pair, image: Picture | None, mask: Picture | None, meaning: Meaning, view: bool, faults: Faults
) -> Looked:
    page = pair.page or 0
    facts: dict[str, object] = {"size": (0, 0)}
    picture, drawn = None, None
    if image is not None:
        with faults.each():
            picture = image.slice(page)
            facts |= _of_picture(picture)
            spanned(picture.channels(pair.channels), meaning)
    if mask is not None:
        with faults.each():
            facts["values"] = _values(mask, page, pair)
            drawn = classes_of(_only(mask, page), pair.labels)[0]
            facts["counts"] = count(drawn, pair.labels)
            if picture is not None:
                require_size(picture.pixels.shape[:2], drawn.shape, str(pair.mask))
    if view and picture is not None:
        facts["view"] = thumbnail.view(content.shown(picture), drawn, pair.labels)
    return Looked(part, pair, faults=tuple(faults.found), **facts)  # type: ignore[arg-type]


def _of_picture(picture: Raster) -> dict[str, object]:
    pixels = picture.pixels
    reduced = content.small(content.shown(picture))
    return {
        "size": pixels.shape[:2], "channels": pixels.shape[2], "bits": picture.bits, "low": float(pixels.min()),
        "high": float(pixels.max()), "digest": content.digest(picture), "hash": content.perceptual(reduced),
        "small": reduced,
    }  # fmt: skip


def _only(mask: Picture, page: int) -> Picture:
    """One page of a mask file."""
    index = None if mask.index is None else mask.index[page : page + 1]
    return mask if len(mask) == 1 else replace(mask, pixels=mask.pixels[page : page + 1], index=index)


def _values(mask: Picture, page: int, pair: Pair) -> dict[int, int] | None:
    found = values_of(_only(mask, page), pair.labels)
    if found is None:
        return None
    if found.dtype == np.uint8:
        counts = np.bincount(found.ravel(), minlength=256)
        return {int(v): int(counts[v]) for v in np.flatnonzero(counts)}
    numbers, times = np.unique(found, return_counts=True)
    return dict(zip(numbers.tolist(), times.tolist(), strict=True)) if len(numbers) <= VALUES else None

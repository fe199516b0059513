"""Outlines of a mask on its picture, small enough to be looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwseg.files import write_whole
from hwseg.pictures.draw import confidence_png, overlay_png
from hwseg.pictures.fit import nearest
from hwseg.pictures.whole import whole
from hwseg.segment.network import Network
from hwseg.segment.pictures import pictures
from hwseg.segment.plan import Item, Plan, drawing_of

LARGEST = 4096
"""Longest side of a drawing; of larger pictures every second, third ... pixel is drawn."""


def overlays(item: Item, maps: np.ndarray, network: Network) -> list[Path]:
    """One PNG for each picture of an item: NAME.overlay.png, or NAME.overlay-0003.png of several.

    maps: uint8 [pictures, H, W, layers]; where confidence is among them, deferred pixels are hatched.
    """
    written = []
    for page, picture, one in zip(item.pages, pictures(item), maps, strict=True):
        found = whole(picture(), network.pixels, network.shape)
        step = max(1, -(-max(item.size) // LARGEST))
        integers = found.window((0, 0), found.pixels.shape[:2])
        if found.to_size:
            step, one = 1, nearest(one, network.size)
        shown, one = integers[::step, ::step], one[::step, ::step]
        deferred = None if network.judge is None else network.judge.deferred(one[..., 1])
        kind, labels = network.pixels.quantizer, network.pixels.labels
        path = drawing_of(item, page)
        write_whole(path, overlay_png(shown, kind, one[..., 0], labels=labels, deferred=deferred))
        written.append(path)
    return written


def doubts(each: Plan, maps: np.ndarray, network: Network) -> tuple[list[Path], tuple[str, ...]]:
    """The confidence of each picture as PNG, NAME.confidence.png, and whether a person should look at it."""
    judge, written, said = network.judge, [], []
    assert judge is not None
    for page, one in zip(each.item.pages, maps, strict=True):
        path = drawing_of(each.item, page, "confidence")
        write_whole(path, confidence_png(one[..., 1]))
        written.append(path)
        if each.scaled:  # the network's own map, of which the picture's is made
            one = nearest(one, network.size)
        said.append(str(judge.review(np.ascontiguousarray(one[..., 1]), np.ascontiguousarray(one[..., 0]))))
    return written, tuple(said)

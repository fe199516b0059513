"""Outlines of a mask on its picture, small enough to be looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwseg.files import write_whole
from hwseg.pictures.draw import overlay_png
from hwseg.pictures.fit import nearest
from hwseg.pictures.whole import whole
from hwseg.segment.network import Network
from hwseg.segment.pictures import pictures
from hwseg.segment.plan import Item, overlay_of

LARGEST = 4096
"""Longest side of a drawing; of larger pictures every second, third ... pixel is drawn."""


def overlays(item: Item, maps: np.ndarray, network: Network) -> list[Path]:
    """One PNG for each picture of an item."""
    written = []
    for page, picture, mask in zip(item.pages, pictures(item), maps, strict=True):
        found = whole(picture(), network.pixels, network.shape)
        step = max(1, -(-max(item.size) // LARGEST))
        integers = found.window((0, 0), found.pixels.shape[:2])
        if found.to_size:
            step, mask = 1, nearest(mask, network.size)
        path = overlay_of(item, page)
        write_whole(
            path,
            overlay_png(
                integers[::step, ::step], network.pixels.quantizer, mask[::step, ::step], labels=network.pixels.labels
            ),
        )
        written.append(path)
    return written

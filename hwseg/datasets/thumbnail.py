"""A small picture with the outlines of its mask, as the contact sheet shows it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from hwseg.pictures.fit import nearest
from hwseg.pictures.labels import COLOURS, IGNORE, Labels

SIDE = 208
"""Of the longer side, in pixels."""

UNKNOWN = (150, 150, 150)
"""Outline of what nobody knows."""


def view(shown: np.ndarray, classes: np.ndarray | None, labels: Labels) -> np.ndarray:
    """uint8 [h, w, 3].  shown: as `content.shown` gives it.  classes: [H, W], or None where the mask is of no use."""
    height, width = shown.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    kind = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
    canvas = np.array(Image.fromarray(shown).convert("RGB").resize(size[::-1], kind))
    if classes is None or classes.shape != (height, width):
        return canvas
    drawn = nearest(classes, size)
    for number in (*range(1, labels.classes), IGNORE):
        canvas[_border(drawn == number)] = colour(number, labels)
    return canvas


def colour(number: int, labels: Labels) -> tuple[int, int, int]:
    """Of a class: as declared, but one that is black and would not be seen."""
    if number == IGNORE:
        return UNKNOWN
    declared = tuple(int(value) for value in labels.palette()[number])
    found = declared if max(declared) > 60 else COLOURS[1 + (number - 1) % (len(COLOURS) - 1)]
    return found[0], found[1], found[2]


def _border(region: np.ndarray) -> np.ndarray:
    """Pixels of a region at most two from one that is not of it; the edge of the picture is none."""
    inner = region
    for _ in range(2):
        padded = np.pad(inner, 1, mode="edge")
        inner = padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    found: np.ndarray = region & ~inner
    return found

"""Data sets on disk, made for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 32


def disc(number: int) -> np.ndarray:
    """Where picture `number` has its bright disc."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    y, x = 8 + 3 * (number % 5), 7 + 4 * (number % 4)
    return (rows - y) ** 2 + (columns - x) ** 2 <= 25


def grey(number: int) -> np.ndarray:
    """A picture with a bright disc on noise."""
    noise = np.random.default_rng(number).integers(0, 60, (SIDE, SIDE))
    return (disc(number) * 120 + noise).astype(np.uint8)


def add(root: Path, number: int, name: str = "") -> None:
    """Picture `number` with its mask, under a name."""
    for kind, pixels in (("images", grey(number)), ("masks", disc(number).astype(np.uint8) * np.uint8(255))):
        (root / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / kind / f"{name or f'p{number}'}.png")


def remove(root: Path, name: str) -> None:
    for kind in ("images", "masks"):
        (root / kind / f"{name}.png").unlink()


def discs(root: Path, count: int = 10) -> Path:
    """Pictures p0, p1, ..."""
    for number in range(count):
        add(root, number)
    return root

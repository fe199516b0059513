"""A data set that a tiny network learns in a second: bright discs on a dark, noisy ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def discs(root: Path, count: int = 12, side: int = 32) -> Path:
    """`count` pictures of `side` pixels and their masks below `root`."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side]
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for i in range(count):
        y, x, r = (int(rng.integers(low, high)) for low, high in ((6, side - 6), (6, side - 6), (4, 9)))
        disc = (rows - y) ** 2 + (columns - x) ** 2 <= r * r
        pixels = np.clip(disc * 120 + rng.integers(0, 60, disc.shape), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{i}.png")
        Image.fromarray((disc * 255).astype(np.uint8)).save(root / "masks" / f"{i}.png")
    return root

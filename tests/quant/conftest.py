"""A data set that trains in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of 32x32: a bright disc on a dark, noisy ground, 8 to train, 2 to validate, 2 to test."""
    root = tmp_path_factory.mktemp("discs")
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32]
    for i in range(12):
        y, x, r = (int(rng.integers(low, high)) for low, high in ((6, 26), (6, 26), (4, 9)))
        disc = (rows - y) ** 2 + (columns - x) ** 2 <= r * r
        pixels = np.clip(disc * 120 + rng.integers(0, 60, disc.shape), 0, 255).astype(np.uint8)
        for kind, values in (("images", pixels), ("masks", (disc * 255).astype(np.uint8))):
            (root / kind).mkdir(exist_ok=True)
            Image.fromarray(values).save(root / kind / f"{i}.png")
    return root

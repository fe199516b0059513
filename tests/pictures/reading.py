"""Pixels that tests of reading write into files, and what they ask of every file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwseg.errors import HwsegError
from hwseg.pictures.read import head, read, read_one

RANDOM = np.random.default_rng(3)
GREY = RANDOM.integers(0, 256, (12, 17), np.uint8)
COLOUR = RANDOM.integers(0, 256, (12, 17, 3), np.uint8)
DEEP = RANDOM.integers(0, 65536, (12, 17, 3)).astype(np.uint16)
VOLUME = RANDOM.integers(-1000, 3000, (9, 7, 5)).astype(np.int16)


def sentence(path: Path, page: int | None = None) -> str:
    with pytest.raises(HwsegError) as caught:
        read_one(path, page)
    return str(caught.value)


def agrees(path: Path) -> None:
    """The header says what is read."""
    said, found = head(path), read(path)
    assert (said.pages, said.height, said.width, said.channels) == found.pixels.shape
    assert said.bits == found.bits

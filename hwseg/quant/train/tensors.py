"""Whole pictures as tensors: integers times the scale of the network's first quantizer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwseg.datasets.pairs import Pair
from hwseg.errors import require
from hwseg.pictures.meaning import Meaning
from hwseg.pictures.table import Quantizer


def whole(pair: Pair, meaning: Meaning, quantizer: Quantizer, multiple: int, resize: int = 0) -> tuple[Tensor, Tensor]:
    """A whole picture as a batch of one, cut at the right and below to a size that the network's poolings divide.

    Its values are integers times the scale of the network's first quantizer: what the golden model computes with.
    """
    prepared, classes = pair.prepared(meaning, (resize, resize) if resize else None)
    height, width = (length // multiple * multiple for length in classes.shape)
    require(height > 0 and width > 0, str(pair.image), f"must be at least {multiple}x{multiple}")
    cut = replace(prepared, pixels=prepared.pixels[:height, :width])
    x = cut.integers(quantizer).astype(np.float32) * np.float32(quantizer.scale)
    return to_tensor(x[None]), torch.from_numpy(classes[:height, :width].copy()).long()[None]


def to_tensor(x: NDArray[np.float32]) -> Tensor:
    """[batch, height, width, channels] as the network's input."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1), np.float32))

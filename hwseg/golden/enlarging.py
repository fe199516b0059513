"""Enlarging by 2: nearest neighbour reads, bilinear adds."""

from __future__ import annotations

from itertools import product

import numpy as np

from hwseg.golden.nest import columns, rows
from hwseg.golden.types import Integer
from hwseg.ir import Node
from hwseg.ops import Bilinear2d, Upsample2d


def nearest(node: Node, inputs: list[np.ndarray], dtype: type[Integer]) -> np.ndarray:
    """Upsample2d."""
    op, x = node.op, inputs[0]
    assert isinstance(op, Upsample2d), node.name
    nest = op.loops((x.shape[1], x.shape[2], x.shape[0]))
    return columns(nest, rows(nest, x, {}), {})


def bilinear(node: Node, inputs: list[np.ndarray], dtype: type[Integer]) -> np.ndarray:
    """Bilinear2d, in sixteenths: the nine reads of the loop nest, each clamped to the map, weighted and added."""
    op, x = node.op, inputs[0]
    assert isinstance(op, Bilinear2d), node.name
    nest = op.loops((x.shape[1], x.shape[2], x.shape[0]))
    height, width, channels = nest.parallel
    y = np.zeros((channels, height, width), dtype)
    for ky, kx in product(*map(range, nest.reduction)):
        down, across = (index(np.arange(height), np.arange(width), 0, ky, kx) for index in nest.reads[0][:2])
        inside = np.clip(down, 0, x.shape[1] - 1)[:, None], np.clip(across, 0, x.shape[2] - 1)
        y += dtype(op.weights[ky] * op.weights[kx]) * x[:, inside[0], inside[1]].astype(dtype)
    return y

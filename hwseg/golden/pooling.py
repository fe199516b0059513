"""Pooling: the largest of the reads of the loop nest, or their sum."""

from __future__ import annotations

import numpy as np

from hwseg.golden.nest import columns, kernel_loops, points, rows, shifted
from hwseg.golden.types import Integer
from hwseg.ir import Node
from hwseg.ops import AveragePool2d, MaxPool2d


def max_pooling(node: Node, inputs: list[np.ndarray], dtype: type[Integer]) -> np.ndarray:
    """MaxPool2d; outside lies what no value is below."""
    op, x = node.op, inputs[0]
    assert isinstance(op, MaxPool2d), node.name
    nest, p = op.loops((x.shape[1], x.shape[2], x.shape[0])), op.padding
    if p:
        x, nest = np.pad(x, ((0, 0), (p, p), (p, p)), constant_values=np.iinfo(x.dtype).min), shifted(nest, p, p)
    taps = points(nest, kernel_loops(nest))
    return np.asarray(np.maximum.reduce([columns(nest, rows(nest, x, tap), tap) for tap in taps]))


def average_pooling(node: Node, inputs: list[np.ndarray], dtype: type[Integer]) -> np.ndarray:
    """AveragePool2d, in quarters."""
    op, x = node.op, inputs[0]
    assert isinstance(op, AveragePool2d), node.name
    nest = op.loops((x.shape[1], x.shape[2], x.shape[0]))
    taps = points(nest, kernel_loops(nest))
    return np.asarray(sum(columns(nest, rows(nest, x, tap), tap).astype(dtype) for tap in taps))

"""The maps that only the engine has (moved, brought together, of the edges), from those of the golden model.

A layer that makes one is computed as it stands: a convolution for each phase of its map, its requantizer, its maximum.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwseg import golden
from hwseg.compile.lower.layers import Layer
from hwseg.compile.program import Program
from hwseg.ir import Node
from hwseg.layout import PIXELS
from hwseg.ops import Conv2d, MaxPool2d

Maps = Mapping[str, np.ndarray]


def with_own_maps(program: Program, tensors: Maps) -> Maps:
    """Integers [H, W, C] of every map that a layer reads.  tensors: those of the golden model."""
    found = dict(tensors)
    for plan in program.plans:
        layer = plan.layer
        own = [name for name in (layer.output, layer.pooled) if name is not None and name not in tensors]
        if layer.requantize is None or not own:
            continue
        y = _computed(layer, found)
        if layer.output is not None and layer.output not in tensors:
            found[layer.output] = _joined(found.get(layer.output), y, layer) if layer.columns else y
        if layer.pooled is not None and layer.pooled not in tensors:
            found[layer.pooled] = _execute(MaxPool2d(), y)
    return found


def _computed(layer: Layer, tensors: Maps) -> np.ndarray:
    """The layer's map, before pooling."""
    assert layer.requantize is not None, layer.name
    assert layer.low_weights is None, layer.name
    assert layer.residual is None, layer.name
    assert layer.fold == (1, 1), layer.name
    operands = [tensors[o.tensor][:, :, : o.channels].astype(np.int16) for o in layer.operands]
    x = np.concatenate(
        [n.repeat(2, 0).repeat(2, 1) if o.upsampled else n for n, o in zip(operands, layer.operands, strict=True)], 2
    )
    down, across = layer.row_phases, layer.column_phases
    y = np.empty(layer.shape, np.int64)
    for row, column in np.ndindex(down, across):
        weights = layer.phase(row, column)
        rows = np.pad(x, ((1, 1), (0, 0), (0, 0)), mode="edge") if layer.repeat_rows else x
        sums = _execute(Conv2d(weights.shape[2], len(weights), layer.stride), rows, weights)
        y[row::down, column::across] = sums[1:-1] if layer.repeat_rows else sums
    planes = golden.requantize(layer.requantize, np.ascontiguousarray(y.transpose(2, 0, 1)), np.int16)
    return planes.transpose(1, 2, 0)


def _joined(before: np.ndarray | None, y: np.ndarray, layer: Layer) -> np.ndarray:
    """The word columns that the layer makes, put into what others have made; elsewhere nothing was written."""
    assert layer.columns is not None
    first, end = (PIXELS * column for column in layer.columns)
    joined = np.zeros_like(y) if before is None else before
    joined[:, first:end] = y[:, first:end]
    return joined


def _execute(op: Conv2d | MaxPool2d, x: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    node = Node("own", op, ("x",), "y", weights)
    kind = np.int32 if weights is not None else x.dtype.type
    return golden.execute(node, [np.ascontiguousarray(x.transpose(2, 0, 1))], kind).transpose(1, 2, 0)

"""Pooling: the layer that makes a map also stores its maxima; of anything else they are a 1x1 with weight 1.

A transposed convolution does not store them: its rows and pixels are made in passes of their own.  Averages are sums
that wait for their requantizer: a 3x3 of stride 2, of whose taps the last 2x2 are 1 between a channel and itself.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwseg.compile.lower.building import build
from hwseg.compile.lower.layers import Operand
from hwseg.compile.lower.state import Pending, State, passing
from hwseg.errors import require
from hwseg.ir import Node
from hwseg.ops import Requantize


def max_pooling(state: State, node: Node) -> None:
    """MaxPool2d; the same maxima a second time are those of the first."""
    source = node.inputs[0]
    view = state.view(node, source)
    height, width, _ = state.types[source].shape
    require(
        height % 2 == 0 and width % 2 == 0,
        node.name,
        f"pools a map of {height}x{width}, which must be even",
        f"use {height + height % 2}x{width + width % 2}",
    )
    producer = state.layers.get(view[0].tensor)
    direct = len(view) == 1 and not view[0].upsampled
    if direct and producer is not None and producer.output == view[0].tensor and producer.pools:
        if producer.pooled is not None:
            state.views[node.output] = state.views[producer.pooled]
            return
        state.layers[view[0].tensor] = replace(producer, pooled=node.output)
        state.store(node.output)
        return
    parts = state.parts(source)
    maxima: list[Operand] = []
    for part in parts:
        kind, name, new = state.types[part], node.output, True
        if len(parts) > 1:
            shape = (height // 2, width // 2, kind.shape[2])
            name, new = state.extra(part, "maximum", replace(kind, shape=shape))
        if new:
            state.identity(node.name, part, passing(kind), pooled=name)
        state.store(name)
        maxima += state.views[name]
    state.views[node.output] = tuple(maxima)


def average_pooling(state: State, node: Node) -> None:
    """AveragePool2d."""
    state.view(node, node.inputs[0])
    state.sums[node.output] = Pending(node, _average)


def _average(state: State, node: Node, reader: str, op: Requantize | None, output: str) -> None:
    view = state.views[node.inputs[0]]
    if any(operand.upsampled for operand in view):
        view = state.materialize(node, node.inputs[0])
    window = np.array([[0, 0, 0], [0, 1, 1], [0, 1, 1]], np.int8)
    weights = np.eye(state.types[node.output].shape[2], dtype=np.int8)[:, :, None, None] * window
    name = state.fresh(node.name, reader)
    state.add(build(state.types, name, "avgpool", 3, view, weights, requantize=op, output=output, stride=2))

"""Pooling: the layer that makes a map also stores its maxima; of anything else they are a 1x1 with weight 1.

A transposed convolution does not store them: its rows and pixels are made in passes of their own.  The maximum of 3x3
is that of four maxima of 2x2: of the map as it is, and of the map moved down, to the right, and both, each made by a
3x3 with a single tap.  A moved map has 0 at its edge, so that signed ones are counted from their lowest value first.
The four become neighbouring pixels of a map of the old size, by a transposed convolution, whose maxima are the result.

    rows      2o - 1, 2o                 2o, 2o + 1              max of 2o - 1, 2o, 2o + 1
              maximum of the moved map   maximum of the map      maximum of both

Averages are sums
that wait for their requantizer: a 3x3 of stride 2, of whose taps the last 2x2 are 1 between a channel and itself.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from hwseg.compile.lower.building import build
from hwseg.compile.lower.layers import Operand
from hwseg.compile.lower.state import Pending, State, passing
from hwseg.errors import require
from hwseg.ir import Node
from hwseg.ops import MaxPool2d, Requantize


def max_pooling(state: State, node: Node) -> None:
    """MaxPool2d; the same maxima a second time are those of the first."""
    source, op = node.inputs[0], node.op
    assert isinstance(op, MaxPool2d), node.name
    view = state.view(node, source)
    height, width, _ = state.types[source].shape
    require(
        height % 2 == 0 and width % 2 == 0,
        node.name,
        f"pools a map of {height}x{width}, which must be even",
        f"use {height + height % 2}x{width + width % 2}",
    )
    if op.kernel == 3:
        _of_three(state, node)
        return
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


def _average(state: State, node: Node, reader: str, op: Requantize | None, output: str, copies: int) -> None:
    view = state.views[node.inputs[0]]
    if any(operand.upsampled for operand in view):
        view = state.materialize(node, node.inputs[0])
    window = np.array([[0, 0, 0], [0, 1, 1], [0, 1, 1]], np.int8)
    weights = np.tile(np.eye(state.types[node.output].shape[2], dtype=np.int8), (copies, 1))[:, :, None, None] * window
    name = state.fresh(node.name, reader)
    state.add(build(state.types, name, "avgpool", 3, view, weights, requantize=op, output=output, stride=2))


def _of_three(state: State, node: Node) -> None:
    """The maximum of 3x3, part by part of the map."""
    parts = state.parts(node.inputs[0])
    maxima: list[Operand] = []
    for part in parts:
        kind, name, new = state.types[part], node.output, True
        height, width, channels = kind.shape
        if len(parts) > 1:
            name, new = state.extra(part, "maximum of 3x3", replace(kind, shape=(height // 2, width // 2, channels)))
        if new:
            joined = _interleaved(state, node, part)
            state.store(joined)
            lifted = Requantize((Fraction(1),), (Fraction(min(kind.low, 0)),), kind.low, kind.high)
            state.identity(node.name, joined, lifted, pooled=name)
        state.store(name)
        maxima += state.views[name]
    state.views[node.output] = tuple(maxima)


def _interleaved(state: State, node: Node, part: str) -> str:
    """A map of which pixel (2 y + r, 2 x + s) is the maximum of 2x2 of `part` moved down by r and right by s."""
    kind = state.types[part]
    height, width, channels = kind.shape
    name, new = state.extra(part, "maxima of 2x2", replace(kind, low=0, high=kind.high - min(kind.low, 0)))
    if not new:
        return name
    whole = state.types[name]
    if kind.low < 0:
        raised, _ = state.extra(part, "from zero", whole)
        state.identity(node.name, part, Requantize((Fraction(1),), (Fraction(-kind.low),), 0, whole.high), raised)
        state.store(raised)
        part = raised
    eye, view = np.eye(channels, dtype=np.int8), state.views[part]
    halves: list[Operand] = []
    spread = np.zeros((channels, 4, channels, 2, 2), np.int8)
    for number, (row, column) in enumerate(np.ndindex(2, 2)):
        half, _ = state.extra(part, f"maxima {number}", replace(whole, shape=(height // 2, width // 2, channels)))
        tap = np.zeros((channels, channels, 3, 3), np.int8)
        tap[:, :, 1 - row, 1 - column] = eye
        label = state.fresh(node.name)
        layer = build(state.types, label, "maxpool3x3", 3, view, tap, requantize=passing(whole), pooled=half)
        state.add(layer)
        halves.append(Operand(half, channels))
        spread[:, number, :, row, column] = eye
    layer = build(
        state.types, state.fresh(node.name), "maxpool3x3", 2, tuple(halves), spread.reshape(channels, -1, 2, 2),
        requantize=passing(whole), output=name,
    )  # fmt: skip
    state.add(layer)
    return name

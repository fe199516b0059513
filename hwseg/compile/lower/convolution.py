"""Convolutions: their sums wait for the requantizer that reads them, and both are one layer.

Kernels beyond 3x3 read a map whose neighbouring pixels are channels of one (`hwseg.compile.lower.shrinking`).  A
transposed convolution is four 1x1 with a strided write, or, beyond 2x2, four 3x3 (`hwseg.compile.lower.transposed`);
strides and transposed kernels read no enlarged operands, so those are stored first.
"""

from __future__ import annotations

from dataclasses import replace
from math import isqrt

import numpy as np

from hwseg.compile.lower.building import build
from hwseg.compile.lower.layers import View
from hwseg.compile.lower.shrinking import shrunk, spread_out
from hwseg.compile.lower.shrinking import window as window_of_many
from hwseg.compile.lower.state import Pending, State
from hwseg.compile.lower.transposed import window
from hwseg.errors import require
from hwseg.ir import Node
from hwseg.ops import Conv2d, ConvTranspose2d, Requantize, macs

FOUR = tuple(np.ndindex(2, 2))
"""Row and column of a transposed convolution's phases."""


def convolution(state: State, node: Node) -> None:
    """Conv2d and ConvTranspose2d."""
    state.view(node, node.inputs[0])
    state.sums[node.output] = Pending(node, _finish)


def _finish(state: State, node: Node, reader: str, op: Requantize | None, output: str, copies: int) -> None:
    name, view, weights = state.fresh(node.name, reader), state.views[node.inputs[0]], node.weights
    assert weights is not None, node.name
    if copies > 1:
        weights = np.tile(weights, (copies, 1, 1, 1))
        node = replace(node, weights=weights)
    count = 0 if node.output in state.counted else macs(node.op, [state.types[n].shape for n in node.inputs])
    state.counted.add(node.output)
    if isinstance(node.op, ConvTranspose2d):
        _finish_transposed(state, node, name, op, output, count)
        return
    assert isinstance(node.op, Conv2d), node.name
    kernel, stride = node.op.kernel, node.op.stride
    kind = _kind(node.op)
    if node.op.fold > 1:
        _finish_large(state, node, name, op, output, count)
        return
    require(kernel in (1, 3), node.name, f"kernel must be 1x1, 3x3 or 5x5, or 7x7 of stride 2, is {kernel}x{kernel}")
    require(stride in (1, 2), node.name, f"stride must be 1 or 2, is {stride}")
    if stride == 2 and any(o.upsampled for o in view):
        view = state.materialize(node, node.inputs[0])
    layer = build(
        state.types, name, kind, kernel, view, weights, requantize=op, output=output, macs=count, stride=stride
    )
    state.add(layer)


def _kind(op: Conv2d) -> str:
    """What reports call it."""
    grouped = "grouped " if op.groups > 1 else ""
    return f"{grouped}conv{op.kernel}x{op.kernel}" + ("/2" if op.stride == 2 else "")


def _finish_large(state: State, node: Node, name: str, op: Requantize | None, output: str, count: int) -> None:
    """A kernel that 3x3 windows show where neighbouring pixels are channels of one."""
    meaning, weights = node.op, node.weights
    assert isinstance(meaning, Conv2d), node.name
    assert weights is not None, node.name
    height, width, _ = state.types[node.inputs[0]].shape
    fold = meaning.fold
    rule = f"{meaning.kernel}x{meaning.kernel} convolution of a map of {height}x{width}, which {fold} must divide"
    require(height % fold == width % fold == 0, node.name, rule, "use another size")
    view, counts = shrunk(state, node, node.inputs[0], fold)
    kind = _kind(meaning)
    if fold == meaning.stride:
        weights = window_of_many(meaning, weights, counts, (0, 0))
        state.add(build(state.types, name, kind, 3, view, weights, requantize=op, output=output, macs=count))
        return
    if fold == 4 * meaning.stride:
        parts = [window_of_many(meaning, weights, counts, phase) for phase in np.ndindex(4, 4)]
        if op is None:
            _end_in_phases(state, name, kind, view, parts, output, count)
            return
        spread_out(state, name, kind, view, parts, op, output, count)
        return
    parts = [window_of_many(meaning, weights, counts, phase) for phase in FOUR]
    _add_phases(state, name, kind, view, weights, parts, op, output, count)


def _finish_transposed(state: State, node: Node, name: str, op: Requantize | None, output: str, count: int) -> None:
    view, weights, meaning = state.views[node.inputs[0]], node.weights, node.op
    assert isinstance(meaning, ConvTranspose2d), node.name
    assert weights is not None, node.name
    if any(o.upsampled for o in view):
        view = state.materialize(node, node.inputs[0])
    point = (meaning.kernel, meaning.padding) == (2, 0)
    require(point or meaning.near, node.name, "each pixel must come from 3x3 neighbouring ones")
    kind = f"tconv{meaning.kernel}x{meaning.kernel}"
    parts = [weights[:, :, r : r + 1, s : s + 1] if point else window(meaning, weights, r, s) for r, s in FOUR]
    _add_phases(state, name, kind, view, weights, parts, op, output, count)


def _add_phases(
    state: State,
    name: str,
    kind: str,
    view: View,
    weights: np.ndarray,
    parts: list[np.ndarray],
    op: Requantize | None,
    output: str,
    count: int,
) -> None:
    """The layer that makes four phases: rows are output sets apart, columns are passes."""
    if op is None:
        _end_in_phases(state, name, kind, view, parts, output, count)
        return
    kernel, phases = parts[0].shape[2], None
    if kernel == 1:
        kernel = 2
    else:
        phases = np.stack(parts).reshape(2, 2, *parts[0].shape)
    layer = build(
        state.types, name, kind, kernel, view, weights, requantize=op, output=output, macs=count, phases=phases
    )
    state.add(layer)


def _end_in_phases(
    state: State, name: str, kind: str, view: View, parts: list[np.ndarray], output: str, count: int
) -> None:
    """The network's sums.  They cannot be scattered: the phases are channels, and who reads the head unfolds them."""
    side = isqrt(len(parts))
    state.head_fold = side, side
    weights = np.concatenate(parts)
    state.add(build(state.types, name, kind, weights.shape[2], view, weights, output=output, macs=count))

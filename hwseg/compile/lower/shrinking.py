"""Kernels from 5x5 to 9x9: 3x3 windows on a map whose neighbouring pixels are channels of one.

Two rows and two columns become channels in a 3x3 of stride 2 with a single tap for each; four rows and columns, in two
such layers.  Output f / s * j + r of a convolution with stride s reads, through tap a of a kernel with padding p, row

    f * j + s * r - p + a        which is row (s * r - p + a) mod f of pixel j + floor((s * r - p + a) / f)

    kernel  stride    f    phases   rows of the picture                       pixels
    5       2         2    1        2 j - 2 .. 2 j + 2                         j - 1 .. j + 1
    5       1         2    2        2 j - 2 .. 2 j + 2, 2 j - 1 .. 2 j + 3     j - 1 .. j + 1
    7       2         4    2        4 j - 3 .. 4 j + 3, 4 j - 1 .. 4 j + 5     j - 1 .. j + 1
    7, 9    1         4    4        4 j - 4 .. 4 j + 4, ..., 4 j - 1 .. 4 j + 7  j - 1 .. j + 1

Every other weight is zero, and tiles of zeros are left out.  Two phases in each direction are those of a transposed
convolution.  Four are channels of one layer, which two transposed 2x2 of a single tap bring to their pixels.

A kernel with gaps is a larger one with zeros.  A 3x3 of dilation 2 reads in each phase the pixels of its own parity: a
plain 3x3 for each of four phases.  Dilation 4 is that for each of sixteen.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from hwseg.compile.lower.building import build
from hwseg.compile.lower.layers import View
from hwseg.compile.lower.state import State, passing
from hwseg.ir import Node, TensorType
from hwseg.ops import Conv2d, Requantize


def shrunk(state: State, node: Node, source: str, fold: int) -> tuple[View, list[int]]:
    """What `source` is with `fold` x `fold` pixels in one, and how many channels each part of it had."""
    if any(operand.upsampled for operand in state.views[source]):
        state.materialize(node, source)
    view: View = ()
    counts = []
    for part in state.parts(source):
        counts.append(state.types[part].shape[2])
        view += state.views[_pixels_in_one(state, node, part, fold)]
    return view, counts


def _pixels_in_one(state: State, node: Node, source: str, fold: int) -> str:
    """The map of which channel place(fold, row, column, channel, channels) is pixel (row, column) of the fold."""
    kind = state.types[source]
    height, width, channels = kind.shape
    shape = height // fold, width // fold, fold * fold * channels
    name, new = state.extra(source, f"{fold}x{fold} in one", TensorType(shape, kind.low, kind.high, kind.scale))
    if not new:
        return name
    before = source if fold == 2 else _pixels_in_one(state, node, source, fold // 2)
    count = state.types[before].shape[2]
    weights = np.zeros((4, count, count, 3, 3), np.int8)
    for number, (row, column) in enumerate(np.ndindex(2, 2)):
        weights[number, :, :, 1 + row, 1 + column] = np.eye(count, dtype=np.int8)
    label = state.fresh(f"{node.name}/{fold}x{fold} in one")
    layer = build(
        state.types, label, "fold", 3, state.views[before], weights.reshape(4 * count, count, 3, 3),
        requantize=passing(kind), output=name, stride=2,
    )  # fmt: skip
    state.add(layer)
    state.store(name)
    return name


def spread_out(
    state: State, name: str, kind: str, view: View, parts: list[np.ndarray], op: Requantize, output: str, count: int
) -> None:
    """The layer of sixteen phases, and two that bring them to their pixels.  parts: by row and column of 4x4."""
    (height, width, _), outs = state.types[view[0].tensor].shape, len(parts[0])
    of_output = state.types[output]
    before = TensorType((height, width, 16 * outs), *op.interval(of_output.interval), of_output.scale)
    channels, _ = state.extra(output, "4x4 in one", before)
    each = replace(op, multiplier=_sixteen(op.multiplier), offset=_sixteen(op.offset))
    weights = np.concatenate(parts)
    state.add(build(state.types, name, kind, 3, view, weights, requantize=each, output=channels, macs=count))
    state.store(channels)
    half, _ = state.extra(output, "2x2 in one", replace(before, shape=(2 * height, 2 * width, 4 * outs)))
    for source, target, phases in ((channels, half, 4), (half, output, 1)):
        moved = _apart(phases, outs)
        label = state.fresh(f"{name}/{2 if phases == 4 else 1}x{2 if phases == 4 else 1} in one")
        passes = passing(replace(of_output, low=op.low, high=op.high))
        layer = build(state.types, label, "unfold", 2, state.views[source], moved, requantize=passes, output=target)
        state.add(layer)
        state.store(target)


def _sixteen(values: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    return values if len(values) == 1 else values * 16


def _apart(left: int, outs: int) -> np.ndarray:
    """int8 [left * outs, 4 * left * outs, 2, 2]: channels of a square of pixels become those of a half of it."""
    side = 2 if left == 4 else 1
    weights = np.zeros((left * outs, 4 * left * outs, 2, 2), np.int8)
    for number, (row, column) in enumerate(np.ndindex(2 * side, 2 * side)):
        within = row % side * side + column % side
        inputs, outputs = (slice(n * outs, (n + 1) * outs) for n in (number, within))
        weights[outputs, inputs, row // side, column // side] = np.eye(outs, dtype=np.int8)
    return weights


def place(fold: int, row: int, column: int, channels: int) -> int:
    """The first channel of pixel (row, column) among fold * fold * channels."""
    if fold == 1:
        return 0
    half = fold // 2
    inner = place(half, row % half, column % half, channels)
    return (row // half * 2 + column // half) * half * half * channels + inner


def window(op: Conv2d, weights: np.ndarray, counts: list[int], phase: tuple[int, int]) -> np.ndarray:
    """int8 [out, stored in, 3, 3]: the convolution that makes one phase; counts: channels of each part of the input."""
    fold, found, first = op.fold, [], 0
    for count in counts:
        own = np.zeros((len(weights), fold * fold * count, 3, 3), np.int8)
        for a, b in np.ndindex(op.kernel, op.kernel):
            (y, row), (x, column) = (
                divmod(op.stride * r - op.padding + tap, fold) for r, tap in zip(phase, (a, b), strict=True)
            )
            at = place(fold, row, column, count)
            own[:, at : at + count, 1 + y, 1 + x] = weights[:, first : first + count, a, b]
        found.append(own)
        first += count
    return np.concatenate(found, axis=1)

"""Bilinear enlarging in layers that the engine has.

Read in mode NEAREST, a window shows x[i-1], x[i], x[i] at output 2i and x[i], x[i], x[i+1] at 2i + 1.  With weights 1,
2, 1 in both directions these are the sixteenths of bilinear enlarging: one 3x3 over each group of 8 channels.

Beyond the map a window shows 0 where it must show the pixel at the edge.  Rows above and below are loaded a second time
(`Layer.repeat_rows`).  Columns cannot be: a word's 8 pixels share their weights.  So an output word column at the edge
has an operand more, a map that is 0 but for the edge's pixels:

    ones    2 everywhere, and 0 beyond the map
    left    max(0, x[i] - 128 * ones[i-1])     x[0] at i = 0, for x is at most 255
    right   max(0, x[i] - 128 * ones[i+1])     x[W-1] at i = W - 1

Enlarged, and read through a window's last column only, `left` adds x[0] to output 0 and nothing to any other; `right`
likewise through the first column.  Signed maps are enlarged as the difference of two unsigned ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hwseg.ir import TensorType
from hwseg.ops import Bilinear2d, Requantize, Shape

ONES = 2
GATE = -128
"""ONES * GATE is below minus the largest pixel."""

COARSE = 64
"""What a map of sums is counted in where it and the rest make them again."""

Columns = tuple[int, int]
"""Word columns [first, last + 1)."""


@dataclass(frozen=True)
class Piece:
    """Word columns of the enlarged map that one layer makes; with or without what is missing at the edges."""

    name: str
    columns: Columns
    left: bool
    right: bool


def pieces(width: int) -> tuple[Piece, ...]:
    """The pieces of a map that is enlarged from `width` pixels."""
    last = -(-2 * width // 8) - 1
    if last == 0:
        return (Piece("", (0, 1), True, True),)
    inner = (Piece("inner", (1, last), False, False),) if last > 1 else ()
    return (Piece("left", (0, 1), True, False), *inner, Piece("right", (last, last + 1), False, True))


def right_columns(width: int) -> Columns:
    """Word columns of `right` that its piece reads: of the enlarged map's last word and one pixel before it."""
    last = -(-2 * width // 8) - 1
    return (8 * last - 1) // 2 // 8 if last else 0, -(-width // 8)


def ones_weights(channels: int) -> np.ndarray:
    """int8 [1, channels, 1, 1]: whatever is read, the offset is the result."""
    return np.zeros((1, channels, 1, 1), np.int8)


def edge_weights(channels: int, right: bool) -> np.ndarray:
    """int8 [channels, channels + 1, 3, 3] over a map and `ones`."""
    weights = np.zeros((channels, channels + 1, 3, 3), np.int8)
    weights[:, :channels, 1, 1] = np.eye(channels, dtype=np.int8)
    weights[:, channels, 1, 2 if right else 0] = GATE
    return weights


def enlarging_weights(channels: int, signs: tuple[int, ...], left: bool, right: bool) -> np.ndarray:
    """int8 [channels, inputs, 3, 3]: for each sign a map, then its `left`, then its `right`, where there are any."""
    smooth = np.array(Bilinear2d.weights, np.int8)
    only = {"left": np.array([0, 0, 1], np.int8), "right": np.array([1, 0, 0], np.int8)}
    rows = [smooth, *(only[side] for side, wanted in (("left", left), ("right", right)) if wanted)]
    parts = [
        sign * np.eye(channels, dtype=np.int8)[:, :, None, None] * np.outer(smooth, across)
        for sign in signs
        for across in rows
    ]
    return np.concatenate(parts, axis=1).astype(np.int8)


def side_by_side(parts: Sequence[np.ndarray]) -> np.ndarray:
    """int8 [out, in, 3, 3] of convolutions that read different inputs and make different outputs."""
    outs, ins = (np.cumsum([0, *(part.shape[axis] for part in parts)]) for axis in (0, 1))
    weights = np.zeros((outs[-1], ins[-1], 3, 3), np.int8)
    for part, out, in_ in zip(parts, outs[:-1], ins[:-1], strict=True):
        weights[out : out + part.shape[0], in_ : in_ + part.shape[1]] = part
    return weights


def clamping(low: int, high: int, offset: int = 0, factor: int | Fraction = 1) -> Requantize:
    return Requantize((Fraction(factor),), (Fraction(offset),), low, high)


def unsigned(shape: Shape, high: int, scale: tuple[Fraction, ...]) -> TensorType:
    return TensorType(shape, 0, high, scale)

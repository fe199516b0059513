"""Requantizers of additions, proven for the sums that two maps can make, not for every integer between them.

Where the scales of two maps are no powers of two apart, weights are large, so that the sums w1 * a + w2 * b leave most
integers out, most of those among them that lie on a tie: at (k - 1/2) / factor the exact function goes to the even k,
which multiplier and offset of the engine cannot do at every k.  What is right at every sum that there is, is as good.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from hwseg.arith.requantize import fit
from hwseg.compile.lower.layers import Layer
from hwseg.ir import TensorType
from hwseg.ops import Requantize


def rounded_as_well(layer: Layer, weights: tuple[int, int], kinds: list[TensorType]) -> Layer:
    """The layer of an addition with a requantizer that the engine has, if there is one as good for all its sums."""
    op = layer.requantize
    assert op is not None
    low, high = layer.interval
    if fit(op.multiplier[0], op.offset[0], op.low, op.high, low, high) is not None:
        return layer
    other = as_good(op, sums(weights, kinds))
    return layer if other is None else replace(layer, requantize=other)


def sums(weights: tuple[int, int], kinds: list[TensorType]) -> np.ndarray:
    """Every w1 * a + w2 * b, once, in order."""
    a, b = (w * np.arange(kind.low, kind.high + 1, dtype=np.int64) for w, kind in zip(weights, kinds, strict=True))
    return np.unique(a[:, None] + b[None, :])


def as_good(op: Requantize, reached: np.ndarray) -> Requantize | None:
    """One that multiplier, offset and shift of the engine say exactly, equal for all sums."""
    multiplier, offset = op.multiplier[0], op.offset[0]
    found = fit(multiplier, offset, op.low, op.high, int(reached[0]), int(reached[-1]), sums=reached)
    if found is None:
        return None
    other = replace(op, multiplier=(Fraction(found.m, 1 << found.s),), offset=(Fraction(found.o, 1 << found.s),))
    return other if np.array_equal(_values(op, reached), _values(other, reached)) else None


def _values(op: Requantize, reached: np.ndarray) -> np.ndarray:
    """Of every sum, by the steps that it has passed."""
    far = 1 << 40  # no sum lies there
    passed = np.array([min(max(step, -far), far) for step in op.steps()], np.int64)
    return np.searchsorted(passed, -reached if op.multiplier[0] < 0 else reached, side="right")

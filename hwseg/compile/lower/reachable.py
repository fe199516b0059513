"""Requantizers of additions, proven for the sums that two maps can make, not for every integer between them.

Where the scales of two maps are no powers of two apart, weights are large, so that the sums w1 * a + w2 * b leave most
integers out, those that lie on a tie among them: at (k - 1/2) / factor the exact function goes to the even k, which
multiplier and offset of the engine cannot do at every k.  If no sum of the maps is on a tie, an offset a little larger
or smaller rounds each of them as before, and puts all ties on one side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from math import lcm

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
    for offset in _offsets(op, sums(weights, kinds)):
        if fit(op.multiplier[0], offset, op.low, op.high, low, high) is not None:
            return replace(layer, requantize=replace(op, offset=(offset,)))
    return layer


def sums(weights: tuple[int, int], kinds: list[TensorType]) -> np.ndarray:
    """Every w1 * a + w2 * b, once."""
    a, b = (w * np.arange(kind.low, kind.high + 1, dtype=np.int64) for w, kind in zip(weights, kinds, strict=True))
    return np.unique(a[:, None] + b[None, :])


def _offsets(op: Requantize, reached: np.ndarray) -> Iterator[Fraction]:
    """Offsets above and below with which all sums are rounded alike; none where one of them is on a tie."""
    factor, offset = op.multiplier[0], op.offset[0]
    d = lcm(factor.denominator, offset.denominator)
    p, r = factor.numerator * (d // factor.denominator), offset.numerator * (d // offset.denominator)
    above = (2 * (reached.astype(object) * p + r) - d) % (2 * d)  # beyond the tie below, in 1 / (2 d)
    nearest, farthest = int(above.min()), int(above.max())
    if nearest > 0:
        yield offset + Fraction(2 * d - farthest, 4 * d)
        yield offset - Fraction(nearest, 4 * d)

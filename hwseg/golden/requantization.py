"""Requantization: in float64 where that is proven to be the exact rational's rounding, otherwise by exact steps
(`Requantize.steps`).
"""

from __future__ import annotations

import numpy as np

from hwseg.golden.types import Integer, largest
from hwseg.ir import Node
from hwseg.ops import Requantize


def requantization(node: Node, inputs: list[np.ndarray], dtype: type[Integer]) -> np.ndarray:
    """Requantize."""
    assert isinstance(node.op, Requantize), node.name
    return requantize(node.op, inputs[0], dtype)


def requantize(op: Requantize, x: np.ndarray, dtype: type[Integer]) -> np.ndarray:
    """y = clamp(round(acc * multiplier + offset)) on planes, plane by plane."""
    y = np.empty(x.shape, dtype)
    for c, acc in enumerate(x):
        near = _round_in_float(op, c, acc)
        y[c] = _count_steps(op, c, acc) if near is None else near
    return y


def _round_in_float(op: Requantize, channel: int, acc: np.ndarray) -> np.ndarray | None:
    """The rounding in float64, or None where it might not be that of the exact rational.

    Two proofs.  Multiplier and offset are n / 2**k and everything fits 53 bits: then nothing rounds before `rint`,
    which rounds half to even.  Or no value is so close to a tie that the errors of conversion, product and sum could
    carry it across.
    """
    m, b = (values[channel % len(values)] for values in (op.multiplier, op.offset))
    bound = abs(m) * max(largest(acc), 1) + abs(b)
    if bound >= 1 << 40:
        return None
    y = acc * float(m)
    y += float(b)
    nearest = np.rint(y)
    d = max(m.denominator, b.denominator)
    if (
        d & (d - 1)
        or m.denominator & (m.denominator - 1)
        or b.denominator & (b.denominator - 1)
        or bound * d >= 1 << 53
    ):
        y -= nearest
        if max(float(y.max()), -float(y.min())) >= 0.5 - float(bound) * 2.0**-50 - 2.0**-52:
            return None
    return np.clip(nearest, op.low, op.high, out=nearest)


def _count_steps(op: Requantize, channel: int, acc: np.ndarray) -> np.ndarray:
    negative = op.multiplier[channel % len(op.multiplier)] < 0
    signed = -acc.astype(np.int64) if negative else acc.astype(np.int64)
    far = 1 << 32
    steps = np.array([min(max(step, -far), far) for step in op.steps(channel)], np.int64)
    return np.searchsorted(steps, signed, side="right") + op.low

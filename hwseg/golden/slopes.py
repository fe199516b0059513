"""LeakyReLU and PReLU with their quantizer: both branches everywhere, and which of them an accumulator takes."""

from __future__ import annotations

from math import ceil, floor

import numpy as np

from hwseg.golden.requantization import requantize
from hwseg.golden.types import Integer
from hwseg.ir import Node
from hwseg.ops import PRelu


def two_slopes(node: Node, inputs: list[np.ndarray], dtype: type[Integer]) -> np.ndarray:
    """PRelu."""
    op, x = node.op, inputs[0]
    assert isinstance(op, PRelu), node.name
    above, below = requantize(op.above, x, dtype), requantize(op.below(op.slope), x, dtype)
    for c, acc in enumerate(x):
        np.copyto(above[c], below[c], where=_below_zero(op, c, acc))
    return above


def _below_zero(op: PRelu, channel: int, acc: np.ndarray) -> np.ndarray:
    """Whether acc * multiplier + offset < 0, by the accumulator at which that changes."""
    m, b = (values[channel % len(values)] for values in (op.multiplier, op.offset))
    if m == 0:
        return np.full(acc.shape, b < 0)
    far = 1 << 62
    if m > 0:
        return np.asarray(acc.astype(np.int64) < min(max(ceil(-b / m), -far), far))
    return np.asarray(acc.astype(np.int64) > min(max(floor(-b / m), -far), far))

"""Early decision: what the planes so far say about the whole sum.

After plane j of B, with P the sum of the planes so far (P = Z * 2^K + r) and m = B - 1 - j planes to come, every
activation grows by 0 .. 2^m - 1, whatever its sign (only plane 0 of two's complement counts negatively).  So

    P * 2^m - (2^m - 1) * N  <=  sum  <=  P * 2^m + (2^m - 1) * Q,        N = sum of |negative w|, Q = sum of positive w

and the interval is exact: both ends are reached.

    negative     high < 0 (or at most the ReLU's last zero)        the output is the lower clamp
    saturated    low >= the last step of the requantizer           the output is the upper clamp
    settled      high < 0 or low >= 0                              the sign, of a logit

The drained digits alone give a weaker form: with D digits so far the sum is within one digit of their value.

Source: the derivation above; DEX (successor of the ICECS 2025 core) decides the sign by the first nonzero digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwseg.arith.digits import array_planes, to_planes
from hwseg.arith.types import IntType


@dataclass(frozen=True)
class Decision:
    """Decides sums of these weights.  zero: the largest sum whose output is the lower clamp; full: the least of the
    upper."""

    weights: tuple[int, ...]
    activation: IntType
    bias: int = 0
    zero: int = -1
    full: int | None = None

    def interval(self, prefix: int, plane: int) -> tuple[int, int]:
        """The least and the largest sum, bias included, after this plane."""
        m = self.activation.width - 1 - plane
        grow = (1 << m) - 1
        negative = sum(min(w, 0) for w in self.weights)
        positive = sum(max(w, 0) for w in self.weights)
        return (prefix << m) + grow * negative + self.bias, (prefix << m) + grow * positive + self.bias

    def negative(self, prefix: int, plane: int) -> bool:
        return self.interval(prefix, plane)[1] <= self.zero

    def saturated(self, prefix: int, plane: int) -> bool:
        return self.full is not None and self.interval(prefix, plane)[0] >= self.full

    def settled(self, prefix: int, plane: int) -> bool:
        low, high = self.interval(prefix, plane)
        return high < 0 or low >= 0

    def planes_needed(self, activations: Sequence[int], sign_only: bool = False) -> int:
        """Planes until the output is decided: the clamps, or the sign alone."""
        planes = [to_planes(int(x), self.activation) for x in activations]
        prefix = 0
        for j in range(self.activation.width):
            s = sum(w * bits[j] for w, bits in zip(self.weights, planes, strict=True))
            prefix = 2 * prefix + (-s if self.activation.signed and j == 0 else s)
            if self.settled(prefix, j) if sign_only else self.negative(prefix, j) or self.saturated(prefix, j):
                return j + 1
        return self.activation.width

    def planes_needed_all(self, activations: np.ndarray, sign_only: bool = False) -> np.ndarray:
        """The same for activations [sum, term]."""
        weights = np.array(self.weights, np.int64)
        width = self.activation.width
        s = array_planes(activations, width).astype(np.int64) @ weights
        if self.activation.signed:
            s[0] = -s[0]
        needed = np.full(len(activations), width)
        prefix = np.zeros(len(activations), np.int64)
        for j in range(width):
            prefix = 2 * prefix + s[j]
            m = width - 1 - j
            low = (prefix << m) + ((1 << m) - 1) * int(weights[weights < 0].sum()) + self.bias
            high = (prefix << m) + ((1 << m) - 1) * int(weights[weights > 0].sum()) + self.bias
            full = low >= self.full if self.full is not None else np.zeros_like(low, bool)
            done = (high < 0) | (low >= 0) if sign_only else (high <= self.zero) | full
            needed = np.where(done, np.minimum(needed, j + 1), needed)
        return needed

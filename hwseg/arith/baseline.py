"""The baselines: bit-parallel words, and bit-serial planes least significant first with a plain accumulator.

Bit-parallel.  sum(w * x) in one step; latency and interval 1 word.

Bit-serial.  a_j = a_(j-1) +- 2^j * s_j, j = 0 the least significant plane; minus for the sign plane, which comes last.
Bound: |a_j| <= (2^(j+1) - 1) * sum|w|.  Interval: B planes.  Nothing is known of the sum before the last plane.

Source: Y. Umuroglu, L. Rasnayake, M. Sjalander, "BISMO: a scalable bit-serial matrix multiplication overlay for
reconfigurable computing", FPL 2018 (its weights are bit-serial too; here they are parallel words, as in all cores).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwseg.arith.digits import array_planes, to_planes
from hwseg.arith.types import IntType


@dataclass(frozen=True)
class BitSerialSpec:
    """Least significant plane first."""

    activation: IntType

    @property
    def latency(self) -> int:
        return self.activation.width

    def step(self, accumulator: int, plane_sum: int, j: int, negate: bool = False) -> int:
        return accumulator + ((-plane_sum if negate else plane_sum) << j)

    def compute(self, weights: Sequence[int], activations: Sequence[int]) -> int:
        planes = [to_planes(int(x), self.activation)[::-1] for x in activations]
        total, last = 0, self.activation.width - 1
        bound = sum(abs(int(w)) for w in weights)
        for j in range(last + 1):
            s = sum(int(w) * bits[j] for w, bits in zip(weights, planes, strict=True))
            total = self.step(total, s, j, self.activation.signed and j == last)
            assert abs(total) <= ((2 << j) - 1) * bound
        return total

    def compute_all(self, weights: np.ndarray, activations: np.ndarray) -> np.ndarray:
        """Sums of activations [sum, term]."""
        s = array_planes(activations, self.activation.width)[::-1] @ weights.astype(np.int64)
        place = 1 << np.arange(self.activation.width, dtype=np.int64)
        if self.activation.signed:
            place[-1] = -place[-1]
        sums: np.ndarray = place @ s
        return sums

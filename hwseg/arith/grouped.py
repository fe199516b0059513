"""The two-stage grouped form of the merged multiply-add (DEX): 64-lane groups, signed plane 0, bias in pseudo-lanes.

    s_j = sum over groups of (sum within a group of w_i * x_i[j])  +  bias lanes of plane j

A pseudo-lane is a weight whose activation is a constant: some are one in plane 0 alone, one is one in the last plane
alone, so that

    b = place(0) * (h_1 + ... ) + place(B - 1) * l                  place(0) = -2^(B-1) for signed activations

The digits then are those of sum(w * x) + b, and so is every decision that they allow; a bias added afterwards would
leave the sign of the sum undecided.  Recurrence, selection, bound, online delay and latency are those of
`hwseg.arith.mma`, with sum|w| counting the pseudo-lanes.

Source: DEX, by the authors of S. Usman, Y. Sadegheih, D. Merhof, ICECS 2025, arXiv 2606.25562.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwseg.arith.digits import place
from hwseg.arith.mma import MmaSpec, Trace
from hwseg.arith.types import CoreSpec, IntType
from hwseg.errors import require

GROUP = 64
FIRST_LANES = 3
"""Pseudo-lanes that are one in plane 0; one more is one in the last plane."""

BIAS_LANES = FIRST_LANES + 1


@dataclass(frozen=True)
class GroupedSpec:
    """`lanes` weights, and `BIAS_LANES` pseudo-lanes of signed words of the same length."""

    lanes: int
    activation: IntType
    weight_bits: int = 8
    weight_signed: bool = True

    def __post_init__(self) -> None:
        self.core  # noqa: B018  # checks its parameters

    @property
    def core(self) -> CoreSpec:
        return CoreSpec(self.lanes, self.weight_bits, self.weight_signed)

    @property
    def groups(self) -> tuple[range, ...]:
        return tuple(range(i, min(i + GROUP, self.lanes)) for i in range(0, self.lanes, GROUP))

    @property
    def magnitude(self) -> int:
        return self.core.magnitude + (BIAS_LANES << (self.weight_bits - 1))

    @property
    def mma(self) -> MmaSpec:
        terms = self.lanes + BIAS_LANES
        return MmaSpec(terms, self.activation, IntType(self.weight_bits + 1, True), self.magnitude)

    def bias_weights(self, bias: int) -> list[int]:
        """Weights of the pseudo-lanes: those of plane 0, then that of the last plane."""
        word = IntType(self.weight_bits, signed=True)
        first, last = self.bias_activations[0], self.bias_activations[-1]
        step = abs(first)
        low = (bias + step // 2) % step - step // 2 if step > 1 else 0
        low = min(max(low, word.low), word.high)
        rest, weights = (bias - low * last) // first, []
        for _ in range(FIRST_LANES):
            weights.append(min(max(rest, word.low), word.high))
            rest -= weights[-1]
        weights.append(low)
        made = sum(w * x for w, x in zip(weights, self.bias_activations, strict=True))
        require(made == bias, f"bias {bias}", f"must be a sum of {BIAS_LANES} pseudo-lanes of {self.weight_bits} bits")
        return weights

    @property
    def bias_activations(self) -> list[int]:
        last = place(self.activation.width - 1, self.activation)
        return [place(0, self.activation)] * FIRST_LANES + [last]

    def compute(self, weights: Sequence[int], activations: Sequence[int], bias: int = 0) -> Trace:
        """sum(w * x) + bias with its residuals and digits."""
        self.core.check(weights)
        return self.mma.compute([*weights, *self.bias_weights(bias)], [*activations, *self.bias_activations])

    def compute_all(
        self, weights: np.ndarray, activations: np.ndarray, bias: int = 0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same for activations [sum, term]."""
        constant = np.broadcast_to(self.bias_activations, (len(activations), BIAS_LANES))
        all_weights = np.concatenate([weights, self.bias_weights(bias)])
        return self.mma.compute_all(all_weights, np.concatenate([activations, constant], 1))

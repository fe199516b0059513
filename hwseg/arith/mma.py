"""The merged multiply-add: `terms` products summed, most significant digit first, with one residual and one digit out.

    s_j = sum of w_i * x_i[j]                           j = 0 .. B - 1, x_i[0] the most significant plane
    v_j = 2 * r_(j-1) + s_j                             the sign plane of two's complement: v_0 = -s_0
    z_j = sel(v_j) = 1 if v_j >= 2^(K-1), -1 if v_j < -2^(K-1), else 0
    r_j = v_j - z_j * 2^K                               r_(-1) = 0

Bound.  Let sum|w| <= 2^(K-1).  If -2^(K-1) <= r_(j-1) < 2^(K-1), then -3 * 2^(K-1) <= v_j <= 3 * 2^(K-1) - 2, each of
the three selections leaves -2^(K-1) <= r_j < 2^(K-1), and so it stays.  K = ceil(log2(sum|w|)) + 1 is the least that
holds; the real weights of an output channel give a smaller K than the word length does.  Both ends of |s_j| <= 2^(K-1)
count: unsigned weights reach s_j = 2^(K-1), which a word of K bits does not hold.

Invariant.  With Z_j = 2 * Z_(j-1) + z_j,   Z_j * 2^K + r_j = the sum over the planes so far.

Results.  Drain form: K more steps with s = 0 leave r = 0, and the B + K digits are the sum.  Drain-free capture: after
B planes the sum is Z * 2^K + r, and with Z converted on the fly that is a concatenation (`OnTheFly.with_residual`).

Sign.  The first nonzero digit is the sign of the sum: after a digit 1, Z >= 1 for good, and |r| <= 2^(K-1) < 2^K.

Online delay: a digit of the weight of an input plane comes K cycles after that plane.  Latency: B cycles captured,
B + K drained.  Initiation interval: B cycles captured.

Source: S. Usman, Y. Sadegheih, D. Merhof, ICECS 2025, arXiv 2606.25562 (unsigned activations, drained); M. D. Ercegovac
and T. Lang, Digital Arithmetic, ch. 9 (recurrence, selection, on-the-fly conversion).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwseg.arith.digits import OnTheFly, array_planes, to_planes
from hwseg.arith.types import PLANES, IntType
from hwseg.errors import require


@dataclass(frozen=True)
class Trace:
    """A whole sum: residual and digit after each plane (and each drain step), and the sum."""

    residuals: tuple[int, ...]
    digits: tuple[int, ...]
    sum: int


@dataclass(frozen=True)
class MmaSpec:
    """Merged multiply-add of `terms` weights and activations.

    magnitude: a bound of sum|w|, from the word length if not given.
    """

    terms: int
    activation: IntType
    weight: IntType
    magnitude: int | None = None

    def __post_init__(self) -> None:
        require(self.terms >= 1, f"merged multiply-add of {self.terms} terms", "terms must be at least 1")
        width = self.activation.width
        require(
            width <= PLANES, f"merged multiply-add of {self.terms} terms", f"planes must be 1 to {PLANES}, not {width}"
        )
        require(self.bound >= 0, f"merged multiply-add of {self.terms} terms", "magnitude must not be negative")

    @classmethod
    def of(cls, weights: Sequence[int], activation: IntType) -> MmaSpec:
        """With the growth that these weights need."""
        weight = IntType.of(min(-1, *weights), max(0, *weights))
        return cls(len(weights), activation, weight, sum(abs(int(w)) for w in weights))

    @property
    def bound(self) -> int:
        """The largest sum|w|."""
        largest = max(-self.weight.low, self.weight.high)
        return self.terms * largest if self.magnitude is None else self.magnitude

    @property
    def growth(self) -> int:
        """K = ceil(log2(sum|w|)) + 1; 1 if all weights are 0."""
        return (self.bound - 1).bit_length() + 1 if self.bound else 1

    @property
    def planes(self) -> int:
        """B."""
        return self.activation.width

    @property
    def online_delay(self) -> int:
        return self.growth

    @property
    def latency(self) -> int:
        """Cycles from the first plane to the captured sum."""
        return self.planes

    @property
    def drained_latency(self) -> int:
        """Cycles from the first plane to the last digit of the drain form."""
        return self.planes + self.growth

    def select(self, v: int) -> int:
        """The digit, by exact comparison."""
        half = 1 << (self.growth - 1)
        return int(v >= half) - int(v < -half)

    def step(self, residual: int, plane_sum: int) -> tuple[int, int]:
        """One cycle: the next residual and the digit; `plane_sum` is negative s for the sign plane."""
        v = 2 * residual + plane_sum
        digit = self.select(v)
        following = v - (digit << self.growth)
        half = 1 << (self.growth - 1)
        assert -half <= following < half, "the residual's bound; sum|w| is larger than declared"
        return following, digit

    def compute(self, weights: Sequence[int], activations: Sequence[int], drain: bool = False) -> Trace:
        """The whole sum; with `drain` the digits alone are it, else Z * 2^K + r is captured."""
        place = f"merged multiply-add of {self.terms} terms"
        for what, values in (("weights", weights), ("activations", activations)):
            require(len(values) == self.terms, place, f"needs {self.terms} {what}, not {len(values)}")
        low, high = self.weight.low, self.weight.high
        for i, w in enumerate(weights):
            require(int(w) in self.weight, place, f"weight {i} must be in [{low}, {high}], is {w}")
        planes = [to_planes(int(x), self.activation) for x in activations]
        converted, residual = OnTheFly(), 0
        residuals, digits = [], []
        for j in range(self.drained_latency if drain else self.latency):
            s = sum(int(w) * bits[j] for w, bits in zip(weights, planes, strict=True)) if j < self.planes else 0
            residual, digit = self.step(residual, -s if self.activation.signed and j == 0 else s)
            converted = converted.append(digit)
            residuals.append(residual)
            digits.append(digit)
        assert not drain or residual == 0
        total = converted.q if drain else converted.with_residual(residual, self.growth)
        return Trace(tuple(residuals), tuple(digits), total)

    def compute_all(self, weights: np.ndarray, activations: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Residuals and digits [plane, sum] and sums of activations [sum, term]: the same recurrence in NumPy."""
        s = array_planes(activations, self.planes) @ weights.astype(np.int64)
        if self.activation.signed:
            s[0] = -s[0]
        half = 1 << (self.growth - 1)
        residuals, digits = np.empty_like(s), np.empty_like(s)
        residual = total = np.zeros_like(s[0])
        for j, plane in enumerate(s):
            v = 2 * residual + plane
            digits[j] = (v >= half).astype(np.int64) - (v < -half)
            residual = residuals[j] = v - (digits[j] << self.growth)
            total = 2 * total + digits[j]
        return residuals, digits, (total << self.growth) + residual

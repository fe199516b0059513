"""Online operators: digits in, digits out, most significant first, from one lemma.

    v_j = 2 * r_(j-1) + s_j,   z_j = sel(v_j),   r_j = v_j - z_j * 2^K,   r_(-1) = 0

Lemma.  If |s_j| <= 2^(K-1), and sel gives 1 only for v >= 2^(K-1), -1 only for v <= -2^(K-1) and one of them wherever
|v| > 2^(K-1), then |r_j| <= 2^(K-1) for ever: |v| <= 3 * 2^(K-1), and each of the three digits leaves that interval.
The digits and the residual are the inputs' sum, Z_j * 2^K + r_j = sum over i <= j of s_i * 2^(j-i); after K steps of
s = 0 the residual is a multiple of 2^K within the bound that the digits settle, 0, and the digits alone are it.

K is the online delay: the digit of the weight of s_j comes K steps later.

    addition              s = x_j + y_j, |s| <= 2                            K = 2
    serial-parallel       s = x_j * w, |w| <= 2^(K-1)                        K = ceil(log2 |w|) + 1
    serial-serial         s = X_(j-1) * y_j + Y_j * x_j, |s| < 2             K = 2, X and Y the fractions so far

Sources: M. D. Ercegovac and T. Lang, Digital Arithmetic, ch. 9 (addition, multiplication, selection); K. S. Trivedi and
M. D. Ercegovac, "On-line algorithms for division and multiplication", IEEE Trans. Comput. 26 (1977) 681.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwseg.arith.digits import array_planes, from_digits, to_planes
from hwseg.arith.mma import MmaSpec
from hwseg.arith.types import IntType
from hwseg.errors import require

DIGITS = (-1, 0, 1)


def _check(name: str, *strings: Sequence[int]) -> None:
    for string in strings:
        for digit in string:
            require(digit in DIGITS, name, f"digits must be -1, 0 or 1, not {digit}")
        require(len(string) == len(strings[0]), name, f"operands need equal lengths, {len(strings[0])}, {len(string)}")


@dataclass(frozen=True)
class AdderSpec:
    """Online addition of two signed-digit strings: n digits each, n + 2 out, of which the first is always 0.

    r in [-2, 2].  sel: 0 where r is 0, else 1 for v >= 2, -1 for v <= -2.  Latency: n + 2 steps; interval: n + 1.
    """

    online_delay = 2
    states = range(-2, 3)

    def step(self, residual: int, x: int, y: int) -> tuple[int, int]:
        """The next residual and the digit."""
        v = 2 * residual + x + y
        digit = 0 if residual == 0 else int(v >= 2) - int(v <= -2)
        following = v - 4 * digit
        assert following in self.states, "the residual's bound"
        return following, digit

    def compute(self, x: Sequence[int], y: Sequence[int]) -> list[int]:
        """The digits of x + y.

        >>> AdderSpec().compute([1, 0, 1], [0, 1, 1])
        [0, 1, 0, 0, 0]
        """
        _check("online addition", x, y)
        residual, digits = 0, []
        for a, b in [*zip(x, y, strict=True), (0, 0), (0, 0)]:
            residual, digit = self.step(residual, a, b)
            digits.append(digit)
        assert residual == 0
        return digits

    def compute_all(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Strings [digit, ...] of arrays of strings."""
        residual = np.zeros(x.shape[1:], np.int64)
        drain = np.zeros((2, *x.shape[1:]), np.int64)
        digits = []
        for s in np.concatenate([x.astype(np.int64) + y, drain]):
            v = 2 * residual + s
            digit = ((v >= 2).astype(np.int64) - (v <= -2)) * (residual != 0)
            residual = v - 4 * digit
            digits.append(digit)
        return np.array(digits)


@dataclass(frozen=True)
class SerialParallelSpec:
    """Online multiplication of planes by a parallel word: the merged multiply-add of one term, drained.

    B + K digits in B + K steps, K = ceil(log2 |w|) + 1 for the largest weight.
    """

    activation: IntType
    weight: IntType

    @property
    def mma(self) -> MmaSpec:
        return MmaSpec(1, self.activation, self.weight, max(-self.weight.low, self.weight.high))

    @property
    def online_delay(self) -> int:
        return self.mma.growth

    @property
    def latency(self) -> int:
        return self.mma.drained_latency

    def compute(self, x: int, w: int) -> tuple[int, ...]:
        require(w in self.weight, f"weight {w}", f"must be in [{self.weight.low}, {self.weight.high}]")
        return self.mma.compute([w], [x], drain=True).digits

    def compute_all(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Digits [digit, ...] of elementwise products."""
        k = self.mma.growth
        planes = array_planes(x, self.activation.width).astype(np.int64)
        if self.activation.signed:
            planes[0] = -planes[0]
        half, residual, digits = 1 << (k - 1), np.zeros(np.broadcast(x, w).shape, np.int64), []
        for j in range(self.latency):
            v = 2 * residual + (planes[j] * w if j < len(planes) else 0)
            digit = (v >= half).astype(np.int64) - (v < -half)
            residual = v - (digit << k)
            digits.append(digit)
        return np.array(digits)


@dataclass(frozen=True)
class SerialSerialSpec:
    """Online multiplication of two signed-digit strings of n digits: 2n + 2 digits in 2n + 2 steps.

    Residual in units of 2^-n; X and Y, the operands so far, are converted on the fly.
    """

    digits: int

    online_delay = 2

    def __post_init__(self) -> None:
        require(self.digits >= 1, "serial-serial multiplication", f"digits must be at least 1, not {self.digits}")

    @property
    def latency(self) -> int:
        return 2 * self.digits + 2

    def step(self, residual: int, s: int) -> tuple[int, int]:
        half = 2 << self.digits
        v = 2 * residual + s
        digit = int(v >= half) - int(v <= -half)
        following = v - 2 * half * digit
        assert abs(following) <= half
        return following, digit

    def compute(self, x: Sequence[int], y: Sequence[int]) -> list[int]:
        """The digits of x * y.

        >>> from_digits(SerialSerialSpec(3).compute([1, 0, -1], [1, 1, 1]))
        21
        """
        _check("serial-serial multiplication", x, y)
        require(len(x) == self.digits, "serial-serial multiplication", f"needs {self.digits} digits, not {len(x)}")
        residual, big_x, big_y, found = 0, 0, 0, []
        for j in range(self.latency):
            a, b = (x[j], y[j]) if j < self.digits else (0, 0)
            scale = self.digits - 1 - j
            before = big_x
            if j < self.digits:
                big_x, big_y = big_x + (a << scale), big_y + (b << scale)
            residual, digit = self.step(residual, before * b + big_y * a)
            found.append(digit)
        assert residual == 0
        return found

    def compute_all(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Strings [digit, ...] of arrays of strings."""
        n, shape = self.digits, x.shape[1:]
        residual, big_x, big_y = (np.zeros(shape, np.int64) for _ in range(3))
        half, found = 2 << n, []
        for j in range(self.latency):
            s = np.zeros(shape, np.int64)
            if j < n:
                before, big_x = big_x, big_x + (x[j].astype(np.int64) << (n - 1 - j))
                big_y = big_y + (y[j].astype(np.int64) << (n - 1 - j))
                s = before * y[j] + big_y * x[j]
            v = 2 * residual + s
            digit = (v >= half).astype(np.int64) - (v <= -half)
            residual = v - 2 * half * digit
            found.append(digit)
        return np.array(found)


@dataclass(frozen=True)
class CascadeSpec:
    """Cascaded MSDF: a serial-parallel multiplier per lane and a tree of online adders.

    Interval: B + K + L steps for L levels of the tree, digits are B + K + 2L, of which the first L are 0.
    """

    lanes: int
    activation: IntType
    weight: IntType

    def __post_init__(self) -> None:
        require(self.lanes >= 1, f"cascade of {self.lanes} lanes", f"lanes must be at least 1, not {self.lanes}")

    @property
    def multiplier(self) -> SerialParallelSpec:
        return SerialParallelSpec(self.activation, self.weight)

    @property
    def levels(self) -> int:
        return max(1, (self.lanes - 1).bit_length())

    @property
    def drain(self) -> int:
        """Steps between the last plane of a sum and the first of the next."""
        return self.multiplier.online_delay + self.levels

    @property
    def interval(self) -> int:
        return self.activation.width + self.drain

    @property
    def latency(self) -> int:
        """Steps to the last digit, without the registers of a pipelined tree."""
        return self.multiplier.latency + 2 * self.levels

    def compute(self, weights: Sequence[int], activations: Sequence[int]) -> list[int]:
        """The digits of the dot product."""
        nodes = [list(self.multiplier.compute(x, w)) for x, w in zip(activations, weights, strict=True)]
        for _ in range(self.levels):
            nodes += [[0] * len(nodes[0])] * (len(nodes) % 2)
            nodes = [AdderSpec().compute(a, b) for a, b in zip(nodes[::2], nodes[1::2], strict=True)]
        return nodes[0]

    def compute_all(self, weights: np.ndarray, activations: np.ndarray) -> np.ndarray:
        """Digits [digit, sum] for activations [sum, lane]."""
        nodes = self.multiplier.compute_all(activations.astype(np.int64), weights.astype(np.int64)[None])
        for _ in range(self.levels):
            nodes = np.pad(nodes, ((0, 0), (0, 0), (0, nodes.shape[2] % 2)))
            nodes = AdderSpec().compute_all(nodes[:, :, ::2], nodes[:, :, 1::2])
        return nodes[:, :, 0]

    def planes(self, activations: Sequence[int]) -> list[tuple[int, ...]]:
        return list(zip(*(to_planes(int(x), self.activation) for x in activations), strict=True))


def value(digits: np.ndarray) -> np.ndarray:
    """Integers of strings [digit, ...]."""
    total = np.zeros(digits.shape[1:], np.int64)
    for digit in digits:
        total = 2 * total + digit
    return total


__all__ = ["AdderSpec", "CascadeSpec", "SerialParallelSpec", "SerialSerialSpec", "from_digits", "value"]

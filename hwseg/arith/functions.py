"""Functions of digit strings, most significant digit first: ReLU, maximum, requantization.

The first nonzero digit of a string is its sign, because the digits after a 1 take away less than it gives:
2^k - (2^(k-1) + ... + 1) = 1.

    relu       online delay 0     digits pass after a first 1; after a first -1 all are 0
    maximum    online delay 4     y + relu(x - y): two online additions; planes of unsigned words: delay 0
    requantize                    output bits leave when both ends of the accumulator's interval agree on them

Latency: as many steps as digits plus the online delay; requantization has given its last bit with the last digit.

Sources: M. D. Ercegovac and T. Lang, Digital Arithmetic, ch. 9 (sign, comparison of online numbers); the early bits of
`DigitRequantizer` follow from the steps of `hwseg.arith.requantize`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwseg.arith.online import AdderSpec
from hwseg.errors import require


@dataclass(frozen=True)
class Relu:
    """max(x, 0) of a signed-digit string; `step` is one digit.  state: 0 undecided, 1 positive, -1 negative."""

    online_delay = 0

    def step(self, state: int, digit: int) -> tuple[int, int]:
        state = state or digit
        return state, digit if state > 0 else 0

    def compute(self, digits: Sequence[int]) -> list[int]:
        """
        >>> Relu().compute([0, 1, -1, 0]), Relu().compute([0, -1, 1, 1])
        ([0, 1, -1, 0], [0, 0, 0, 0])
        """
        state, found = 0, []
        for digit in digits:
            state, out = self.step(state, digit)
            found.append(out)
        return found

    def compute_all(self, digits: np.ndarray) -> np.ndarray:
        """Strings [digit, ...]."""
        first = np.argmax(digits != 0, 0)
        sign = np.take_along_axis(digits, first[None], 0)
        positive: np.ndarray = digits * (sign > 0)
        return positive


@dataclass(frozen=True)
class Maximum:
    """max(x, y) of two signed-digit strings of n digits: n + 4 digits."""

    online_delay = 2 * AdderSpec.online_delay

    def compute(self, x: Sequence[int], y: Sequence[int]) -> list[int]:
        """
        >>> Maximum().compute([1, -1, 1], [0, 0, 1])
        [0, 0, 0, 0, 1, -1, 1]
        """
        difference = AdderSpec().compute(x, [-d for d in y])
        return AdderSpec().compute(Relu().compute(difference), [0, 0, *y])

    def compute_all(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        difference = AdderSpec().compute_all(x, -y)
        late = np.concatenate([np.zeros((2, *y.shape[1:]), np.int64), y])
        return AdderSpec().compute_all(Relu().compute_all(difference), late)


@dataclass(frozen=True)
class PlaneMaximum:
    """max of unsigned words, plane by plane; the first plane in which they differ decides.  state: 0, 1 (x), -1 (y)."""

    online_delay = 0

    def step(self, state: int, x: int, y: int) -> tuple[int, int]:
        state = state or x - y
        return state, x if state > 0 else y

    def compute(self, x: Sequence[int], y: Sequence[int]) -> list[int]:
        state, found = 0, []
        for a, b in zip(x, y, strict=True):
            state, bit = self.step(state, a, b)
            found.append(bit)
        return found

    def compute_all(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Planes [plane, ...]."""
        difference = x.astype(np.int64) - y
        first = np.argmax(difference != 0, 0)
        larger = np.take_along_axis(difference, first[None], 0) > 0
        return np.where(larger, x, y)


@dataclass(frozen=True)
class DigitRequantizer:
    """y = low + number of steps <= acc, of a digit string of known length; bits of y - low leave once they are known.

    steps: for each k in low + 1 .. high the least accumulator with y >= k (`hwseg.arith.requantize.steps`, M > 0).
    """

    steps: tuple[int, ...]

    def __post_init__(self) -> None:
        require(len(self.steps) > 0, "digit requantizer", "needs at least one step")
        require(list(self.steps) == sorted(self.steps), "digit requantizer", "steps must not fall")

    @property
    def bits(self) -> int:
        return len(self.steps).bit_length()

    def compute(self, digits: Sequence[int]) -> tuple[list[int], list[int]]:
        """Bits of y - low, most significant first, and the digit (from 1) after which each is known."""
        found: list[int] = []
        when: list[int] = []
        prefix = 0
        for j, digit in enumerate(digits, 1):
            prefix = 2 * prefix + digit
            rest = len(digits) - j
            low = bisect_right(self.steps, (prefix << rest) - (1 << rest) + 1)
            high = bisect_right(self.steps, (prefix << rest) + (1 << rest) - 1)
            while len(found) < self.bits and low >> (self.bits - 1 - len(found)) == high >> (
                self.bits - 1 - len(found)
            ):
                found.append(low >> (self.bits - 1 - len(found)) & 1)
                when.append(j)
        return found, when

    def compute_all(self, digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same for strings [digit, ...]: bits and times [bit, ...]."""
        n, steps = len(digits), np.array(self.steps)
        place = np.arange(self.bits - 1, -1, -1).reshape(-1, *(1,) * (digits.ndim - 1))
        when = np.full((self.bits, *digits.shape[1:]), n)
        prefix = np.zeros(digits.shape[1:], np.int64)
        bits = np.zeros_like(when)
        for j in range(1, n + 1):
            prefix = 2 * prefix + digits[j - 1]
            rest = n - j
            low = np.searchsorted(steps, (prefix << rest) - (1 << rest) + 1, "right")
            high = np.searchsorted(steps, (prefix << rest) + (1 << rest) - 1, "right")
            known = (low >> place) == (high >> place)
            when = np.where(known, np.minimum(when, j), when)
            bits = (low >> place) & 1
        return bits, when

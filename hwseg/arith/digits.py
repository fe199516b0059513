"""Integers as digits, most significant first: bit planes, radix-2 signed digits, and on-the-fly conversion.

A plane is a bit per value; an unsigned word of B bits is B planes, two's complement has the same planes with the first
one (the sign plane) counted negatively.  A signed-digit string d_0 d_1 ... of digits in {-1, 0, 1} is the integer
sum(d_j * 2^(n-1-j)); it is redundant, and that lets an online operator give a digit before it knows the rest.

Sources: A. Avizienis, IRE Trans. Electron. Comput. 10 (1961) 389; M. D. Ercegovac and T. Lang, "On-the-fly conversion
of redundant into conventional representations", IEEE Trans. Comput. 36 (1987) 895; the same, Digital Arithmetic, ch. 9.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hwseg.arith.types import IntType
from hwseg.errors import require


def to_planes(value: int, kind: IntType) -> list[int]:
    """Bits of one integer, most significant first.

    >>> to_planes(5, IntType(4)), to_planes(-3, IntType(4, signed=True))
    ([0, 1, 0, 1], [1, 1, 0, 1])
    """
    require(value in kind, f"integer {value}", f"must be in [{kind.low}, {kind.high}]")
    return [value >> j & 1 for j in reversed(range(kind.width))]


def from_planes(planes: Sequence[int], kind: IntType) -> int:
    """The integer of `to_planes`."""
    require(len(planes) == kind.width, f"{len(planes)} planes", f"must be {kind.width}")
    return sum(place(j, kind) * bit for j, bit in enumerate(planes))


def place(j: int, kind: IntType) -> int:
    """What a one in plane j counts."""
    weight = 1 << (kind.width - 1 - j)
    return -weight if kind.signed and j == 0 else weight


def array_planes(values: np.ndarray, width: int) -> np.ndarray:
    """Planes of an array, [plane, ...], uint8."""
    shifts = np.arange(width - 1, -1, -1).reshape(-1, *(1,) * values.ndim)
    return (values[None].astype(np.int64) >> shifts & 1).astype(np.uint8)


def to_digits(value: int, digits: int) -> list[int]:
    """Signed digits with as few nonzero ones as any (the non-adjacent form), padded to `digits`.

    >>> to_digits(7, 4), to_digits(-5, 4)
    ([1, 0, 0, -1], [0, -1, 0, -1])
    """
    found, rest = [], value
    while rest:
        digit = 2 - (rest & 3) if rest & 1 else 0
        found.append(digit)
        rest = (rest - digit) >> 1
    require(len(found) <= digits, f"integer {value}", f"needs {len(found)} signed digits, not {digits}")
    return [0] * (digits - len(found)) + found[::-1]


def from_digits(digits: Iterable[int]) -> int:
    """The integer of a signed-digit string.

    >>> from_digits([1, -1, 0, -1])
    3
    """
    value = 0
    for digit in digits:
        value = 2 * value + digit
    return value


@dataclass(frozen=True)
class OnTheFly:
    """Signed digits to two's complement without a carry: Q and Q - 1 are kept, and a digit is appended to one of them.

        z =  1:  Q <- (Q,     1)   Q-1 <- (Q,     0)
        z =  0:  Q <- (Q,     0)   Q-1 <- (Q - 1, 1)
        z = -1:  Q <- (Q - 1, 1)   Q-1 <- (Q - 1, 0)

    >>> [OnTheFly().append(1).append(z).q for z in (1, 0, -1)]
    [3, 2, 1]
    """

    q: int = 0
    q_less: int = -1

    def append(self, digit: int) -> OnTheFly:
        require(digit in (-1, 0, 1), f"digit {digit}", "must be -1, 0 or 1")
        return OnTheFly(
            self.q << 1 | digit if digit >= 0 else self.q_less << 1 | 1,
            self.q << 1 if digit > 0 else self.q_less << 1 | (digit == 0),
        )

    def with_residual(self, residual: int, growth: int) -> int:
        """Q * 2^K + r for |r| <= 2^(K-1), by concatenation: the high part is Q, or Q - 1 if r is negative."""
        high = self.q_less if residual < 0 else self.q
        return high << growth | residual & ((1 << growth) - 1)

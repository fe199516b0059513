"""Requantization by a fixed-point triple, proven equal to the exact rational for every accumulator.

Exact:      y = clamp(round_half_even(acc * M + b), low, high),            M, b rational
Hardware:   y = clamp(round_half_even((A * m + o) / 2^s), low, high),      |m| < 2^29, |o| < 2^55, 0 <= s <= 55

where A = acc, or A = 2 * acc + S for cores whose sums are offset binary.

Proof by steps.  Both sides are monotone in acc and have the same direction (m and M have one sign), so each is known
by its steps: for k in low + 1 .. high the first accumulator, in the direction in which y grows, with y >= k.  Two
monotone functions with equal steps inside an interval, and equal values at its ends, are equal on it.  With
c = 2^(s-1) * (2k - 1), the tie between k - 1 and k, which goes to the even one,

    y >= k    if and only if    A * m + o >= c + (k odd)           (s = 0: A * m + o >= k).

So the step at T holds if   A(T) * m + o >= c_k   and   A(T - 1) * m + o < c_k :  for given m and s an interval of o.
The exact point (M * 2^s, b * 2^s) satisfies all of these before rounding, and they are convex: integers m that satisfy
them, if there are any, lie next to M * 2^s.  A larger s contains all solutions of a smaller one (2m, 2o, s + 1).  Hence
`fit` tries the exact triple of a dyadic M first (a shift, for a power of two), then the largest s and the m around it.

Where M > high - low, values lie farther apart than the range is wide: one accumulator at most gives neither `low` nor
`high`, and every steeper line through its output is the same function.  m = high - low + 1, s = 0 is one, and its o is
small: so factors beyond 29 bits, and steps that lie far out, have a triple too.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import lcm
from typing import Any, NamedTuple

import numpy as np

from hwseg.errors import require

MULTIPLIER_BITS = 29
OFFSET_BITS = 55
LARGEST_SHIFT = 55
NEVER = 1 << 62
"""A step that no accumulator reaches; -NEVER: one that all have passed."""


class Triple(NamedTuple):
    """The hardware requantizer's parameters."""

    m: int
    o: int
    s: int

    @property
    def fits(self) -> bool:
        return (
            abs(self.m) < 1 << MULTIPLIER_BITS and abs(self.o) < 1 << OFFSET_BITS and self.s in range(LARGEST_SHIFT + 1)
        )

    def __call__(self, a: int, low: int, high: int) -> int:
        """One output, by definition."""
        return min(max(round(Fraction(a * self.m + self.o, 1 << self.s)), low), high)


def steps(multiplier: Fraction, offset: Fraction, low: int, high: int) -> tuple[int, ...]:
    """For k in low + 1 .. high the smallest sign(M) * acc with y >= k; for M = 0, -NEVER or NEVER."""
    line = _Line.of(multiplier, offset)
    return tuple(line.step(k) for k in range(low + 1, high + 1))


def hardware_steps(triple: Triple, low: int, high: int, offset_binary_sum: int | None = None) -> tuple[int, ...]:
    """The same for a triple: the smallest sign(m) * acc with y >= k."""
    m, o, s = triple
    if offset_binary_sum is not None:
        m, o = 2 * m, o + m * offset_binary_sum
    return steps(Fraction(m, 1 << s), Fraction(o, 1 << s), low, high)


def differing_steps(
    triple: Triple,
    multiplier: Fraction,
    offset: Fraction,
    low: int,
    high: int,
    acc_low: int,
    acc_high: int,
    offset_binary_sum: int | None = None,
) -> tuple[int, ...]:
    """The k whose step differs within [acc_low, acc_high]; empty if and only if all outputs there are equal."""
    sign = -1 if multiplier < 0 else 1
    first, last = sorted((sign * acc_low, sign * acc_high))
    if triple.m and (triple.m < 0) != (multiplier < 0):
        return tuple(range(low + 1, high + 1))
    exact = steps(multiplier, offset, low, high)
    hardware = hardware_steps(triple, low, high, offset_binary_sum)
    return tuple(
        k
        for k, a, b in zip(range(low + 1, high + 1), exact, hardware, strict=True)
        if min(max(a, first), last + 1) != min(max(b, first), last + 1)
    )


def fit(
    multiplier: Fraction,
    offset: Fraction,
    low: int,
    high: int,
    acc_low: int,
    acc_high: int,
    offset_binary_sum: int | None = None,
    sums: np.ndarray | None = None,
) -> Triple | None:
    """A triple equal to the exact requantizer for every accumulator in [acc_low, acc_high], or None.

    sums: the only ones that there are, in order, from acc_low to acc_high; then for these alone.
    """
    _check(low, high, acc_low, acc_high)
    if multiplier == 0:
        return Triple(0, min(max(round(offset), low), high), 0)
    sign = -1 if multiplier < 0 else 1
    line = _Line.of(multiplier, offset)
    first, last = sorted((sign * acc_low, sign * acc_high))
    if line.y(first, low, high) == line.y(last, low, high):
        return Triple(0, line.y(first, low, high), 0)
    constraints = _Constraints(line, low, high, first, last, sign, offset_binary_sum, sums)
    slope, start = _in_hardware_terms(multiplier, offset, offset_binary_sum)
    steepest = [(high - low + 1, 0)] if abs(multiplier) > high - low else []
    for m, s in (*_candidates(abs(slope), start), *steepest):
        least, most = constraints.offsets(m, s)
        if least <= most:
            o = min(max(round(start * (1 << s)), least), most)
            triple = Triple(sign * m, o, s)
            if triple.fits:
                return triple
    return None


def nearest(multiplier: Fraction, offset: Fraction, offset_binary_sum: int | None = None) -> Triple:
    """The most precise triple by plain rounding, for layers where exactness is given up; `differing_steps` counts."""
    slope, start = _in_hardware_terms(multiplier, offset, offset_binary_sum)
    s = _largest_shift(abs(slope), start)
    limit = (1 << MULTIPLIER_BITS) - 1
    m = min(max(round(slope * (1 << s)), -limit), limit)
    return Triple(m, round(start * (1 << s)), s)


def apply(acc: np.ndarray, m: Any, o: Any, s: Any, low: int, high: int) -> np.ndarray:
    """y of hardware accumulators; m, o, s are integers or arrays that broadcast against `acc` (channels last), s from 0
    to 63.

    int64 where |acc * m + o| < 2^62 is certain, Python integers otherwise.  A half bit and a sticky bit (was anything
    below it one?) round, as they do in the gates: nothing is shifted to the left, where it could be lost.
    """
    acc = np.asarray(acc)
    m, o, s = (np.asarray(x) for x in (m, o, s))
    wide = _largest(acc) * _largest(m) + _largest(o) >= 1 << 62
    kind: Any = object if wide else np.int64
    value = acc.astype(kind) * m.astype(kind) + o.astype(kind)
    whole = value >> s.astype(kind)
    below = np.maximum(s, 1).astype(kind) - 1
    half = (value >> below) & (s > 0).astype(kind)
    sticky = ((value & ((np.ones_like(below) << below) - 1)) != 0).astype(kind)
    rounded = whole + (half & 1 & (sticky | whole))
    y: np.ndarray = np.clip(rounded, low, high).astype(np.int64)
    return y


def _largest(x: np.ndarray) -> int:
    return max(abs(int(x.max())), abs(int(x.min()))) if x.size else 0


class _Line(NamedTuple):
    """y = (p * x + r) / d before rounding, x = sign(M) * acc, p >= 0."""

    p: int
    r: int
    d: int

    @classmethod
    def of(cls, multiplier: Fraction, offset: Fraction) -> _Line:
        d = lcm(multiplier.denominator, offset.denominator)
        return cls(
            abs(multiplier.numerator) * (d // multiplier.denominator), offset.numerator * (d // offset.denominator), d
        )

    def step(self, k: int) -> int:
        """Smallest x with 2 * (p * x + r) >= (2k - 1) * d, strictly above for odd k: the tie goes to even k."""
        missing = (2 * k - 1) * self.d - 2 * self.r + (k & 1)
        if self.p == 0:
            return NEVER if missing > 0 else -NEVER
        return -(-missing // (2 * self.p))

    def y(self, x: int, low: int, high: int) -> int:
        return min(max(round(Fraction(self.p * x + self.r, self.d)), low), high)


class _Constraints:
    """Inequalities position * m + o >= c_k and position * m + o < c_k, for all k that matter in [first, last].

    Steps before `first` need hold for the output at `first` alone, steps after `last` for the output at `last`.
    """

    def __init__(
        self,
        line: _Line,
        low: int,
        high: int,
        first: int,
        last: int,
        sign: int,
        offset_binary_sum: int | None,
        sums: np.ndarray | None,
    ) -> None:
        begin, end = line.y(first, low, high), line.y(last, low, high)
        inside = np.array([line.step(k) for k in range(begin + 1, end + 1)], np.int64)
        above, below = inside, inside - 1
        if sums is not None:  # the nearest ones on either side
            ordered = sums if sign > 0 else -sums[::-1]
            at = np.searchsorted(ordered, inside)
            above, below = ordered[at], ordered[at - 1]
        reached = np.concatenate([np.array([first] if begin > low else [], np.int64), above])
        missed = np.concatenate([below, np.array([last] if end < high else [], np.int64)])
        if offset_binary_sum is not None:
            reached, missed = (2 * x + sign * offset_binary_sum for x in (reached, missed))
        # m * x must fit int64, and so must what is left of it when the threshold is taken away.
        far = max((_largest(x) for x in (reached, missed)), default=0)
        if far >= 1 << 62 - MULTIPLIER_BITS:
            reached, missed = reached.astype(object), missed.astype(object)
        self.reached, self.missed = reached, missed
        self.reached_k = np.arange(begin if begin > low else begin + 1, end + 1, dtype=np.int64)
        self.missed_k = np.arange(begin + 1, end + 1 + (end < high), dtype=np.int64)

    def offsets(self, m: int, s: int) -> tuple[int, int]:
        """Smallest and largest o."""
        limit = (1 << OFFSET_BITS) - 1
        least, most = -limit, limit
        if self.reached.size:
            least = max(least, int((_threshold(self.reached_k, s) - m * self.reached).max()))
        if self.missed.size:
            most = min(most, int((_threshold(self.missed_k, s) - 1 - m * self.missed).min()))
        return least, most


def _threshold(k: np.ndarray, s: int) -> np.ndarray:
    """c_k: the smallest numerator that rounds to k or more."""
    return k if s == 0 else ((2 * k - 1) << (s - 1)) + (k & 1)


def _in_hardware_terms(multiplier: Fraction, offset: Fraction, total: int | None) -> tuple[Fraction, Fraction]:
    """Multiplier and offset for A = 2 * acc + S: acc * M + b = A * (M / 2) + (b - S * M / 2)."""
    return (multiplier, offset) if total is None else (multiplier / 2, offset - total * multiplier / 2)


def _candidates(slope: Fraction, start: Fraction) -> Iterator[tuple[int, int]]:
    """(m, s): exact if the slope is dyadic and short enough, then the most precise ones."""
    limit = 1 << MULTIPLIER_BITS
    exact = slope.denominator.bit_length() - 1
    if slope.denominator == 1 << exact and exact <= LARGEST_SHIFT and slope.numerator < limit:
        yield slope.numerator, exact
    s = _largest_shift(slope, start)
    below = slope.numerator * (1 << s) // slope.denominator
    for m in (below, below + 1, below - 1, below + 2):
        if 0 < m < limit:
            yield m, s


def _largest_shift(slope: Fraction, start: Fraction) -> int:
    """The largest s for which slope * 2^s and start * 2^s still have room."""
    s = LARGEST_SHIFT
    while s > 0 and (slope * (1 << s) > (1 << MULTIPLIER_BITS) - 1 or abs(start) * (1 << s) > (1 << OFFSET_BITS) - 1):
        s -= 1
    return s


def _check(low: int, high: int, acc_low: int, acc_high: int) -> None:
    require(low <= high, f"requantizer to [{low}, {high}]", "low must not exceed high")
    require(acc_low <= acc_high, f"accumulator in [{acc_low}, {acc_high}]", "low must not exceed high")
    require(acc_low >= -(1 << 35) and acc_high < 1 << 35, f"accumulator in [{acc_low}, {acc_high}]", "must fit 36 bits")

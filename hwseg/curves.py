"""Real functions of an integer, such as a sigmoid of an accumulator: their numbers, enclosed as closely as one likes.

A `Curve` is what a file says between two quantizers: rational arithmetic, exact, and a few functions whose numbers are
irrational.  `enclosed` gives two rationals between which a number lies; both are that number wherever it is rational by
construction (a sigmoid of 0 is 1/2).  Nothing else can be a tie of a rounding: exp, erf and the like are irrational at
every other rational.

Enclosures are wider than the number by 2**-150 of 1 or so, of which sixty digits of `decimal` are far below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from functools import cache, cached_property
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

Enclosure = tuple[Fraction, Fraction]
"""The number lies between them; both are it if they are equal."""

DIGITS = 60
_GRID = 1 << 170
_MARGIN = Fraction(1, 1 << 160)
_DECIMALS = Context(prec=DIGITS, Emin=-(10**9), Emax=10**9)
_FAR = 1000
"""Beyond it exp(-x) is below every margin."""


@dataclass(frozen=True)
class Curve:
    """kind: "x", the integer itself; "number", one for all channels or one for each; "sum" and "product" of two parts;
    "slope": of one part, times a number where it is below 0; "below": 0 where one part is above; "clip": between two
    numbers; or one of `FUNCTIONS`.
    """

    kind: str
    parts: tuple[Curve, ...] = ()
    numbers: tuple[Fraction, ...] = ()

    def __add__(self, other: Curve) -> Curve:
        return Curve("sum", (self, other))

    def __mul__(self, other: Curve) -> Curve:
        return Curve("product", (self, other))

    @cached_property
    def size(self) -> int:
        """Operations."""
        return 1 + sum(part.size for part in self.parts)

    @cached_property
    def channels(self) -> int:
        """How many channels have a function of their own; 1 if all have the same."""
        own = len(self.numbers) if self.kind in ("number", "slope") else 1
        return max(own, *(part.channels for part in self.parts), 1)

    def direction(self, channel: int) -> int | None:
        """1 where it never falls as x grows, -1 where it never rises, 0 of a constant, None where that is not known."""
        found = [part.direction(channel) for part in self.parts]
        if self.kind in ("x", "number"):
            return int(self.kind == "x")
        if None in found:
            return None
        if self.kind == "sum":
            return next(iter({d for d in found if d} or {0})) if len({d for d in found if d}) < 2 else None
        if self.kind == "product":
            for factor, other in (self.parts, self.parts[::-1]):
                if factor.kind == "number":
                    n = factor.number(channel)
                    return (other.direction(channel) or 0) * ((n > 0) - (n < 0))
            return None if any(found) else 0
        if self.kind == "slope" and self.number(channel) < 0:
            return None if found[0] else 0
        return found[0]

    def number(self, channel: int) -> Fraction:
        return self.numbers[channel % len(self.numbers)]


X = Curve("x")


def number(*values: Fraction | int) -> Curve:
    return Curve("number", (), tuple(Fraction(value) for value in values))


def enclosed(curve: Curve, x: int, channel: int = 0) -> Enclosure:
    """Two rationals with curve(x) between them."""
    if curve.kind == "x":
        return Fraction(x), Fraction(x)
    if curve.kind == "number":
        return curve.number(channel), curve.number(channel)
    parts = [enclosed(part, x, channel) for part in curve.parts]
    if curve.kind == "sum":
        return parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]
    if curve.kind == "product":
        ends = [a * b for a in parts[0] for b in parts[1]]
        return _coarser(min(ends), max(ends))
    low, high = parts[0]
    if curve.kind == "slope":
        slope = curve.number(channel)
        ends = [v if v >= 0 else v * slope for v in (low, high)]
        through = low < 0 < high
        return min([*ends, Fraction(0)] if through else ends), max(ends)
    if curve.kind == "below":
        return min(low, Fraction(0)), min(high, Fraction(0))
    if curve.kind == "clip":
        least, most = curve.numbers
        return min(max(low, least), most), min(max(high, least), most)
    function = FUNCTIONS[curve.kind]
    if low == high:
        return function.enclosed(low)
    return _coarser(function.enclosed(low)[0], function.enclosed(high)[1])


def approximate(curve: Curve, x: Any, channel: int = 0) -> Any:
    """The same in float64, of an integer or an array: a guess, and numbers for people."""
    if curve.kind == "x":
        return np.asarray(x, np.float64)
    if curve.kind == "number":
        return np.full(np.shape(x), float(curve.number(channel)))
    parts = [approximate(part, x, channel) for part in curve.parts]
    if curve.kind == "sum":
        return parts[0] + parts[1]
    if curve.kind == "product":
        return parts[0] * parts[1]
    if curve.kind == "slope":
        return np.where(parts[0] >= 0, parts[0], parts[0] * float(curve.number(channel)))
    if curve.kind == "below":
        return np.minimum(parts[0], 0)
    if curve.kind == "clip":
        return np.clip(parts[0], float(curve.numbers[0]), float(curve.numbers[1]))
    return FUNCTIONS[curve.kind].near(parts[0])


@dataclass(frozen=True)
class Staircase:
    """y = clamp(round_half_even(curve(x * unit) / scale), low, high): a function of an integer, also of each channel.

    Of more than `TABLE` integers it must be monotone.
    """

    curve: Curve
    scale: Fraction
    low: int
    high: int
    unit: int = 1

    TABLE: ClassVar[int] = 1024
    """Of so many integers every single one is looked at."""

    def __call__(self, x: int, channel: int = 0) -> int:
        """One result, by definition.  Raises ArithmeticError where a number is too near to a tie, but no tie."""
        ends = [end / self.scale for end in enclosed(self.curve, x * self.unit, channel)]
        low, high = (min(max(round(end), self.low), self.high) for end in ends)
        if low != high:
            raise ArithmeticError(f"{float(ends[0]):.17g} is too near to a tie")
        return low

    def changes(self, low: int, high: int, channel: int = 0) -> tuple[int, tuple[tuple[int, int], ...]]:
        """The result for x = low, and every x up to high at which it changes, with the result from there on."""
        return _changes(self, low, high, channel % self.curve.channels)


@cache
def _changes(f: Staircase, low: int, high: int, channel: int) -> tuple[int, tuple[tuple[int, int], ...]]:
    first = f(low, channel)
    if high - low >= f.TABLE:
        assert f.curve.direction(channel) is not None, "no table has so many entries"
        return first, tuple(_crossings(f, channel, (low, first), (high, f(high, channel))))
    table = [first, *(f(x, channel) for x in range(low + 1, high + 1))]
    pairs = enumerate(pairwise(table), low + 1)
    return first, tuple((x, after) for x, (before, after) in pairs if before != after)


def _crossings(f: Staircase, channel: int, a: tuple[int, int], b: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Where a monotone function changes between two integers, of which the results are known.

    float64 guesses the place halfway between both results; the integers on both sides of it are asked exactly.
    """
    if a[1] == b[1]:
        return
    if b[0] - a[0] == 1:
        yield b
        return
    middle = float(((a[1] + b[1]) // 2 + Fraction(1, 2)) * f.scale)
    low, high = a[0], b[0]
    while high - low > 1:
        x = (low + high) // 2
        beyond = float(approximate(f.curve, x * f.unit, channel)) > middle
        low, high = (low, x) if beyond == (b[1] > a[1]) else (x, high)
    if low == a[0] and high == b[0]:
        high = (low + high) // 2
    places = dict([a, b])
    for x in (low, high):
        places.setdefault(x, f(x, channel))
    known = sorted(places.items())
    for first, second in pairwise(known):
        yield from _crossings(f, channel, first, second)


@dataclass(frozen=True)
class Increasing:
    """A function that grows.  zero: its number at 0, if that is rational.  digits: its number at any other, as a
    Decimal that is off by less than the margin; below -1000 and above 1000 its limits, or None where it goes on as x.
    """

    zero: Fraction | None
    digits: Callable[[Decimal], Decimal]
    limits: tuple[int, int | None]
    near: Callable[[Any], Any]

    def enclosed(self, x: Fraction) -> Enclosure:
        if x == 0 and self.zero is not None:
            return self.zero, self.zero
        if abs(x) > _FAR:
            limit = self.limits[x > 0]
            found = x if limit is None else Fraction(limit)
            return found - _MARGIN, found + _MARGIN
        found = Fraction(self.digits(_DECIMALS.divide(Decimal(x.numerator), Decimal(x.denominator))))
        return _coarser(found - _MARGIN, found + _MARGIN)


def _coarser(low: Fraction, high: Fraction) -> Enclosure:
    """Short numbers around an enclosure; an exact one stays."""
    if low == high:
        return low, high
    return Fraction(math.floor(low * _GRID), _GRID), Fraction(math.ceil(high * _GRID), _GRID)


def _sigmoid(x: Decimal) -> Decimal:
    return _DECIMALS.divide(Decimal(1), _DECIMALS.add(Decimal(1), _DECIMALS.exp(x.copy_negate())))


def _tanh(x: Decimal) -> Decimal:
    return _DECIMALS.subtract(_DECIMALS.multiply(Decimal(2), _sigmoid(_DECIMALS.add(x, x))), Decimal(1))


def _expm1(x: Decimal) -> Decimal:
    return _DECIMALS.subtract(_DECIMALS.exp(x), Decimal(1))


def _softplus(x: Decimal) -> Decimal:
    """ln(1 + exp(x)) = max(x, 0) + ln(1 + exp(-|x|))."""
    rest = _DECIMALS.ln(_DECIMALS.add(Decimal(1), _DECIMALS.exp(x.copy_abs().copy_negate())))
    return _DECIMALS.add(max(x, Decimal(0)), rest)


_LONG = Context(prec=200, Emin=-(10**9), Emax=10**9)
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")
"""Eighty digits."""


def _erf(x: Decimal) -> Decimal:
    """2 / sqrt(pi) * sum of (-1)**n x**(2n + 1) / (n! (2n + 1)); terms are below 10**63 where |x| < 12."""
    if x.copy_abs() > 12:
        return Decimal(1).copy_sign(x)
    power = total = x
    square = _LONG.multiply(x, x).copy_negate()
    for n in range(1, 2000):
        power = _LONG.divide(_LONG.multiply(power, square), Decimal(n))
        term = _LONG.divide(power, Decimal(2 * n + 1))
        total = _LONG.add(total, term)
        if term.copy_abs() < Decimal("1e-60"):
            break
    return _LONG.divide(_LONG.multiply(Decimal(2), total), _LONG.sqrt(_PI))


def _normal(x: Decimal) -> Decimal:
    """The share of a normal distribution below x: (1 + erf(x / sqrt(2))) / 2."""
    return _LONG.divide(_LONG.add(Decimal(1), _erf(_LONG.divide(x, _LONG.sqrt(Decimal(2))))), Decimal(2))


_near_erf = np.frompyfunc(math.erf, 1, 1)


def _near_sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-np.clip(x, -_FAR / 2, _FAR / 2)))


FUNCTIONS: Mapping[str, Increasing] = {
    "sigmoid": Increasing(Fraction(1, 2), _sigmoid, (0, 1), _near_sigmoid),
    "tanh": Increasing(Fraction(0), _tanh, (-1, 1), np.tanh),
    "expm1": Increasing(Fraction(0), _expm1, (-1, None), lambda x: np.expm1(np.minimum(x, 0))),
    "erf": Increasing(Fraction(0), _erf, (-1, 1), lambda x: np.asarray(_near_erf(x), np.float64)),
    "normal": Increasing(
        Fraction(1, 2), _normal, (0, 1), lambda x: np.asarray(1 + _near_erf(x / math.sqrt(2)), np.float64) / 2
    ),
    "softplus": Increasing(None, _softplus, (0, None), lambda x: np.logaddexp(0, x)),
}
"""What is irrational at every rational but 0, expm1 of nothing above; a softplus there, too: it is ln 2."""

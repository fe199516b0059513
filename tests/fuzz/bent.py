"""Maps that a function has bent: exact numbers as far as they are rational, else a hundred digits of them.

They are functions of a map of exact numbers, computed for every number that occurs when a quantizer asks.  Nothing here
is shared with the package under test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import numpy as np

from tests.fuzz.exact import Exact, _stacked
from tests.fuzz.exact import padded as _padded

DIGITS = 110
Number = Fraction | Decimal
"""Exact, or irrational to `DIGITS` digits."""
Function = Callable[[int, Fraction], Number]
"""Of a channel and its number."""


@dataclass(frozen=True)
class Bent:
    """function(channel, number) of every number of `x`."""

    x: Exact
    function: Function

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.x.shape

    def then(self, function: Function) -> Bent:
        """A function of this one's numbers."""
        return Bent(self.x, lambda channel, number: function(channel, self.function(channel, number)))  # type: ignore[arg-type]

    def quantized(self, scale: Fraction, low: int, high: int) -> Exact:
        """The nearest multiple of a scale, ties to the even one."""
        planes = []
        for channel, (n, unit) in enumerate(zip(self.x.integers, self.x.units, strict=True)):
            found, places = np.unique(n, return_inverse=True)
            numbers = [nearest(self.function(channel, int(k) * unit), scale, low, high) for k in found]
            planes.append(np.array(numbers, np.int64)[places].reshape(n.shape))
        return Exact(np.stack(planes), (scale,) * len(planes))


def straight(x: Exact | Bent) -> Bent:
    """The same, as a function of itself."""
    return x if isinstance(x, Bent) else Bent(x, lambda channel, number: number)


def nearest(number: Number, scale: Fraction, low: int, high: int) -> int:
    if isinstance(number, Fraction):
        return min(max(round(number / scale), low), high)
    with localcontext() as context:
        context.prec = DIGITS
        steps = number * scale.denominator / scale.numerator
        if not low - 1 < steps < high + 1:
            return low if steps < 0 else high
        whole = steps.to_integral_value(ROUND_HALF_EVEN)
        assert abs(abs(steps - whole) - Decimal("0.5")) > Decimal("1e-60"), "a tie that is none"
        return min(max(int(whole), low), high)


def digits(number: Number) -> Decimal:
    if isinstance(number, Decimal):
        return number
    with localcontext() as context:
        context.prec = DIGITS
        return Decimal(number.numerator) / Decimal(number.denominator)


def plus(a: Number, b: Number) -> Number:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a + b
    with localcontext() as context:
        context.prec = DIGITS
        return digits(a) + digits(b)


def times(a: Number, b: Number) -> Number:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a * b
    with localcontext() as context:
        context.prec = DIGITS
        return digits(a) * digits(b)


def sigmoid(x: Number) -> Number:
    """exp(x) / (1 + exp(x)), and its mirror image above 0."""
    if x == 0:
        return Fraction(1, 2)
    with localcontext() as context:
        context.prec = DIGITS
        power = (-abs(digits(x))).exp()
        return power / (1 + power) if x < 0 else 1 / (1 + power)


def tanh(x: Number) -> Number:
    """(exp(2 x) - 1) / (exp(2 x) + 1)."""
    if x == 0:
        return Fraction(0)
    with localcontext() as context:
        context.prec = DIGITS
        power = (-2 * abs(digits(x))).exp()
        return ((1 - power) / (1 + power)).copy_sign(digits(x))


def expm1(x: Number) -> Number:
    if x == 0:
        return Fraction(0)
    with localcontext() as context:
        context.prec = DIGITS
        return digits(x).exp() - 1


def softplus(x: Number) -> Number:
    with localcontext() as context:
        context.prec = DIGITS
        return digits(x) + (1 + (-digits(x)).exp()).ln() if x > 0 else (1 + digits(x).exp()).ln()


def erf(x: Number) -> Number:
    """2 / sqrt(pi) * exp(-x**2) * sum of 2**n x**(2 n + 1) / (1 * 3 * ... * (2 n + 1)), of terms of one sign."""
    if x == 0:
        return Fraction(0)
    with localcontext() as context:
        context.prec = DIGITS
        y = digits(x)
        if abs(y) > 14:
            return (1 - Decimal("1e-80")).copy_sign(y)
        term = total = y
        n = 0
        while abs(term) > Decimal("1e-100"):
            n += 1
            term = term * 2 * y * y / (2 * n + 1)
            total += term
        return 2 / _pi().sqrt() * (-y * y).exp() * total


def over_root_2(x: Number) -> Number:
    if x == 0:
        return Fraction(0)
    with localcontext() as context:
        context.prec = DIGITS
        return digits(x) / Decimal(2).sqrt()


def root_2_over_pi() -> Decimal:
    with localcontext() as context:
        context.prec = DIGITS
        return (2 / _pi()).sqrt()


def _pi() -> Decimal:
    """Machin: 16 atan(1/5) - 4 atan(1/239)."""

    def atan(n: int) -> Decimal:
        total, power, k = Decimal(0), Decimal(1) / n, 0
        while abs(power) > Decimal("1e-115"):
            total, power, k = total + power / (2 * k + 1), -power / (n * n), k + 1
        return total

    return 16 * atan(5) - 4 * atan(239)


def padded(x: Bent, around: Sequence[Sequence[int]]) -> Bent:
    """Zeros around it: a number of their own, for the function of 0 need not be 0."""
    integers, units = x.x.in_one_unit()
    none = int(integers.min()) - 1
    outer = Exact(_padded(integers, around, none), (units,) * len(integers))
    return Bent(outer, lambda c, number: Fraction(0) if number == none * units else x.function(c, number))


def together(a: Bent, b: Bent, both: Callable[[Number, Number], Number]) -> Bent:
    """A sum or product, a function of the number of each pair that occurs."""
    planes, tables = [], []
    for channel in range(a.shape[0]):
        pairs = np.stack([x.x.integers[channel].reshape(-1) for x in (a, b)], axis=1)
        found = {pair: number for number, pair in enumerate(sorted(set(map(tuple, pairs.tolist()))))}
        planes.append(np.array([found[tuple(pair)] for pair in pairs.tolist()]).reshape(a.shape[1:]))
        units = a.x.units[channel], b.x.units[channel]
        tables.append([both(a.function(channel, n * units[0]), b.function(channel, m * units[1])) for n, m in found])
    x = Exact(np.stack(planes), (Fraction(1),) * len(planes))
    return Bent(x, lambda channel, number: tables[channel][int(number)])


def concatenated(maps: list[Exact | Bent]) -> Bent:
    """Bent ones among them."""
    bent = [straight(x) for x in maps]
    owner = [(x, channel) for x in bent for channel in range(x.shape[0])]
    x = Exact(_stacked([n for y in bent for n in y.x.integers]), tuple(unit for y in bent for unit in y.x.units))
    return Bent(x, lambda channel, number: owner[channel][0].function(owner[channel][1], number))

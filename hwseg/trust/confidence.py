"""From the integers that a network ends with to a byte of confidence for each pixel, by a table.

The mask's class of a pixel is right with probability p.  Its confidence is the logarithm of the odds, in sixteenths:

    byte = min(255, round(16 * |logit| / T))                p = 1 / (1 + exp(-byte / 16))

0 is a coin's toss, 16 are odds of 2.7 to 1, 35 are 9 to 1, 74 are 99 to 1, and 255 are 8 million to 1 or more.  T is
the temperature that was fitted: networks are surer than they should be.  Of one class the logit is that of the
foreground; of several, the margin between the best two (how much larger the class's value is than any other), T that of
the class.

One class.      The byte depends on the integer q alone.  Neighbouring integers share an entry of a table of at most
                4096, computed from the middle of each span as exact rationals:  table[(q >> shift) - low].
Several.        Values are brought to one scale in integers, w = m * q + b with 12 fractional bits where channels have
                scales of their own (none are needed where they share one):  table[class, (first - second) >> shift].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from fractions import Fraction
from math import ceil, floor, lcm

import numpy as np

from hwseg.errors import require

ENTRIES = 1 << 12
"""Of a table, at most, for each class."""
STEPS = 16
"""Bytes per unit of the logarithm of the odds."""
SURE = 255

FRACTION = 12
"""Bits behind the point, where channels have scales of their own."""
FAR = 1 << 50
"""What is further below the best offset never wins: sums are 32-bit integers."""
_LEAST, _MOST = -(1 << 31), (1 << 31) - 1


def _doubts() -> np.ndarray:
    """Decimal's exponential is correctly rounded, so these are the same integers everywhere."""
    with localcontext() as context:
        context.prec = 40
        odds = [(Decimal(byte) / STEPS).exp() for byte in range(SURE + 1)]
        return np.array([int((65536 / (1 + one)).to_integral_value()) for one in odds], np.uint16)


DOUBT = _doubts()
"""uint16: the probability of an error for each byte of confidence, in 65536ths: half for 0, none from 189 on."""


@dataclass(frozen=True)
class Confidence:
    """How a head's integers become bytes; `fit_table` makes it.

    multipliers, addends: of each channel, to one scale; of one channel none.  table: uint8, of one class after the
    other.  entries: of each.  shift, low: as the module says.
    """

    multipliers: tuple[int, ...]
    addends: tuple[int, ...]
    shift: int
    low: int
    entries: int
    table: np.ndarray = field(repr=False, compare=False)

    def map(self, sums: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """uint8 [H, W] for integers [H, W, C] and the mask [H, W] that they give."""
        if not self.multipliers:
            index = np.subtract(sums[:, :, 0] >> self.shift, self.low, dtype=np.intp)
            return np.asarray(self.table.take(index, mode="clip"))
        margin = self._margin(sums)
        margin >>= self.shift
        np.minimum(margin, self.entries - 1, out=margin)
        margin += np.multiply(mask, self.entries, dtype=np.int64)
        return np.asarray(self.table.take(margin))

    def _margin(self, sums: np.ndarray) -> np.ndarray:
        """How far the best channel is above the second, int64 [H, W]."""
        values = sums.transpose(2, 0, 1).astype(np.int64, order="C")
        for value, multiplier, addend in zip(values, self.multipliers, self.addends):  # noqa: B905
            if multiplier != 1:
                value *= multiplier
            if addend:
                value += addend
        first, second = values[0], values[1]
        if len(values) == 2:
            return np.asarray(np.abs(first - second))
        first, second = np.maximum(first, second), np.minimum(first, second)
        for value in values[2:]:
            np.maximum(second, np.minimum(first, value), out=second)
            np.maximum(first, value, out=first)
        return np.asarray(np.subtract(first, second, out=first))


def fit_table(
    temperatures: tuple[Fraction, ...], scale: tuple[Fraction, ...], offset: tuple[Fraction, ...]
) -> Confidence:
    """The table of a head whose channel c has the logit scale[c] * q + offset[c], less its threshold."""
    same = len(temperatures) == len(scale) == len(offset)
    require(same, "trust", f"is for a head of {len(temperatures)} channels, the network has {len(scale)}")
    return _one(temperatures[0], scale[0], offset[0]) if len(scale) == 1 else _several(temperatures, scale, offset)


def _one(temperature: Fraction, scale: Fraction, offset: Fraction) -> Confidence:
    far = _far(temperature)
    ends = sorted(((far - offset) / scale, (-far - offset) / scale)) if scale else [Fraction(0)] * 2
    first, last = (min(max(end, _LEAST), _MOST) for end in (floor(ends[0]), ceil(ends[1])))
    shift = 0
    while (last >> shift) - (first >> shift) + 3 > ENTRIES:
        shift += 1
    # A span more at both ends: what lies beyond them takes their bytes.
    low, high = (first >> shift) - 1, (last >> shift) + 1
    row = _bytes(scale, offset, temperature, shift, range(low, high + 1))
    return Confidence((), (), shift, low, len(row), np.array(row, np.uint8))


def _several(
    temperatures: tuple[Fraction, ...], scale: tuple[Fraction, ...], offset: tuple[Fraction, ...]
) -> Confidence:
    unit = max(map(abs, scale)) or Fraction(1)
    if len(set(scale)) > 1:
        unit /= 1 << FRACTION
    best = max(offset)
    multipliers = tuple(round(one / unit) for one in scale)
    addends = tuple(max(-FAR, round((one - best) / unit)) for one in offset)
    last = ceil(_far(max(temperatures)) / unit)
    shift = 0
    while (last >> shift) + 2 > ENTRIES:
        shift += 1
    entries = (last >> shift) + 2
    rows = [_bytes(unit, Fraction(0), one, shift, range(entries)) for one in temperatures]
    return Confidence(multipliers, addends, shift, 0, entries, np.array(rows, np.uint8).reshape(-1))


def _far(temperature: Fraction) -> Fraction:
    """From which logit on a pixel is sure."""
    return temperature * Fraction(2 * SURE + 1, 2 * STEPS)


def _bytes(slope: Fraction, offset: Fraction, temperature: Fraction, shift: int, spans: range) -> list[int]:
    """The byte of the middle of each span of 2**shift integers, whose logit is slope * q + offset."""
    ratio = 2 * STEPS / temperature  # in whole numbers from here on: a processor on a board is slow at fractions
    bottom = lcm(slope.denominator, offset.denominator) * ratio.denominator
    rise, start = int(slope * ratio * bottom), int(2 * offset * ratio * bottom)
    middles = ((k << shift + 1) + (1 << shift) - 1 for k in spans)  # twice the middle
    return [min(SURE, (abs(rise * q + start) // bottom + 2) // 4) for q in middles]

"""Maps of exact numbers: integers [channel, row, column] times a rational unit per channel.

Every operation is whole-number arithmetic.  NumPy's 64-bit integers are used only where a bound says that nothing can
overflow, Python's integers in an object array otherwise.  Nothing here is shared with the package under test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd

import numpy as np

ROOM = 1 << 61
"""What must bound every intermediate number before 64-bit integers are used."""


@dataclass(frozen=True)
class Exact:
    """value[c, y, x] = integers[c, y, x] * units[c], every unit positive."""

    integers: np.ndarray
    units: tuple[Fraction, ...]

    def __post_init__(self) -> None:
        assert self.integers.ndim == 3, self.integers.shape
        assert len(self.units) == len(self.integers), (len(self.units), self.integers.shape)
        assert all(unit > 0 for unit in self.units), self.units

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, rows, columns."""
        channels, rows, columns = self.integers.shape
        return channels, rows, columns

    def value(self, channel: int, row: int, column: int) -> Fraction:
        """One number."""
        return int(self.integers[channel, row, column]) * self.units[channel]

    def in_one_unit(self) -> tuple[np.ndarray, Fraction]:
        """The integers of all channels in the largest unit that divides every channel's."""
        unit = common(self.units)
        return _stacked([times(n, int(u / unit)) for n, u in zip(self.integers, self.units, strict=True)]), unit


def largest(n: np.ndarray) -> int:
    """The largest magnitude."""
    return max(abs(int(n.max())), abs(int(n.min()))) if n.size else 0


def times(n: np.ndarray, factor: int) -> np.ndarray:
    """n * factor without overflow."""
    if n.dtype != object and max(largest(n), 1) * abs(factor) < ROOM:
        return np.asarray(n * np.int64(factor))
    return np.asarray(n.astype(object) * factor)


def plus(n: np.ndarray, m: np.ndarray | int) -> np.ndarray:
    """n + m without overflow."""
    bound = largest(n) + (abs(m) if isinstance(m, int) else largest(m))
    if bound < ROOM and n.dtype != object and (isinstance(m, int) or m.dtype != object):
        return np.asarray(n + m)
    return np.asarray(n.astype(object) + (m if isinstance(m, int) else m.astype(object)))


def common(numbers: Sequence[Fraction]) -> Fraction:
    """The largest positive rational of which all numbers are whole multiples; 1 if all are 0."""
    found = Fraction(0)
    for number in numbers:
        a, b = found, abs(number)
        found = Fraction(gcd(a.numerator * b.denominator, b.numerator * a.denominator), a.denominator * b.denominator)
    return found or Fraction(1)


def rounded_quotient(n: np.ndarray, p: int, q: int) -> np.ndarray:
    """n * p / q rounded to the nearest integer, ties to the even one; q > 0."""
    if n.dtype != object and (max(largest(n), 1) * abs(p) >= ROOM or q >= ROOM):
        n = n.astype(object)
    product = n * p
    whole = product // q
    twice = 2 * (product - whole * q)
    return np.asarray(whole + ((twice > q) | ((twice == q) & (whole % 2 == 1))))


def affine(x: Exact, factors: Sequence[Fraction], addends: Sequence[Fraction]) -> Exact:
    """factors[c] * x[c] + addends[c]."""
    maps, units = [], []
    for n, unit, factor, addend in zip(x.integers, x.units, factors, addends, strict=True):
        step = unit * factor
        new = common((step, addend))
        maps.append(plus(times(n, int(step / new)), int(addend / new)))
        units.append(new)
    return Exact(_stacked(maps), tuple(units))


def scaled(n: np.ndarray, factors: Sequence[Fraction]) -> Exact:
    """Integers [channel, row, column] times a number per channel."""
    if all(factor > 0 for factor in factors):
        return Exact(n, tuple(factors))
    return affine(Exact(n, (Fraction(1),) * len(n)), factors, [Fraction(0)] * len(n))


def added(a: Exact, b: Exact) -> Exact:
    """a + b, channel by channel."""
    maps, units = [], []
    for n, m, u, v in zip(a.integers, b.integers, a.units, b.units, strict=True):
        unit = common((u, v))
        maps.append(plus(times(n, int(u / unit)), times(m, int(v / unit))))
        units.append(unit)
    return Exact(_stacked(maps), tuple(units))


def multiplied(a: Exact, b: Exact) -> Exact:
    """a * b, channel by channel; one of them may have one channel for all of the other."""
    maps, units = [], []
    for channel in range(max(len(a.integers), len(b.integers))):
        (n, u), (m, v) = ((x.integers[channel % len(x.integers)], x.units[channel % len(x.integers)]) for x in (a, b))
        small = max(largest(n), 1) * max(largest(m), 1) < ROOM
        maps.append(n * m if small else n.astype(object) * m)
        units.append(u * v)
    return Exact(_stacked(maps), tuple(units))


def relu(x: Exact, slopes: Sequence[Fraction] = (Fraction(0),)) -> Exact:
    """x where it is above 0, slopes[c] * x elsewhere."""
    maps, units = [], []
    for channel, (n, unit) in enumerate(zip(x.integers, x.units, strict=True)):
        slope = slopes[channel % len(slopes)]
        below, above = n * (n < 0), n * (n > 0)
        maps.append(plus(times(above, slope.denominator), times(below, slope.numerator)))
        units.append(unit / slope.denominator)
    return Exact(_stacked(maps), tuple(units))


def clipped(x: Exact, ends: tuple[Fraction, Fraction]) -> Exact:
    """x within two numbers."""
    maps, units = [], []
    for n, unit in zip(x.integers, x.units, strict=True):
        finer = common((unit, *(abs(end) for end in ends if end)))
        low, high = (int(end / finer) for end in ends)
        maps.append(np.minimum(np.maximum(times(n, int(unit / finer)).astype(object), low), high))
        units.append(finer)
    return Exact(_stacked(maps), tuple(units))


def concatenated(maps: Sequence[Exact]) -> Exact:
    return Exact(_stacked([n for x in maps for n in x.integers]), tuple(u for x in maps for u in x.units))


def padded(n: np.ndarray, around: Sequence[Sequence[int]], number: int) -> np.ndarray:
    """A number before and behind each axis; NumPy's own would put integers of 64 bits among Python's."""
    sizes = [before + size + behind for size, (before, behind) in zip(n.shape, around, strict=True)]
    found = np.full(sizes, number, n.dtype)
    found[tuple(slice(before, before + size) for size, (before, _) in zip(n.shape, around, strict=True))] = n
    return found


def quantized(x: Exact, scales: Sequence[Fraction], low: int, high: int) -> Exact:
    """Integers in [low, high]: the nearest to x / scale, ties to the even one, saturated."""
    maps = []
    for n, unit, scale in zip(x.integers, x.units, scales, strict=True):
        ratio = unit / scale
        found = rounded_quotient(n, ratio.numerator, ratio.denominator)
        maps.append(np.minimum(np.maximum(found, low), high).astype(np.int64))
    return Exact(np.stack(maps), tuple(scales))


def pooled(
    x: Exact, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], extra: Sequence[int] = (0, 0)
) -> Exact:
    """The maximum of every window; what lies outside (`pads`: top, left, bottom, right) never counts.

    extra: rows and columns below and to the right that `ceil_mode` adds.
    """
    _, rows, columns = x.shape
    count = [
        (size + before + after + more - k) // s + 1
        for size, before, after, more, k, s in zip(
            (rows, columns), pads[:2], pads[2:], extra, kernel, strides, strict=True
        )
    ]
    best: np.ndarray | None = None
    lowest = -largest(x.integers) - 1
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            y = np.arange(count[0]) * strides[0] + ky - pads[0]
            z = np.arange(count[1]) * strides[1] + kx - pads[1]
            inside = ((y >= 0) & (y < rows))[:, None] & ((z >= 0) & (z < columns))
            seen = x.integers[:, np.clip(y, 0, rows - 1)][:, :, np.clip(z, 0, columns - 1)]
            seen = np.where(inside, seen, lowest)
            best = seen if best is None else np.maximum(best, seen)
    assert best is not None
    return Exact(best, x.units)


def gathered(x: Exact, rows: np.ndarray, columns: np.ndarray) -> Exact:
    """The pixels at some rows and columns."""
    return Exact(x.integers[:, rows][:, :, columns], x.units)


def multiply_accumulate(
    x: Exact, weights: np.ndarray, strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int], groups: int
) -> tuple[np.ndarray, Fraction]:
    """ONNX's Conv on integers: sums [out, rows, columns] and the unit of x; weights [out, in / groups, ky, kx]."""
    n, unit = x.in_one_unit()
    outs, ins, height, width = weights.shape
    reach = int(np.abs(weights).reshape(outs, -1).sum(1).max()) * largest(n) if weights.size else 0
    kind = np.int64 if reach < ROOM and n.dtype != object else object
    # NumPy pads arrays of Python's integers with its own, which overflow.
    padded = np.zeros((len(n), n.shape[1] + pads[0] + pads[2], n.shape[2] + pads[1] + pads[3]), kind)
    padded[:, pads[0] : pads[0] + n.shape[1], pads[1] : pads[1] + n.shape[2]] = n
    count = [
        (size - dilation * (k - 1) - 1) // stride + 1
        for size, dilation, k, stride in zip(padded.shape[1:], dilations, (height, width), strides, strict=True)
    ]
    sums = np.zeros((outs, *count), kind)
    per = outs // groups
    for g in range(groups):
        block = padded[g * ins : (g + 1) * ins]
        for ky in range(height):
            for kx in range(width):
                top, left = ky * dilations[0], kx * dilations[1]
                seen = block[:, top : top + strides[0] * count[0] : strides[0]]
                seen = seen[:, : count[0], left : left + strides[1] * count[1] : strides[1]][:, :, : count[1]]
                part = weights[g * per : (g + 1) * per, :, ky, kx].astype(kind)
                sums[g * per : (g + 1) * per] += np.tensordot(part, seen, 1)
    return sums, unit


def apart(weights: np.ndarray, groups: int) -> np.ndarray:
    """[in, out / groups, ky, kx] as [in, out, ky, kx], 0 between channels of different groups."""
    (ins, outs), each = weights.shape[:2], len(weights) // groups
    found = np.zeros((ins, outs * groups, *weights.shape[2:]), weights.dtype)
    for g in range(groups):
        rows = slice(g * each, (g + 1) * each)
        found[rows, g * outs : (g + 1) * outs] = weights[rows]
    return found


def multiply_scatter(
    x: Exact, weights: np.ndarray, strides: Sequence[int], pads: Sequence[int], output_padding: Sequence[int]
) -> tuple[np.ndarray, Fraction]:
    """ONNX's ConvTranspose on integers; weights [in, out, ky, kx], one group."""
    n, unit = x.in_one_unit()
    _, outs, height, width = weights.shape
    reach = int(np.abs(weights).sum(axis=(0, 2, 3)).max()) * largest(n) if weights.size else 0
    kind = np.int64 if reach < ROOM and n.dtype != object else object
    whole = [
        (size - 1) * stride + k + more
        for size, stride, k, more in zip(n.shape[1:], strides, (height, width), output_padding, strict=True)
    ]
    sums = np.zeros((outs, *whole), kind)
    for ky in range(height):
        for kx in range(width):
            part = np.tensordot(weights[:, :, ky, kx].T.astype(kind), n.astype(kind), 1)
            rows = slice(ky, ky + strides[0] * n.shape[1], strides[0])
            sums[:, rows, kx : kx + strides[1] * n.shape[2] : strides[1]] += part
    return sums[:, pads[0] : whole[0] - pads[2], pads[1] : whole[1] - pads[3]], unit


def _stacked(maps: Sequence[np.ndarray]) -> np.ndarray:
    wide = any(n.dtype == object for n in maps)
    found = np.stack([n.astype(object) for n in maps] if wide else list(maps))
    return found.astype(np.int64) if wide and largest(found) < ROOM else found

"""What a layer computes: each operation is one loop nest, and shape, cost, halo and result all follow from it.

An operation is a frozen dataclass.  `shape` and `interval` say what its result is from what its inputs are (a
convolution's interval is that of its weights: `hwseg.ir.accumulator_interval`), `macs` what it costs.  `loops` gives a
`hwseg.nests.LoopNest`.  Tensors are indexed [row, column, channel]; convolution weights [output
channel, input channel, kernel row, kernel column] as in ONNX.  Reads outside the input give the integer 0 (zero point
0).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from math import lcm
from typing import ClassVar

from hwseg.curves import Staircase
from hwseg.nests import AffineIndex, Body, LoopNest, unit

Shape = tuple[int, int, int]
"""(height, width, channels)."""

Interval = tuple[int, int]
"""Smallest and largest value of a tensor."""


def with_zero(low: int, high: int) -> Interval:
    """The interval of what is rounded: beyond a map's edge lies 0, even where a Clip keeps its numbers above it."""
    return min(low, 0), max(high, 0)


@dataclass(frozen=True)
class Conv2d:
    """y[oy, ox, oc] = sum over ky, kx, ic of x[oy*s + ky - p, ox*s + kx - p, ic] * w[oc, ic, ky, kx].

    groups: channels fall into so many; weights between different ones are 0, and are not counted.  extra: so many of
    the input's channels are not the model's (`hwseg.quant.read.wide`), and are not counted.  taps: of a kernel that the
    model has smaller, moved or with gaps, so many are counted; 0: all.
    """

    kernel: int
    out_channels: int
    stride: int = 1
    groups: int = 1
    extra: int = 0
    taps: int = 0

    @property
    def padding(self) -> int:
        return self.kernel // 2

    @property
    def fold(self) -> int:
        """What must divide the map's height and width: so many rows of it lie in 3x3 neighbouring pixels' windows."""
        folds = {(5, 1): 2, (5, 2): 2, (7, 1): 4, (7, 2): 4, (9, 1): 4}
        return folds.get((self.kernel, self.stride), 1)

    def shape(self, x: Shape) -> Shape:
        k, s, p = self.kernel, self.stride, self.padding
        return (x[0] + 2 * p - k) // s + 1, (x[1] + 2 * p - k) // s + 1, self.out_channels

    def macs(self, x: Shape) -> int:
        found = self.loops((*x[:2], x[2] - self.extra)).macs // self.groups
        return found * self.taps // self.kernel**2 if self.taps else found

    def loops(self, x: Shape) -> LoopNest:
        k, s, p = self.kernel, self.stride, self.padding
        rows = AffineIndex((s, 0, 0, 1, 0, 0), -p)
        columns = AffineIndex((0, s, 0, 0, 1, 0), -p)
        return LoopNest(
            parallel=self.shape(x),
            reduction=(k, k, x[2]),
            reads=((rows, columns, unit(5, 6)), (unit(2, 6), unit(5, 6), unit(3, 6), unit(4, 6))),
            write=(unit(0, 6), unit(1, 6), unit(2, 6)),
            body=Body.MULTIPLY_ADD,
        )


@dataclass(frozen=True)
class ConvTranspose2d:
    """Transposed convolution, stride 2, to twice the size: each x[iy, ix, ic] * w[oc, ic, a, b] is added to
    y[2*iy + a - p, 2*ix + b - p, oc], and what falls outside is left out.

    Four phases r, s of the result: y[2*j + r, 2*i + s] reads taps a = 2*t + r of even p, 2*t + 1 - r of odd p, each at
    pixel (2*j + r + p - a) / 2.  So of a 2x2 kernel no two products meet in one output except along ic: it is four 1x1
    convolutions with a strided write.  Taps beyond an odd kernel read the weight 0, and are not counted.
    """

    out_channels: int
    kernel: int = 2
    padding: int = 0
    """Before the first row and column of the result; behind the last ones is what makes it twice as large."""
    extra: int = 0
    """As of `Conv2d`."""
    groups: int = 1
    """As of `Conv2d`."""

    def shape(self, x: Shape) -> Shape:
        return 2 * x[0], 2 * x[1], self.out_channels

    def taps(self, row: int, column: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """Of phase (row, column): the pixel that is read, from pixel (j, i) on, and the place in the kernel."""
        nest = self.loops((1, 1, 1))
        for ty, tx in product(*map(range, nest.reduction[:2])):
            at = (0, 0, row, column, 0, ty, tx, 0)
            y, x, a, b = (index(*at) for index in (*nest.reads[0][:2], *nest.reads[1][2:]))
            if a < self.kernel and b < self.kernel:
                yield (y, x), (a, b)

    @property
    def near(self) -> bool:
        """Whether each pixel of the result comes from the 3x3 neighbours of one."""
        return all(abs(y) <= 1 and abs(x) <= 1 for r, s in product((0, 1), repeat=2) for (y, x), _ in self.taps(r, s))

    def macs(self, x: Shape) -> int:
        return x[0] * x[1] * (x[2] - self.extra) * self.out_channels * self.kernel**2 // self.groups

    def loops(self, x: Shape) -> LoopNest:
        (half, odd), taps = divmod(self.padding, 2), -(-self.kernel // 2)
        rows, columns = AffineIndex((1, 0, odd, 0, 0, -1, 0, 0), half), AffineIndex((0, 1, 0, odd, 0, 0, -1, 0), half)
        down = AffineIndex((0, 0, 1 - 2 * odd, 0, 0, 2, 0, 0), odd)
        across = AffineIndex((0, 0, 0, 1 - 2 * odd, 0, 0, 2, 0), odd)
        return LoopNest(
            parallel=(x[0], x[1], 2, 2, self.out_channels),
            reduction=(taps, taps, x[2]),
            reads=((rows, columns, unit(7, 8)), (unit(4, 8), unit(7, 8), down, across)),
            write=(AffineIndex((2, 0, 1, 0, 0, 0, 0, 0)), AffineIndex((0, 2, 0, 1, 0, 0, 0, 0)), unit(4, 8)),
            body=Body.MULTIPLY_ADD,
        )


@dataclass(frozen=True)
class MaxPool2d:
    """y[oy, ox, c] = max over k x k of x[2*oy + ky - p, 2*ox + kx - p, c]; what lies outside never counts."""

    kernel: int = 2

    @property
    def padding(self) -> int:
        return (self.kernel - 1) // 2

    def shape(self, x: Shape) -> Shape:
        return x[0] // 2, x[1] // 2, x[2]

    def interval(self, x: Interval) -> Interval:
        return x

    def loops(self, x: Shape) -> LoopNest:
        k, p = self.kernel, self.padding
        window = (AffineIndex((2, 0, 0, 1, 0), -p), AffineIndex((0, 2, 0, 0, 1), -p), unit(2, 5))
        return LoopNest(self.shape(x), (k, k), (window,), tuple(unit(i, 5) for i in range(3)), Body.MAXIMUM)


@dataclass(frozen=True)
class AveragePool2d:
    """y[oy, ox, c] = sum over 2x2 of x[2*oy + ky, 2*ox + kx, c], in quarters."""

    unit: ClassVar[int] = 4
    """What a sum is to be divided by."""

    def shape(self, x: Shape) -> Shape:
        return x[0] // 2, x[1] // 2, x[2]

    def interval(self, x: Interval) -> Interval:
        return self.unit * x[0], self.unit * x[1]

    def loops(self, x: Shape) -> LoopNest:
        return replace(MaxPool2d().loops(x), body=Body.SUM)


@dataclass(frozen=True)
class Upsample2d:
    """Nearest neighbour: y[oy, ox, c] = x[oy // 2, ox // 2, c]."""

    def shape(self, x: Shape) -> Shape:
        return 2 * x[0], 2 * x[1], x[2]

    def interval(self, x: Interval) -> Interval:
        return x

    def loops(self, x: Shape) -> LoopNest:
        source = (AffineIndex((1, 0, 0), 0, 2), AffineIndex((0, 1, 0), 0, 2), unit(2, 3))
        return LoopNest(self.shape(x), (), (source,), tuple(unit(i, 3) for i in range(3)), Body.COPY)


@dataclass(frozen=True)
class Bilinear2d:
    """Bilinear enlarging by 2, pixel centres at halves, in sixteenths: 9a + 3b + 3c + d of the four nearest pixels.

    y[oy, ox, c] = sum over ky, kx of w[ky] * w[kx] * x[(oy + ky - 1) // 2, (ox + kx - 1) // 2, c] with w = (1, 2, 1):
    the nearest neighbour's map, smoothed.  Outside is the pixel at the edge, not 0.
    """

    weights: ClassVar[tuple[int, int, int]] = (1, 2, 1)
    unit: ClassVar[int] = 16
    """What a sum is to be divided by."""

    def shape(self, x: Shape) -> Shape:
        return 2 * x[0], 2 * x[1], x[2]

    def interval(self, x: Interval) -> Interval:
        return self.unit * x[0], self.unit * x[1]

    def loops(self, x: Shape) -> LoopNest:
        rows, columns = AffineIndex((1, 0, 0, 1, 0), -1, 2), AffineIndex((0, 1, 0, 0, 1), -1, 2)
        reads = ((rows, columns, unit(2, 5)), (unit(3, 5), unit(4, 5)))
        return LoopNest(self.shape(x), (3, 3), reads, tuple(unit(i, 5) for i in range(3)), Body.MULTIPLY_ADD)


@dataclass(frozen=True)
class Concat:
    """Channels of all inputs, one after the other; no data moves in hardware."""

    def shape(self, *x: Shape) -> Shape:
        return x[0][0], x[0][1], sum(s[2] for s in x)

    def interval(self, *x: Interval) -> Interval:
        return min(low for low, _ in x), max(high for _, high in x)


@dataclass(frozen=True)
class Requantize:
    """y = clamp(round_half_even(acc * multiplier[c] + offset[c]), low, high), exact rationals per output channel.

    Length 1 means the same for every channel.  ReLU is `low` = 0.
    """

    multiplier: tuple[Fraction, ...]
    offset: tuple[Fraction, ...]
    low: int
    high: int

    slope: ClassVar[tuple[Fraction, ...]] = (Fraction(1),)
    """Of numbers below 0: see `PRelu`."""

    def shape(self, x: Shape) -> Shape:
        return x

    def interval(self, _x: Interval) -> Interval:
        return with_zero(self.low, self.high)

    def __call__(self, acc: int, channel: int = 0) -> int:
        """One output, by definition; Python rounds a Fraction half to even."""
        y = round(acc * _channel(self.multiplier, channel) + _channel(self.offset, channel))
        return min(max(y, self.low), self.high)

    def steps(self, channel: int = 0) -> tuple[int, ...]:
        """For every k in low+1..high the smallest `sign * acc` with y >= k, where sign is that of the multiplier.

        y is monotone in acc, so these steps are the whole function: y = low + the number of steps <= sign * acc.  A
        multiplier of 0 has steps that no 32-bit accumulator reaches, or that every one has passed.  With acc * m + b =
        (acc * p + r) / d, y >= k exactly if 2 * (acc * p + r) >= (2 * k - 1) * d; equality is a tie: rounds to even k.
        """
        m, b = _channel(self.multiplier, channel), _channel(self.offset, channel)
        d = lcm(m.denominator, b.denominator)
        p, r = abs(m.numerator) * (d // m.denominator), b.numerator * (d // b.denominator)
        numerators = ((2 * k - 1) * d - 2 * r + (k & 1) for k in range(self.low + 1, self.high + 1))
        if p == 0:
            return tuple(-(1 << 32) if n <= 0 else 1 << 32 for n in numerators)
        return tuple(-(-n // (2 * p)) for n in numerators)


@dataclass(frozen=True)
class PRelu:
    """y = clamp(round_half_even(v if v >= 0 else slope[c] * v), low, high) with v = acc * multiplier[c] + offset[c].

    Exact rationals; length 1 means the same for every channel.  A slope may be anything, below 0 and above 1 too.
    """

    multiplier: tuple[Fraction, ...]
    offset: tuple[Fraction, ...]
    slope: tuple[Fraction, ...]
    low: int
    high: int

    def shape(self, x: Shape) -> Shape:
        return x

    def interval(self, _x: Interval) -> Interval:
        return with_zero(self.low if max(self.slope) > 0 else 0, self.high)

    @property
    def above(self) -> Requantize:
        """What y is where v >= 0."""
        return Requantize(self.multiplier, self.offset, self.low, self.high)

    def below(self, slopes: tuple[Fraction, ...]) -> Requantize:
        """y = clamp(round(slopes[c] * v), low, high) in place of both."""
        count = max(len(slopes), len(self.multiplier), len(self.offset))
        factors, addends = (
            tuple(_channel(slopes, c) * _channel(values, c) for c in range(count))
            for values in (self.multiplier, self.offset)
        )
        return replace(self.above, multiplier=factors, offset=addends)

    def __call__(self, acc: int, channel: int = 0) -> int:
        """One output, by definition."""
        v = acc * _channel(self.multiplier, channel) + _channel(self.offset, channel)
        return min(max(round(v if v >= 0 else v * _channel(self.slope, channel)), self.low), self.high)


@dataclass(frozen=True)
class Add:
    """y = clamp(round_half_even(v if v >= 0 else slope * v), low, high) with v = m1 * a + m2 * b + c: residual
    addition, both operands at most 8 bits.
    """

    multipliers: tuple[Fraction, Fraction]
    offset: Fraction
    low: int
    high: int
    slope: Fraction = Fraction(1)

    def shape(self, a: Shape, b: Shape) -> Shape:
        return a

    def interval(self, _a: Interval, _b: Interval) -> Interval:
        return with_zero(self.low, self.high)

    def __call__(self, a: int, b: int) -> int:
        """One output, by definition."""
        v = self.multipliers[0] * a + self.multipliers[1] * b + self.offset
        return min(max(round(v if v >= 0 else v * self.slope), self.low), self.high)


@dataclass(frozen=True)
class Function(Staircase):
    """y = clamp(round_half_even(curve(x * unit) / scale), low, high): a function of every integer, perhaps another one
    in every channel.

    Of more than `TABLE` integers it must be monotone.
    """

    def shape(self, x: Shape) -> Shape:
        return x

    def interval(self, _x: Interval) -> Interval:
        return with_zero(self.low, self.high)


@dataclass(frozen=True)
class Product:
    """z = x * g, number by number; g has as many channels as x, or one for all of them."""

    def shape(self, x: Shape, g: Shape) -> Shape:
        return x

    def interval(self, x: Interval, g: Interval) -> Interval:
        ends = [a * b for a in x for b in g]
        return min(ends), max(ends)


Op = (
    Conv2d | ConvTranspose2d | Bilinear2d | MaxPool2d | AveragePool2d | Upsample2d | Concat | Requantize | PRelu
    | Function | Add | Product
)  # fmt: skip
WEIGHTED = (Conv2d, ConvTranspose2d)
"""Operations with weights of their own: their multiplications are what is counted as MACs."""

SUMS = (Conv2d, ConvTranspose2d, Bilinear2d, AveragePool2d, Product)
"""Operations whose results wait for a requantizer."""

ROUNDING = (Requantize, PRelu, Function, Add)
"""Operations that round to a word of their own; all but these and `SUMS` only move values."""


def _channel(values: tuple[Fraction, ...], channel: int) -> Fraction:
    return values[channel if len(values) > 1 else 0]


def shape(op: Op, inputs: Sequence[Shape]) -> Shape:
    """(height, width, channels) of the result."""
    return op.shape(*inputs)


def macs(op: Op, inputs: Sequence[Shape]) -> int:
    """Multiply-accumulates with weights that the operation has; zeros that the engine multiplies are none."""
    return op.macs(inputs[0]) if isinstance(op, Conv2d | ConvTranspose2d) else 0

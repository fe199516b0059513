"""What happens to every number by itself: quantizers, batch normalization, constants, ReLU, and nothing at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import log2
from typing import ClassVar

import numpy as np

from tests.fuzz.net import Map, Net, Part, build_check
from tests.fuzz.pen import LARGEST, SMALLEST, Pen, Sketch
from tests.fuzz.recipe import Step, cycled, limits


@dataclass(frozen=True)
class Quantize(Step):
    """A quantizer of activations."""

    weight: ClassVar[float] = 3.0
    scale: float = 1.0
    bits: int = 8
    signed: bool = False
    narrow: bool = False
    style: int = 0

    @classmethod
    def accepts(cls, x: Map) -> bool:
        return not x.final

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int) -> Quantize:
        x = sketch.maps[at]
        bits = pen.weighted({8: 5.0, 7: 0.6, 6: 0.6, 5: 0.8, 4: 2.0, 3: 0.8, 2: 0.8, 1: 0.5})
        signed = bits > 1 and pen.chance(0.5 if x.low < 0 and (x.parts[0].leaky or not x.parts[0].relu) else 0.15)
        narrow = pen.chance(0.25) and bits > 1
        fitting = x.spread * 2.0 ** (2 - bits)
        known = [scale for scale in sketch.scales() if 0.2 < scale / fitting < 5]
        kind = pen.weighted({"power": 4.0, "float": 1.5, "known": 3.0 if known else 0.0, "ties": 0.5, "same": 0.4})
        if kind == "known":
            scale = pen.choice(known)
        elif kind == "ties":
            scale = float(np.float32(x.grain)) * pen.integer(2, 12)
        elif kind == "same" and x.scale is not None:
            scale = float(x.scale)
        else:
            scale = pen.power_of_two(fitting) if kind == "power" else pen.float32(fitting, 1)
        return cls((at,), min(max(scale, SMALLEST), LARGEST), bits, signed, narrow, pen.integer(0, 15))

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        build_check(not x.final, "after the end")
        low, high = limits(self.bits, self.signed, self.narrow)
        scale = Fraction(float(np.float32(self.scale)))
        build_check(scale > 0, "no scale")
        parts = []
        for part in x.parts:
            same = part.scale == scale and low <= part.low and part.high <= high
            positive = (part.relu and not part.leaky) or (part.clipped and part.low >= 0)
            bounds = (part.low, part.high) if same else (max(low, 0) if positive else low, high)
            # rounding may leave nothing but the ends of the range
            parts.append(Part(part.channels, *bounds, scale, float(scale) * max(-low, high) / 2, float(scale)))
        name = net.quant(x.name, self.scale, self.bits, self.signed, self.narrow, self.style)
        return Map(name, *_size(x), (*parts,), around=x.around)


@dataclass(frozen=True)
class Affine(Step):
    """x + c, x - c, c - x, x * c, x / c.  op: of ONNX.  first: the constant stands first.  quantized: it has a
    quantizer.
    """

    weight: ClassVar[float] = 1.2
    op: str = "Add"
    values: tuple[float, ...] = (0.0,)
    first: bool = False
    quantized: bool = False

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int, op: str = "", first: bool | None = None) -> Affine:
        x = sketch.maps[at]
        op = op or pen.choice(("Add", "Sub", "Mul", "Div"))
        if first is None:
            first = pen.chance(0.3) and (op in ("Add", "Mul") or (op == "Sub" and not is_monotone(x)))
        count = 1 if alike(x) else x.channels
        neutral = pen.settled or pen.chance(0.15) or (op in ("Add", "Sub") and waits_behind_relu(x))
        if neutral:
            values: tuple[float, ...] = (0.0,) if op in ("Add", "Sub") else (1.0,)
        elif op in ("Add", "Sub"):
            values = pen.values(count, -x.spread, x.spread)
            if pen.chance(0.3):
                step = pen.power_of_two(x.spread / 8)
                values = tuple(step * pen.integer(-8, 8) + step / 2 for _ in values)
        else:
            signs = (1,) if is_monotone(x) else (1, 1, 1, -1)
            zero = op == "Mul" and pen.chance(0.15)
            power = pen.chance(0.5)
            values = tuple(
                pen.choice(signs) * (2.0 ** pen.integer(-6, 3) if power else pen.float32(1.0, 3))
                for _ in range(1 if pen.chance(0.4) else count)
            )
            values = (0.0, *values[1:]) if zero else values
        return cls((at,), op, values, first, not neutral and op != "Div" and pen.chance(0.1))

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        values = np.array(cycled(self.values, x.channels) if len(self.values) > 1 else self.values, np.float32)
        build_check(self.op != "Div" or bool(values.all()), "division by 0")
        shape = (values.size, 1, 1) if values.size > 1 or len(self.values) > 1 else ()
        name = net.const(values.reshape((1, *shape) if self.first and shape else shape))
        numbers = [Fraction(float(v)) for v in values]
        if self.quantized:
            scale = np.float32(max(float(np.abs(values).max()), 2.0**-100) / 127)
            name = net.quant(name, scale, 9, True, False)
            numbers = [round(Fraction(float(np.float32(v) / scale))) * Fraction(float(scale)) for v in values]
        numbers = cycled(tuple(numbers), x.channels)
        one, zero = [Fraction(1)] * x.channels, [Fraction(0)] * x.channels
        factors, addends = one, zero
        if self.op in ("Add", "Sub"):
            turned = self.op == "Sub" and self.first
            factors = [Fraction(-1)] * x.channels if turned else one
            addends = [n if self.op == "Add" or turned else -n for n in numbers]
        else:
            factors = [n if self.op == "Mul" else 1 / n for n in numbers]
        parts = affine(x, factors, addends)
        build_check(not self.first or self.op != "Div", "the constant stands second")
        return Map(net.node(self.op, *((name, x.name) if self.first else (x.name, name))), *_size(x), parts)


@dataclass(frozen=True)
class Normalize(Step):
    """A batch normalization."""

    weight: ClassVar[float] = 1.6
    gammas: tuple[float, ...] = (1.0,)
    betas: tuple[float, ...] = (0.0,)
    means: tuple[float, ...] = (0.0,)
    variances: tuple[float, ...] = (1 - 2.0**-10,)
    epsilon: float = 2.0**-10

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int) -> Normalize:
        x = sketch.maps[at]
        if pen.settled or waits_behind_relu(x) or pen.chance(0.05):
            return cls((at,), *((pen.values(1, 0.5, 2),) if pen.chance(0.5) and not pen.settled else ()))
        count = 1 if alike(x) else x.channels
        gammas = pen.values(count, 0.3 if is_monotone(x) else -1.5, 2)
        if pen.chance(0.25):
            gammas = (0.0, *gammas[1:])
        spread = max(x.spread, SMALLEST)
        means, betas = pen.values(count, -spread / 2, spread / 2), pen.values(count, -1, 1)
        variances = tuple(float(np.float32(v * min(spread, 2.0**40) ** 2)) for v in pen.values(count, 0.3, 2))
        return cls((at,), gammas, betas, means, variances, pen.choice((1e-5, 1e-3, 2.0**-10)))

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        arrays = [np.array(cycled(v, x.channels), np.float32) for v in (self.gammas, self.betas)]
        arrays += [np.array(cycled(v, x.channels), np.float32) for v in (self.means, self.variances)]
        gamma, beta, mean, variance = (array.astype(np.float64) for array in arrays)
        power = variance + float(np.float32(self.epsilon))
        build_check(bool((power > 0).all()), "variance")
        factors = [Fraction(float(f)) for f in gamma / np.sqrt(power)]
        addends = [Fraction(float(b)) - Fraction(float(m)) * f for b, m, f in zip(beta, mean, factors, strict=True)]
        parts = affine(x, factors, addends)
        name = net.node("BatchNormalization", x.name, *map(net.const, arrays), epsilon=self.epsilon)
        return Map(name, *_size(x), parts)


@dataclass(frozen=True)
class Relu(Step):
    weight: ClassVar[float] = 1.2

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int) -> Relu:
        return cls((at,))

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        build_check(x.open, "after the end")
        parts = tuple(
            replace(p, relu=True, leaky=False)
            if p.scale is None or p.bits > 8
            else replace(p, low=max(p.low, 0), high=max(p.high, 0))
            for p in x.parts
        )
        return Map(net.node("Relu", x.name), *_size(x), parts)


@dataclass(frozen=True)
class Leaky(Step):
    """A ReLU that multiplies what is below 0: LeakyRelu with one slope, PRelu with one or many."""

    weight: ClassVar[float] = 1.2
    slopes: tuple[float, ...] = (0.5,)
    alpha: bool = True

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int, alpha: bool | None = None) -> Leaky:
        x = sketch.maps[at]
        alpha = pen.chance(0.5) if alpha is None else alpha
        count = 1 if alpha or pen.chance(0.3) or any(part.pair for part in x.parts) else x.channels
        least = 0 if any(part.pooled for part in x.parts) or pen.chance(0.6) else -1
        if any(part.clipped and part.low < 0 for part in x.parts):
            return cls((at,), (0.0,), alpha)
        kind = pen.weighted({"power": 2.0, "float": 3.0})
        if kind == "power":
            signs = (1,) if least == 0 else (1, -1)
            return cls((at,), tuple(pen.choice(signs) * 2.0 ** pen.integer(-5, 1) for _ in range(count)), alpha)
        return cls((at,), tuple(float(np.float32(pen.uniform(least, 1.5))) for _ in range(count)), alpha)

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        build_check(x.open, "after the end")
        slopes = cycled(self.slopes, x.channels) if len(self.slopes) > 1 else list(self.slopes)
        build_check(not self.alpha or len(slopes) == 1, "one slope")
        build_check(min(slopes) >= 0 or not any(part.pooled for part in x.parts), "no longer monotone")
        build_check(len(slopes) == 1 or not any(part.pair for part in x.parts), "an addition has one slope")
        below = any(part.clipped and part.low < 0 for part in x.parts)
        build_check(not below or not any(slopes), "a slope behind what is kept above a number below 0")
        parts = tuple(self._leaking(part) for part in x.parts)
        if self.alpha:
            return Map(net.node("LeakyRelu", x.name, alpha=slopes[0]), *_size(x), parts)
        shape = (len(slopes), 1, 1) if len(slopes) > 1 else (1,)
        return Map(net.node("PRelu", x.name, net.const(np.reshape(slopes, shape))), *_size(x), parts)

    def _leaking(self, part: Part) -> Part:
        if part.scale is not None and part.low >= 0 and part.bits <= 8:
            return part
        leaky = (part.leaky or not part.relu) and max(self.slopes) > 0
        least = max(min(abs(slope) for slope in self.slopes), 2.0**-6)
        return replace(part, scale=None, relu=True, leaky=leaky, grain=max(part.grain * least, SMALLEST))


@dataclass(frozen=True)
class Clipped(Step):
    """Real numbers kept within two, as by ReLU6; None: at that end nothing is done."""

    weight: ClassVar[float] = 0.8
    low: float | None = 0.0
    high: float | None = 6.0

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int) -> Clipped:
        spread = max(sketch.maps[at].spread, 2.0**-100)
        step = pen.power_of_two(spread, 2) / 8 if pen.chance(0.6) else pen.float32(spread) / 8
        kind = pen.weighted({"relu6": 4.0, "both": 2.0, "below": 1.0, "above": 1.0, "anywhere": 1.0})
        high = float(np.float32(step * (pen.integer(1, 16) + pen.choice((0, 0, 0.5)))))
        ends: dict[str, tuple[float | None, float | None]] = {
            "relu6": (0.0, high),
            "both": (-high, high),
            "below": (float(np.float32(-step * pen.integer(0, 9))), None),
            "above": (None, high),
            "anywhere": (float(np.float32(high - step * pen.integer(0, 30))), high),
        }
        return cls((at,), *ends[kind])

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        build_check(x.open, "after the end")
        low, high = self.low, self.high
        build_check(low is None or high is None or low <= high, "no number is between")
        if net.opset < 11:
            given = {key: n for key, n in (("min", low), ("max", high)) if n is not None}
            name = net.node("Clip", x.name, **given)
        else:
            names = ["" if n is None else net.const(np.float32(n)) for n in (low, high)]
            name = net.node("Clip", x.name, *(names if names[1] else names[:1] if names[0] else []))
        return Map(name, *_size(x), tuple(self._kept(part) for part in x.parts))

    def _kept(self, part: Part) -> Part:
        ends = [abs(n) for n in (self.low, self.high) if n is not None]
        both = len(ends) == 2
        spread = max(min(part.spread, *ends) if both and max(ends) > 0 else part.spread, SMALLEST)
        positive = self.low is not None and self.low >= 0
        return replace(part, scale=None, clipped=True, spread=spread, low=0 if positive else -1)


@dataclass(frozen=True)
class Same(Step):
    """An operation that leaves everything as it is.

    way: 0 Identity; 1, 2 Dropout; 3, 4 Slice by constants and by sizes; 5 Pad.
    """

    weight: ClassVar[float] = 0.5
    way: int = 0

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int, ways: Sequence[int] = range(6)) -> Same:
        return cls((at,), pen.choice(ways))

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        build_check(x.open, "after the end")
        return replace(x, name=self._name(net, x))

    def _name(self, net: Net, x: Map) -> str:
        if self.way == 0:
            return net.node("Identity", x.name)
        if self.way in (1, 2):
            if net.opset < 12:
                return net.node("Dropout", x.name, ratio=0.5)
            more = [net.const(np.float32(0.5)), net.const(False, bool)] if self.way == 2 else []
            return net.node("Dropout", x.name, *more)
        if self.way == 5:
            if net.opset < 11:
                return net.node("Pad", x.name, pads=[0] * 8, mode="constant")
            return net.node("Pad", x.name, net.const([0] * 8, np.int64))
        if net.opset < 10:
            return net.node("Slice", x.name, starts=[0, 0], ends=[x.rows, 1 << 40], axes=[2, 3])
        ends = net.const([x.rows, (1 << 63) - 1], np.int64)
        if self.way == 4:
            shape = net.node("Shape", x.name)
            ends = net.node("Gather", shape, net.const([2, 3], np.int64), axis=0)
        steps = [net.const([1, 1], np.int64)] if self.way == 4 else []
        return net.node("Slice", x.name, net.const([0, 0], np.int64), ends, net.const([2, 3], np.int64), *steps)


def waits_behind_relu(x: Map) -> bool:
    return any(part.relu for part in x.parts)


def alike(x: Map) -> bool:
    """Must all channels have the same factor and addend?"""
    return any(part.pair or part.clipped for part in x.parts)


def is_monotone(x: Map) -> bool:
    """Are only factors of 0 and more allowed?"""
    return any(part.relu or part.pooled for part in x.parts)


def affine(x: Map, factors: Sequence[Fraction], addends: Sequence[Fraction]) -> tuple[Part, ...]:
    """What the parts become."""
    build_check(x.open, "after the end")
    parts, start = [], 0
    for part in x.parts:
        f, a = factors[start : start + part.channels], addends[start : start + part.channels]
        start += part.channels
        build_check(not part.relu or (min(f) >= 0 and not any(a)), "after a ReLU")
        build_check(not part.pooled or min(f) >= 0, "after a pooling")
        one = len(set(f)) == len(set(a)) == 1
        build_check(one or not (part.pair or part.clipped), "an addition has one scale, and so has what is kept")
        if set(f) == {Fraction(1)} and set(a) == {Fraction(0)}:
            parts.append(part)
            continue
        least = min(float(abs(n)) for n in f if n) if any(f) else 0.0
        most = max(float(abs(n)) for n in f)
        spread = max(part.spread * most, *(abs(float(n)) for n in a), SMALLEST)
        build_check(SMALLEST <= spread <= LARGEST, "out of range")
        low = -1 if min(f) < 0 or min(a) < 0 or part.low < 0 else 0
        parts.append(replace(part, scale=None, spread=spread, grain=max(part.grain * least, SMALLEST), low=low))
    return tuple(parts)


def far(pen: Pen, sketch: Sketch, at: int) -> tuple[Affine | None, Quantize]:
    """A quantizer whose scale is far from the numbers', perhaps behind a constant that lies between two of its steps.

    The factor from the numbers' grain to the scale is from 2**-60 to 2**40.
    """
    x = sketch.maps[at]
    exponent = pen.integer(-60, 40)
    scale = 2.0 ** min(max(round(log2(x.grain)) - exponent, -118), 110)
    if pen.chance(0.2):
        scale = float(np.float32(scale * pen.uniform(1, 2)))
    bits = pen.choice((8, 8, 5, 2))
    quantizer = Quantize((at,), scale, bits, pen.chance(0.4) and bits > 1)
    low, high = limits(bits, quantizer.signed, False)
    if waits_behind_relu(x) or not pen.chance(0.7):
        return None, quantizer
    count = 1 if any(part.pair for part in x.parts) else x.channels
    between = tuple((pen.integer(low, high) + pen.choice((0.5, 0.5, 0.0))) * scale for _ in range(count))
    values = tuple(float(np.float32(v)) for v in between)
    return Affine((at,), "Add", values), replace(quantizer, inputs=(len(sketch.maps),))


def _size(x: Map) -> tuple[int, int]:
    return x.rows, x.columns

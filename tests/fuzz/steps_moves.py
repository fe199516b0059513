"""Pooling, enlarging, joining and adding maps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tests.fuzz.net import Map, Net, Part, build_check, word
from tests.fuzz.pen import Pen, Sketch
from tests.fuzz.recipe import Step

NEAREST = (
    ("asymmetric", "floor"),
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
    ("pytorch_half_pixel", "round_prefer_floor"),
    ("asymmetric", "round_prefer_floor"),
)
"""Rules by which every pixel is repeated."""


@dataclass(frozen=True)
class Pool(Step):
    """The maximum of 2x2, or of 3x3 with padding 1.  style: attributes that change nothing."""

    weight: ClassVar[float] = 2.0
    style: int = 0
    kernel: int = 2

    @classmethod
    def accepts(cls, x: Map) -> bool:
        return x.open and x.rows % 2 == 0 and x.columns % 2 == 0

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int, kernel: int = 0) -> Pool:
        return cls((at,), pen.integer(0, 2), kernel or pen.choice((2, 2, 2, 3)))

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        build_check(self.accepts(x), "an odd map")
        given = ({}, {"pads": [0, 0, 0, 0]}, {"auto_pad": "VALID"})[self.style % 3]
        if self.style == 1 and net.opset >= 10:
            given |= {"ceil_mode": 1, "dilations": [1, 1]}
        if self.kernel == 3:
            given = {"pads": [1, 1, 1, 1]} | ({"ceil_mode": 0} if self.style and net.opset >= 10 else {})
        name = net.node("MaxPool", x.name, kernel_shape=[self.kernel] * 2, strides=[2, 2], **given)
        waiting = not x.activation
        parts = tuple(
            replace(p, pooled=p.pooled or p.scale is None, moved=p.moved or (waiting and p.scale is None))
            for p in x.parts
        )
        return Map(name, x.rows // 2, x.columns // 2, parts)


@dataclass(frozen=True)
class Average(Step):
    """The mean of 2x2.  style: attributes that change nothing."""

    weight: ClassVar[float] = 0.8
    style: int = 0

    @classmethod
    def accepts(cls, x: Map) -> bool:
        return x.activation and x.rows % 2 == 0 and x.columns % 2 == 0

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int) -> Average:
        return cls((at,), pen.integer(0, 2))

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        build_check(self.accepts(x), "an odd map, or no activation")
        given = ({}, {"pads": [0, 0, 0, 0], "count_include_pad": 1}, {"auto_pad": "VALID"})[self.style % 3]
        name = net.node("AveragePool", x.name, kernel_shape=[2, 2], strides=[2, 2], **given)
        assert x.scale is not None
        low, high, unit = 4 * x.low, 4 * x.high, x.scale / 4
        part = Part(x.channels, low, high, unit if word(low, high) <= 8 else None, x.spread, x.grain / 4)
        return Map(name, x.rows // 2, x.columns // 2, (part,))


@dataclass(frozen=True)
class Enlarge(Step):
    """Twice as large by repeating pixels.  rule: of `NEAREST`.  by: 0 scales, 1 constant sizes, 2 computed sizes."""

    weight: ClassVar[float] = 1.4
    rule: int = 0
    by: int = 0

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int) -> Enlarge:
        return cls((at,), pen.integer(0, 4), pen.integer(0, 2))

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        build_check(x.open, "after the end")
        coordinates, nearest = NEAREST[self.rule]
        parts = tuple(replace(p, moved=p.moved or p.scale is None) for p in x.parts)
        if net.opset < 11:
            op = "Upsample" if net.opset < 10 else "Resize"
            name = net.node(op, x.name, net.const([1, 1, 2, 2]), mode="nearest")
        else:
            given = {"coordinate_transformation_mode": coordinates, "nearest_mode": nearest}
            name = net.node("Resize", *resized(net, x, self.by), mode="nearest", **given)
        return Map(name, 2 * x.rows, 2 * x.columns, parts)


@dataclass(frozen=True)
class Interpolate(Step):
    """Twice as large by bilinear interpolation."""

    weight: ClassVar[float] = 0.8
    rule: int = 0
    by: int = 0

    @classmethod
    def accepts(cls, x: Map) -> bool:
        return x.activation

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int) -> Interpolate:
        return cls((at,), pen.integer(0, 1), pen.integer(0, 2))

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        build_check(self.accepts(x), "reads no activation")
        build_check(net.opset >= 11, "another rule")
        rule = ("half_pixel", "pytorch_half_pixel")[self.rule]
        inputs = resized(net, x, self.by)
        name = net.node("Resize", *inputs, mode="linear", coordinate_transformation_mode=rule)
        assert x.scale is not None
        low, high, unit = 16 * x.low, 16 * x.high, x.scale / 16
        part = Part(x.channels, low, high, unit if word(low, high) <= 8 else None, x.spread, x.grain / 16)
        return Map(name, 2 * x.rows, 2 * x.columns, (part,))


def resized(net: Net, x: Map, by: int) -> list[str]:
    """What a Resize to twice the size reads."""
    if by == 0:
        return [x.name, "", net.const([1, 1, 2, 2])]
    if by == 1:
        return [x.name, "", "", net.const([1, x.channels, 2 * x.rows, 2 * x.columns], np.int64)]
    shape = net.node("Shape", x.name)
    first = net.node("Gather", shape, net.const([0, 1], np.int64), axis=0)
    size = net.node("Gather", shape, net.const([2, 3], np.int64), axis=0)
    twice = net.node("Mul", size, net.const([2, 2], np.int64))
    return [x.name, "", "", net.node("Concat", first, twice, axis=0)]


@dataclass(frozen=True)
class Join(Step):
    """The channels of several maps, one after the other."""

    weight: ClassVar[float] = 1.8
    axis: int = 1

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int) -> Join:
        others = sketch.alike(at)
        chosen = [at]
        for _ in range(pen.weighted({1: 5.0, 2: 2.0, 3: 0.5, 0: 0.2})):
            fitting = [i for i in others if sketch.maps[i].scale == sketch.maps[at].scale]
            chosen.append(pen.choice(fitting if pen.chance(0.75) else others))
        order = pen.rng.permutation(len(chosen))
        return cls(tuple(chosen[i] for i in order), pen.choice((1, 1, -3)))

    def emit(self, net: Net, *maps: Map) -> Map:
        build_check(len({(x.rows, x.columns) for x in maps}) == 1, "sizes differ")
        build_check(all(x.open for x in maps), "after the end")
        parts = tuple(part for x in maps for part in x.parts)
        found = Map("", maps[0].rows, maps[0].columns, parts)
        one = {part.scale for part in parts}
        if len(one) == 1 and None not in one:
            build_check(word(found.low, found.high) <= 8, "too wide together")
        build_check(found.channels <= 80 and len(parts) <= 20, "too many channels")
        return found.called(net.node("Concat", *(x.name for x in maps), axis=self.axis))


@dataclass(frozen=True)
class Sum(Step):
    """The addition of two activations, or their difference."""

    weight: ClassVar[float] = 1.4
    minus: bool = False

    @classmethod
    def accepts(cls, x: Map) -> bool:
        return x.activation

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int) -> Sum:
        x = sketch.maps[at]
        others = [i for i in sketch.alike(at) if sketch.maps[i].activation and sketch.maps[i].channels == x.channels]
        pair = (at, pen.choice([i for i in others if i != at] or [at]))
        return cls(pair if pen.chance(0.5) else pair[::-1], pen.chance(0.2))

    def emit(self, net: Net, *maps: Map) -> Map:
        a, b = maps
        same = (a.rows, a.columns, a.channels) == (b.rows, b.columns, b.channels)
        build_check(a.activation and b.activation and same, "two maps of one shape")
        spread, grain = max(a.spread, b.spread), min(a.grain, b.grain)
        low, high = (a.low - b.high, a.high - b.low) if self.minus else (a.low + b.low, a.high + b.high)
        part = Part(a.channels, low, high, None, spread, grain, pair=True)
        return Map(net.node("Sub" if self.minus else "Add", a.name, b.name), a.rows, a.columns, (part,))

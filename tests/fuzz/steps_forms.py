"""Convolutions of other forms (gaps, two sizes, moved to one side, far taps), zeros around a map, and pixels that
become channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tests.fuzz.net import Map, Net, Part, build_check
from tests.fuzz.pen import Pen, Sketch
from tests.fuzz.recipe import Step
from tests.fuzz.steps_sums import Bias, Weights, _Sums, channels, own_padding

FORMS: tuple[tuple[int, int, int, int, tuple[int, int, int, int], int], ...] = (
    (3, 3, 2, 1, (2, 2, 2, 2), 2), (3, 3, 4, 1, (4, 4, 4, 4), 4), (3, 3, 3, 1, (3, 3, 3, 3), 4),
    (5, 5, 2, 1, (4, 4, 4, 4), 4), (7, 7, 1, 1, (3, 3, 3, 3), 4), (9, 9, 1, 1, (4, 4, 4, 4), 4),
    (3, 3, 2, 2, (2, 2, 2, 2), 2), (2, 2, 1, 2, (0, 0, 0, 0), 2), (4, 4, 1, 2, (1, 1, 1, 1), 2),
    (1, 3, 1, 1, (0, 1, 0, 1), 1), (3, 1, 1, 1, (1, 0, 1, 0), 1), (5, 1, 1, 1, (2, 0, 2, 0), 2),
    (2, 2, 1, 1, (0, 0, 1, 1), 1), (3, 3, 1, 1, (0, 2, 2, 0), 2), (3, 3, 1, 2, (0, 0, 1, 1), 2),
    (1, 2, 4, 1, (0, 0, 0, 4), 4),
)  # fmt: skip
"""Rows, columns, gap, stride, padding, and what must divide the map."""


@dataclass(frozen=True)
class Formed(_Sums):
    """One of the forms."""

    weight: ClassVar[float] = 1.0
    form: int = 0

    def shape(self, ins: int) -> tuple[tuple[int, ...], int]:
        return (self.outs, ins, *FORMS[self.form][:2]), 0

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int) -> Formed:
        x = sketch.maps[at]
        outs = channels(pen, x, 0.5)
        weights = Weights.draw(pen, outs)
        spread = x.spread * max(weights.scales) * (1 << weights.bits - 1)
        possible = [i for i, form in enumerate(FORMS) if x.rows % form[-1] == x.columns % form[-1] == 0]
        return cls((at,), outs, weights, Bias.draw(pen, outs, spread), pen.integer(0, 15), pen.choice(possible))

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        height, width, gap, stride, pads, unit = FORMS[self.form]
        build_check(x.rows % unit == x.columns % unit == 0, "another size of map")
        operands, part = self._summed(net, x)
        given = {"kernel_shape": [height, width], "strides": [stride] * 2, "dilations": [gap] * 2}
        given["pads"] = own_padding(x, pads)
        name = net.node("Conv", *operands, **given)
        return Map(name, -(-x.rows // stride), -(-x.columns // stride), (part,))


@dataclass(frozen=True)
class Zeros(Step):
    """Zeros above, left, below and right of a map, for a convolution behind it.  style: ways to write it."""

    around: tuple[int, ...] = (1, 1, 1, 1)
    style: int = 0

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int, most: Sequence[int] = (1, 1, 1, 1)) -> Zeros:
        around = tuple(n if pen.chance(0.5) else pen.integer(0, n) for n in most)
        return cls((at,), around if any(around) else tuple(most), pen.integer(0, 3))

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        build_check(x.open, "after the end")
        around = self.around
        build_check(len(around) == 4 and min(around) >= 0 and max(around) > 0, "no zeros")
        rows, columns = around[0::2], around[1::2]
        if net.opset < 11:
            given = {"mode": "constant", "value": 0.0} if self.style % 2 else {}
            name = net.node("Pad", x.name, pads=[0, 0, rows[0], columns[0], 0, 0, rows[1], columns[1]], **given)
        elif net.opset >= 18 and self.style >= 2:
            axes = net.const([-1, 2], np.int64)
            widths = net.const([columns[0], rows[0], columns[1], rows[1]], np.int64)
            name = net.node("Pad", x.name, widths, net.const(np.float32(0)) if self.style % 2 else "", axes)
        else:
            widths = net.const([0, 0, rows[0], columns[0], 0, 0, rows[1], columns[1]], np.int64)
            name = net.node("Pad", x.name, widths, *([net.const(np.float32(0))] if self.style % 2 else []))
        return replace(x, name=name, around=tuple(around))


@dataclass(frozen=True)
class Shuffle(Step):
    """Four channels become four pixels, or four pixels channels."""

    weight: ClassVar[float] = 0.6
    apart: bool = False
    mode: str = "DCR"

    @classmethod
    def accepts(cls, x: Map) -> bool:
        return x.activation

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int) -> Shuffle:
        x = sketch.maps[at]
        even = x.rows % 2 == x.columns % 2 == 0 and x.channels <= 20
        apart = x.channels % 4 == 0 and (not even or pen.chance(0.6))
        return cls((at,), apart, pen.choice(("DCR", "CRD")) if sketch.opset >= 11 else "DCR")

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        build_check(x.activation, "no integers")
        if self.apart:
            build_check(x.channels % 4 == 0, "not four channels for each")
            mode = {"mode": self.mode} if net.opset >= 11 else {}
            name = net.node("DepthToSpace", x.name, blocksize=2, **mode)
            rows, columns, count = 2 * x.rows, 2 * x.columns, x.channels // 4
        else:
            build_check(x.rows % 2 == x.columns % 2 == 0 and x.channels <= 20, "no four pixels")
            name = net.node("SpaceToDepth", x.name, blocksize=2)
            rows, columns, count = x.rows // 2, x.columns // 2, 4 * x.channels
        spread, grain = max(p.spread for p in x.parts), min(p.grain for p in x.parts)
        return Map(name, rows, columns, (Part(count, x.low, x.high, x.scale, spread, grain),))

"""What ends a network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp
from typing import ClassVar

import numpy as np
from onnx import TensorProto

from tests.fuzz.net import Map, Net, build_check
from tests.fuzz.pen import Pen, Sketch
from tests.fuzz.recipe import Step


@dataclass(frozen=True)
class Sigmoid(Step):
    weight: ClassVar[float] = 0.0

    @classmethod
    def accepts(cls, x: Map) -> bool:
        return x.ends and not x.final

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int) -> Sigmoid:
        return cls((at,))

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        build_check(self.accepts(x), "cannot end")
        return replace(x, name=net.node("Sigmoid", x.name), final="Sigmoid")


@dataclass(frozen=True)
class Softmax(Step):
    weight: ClassVar[float] = 0.0
    axis: int = 1

    @classmethod
    def accepts(cls, x: Map) -> bool:
        return x.ends and not x.final and x.channels > 1

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int) -> Softmax:
        return cls((at,), pen.choice((1, -3)))

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        build_check(self.accepts(x) and net.opset >= 13, "cannot end")
        return replace(x, name=net.node("Softmax", x.name, axis=self.axis), final="Softmax")


TYPES = (TensorProto.FLOAT, TensorProto.INT32, TensorProto.UINT8, TensorProto.INT64)
"""Of classes."""


@dataclass(frozen=True)
class ArgMax(Step):
    """cast: the type that the classes have in the end, of ONNX; 0 leaves int64.  turned: the axis that is left out
    comes again, or the one that is kept goes.
    """

    weight: ClassVar[float] = 0.0
    axis: int = 1
    keep: bool = True
    cast: int = 0
    turned: bool = False

    @classmethod
    def accepts(cls, x: Map) -> bool:
        return x.ends and not x.final and x.channels > 1

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int) -> ArgMax:
        keep = pen.chance(0.6)
        cast = pen.choice(TYPES) if pen.chance(0.4) else 0
        return cls((at,), pen.choice((1, -3)), keep, cast, pen.chance(0.3))

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        build_check(x.ends and not x.final, "cannot end")
        name = net.node("ArgMax", x.name, axis=self.axis, keepdims=int(self.keep))
        if self.cast:
            name = net.node("Cast", name, to=self.cast)
        if self.turned:
            op = "Squeeze" if self.keep else "Unsqueeze"
            given = {"axes": [1]} if net.opset < 13 else {}
            name = net.node(op, name, *([] if given else [net.const([1], np.int64)]), **given)
        return replace(x, name=name, final="ArgMax")


@dataclass(frozen=True)
class Greater(Step):
    """A map of one channel, or its sigmoid, compared with a number."""

    weight: ClassVar[float] = 0.0
    threshold: float = 0.0

    @classmethod
    def accepts(cls, x: Map) -> bool:
        return x.channels == 1 and ((x.ends and not x.final) or x.final == "Sigmoid")

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int) -> Greater:
        x = sketch.maps[at]
        values = (0.0, x.spread / 2, -x.spread / 4, float(x.scale or 0) * pen.integer(-3, 3))
        threshold = pen.choice(values)
        if x.final:
            threshold = 0.5 if pen.chance(0.4) else 1 / (1 + exp(-min(max(threshold, -20), 15)))
        return cls((at,), float(np.float32(threshold)))

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        build_check(self.accepts(x), "cannot be compared")
        build_check(not x.final or 0 < self.threshold < 1, "no probability")
        name = net.node("Greater", x.name, net.const(np.float32(self.threshold)))
        return replace(x, name=name, final="Greater")

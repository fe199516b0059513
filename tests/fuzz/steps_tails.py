"""The order in which a network gives its numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tests.fuzz.net import Map, Net, build_check
from tests.fuzz.pen import Pen, Sketch
from tests.fuzz.recipe import Step

FORMS = ("last", "pixels", "rows", "turned", "flat", "squeezed", "more")
OVER = {"last": 3, "pixels": 1, "rows": 1, "turned": 1}
"""The axis that counts channels alone."""


@dataclass(frozen=True)
class Tail(Step):
    """A form, then perhaps Softmax or ArgMax over the channels there, and Cast."""

    weight: ClassVar[float] = 0.0
    form: str = "last"
    ends: str = ""
    back: bool = False
    """The axis is counted from the last one."""

    @classmethod
    def accepts(cls, x: Map) -> bool:
        return x.final != "ArgMax" and (x.ends or x.final != "")

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int) -> Tail:
        x = sketch.maps[at]
        form = pen.choice(FORMS)
        possible = form in OVER and not x.final and x.channels > 1
        ends = ("ArgMax", "Softmax") if sketch.opset >= 13 else ("ArgMax",)
        return cls((at,), form, pen.choice(ends) if possible and pen.chance(0.6) else "", pen.chance(0.5))

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        build_check(self.accepts(x), "has no order")
        name, rank = self._moved(net, x)
        final = x.final or "Tail"
        if self.ends:
            build_check(x.channels > 1 and not x.final and self.form in OVER, "cannot end")
            build_check(self.ends == "ArgMax" or net.opset >= 13, "another Softmax")
            axis = OVER[self.form] - (rank if self.back else 0)
            keep = {"keepdims": int(len(x.name) % 2)} if self.ends == "ArgMax" else {}
            name, final = net.node(self.ends, name, axis=axis, **keep), self.ends
        return replace(x, name=name, final=final)

    def _moved(self, net: Net, x: Map) -> tuple[str, int]:
        """The tensor and its rank."""
        name = x.name
        if self.form in ("last", "rows"):
            name = net.node("Transpose", name, perm=[0, 2, 3, 1])
        if self.form == "rows":
            return net.node("Reshape", name, net.const([-1, x.channels], np.int64)), 2
        if self.form == "pixels":
            return net.node("Reshape", name, net.const([1, x.channels, -1], np.int64)), 3
        if self.form == "turned":
            return net.node("Transpose", name, perm=[0, 1, 3, 2]), 4
        if self.form == "flat":
            return net.node("Flatten", name, axis=1), 2
        if self.form in ("squeezed", "more"):
            op, axes = ("Squeeze", [0]) if self.form == "squeezed" else ("Unsqueeze", [0, 4])
            if net.opset < 13:
                return net.node(op, name, axes=axes), 4
            return net.node(op, name, net.const(axes, np.int64)), 4
        return name, 4

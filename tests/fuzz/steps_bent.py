"""Functions that bend numbers, and gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tests.fuzz.net import Map, Net, Part, build_check, word
from tests.fuzz.pen import SMALLEST, Pen, Sketch
from tests.fuzz.recipe import Step

BENDS: dict[str, tuple[int, dict[str, float]]] = {
    "Sigmoid": (9, {}), "Tanh": (9, {}), "SiLU": (9, {}), "GELU": (9, {}),
    "HardSigmoid": (9, {"alpha": 0.2, "beta": 0.5}),
    "HardSwish": (14, {}), "Elu": (9, {"alpha": 1.0}), "Selu": (9, {}), "Celu": (12, {"alpha": 1.0}), "Erf": (9, {}),
    "Softplus": (9, {}), "Mish": (18, {}), "Gelu": (20, {}), "GeluTanh": (20, {}),
}  # fmt: skip
"""The oldest operator set that has them, and attributes.  SiLU and GELU are written as exporters of older sets do."""


GROWING = ("Sigmoid", "Tanh", "HardSigmoid", "Elu", "Selu", "Celu", "Erf", "Softplus")
"""Functions that may read sums."""
MOST_CHANNELS, MOST_SUMS = 8, 300
"""Each of their steps is a channel, and every number is computed to a hundred digits."""


def of_sums(x: Map) -> bool:
    """Is it sums of few channels, to which nothing but factors and addends has happened?"""
    if len(x.parts) != 1 or not x.open or x.channels > MOST_CHANNELS or x.channels * x.pixels > MOST_SUMS:
        return False
    part = x.parts[0]
    return not (part.relu or part.pooled or part.moved or part.pair or part.bent or part.clipped)


@dataclass(frozen=True)
class Bend(Step):
    """An activation function that is no ReLU.  alpha: what its attributes are multiplied with."""

    weight: ClassVar[float] = 0.9
    op: str = "Sigmoid"
    alpha: float = 1.0

    @classmethod
    def accepts(cls, x: Map) -> bool:
        return x.activation or of_sums(x)

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int) -> Bend:
        possible = BENDS if sketch.maps[at].activation else GROWING
        known = [op for op in possible if BENDS[op][0] <= sketch.opset]
        return cls((at,), pen.choice(known), pen.choice((1.0, 1.0, 0.5, float(np.float32(1.3)))))

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        build_check(x.activation or (of_sums(x) and self.op in GROWING), "reads no activation")
        opset, given = BENDS[self.op]
        build_check(opset <= net.opset, "another operator set")
        small = self.op in ("Sigmoid", "Tanh", "HardSigmoid", "Erf")
        spread = 1.0 if small else max(x.spread, 2.0**-6)
        low = 0 if self.op in ("Sigmoid", "HardSigmoid", "Softplus") else -1
        part = Part(x.channels, low, 1, None, spread, max(spread / 256, SMALLEST), bent=True)
        return Map(self._nodes(net, x.name, given), x.rows, x.columns, (part,))

    def _nodes(self, net: Net, x: str, given: dict[str, float]) -> str:
        if self.op == "SiLU":
            return net.node("Mul", x, net.node("Sigmoid", x))
        if self.op == "GELU":
            bent = net.node("Erf", net.node("Div", x, net.const(np.sqrt(2, dtype=np.float32))))
            return net.node("Mul", net.node("Mul", x, net.node("Add", bent, net.const(1))), net.const(0.5))
        if self.op == "HardSwish" and self.alpha != 1:  # by hand
            clipped = net.node("Clip", net.node("Add", x, net.const(3)), net.const(0), net.const(6))
            return net.node("Div", net.node("Mul", x, clipped), net.const(6))
        if self.op == "GeluTanh":
            return net.node("Gelu", x, approximate="tanh")
        attributes: dict[str, Any] = {key: value * self.alpha for key, value in given.items()}
        return net.node(self.op, x, **attributes)


@dataclass(frozen=True)
class Gate(Step):
    """The product of two activations, of which one may have one channel for all of the other."""

    weight: ClassVar[float] = 1.0

    @classmethod
    def accepts(cls, x: Map) -> bool:
        return x.activation

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int) -> Gate:
        x = sketch.maps[at]
        others = [i for i in sketch.alike(at) if sketch.maps[i].activation]
        others = [
            i for i in others if 1 in (sketch.maps[i].channels, x.channels) or sketch.maps[i].channels == x.channels
        ]
        pair = (at, pen.choice([i for i in others if i != at] or [at]))
        return cls(pair if pen.chance(0.5) else pair[::-1])

    def emit(self, net: Net, *maps: Map) -> Map:
        a, b = maps
        build_check(a.activation and b.activation, "no two activations")
        build_check((a.rows, a.columns) == (b.rows, b.columns), "sizes differ")
        channels = max(a.channels, b.channels)
        build_check({a.channels, b.channels} <= {1, channels}, "channels differ")
        ends = [n * m for n in (a.low, a.high) for m in (b.low, b.high)]
        assert a.scale is not None
        assert b.scale is not None
        low, high, unit = min(*ends, 0), max(ends), a.scale * b.scale
        spread = max(a.spread * b.spread, SMALLEST)
        build_check(spread > SMALLEST, "out of range")
        scale = unit if word(low, high) <= 8 else None
        part = Part(channels, low, high, scale, spread, max(a.grain * b.grain, SMALLEST))
        return Map(net.node("Mul", a.name, b.name), a.rows, a.columns, (part,))

"""Convolutions: 3x3 and 1x1, stride 1 and 2, and the transposed one, with every kind of weights and bias."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from tests.fuzz.net import Map, Net, Part, build_check, word
from tests.fuzz.pen import Pen, Sketch
from tests.fuzz.recipe import Step, cycled, limits

FILLS = {
    "random": 5.0, "sparse": 1.0, "zeros": 0.5, "ones": 0.5, "lowest": 0.7, "highest": 0.5, "some zero": 1.0,
    "ties": 1.0, "beyond": 0.5, "tiny": 0.6,
}  # fmt: skip
"""What weights are: "some zero" has channels without any, "ties" lie between two integers, "beyond" saturate."""


@dataclass(frozen=True)
class Weights:
    """A weight tensor and its Quant node; scales: one, or by output channel."""

    bits: int = 8
    signed: bool = True
    narrow: bool = False
    scales: tuple[float, ...] = (1.0,)
    fill: str = "ones"
    seed: int = 1

    @staticmethod
    def draw(pen: Pen, outs: int) -> Weights:
        if pen.settled:
            return Weights(2, True, True, (2.0 ** pen.integer(-4, 0),), "tiny", pen.seed())
        bits = pen.weighted({8: 4.0, 4: 2.0, 3: 1.0, 2: 1.0, 1: 0.6, 5: 0.6, 6: 0.6, 7: 0.6})
        signed = bits == 8 or (bits > 1 and not pen.chance(0.12))
        about = 2.0 ** pen.integer(-12, -2)
        kind = pen.weighted({"power": 3.0, "power by channel": 1.5, "float": 1.5, "float by channel": 1.0})
        count = outs if "by channel" in kind else 1
        one = pen.power_of_two if kind.startswith("power") else pen.float32
        scales = tuple(one(about) for _ in range(count))
        narrow = pen.chance(0.4) and (signed or bits > 1)
        return Weights(bits, signed, narrow, scales, pen.weighted(FILLS), pen.seed())

    def numbers(self, shape: tuple[int, ...], outs: int) -> tuple[np.ndarray, np.ndarray]:
        """The float tensor and its scale; `outs`: the axis of output channels."""
        rng = np.random.default_rng(self.seed)
        low, high = limits(self.bits, self.signed, self.narrow)
        ones = np.ones(shape)
        q = rng.integers(low, high, shape, endpoint=True).astype(float)
        by_channel = np.arange(shape[outs]).reshape([-1 if axis == outs else 1 for axis in range(4)])
        chosen = {
            "random": lambda: q + rng.uniform(-0.49, 0.49, shape),
            "sparse": lambda: q * (rng.random(shape) < 0.15),
            "zeros": lambda: 0 * ones,
            "ones": lambda: ones,
            "lowest": lambda: low * ones,
            "highest": lambda: high * ones,
            "some zero": lambda: q * (by_channel % 2),
            "ties": lambda: q + 0.5,
            "beyond": lambda: q * 1000.0 + 1,
            "tiny": lambda: rng.integers(-1, 1, shape, endpoint=True) * (rng.random(shape) < 0.2),
        }[self.fill]()
        scale = np.array(cycled(self.scales, shape[outs]) if len(self.scales) > 1 else self.scales, np.float32)
        scale = scale.reshape([scale.size if axis == outs else 1 for axis in range(4)])
        return np.float32(chosen * scale), scale

    def emit(self, net: Net, shape: tuple[int, ...], outs: int, style: int) -> tuple[str, np.ndarray, np.ndarray]:
        """The tensor's name, its integers and its scales."""
        numbers, scale = self.numbers(shape, outs)
        name = net.quant(net.const(numbers), scale, self.bits, self.signed, self.narrow, style)
        low, high = limits(self.bits, self.signed, self.narrow)
        q = np.clip(np.rint(np.clip(numbers / scale, -1e9, 1e9)), low, high).astype(np.int64)
        return name, q, scale.reshape(-1)


@dataclass(frozen=True)
class Bias:
    """kind: "none", "float", or "int32", quantized with the product of the operands' scales."""

    kind: str = "none"
    values: tuple[float, ...] = (0.0,)

    @staticmethod
    def draw(pen: Pen, outs: int, spread: float) -> Bias:
        kind = "none" if pen.settled else pen.weighted({"none": 2.0, "float": 1.5, "int32": 1.5})
        return Bias() if kind == "none" else Bias(kind, pen.values(outs, -spread, spread))

    def emit(self, net: Net, scale: np.ndarray, outs: int) -> list[str]:
        if self.kind == "none":
            return []
        numbers = np.array(cycled(self.values, outs), np.float32)
        name = net.const(numbers)
        return [name if self.kind == "float" else net.quant(name, scale, 32, True, False)]


@dataclass(frozen=True)
class _Sums(Step):
    """outs: output channels."""

    outs: int = 1
    weights: Weights = Weights()
    bias: Bias = Bias()
    style: int = 0

    @classmethod
    def accepts(cls, x: Map) -> bool:
        return x.integers and x.channels <= 80

    @abstractmethod
    def shape(self, ins: int) -> tuple[tuple[int, ...], int]:
        """Of the weights, and the axis of output channels."""

    def _by_output(self, q: np.ndarray, axis: int) -> np.ndarray:
        """The weights of each output channel, a row for each."""
        return np.moveaxis(q, axis, 0).reshape(self.outs, -1)

    def _summed(self, net: Net, x: Map) -> tuple[list[str], Part]:
        """The operands' names, and what the sums are."""
        build_check(self.accepts(x), "reads no activation")
        shape, axis = self.shape(x.channels)
        name, q, scale = self.weights.emit(net, shape, axis, self.style)
        assert x.scale is not None
        flat = self._by_output(q, axis)
        scale = np.tile(scale, self.outs // len(scale)) if len(scale) > 1 else scale
        bias = self.bias.emit(net, np.float32(scale * float(x.scale)), self.outs)
        positive, negative = np.maximum(flat, 0).sum(1), np.minimum(flat, 0).sum(1)
        low, high = min(x.low, 0), max(x.high, 0)
        least, most = int((positive * low + negative * high).min()), int((positive * high + negative * low).max())
        build_check(word(least, most) <= 32, "accumulator too wide")
        rms = float(np.sqrt((flat.astype(float) ** 2).sum(1).mean()))
        spread = max(x.spread * float(scale.max()) * rms, max(map(abs, self.bias.values)), float(scale.min()) * x.grain)
        plain = len(set(scale.tolist())) == 1 and not bias and word(least, most) <= 8
        unit = Fraction(float(scale[0])) * x.scale if plain else None
        return [x.name, name, *bias], Part(self.outs, least, most, unit, spread, x.grain * float(scale.min()))


@dataclass(frozen=True)
class Conv(_Sums):
    """1x1 to 5x5 of stride 1 and 2, 7x7 of stride 2, padded to the size of the map, of any groups."""

    weight: ClassVar[float] = 6.0
    kernel: int = 1
    stride: int = 1
    groups: int = 1

    def shape(self, ins: int) -> tuple[tuple[int, ...], int]:
        build_check(self.outs % self.groups == ins % self.groups == 0, "groups that do not divide the channels")
        return (self.outs, ins // self.groups, self.kernel, self.kernel), 0

    @classmethod
    def draw(cls, pen: Pen, sketch: Sketch, at: int, **given: Any) -> Conv:
        x = sketch.maps[at]
        outs, groups = channels(pen, x), 1
        if given.pop("grouped", pen.chance(0.12) if "kernel" not in given else False):
            groups = divisor(pen, x.channels)
            outs = groups * pen.choice((1, 1, 2)) if groups * x.pixels < 6_000 else groups
        weights = Weights.draw(pen, outs)
        spread = x.spread * max(weights.scales) * (1 << weights.bits - 1) * 2
        kernel, stride = pen.weighted({3: 6.0, 1: 3.0, 5: 0.6, 7: 0.4}), pen.weighted({1: 3.0, 2: 1.0})
        kernel = max(kernel, 2 * max(x.around) + 1) if x.around else kernel
        if kernel > 3 and not divided(x, kernel):
            kernel = 3
        stride = 2 if kernel == 7 else stride
        drawn = {"kernel": kernel, "stride": stride, "style": pen.integer(0, 15), "groups": groups, **given}
        return cls((at,), outs, weights, Bias.draw(pen, outs, spread), **drawn)

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        build_check(divided(x, self.kernel), "a kernel of another size of map")
        operands, part = self._summed(net, x)
        given = {
            "pads": own_padding(x, [self.kernel // 2] * 4),
            "strides": [self.stride] * 2,
            "kernel_shape": [self.kernel] * 2,
        }
        if self.style % 2 or self.groups > 1:
            given |= {"dilations": [1, 1], "group": self.groups}
        if self.style % 4 == 2 and self.kernel == 1 and self.stride == 1 and self.groups == 1:
            given = {}
        name = net.node("Conv", *operands, **given)
        return Map(name, -(-x.rows // self.stride), -(-x.columns // self.stride), (part,))


@dataclass(frozen=True)
class Transposed(_Sums):
    """The transposed convolution of stride 2 to twice the size.  padding: before; more: output padding.

    Scales by channel are those of one group's, the same for each.
    """

    weight: ClassVar[float] = 1.6
    kernel: int = 2
    padding: int = 0
    more: int = 0
    groups: int = 1

    @classmethod
    def accepts(cls, x: Map) -> bool:
        return x.activation and super().accepts(x)

    def shape(self, ins: int) -> tuple[tuple[int, ...], int]:
        build_check(self.outs % self.groups == ins % self.groups == 0, "groups that do not divide the channels")
        return (ins, self.outs // self.groups, self.kernel, self.kernel), 1

    def _by_output(self, q: np.ndarray, axis: int) -> np.ndarray:
        ins, each = q.shape[:2]
        return np.moveaxis(q.reshape(self.groups, ins // self.groups, each, -1), 2, 1).reshape(self.outs, -1)

    @classmethod
    def draw(
        cls, pen: Pen, sketch: Sketch, at: int, larger: bool | None = None, grouped: bool | None = None
    ) -> Transposed:
        x = sketch.maps[at]
        outs, groups = channels(pen, x, 0.5), 1
        if pen.chance(0.15) if grouped is None else grouped:
            groups = divisor(pen, x.channels)
            outs = groups * pen.choice((1, 1, 2)) if 4 * groups * x.pixels < 6_000 else groups
        weights = Weights.draw(pen, outs)
        spread = x.spread * max(weights.scales) * (1 << weights.bits - 1)
        larger = pen.chance(0.4) if larger is None else larger
        form = pen.choice(LARGER) if larger else (2, 0, 0)
        return cls((at,), outs, weights, Bias.draw(pen, outs, spread), pen.integer(0, 15), *form, groups)

    def emit(self, net: Net, *maps: Map) -> Map:
        (x,) = maps
        operands, part = self._summed(net, x)
        given = {"strides": [2, 2], "kernel_shape": [self.kernel] * 2}
        after = self.kernel - 2 + self.more - self.padding
        build_check((self.kernel, self.padding, self.more) in ((2, 0, 0), *LARGER), "another size, or a far tap")
        if self.style % 2 or self.kernel != 2 or self.padding or self.groups > 1:
            pads = [self.padding, self.padding, after, after]
            given |= {"pads": pads, "output_padding": [self.more] * 2, "dilations": [1, 1], "group": self.groups}
        return Map(net.node("ConvTranspose", *operands, **given), 2 * x.rows, 2 * x.columns, (part,))


def divided(x: Map, kernel: int) -> bool:
    """Whether a kernel suits the map's size."""
    unit = {5: 2, 7: 4}.get(kernel, 1)
    return x.rows % unit == x.columns % unit == 0


def own_padding(x: Map, pads: Sequence[int]) -> list[int]:
    """What is left for the convolution of zeros around a map; above, left, below and right."""
    own = [n - given for n, given in zip(pads, x.around or (0,) * 4, strict=True)]
    build_check(min(own) >= 0, "more zeros than the kernel reaches")
    return own


def divisor(pen: Pen, count: int) -> int:
    """One of the largest ways to make groups of channels."""
    return pen.choice([n for n in range(2, count + 1) if count % n == 0][-3:] or [1])


LARGER = (
    (3, 1, 1), (3, 1, 0), (3, 0, 0), (3, 2, 1), (4, 1, 0), (4, 2, 0), (4, 0, 0), (4, 1, 1), (2, 1, 1), (5, 2, 1),
    (6, 2, 0),
)  # fmt: skip
"""Kernel, padding before, output padding: each pixel of twice as many from 3x3 neighbours."""


def channels(pen: Pen, x: Map, share: float = 1.0) -> int:
    """Output channels: few or many, around the 8 of a word and the rows of an array; fewer of large maps."""
    most = max(1, min(40, int(share * 6_000 / x.pixels)))
    return min(most, pen.choice((1, 2, 3, 4, 5, 7, 8, 8, 9, 12, 15, 16, 17, 24, 33)))

"""What an ONNX tensor holds, in terms of integer tensors: exact affine functions of them, waiting for their quantizer.

QONNX computes in real numbers and says with Quant nodes where integers are.  Between two of those nodes a tensor is an
affine function of one integer tensor (an accumulator with scale, bias and batch normalization) or of two (a residual
addition), perhaps behind a ReLU, and poolings or upsamplings that will be done on the quantized integers, because
rounding is monotone and so commutes with them.  A tensor that several such parts make up by Concat is all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from hwseg.curves import Curve, number
from hwseg.ir import AXES, Axes, Rounding
from hwseg.ops import MaxPool2d, Shape, Upsample2d

Rationals = tuple[Fraction, ...]
"""One entry for all channels, or one per channel."""

ZERO: Rationals = (Fraction(0),)


@dataclass(frozen=True)
class Move:
    """A pooling or upsampling still to be done."""

    node: str
    op: MaxPool2d | Upsample2d


@dataclass(frozen=True)
class Part:
    """moves(relu(sum of scales[i] * tensors[i] + offset)); `shape` is that of the result."""

    shape: Shape
    tensors: tuple[str, ...]
    scales: tuple[Rationals, ...]
    offset: Rationals = ZERO
    relu: str = ""
    """Name of the Relu, LeakyRelu or PRelu node, if there was one."""
    slope: Rationals = ZERO
    """What it multiplies numbers below 0 with."""
    curve: Curve | None = None
    """Then it is moves(curve(tensors[0])), and scales, offset and relu say nothing."""
    moves: tuple[Move, ...] = ()
    split: bool = False
    """The tensors are one activation of 9 bits: what 8 of them hold, and the rest (`hwseg.quant.read.wide`)."""

    @property
    def positive(self) -> bool:
        """Whether the activation function leaves no number below 0."""
        return bool(self.relu) and max(self.slope) <= 0

    def affine(self, factor: Rationals, addend: Rationals) -> Part:
        """factor * self + addend, for a part without ReLU."""
        if self.curve is not None:
            return replace(self, curve=self.curve * number(*factor) + number(*addend))
        scales = tuple(zipped(lambda s, f: s * f, scale, factor) for scale in self.scales)
        moved = zipped(lambda o, f: o * f, self.offset, factor)
        return replace(self, scales=scales, offset=zipped(lambda o, a: o + a, moved, addend))

    def digits(self) -> int:
        """Length of the longest numerator or denominator."""
        numbers = [n for values in (*self.scales, self.offset, self.slope) for n in values]
        return max(max(n.numerator.bit_length(), n.denominator.bit_length()) for n in numbers)


@dataclass(frozen=True)
class Value:
    """The channels of all parts, one after the other; `activation` is the model's last operation, if it has come."""

    parts: tuple[Part, ...]
    concat: str = ""
    """Name of the Concat node that put the parts together."""
    activation: str = "none"
    threshold: Fraction = Fraction(0)
    rounding: Rounding | None = None
    """The quantizer behind the activation."""
    axes: Axes = AXES
    """Of the ONNX tensor; parts have channels, rows and columns wherever these are in it."""

    @property
    def shape(self) -> Shape:
        height, width, _ = self.parts[0].shape
        return height, width, sum(part.shape[2] for part in self.parts)

    @property
    def given(self) -> Shape:
        """Of what the model would give: classes have no channels."""
        return (*self.shape[:2], 1) if self.activation in ("argmax", "threshold") else self.shape


def zipped(function: Callable[[Fraction, Fraction], Fraction], a: Rationals, b: Rationals) -> Rationals:
    """`function` channel by channel, in the shortest form."""
    n = max(len(a), len(b))
    return shortest(tuple(function(a[i % len(a)], b[i % len(b)]) for i in range(n)))


def rationals(array: np.ndarray) -> Rationals:
    """The numbers that floats say."""
    return shortest(tuple(Fraction(float(x)) for x in array.reshape(-1)))


def shortest(values: Rationals) -> Rationals:
    """One entry if all are equal."""
    return values[:1] if all(value == values[0] for value in values) else values


def channels_of(values: Rationals, start: int, count: int) -> Rationals:
    """The entries of some channels."""
    return values if len(values) == 1 else shortest(values[start : start + count])


def show(values: Rationals) -> str:
    """A scale as people write it."""
    return f"{float(values[0]):.9g}" if len(values) == 1 else f"{len(values)} scales from {float(min(values)):.9g}"

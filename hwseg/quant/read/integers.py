"""What QuantizeLinear, Clip and DequantizeLinear say: scale, zero point, type and range, checked.

QuantizeLinear      q = saturate(round(x / scale) + z)      integers of the zero point's type
Clip                narrows their range
DequantizeLinear    x' = (q - z) * scale
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwseg.errors import require
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.onnx_file import EXPORT, OnnxNode
from hwseg.quant.read.quantizer import Quantizer, checked_scale

Constant = Callable[[OnnxNode, int, str], np.ndarray]
"""A node's input by number, which must be a constant; what it is, for the sentence."""

SYMMETRIC = "quantize activations symmetrically: quantize_static(..., extra_options={'ActivationSymmetric': True})"
TYPES = {0: np.uint8, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16}
"""By the number that `output_dtype` has for it; 0 is nothing said."""


@dataclass(frozen=True)
class Linear:
    """Scale and zero point of a node, shaped so that they broadcast against what it reads; `kind`: of the integers."""

    scale: np.ndarray
    zero: np.ndarray
    kind: np.dtype[np.generic]

    def same(self, other: Linear) -> bool:
        """Whether both mean one number by every integer."""
        pairs = (self.scale, other.scale), (self.zero, other.zero)
        return all(a.size == b.size and bool((a.reshape(-1) == b.reshape(-1)).all()) for a, b in pairs)


@dataclass(frozen=True)
class Integers:
    """What the QuantizeLinear `node` makes of the tensor `source`: integers in [low, high], which wait for their
    DequantizeLinear.
    """

    node: OnnxNode
    source: str
    linear: Linear
    low: int
    high: int

    @property
    def zero(self) -> int:
        return int(self.linear.zero.reshape(-1)[0])

    def clipped(self, low: int, high: int) -> Integers:
        """Behind a Clip."""
        ends = (min(max(end, low), high) for end in (self.low, self.high))
        return replace(self, low=next(ends), high=next(ends))

    def quantizer(self, place: str) -> Quantizer:
        """The same integers with zero point 0.  place: of the sentence that refuses it."""
        zero = self.linear.zero
        require(bool((zero == self.zero).all()), place, "activations must have one zero point", "quantize per tensor")
        rule = f"the zero point {self.zero} must be among the integers, which are from {self.low} to {self.high}"
        require(self.low <= self.zero <= self.high, place, rule, "let 0.0 be among the numbers that are quantized")
        return Quantizer(self.linear.scale, self.low - self.zero, self.high - self.zero)


def read_linear(node: OnnxNode, constant: Constant, rank: int, kind: np.dtype[np.generic] | None = None) -> Linear:
    """Scale and zero point of a QuantizeLinear or DequantizeLinear that reads `rank` dimensions.

    kind: of the integers that a DequantizeLinear reads, if it is known.
    """
    found = attributes(node, axis=int, saturate=[0, 1], block_size=[0], output_dtype=[*TYPES, 1, 6], precision=[0, 1])
    scale = checked_scale(node, constant)
    zero = constant(node, 2, "zero point") if node.input(2) else None
    if zero is None:
        zero = np.zeros(scale.shape, kind or TYPES.get(found.get("output_dtype", 0), np.uint8))
    whole = zero.dtype.kind in "iu" and zero.size > 0
    require(whole, node.name, f"zero point must be integers, is of type {zero.dtype}", "quantize to int8 or uint8")
    fits = zero.size in (1, scale.size)
    rule = f"zero point must be one number or one for each of {scale.size} scales, has {zero.size}"
    require(fits, node.name, rule, EXPORT)
    axis = found.get("axis", 1)
    return Linear(_along(node, scale, axis, rank), _along(node, zero.astype(np.int64), axis, rank), zero.dtype)


def _along(node: OnnxNode, x: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """One number, or numbers along an axis, in `rank` dimensions."""
    if x.size == 1:
        return x.reshape((1,) * rank)
    good = x.ndim == 1 and -rank <= axis < rank
    rule = f"scale and zero point must be one number or one per channel, have shape {x.shape} with axis {axis}"
    require(good, node.name, rule, "quantize per tensor or per channel")
    return x.reshape([x.size if i == axis % rank else 1 for i in range(rank)])


def read_integers(node: OnnxNode, constant: Constant, clips: Sequence[OnnxNode] = ()) -> Integers:
    """What a QuantizeLinear of a map makes; clips: the Clip nodes behind it."""
    linear = read_linear(node, constant, 4)
    limits = np.iinfo(linear.kind)  # type: ignore[type-var]
    found = Integers(node, node.input(0), linear, int(limits.min), int(limits.max))
    for clip in clips:
        found = found.clipped(*clip_limits(clip, constant, linear.kind))
    return found


def clip_limits(node: OnnxNode, constant: Constant, kind: np.dtype[np.generic]) -> tuple[int, int]:
    """The range of a Clip of integers."""
    attributes(node)
    limits = np.iinfo(kind)  # type: ignore[type-var]
    ends = []
    for index, (what, default) in enumerate((("minimum", limits.min), ("maximum", limits.max)), 1):
        end = constant(node, index, what).reshape(-1) if node.input(index) else np.array([default])
        whole = end.size == 1 and bool(end == np.rint(end))
        require(whole, node.name, f"the {what} of a Clip of integers must be one integer", EXPORT)
        ends.append(int(end[0]))
    require(ends[0] <= ends[1], node.name, f"the minimum {ends[0]} must not exceed the maximum {ends[1]}", EXPORT)
    return ends[0], ends[1]

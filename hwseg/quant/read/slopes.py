"""Relu, LeakyRelu and PRelu wait for the quantizer: a factor for the numbers below 0, of one or of each channel."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from hwseg.curves import Curve
from hwseg.errors import require
from hwseg.ops import MaxPool2d
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.onnx_file import OnnxNode
from hwseg.quant.read.values import ZERO, Part, Rationals, channels_of, rationals, zipped


def relu(b: Builder, node: OnnxNode) -> None:
    """Relu."""
    attributes(node)
    _rectify(b, node, ZERO)


def leaky_relu(b: Builder, node: OnnxNode) -> None:
    """LeakyRelu: one slope."""
    found = attributes(node, alpha=float)
    _rectify(b, node, rationals(np.float32(found.get("alpha", 0.01)).reshape(1)))


def p_relu(b: Builder, node: OnnxNode) -> None:
    """PRelu: one constant slope, or one per channel."""
    attributes(node)
    channels = b.value(node).shape[2]
    slope = b.constant(node, 1, "slope")
    good = slope.size == 1 or (slope.size == channels and slope.shape[-3:] == (channels, 1, 1))
    rule = f"slope must be one number or one per channel, has shape {slope.shape}"
    require(good, node.name, rule, f"give it the shape ({channels}, 1, 1)")
    _rectify(b, node, b.numbers(node, 1, "slope"))


def _rectify(b: Builder, node: OnnxNode, slope: Rationals) -> None:
    value = b.value(node)
    parts, start = [], 0
    for part in value.parts:
        parts.append(_rectified(part, node.name, channels_of(slope, start, part.shape[2])))
        start += part.shape[2]
    b.values[node.outputs[0]] = replace(value, parts=tuple(parts))


def _rectified(part: Part, name: str, slope: Rationals) -> Part:
    """slope * x where x < 0, of a part that may have had a slope already.

    With slope s before, x < 0 has become s * x, which is below 0 where s > 0.
    """
    if slope == (Fraction(1),):
        return part
    if min(slope) < 0:
        pooled = any(isinstance(move.op, MaxPool2d) for move in part.moves)
        cure = "quantize before it, or put the pooling behind it"
        require(not pooled, name, "a slope below 0 cannot follow pooling without a quantizer", cure)
    if part.curve is not None:
        return replace(part, curve=Curve("slope", (part.curve,), slope))
    if not part.relu:
        return replace(part, relu=name, slope=slope)
    return replace(part, slope=zipped(lambda s, t: s * t if s > 0 else s, part.slope, slope))

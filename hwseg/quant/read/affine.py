"""Factors and addends of a channel: batch normalization, x + c, x - c, c - x, x * c and x / c wait for the quantizer.

A batch normalization's factor is gamma / sqrt(variance + epsilon) in float64, as executors compute it.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from hwseg.errors import require
from hwseg.ops import MaxPool2d
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.curves import sized
from hwseg.quant.read.onnx_file import EXPORT, OnnxNode
from hwseg.quant.read.values import ONE, ZERO, Rationals, channels_of, per_channel, rationals, zipped

MAX_DIGITS = 4096
"""Binary digits of an exact scale or offset; a batch normalization adds about a hundred."""


def batch_normalization(b: Builder, node: OnnxNode) -> None:
    """BatchNormalization, as trained."""
    found = attributes(node, epsilon=float, momentum=float, training_mode=[0], spatial=[1])
    require(
        len([o for o in node.outputs if o]) == 1,
        node.name,
        "must have one output",
        "call model.eval() before the export",
    )
    names = ("gamma", "beta", "mean", "variance")
    arrays = [b.constant(node, i, what).astype(np.float64) for i, what in enumerate(names, 1)]
    channels = b.value(node).shape[2]
    for what, array in zip(names, arrays, strict=True):
        require(
            array.shape == (channels,), node.name, f"{what} must have shape ({channels},), has {array.shape}", EXPORT
        )
    (gamma, _, _, variance), (beta, mean) = arrays, (b.numbers(node, i, names[i - 1]) for i in (2, 3))
    power = variance + float(np.float32(found.get("epsilon", 1e-5)))
    worst = float(power.min())
    require(
        np.isfinite(worst) and worst > 0, node.name, f"variance + epsilon must be positive, is {worst:g}", "train again"
    )
    with np.errstate(over="ignore"):
        factors = gamma / np.sqrt(power)
    finite = bool(np.isfinite(factors).all())
    cure = "train again, or fold the normalization into the weights"
    require(finite, node.name, f"gamma / sqrt(variance + epsilon) must be finite, variance is {worst:g}", cure)
    factor = rationals(factors)
    shift = zipped(lambda m, f: m * f, mean, factor)
    _affine(b, node, factor, zipped(lambda x, s: x - s, beta, shift))


def scaling(b: Builder, node: OnnxNode) -> None:
    """Sub and Div, with one constant operand."""
    attributes(node, axis=int, broadcast=int)
    constant = any(node.input(i) in b.constants or node.input(i) in b.quantized for i in (0, 1))
    require(constant, node.name, f"{node.op} of two activations is not supported", "use Add, or one constant operand")
    with_constant(b, node)


def with_constant(b: Builder, node: OnnxNode) -> None:
    """x + c, x - c, c - x, x * c or x / c, c one number or one per channel."""
    index = 0 if node.input(0) in b.values else 1
    cure = "divide by a constant, or leave the division out"
    require(index == 0 or node.op != "Div", node.name, "Div must have the constant second", cure)
    channels = b.value(node, index).shape[2]
    constant = b.constant(node, 1 - index, "operand")
    good = per_channel(constant, channels)
    rule = f"a constant must be one number or one per channel, has shape {constant.shape}"
    require(good, node.name, rule, f"give it the shape (1, {channels}, 1, 1)")
    numbers = b.numbers(node, 1 - index, "operand")
    require(node.op != "Div" or 0 not in numbers, node.name, "division by 0", "divide by another number")
    if node.op == "Sub" and index == 1:
        _affine(b, node, (Fraction(-1),), numbers, index)
    elif node.op in ("Add", "Sub"):
        _affine(b, node, ONE, numbers if node.op == "Add" else tuple(-n for n in numbers), index)
    else:
        _affine(b, node, numbers if node.op == "Mul" else tuple(1 / n for n in numbers), ZERO, index)


def _affine(b: Builder, node: OnnxNode, factor: Rationals, addend: Rationals, index: int = 0) -> None:
    """factor * x + addend, on whatever parts x has."""
    value = b.value(node, index)
    parts, start = [], 0
    for i, part in enumerate(value.parts):
        part = b.settle_part(part, f"{node.outputs[0]}/relu{i}")
        f, a = (channels_of(values, start, part.shape[2]) for values in (factor, addend))
        start += part.shape[2]
        cure = "quantize before it, or move it before the ReLU, the Clip and the pooling"
        what = "a ReLU" if part.slope == ZERO else "a LeakyReLU or PReLU"
        require(
            not part.relu or (a == ZERO and min(f) >= 0), node.name, f"cannot follow {what} without a quantizer", cure
        )
        pooled = any(isinstance(move.op, MaxPool2d) for move in part.moves)
        require(
            not pooled or min(f) >= 0, node.name, "a negative factor cannot follow pooling without a quantizer", cure
        )
        uniform = part.ends is None or len(f) == len(a) == 1
        require(uniform, node.name, "numbers of each channel cannot follow a Clip without a quantizer", cure)
        part = sized(part.affine(f, a), node.name)
        plain = part.digits() <= MAX_DIGITS
        require(plain, node.name, "too many multiplications in a row", "put a quantizer between them")
        parts.append(part)
    b.values[node.outputs[0]] = replace(value, parts=tuple(parts))

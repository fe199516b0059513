"""Quant: a constant becomes integers; of anything else, all that waited since the last one becomes one `Requantize`."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from hwseg.errors import require
from hwseg.ir import Rounding
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.onnx_file import OnnxNode
from hwseg.quant.read.quantizer import Quantized, Quantizer, one_scale
from hwseg.quant.read.values import Value
from hwseg.quant.read.wide import quantized


def requantization(b: Builder, node: OnnxNode) -> None:
    """Quant."""
    quantizer = b.quantizer(node)
    name, output = node.input(0), node.outputs[0]
    if name in b.constants:
        with np.errstate(over="ignore"):
            floats = b.constant(node, 0, "quantized constant").astype(np.float32)
        b.quantized[output] = Quantized(
            rounded(node, floats, quantizer.scale, quantizer.low, quantizer.high), quantizer.scale
        )
        return
    quantize_value(b, node, quantizer, output)


def quantize_value(b: Builder, node: OnnxNode, quantizer: Quantizer, output: str, most: int = 8) -> None:
    """What `node` reads, quantized to at most `most` bits, is the tensor `output`.  A last activation keeps its
    quantizer for the head.
    """
    scale = one_scale(node, quantizer, most)
    value = b.values.get(node.input(0))
    if value is not None and value.activation in ("sigmoid", "softmax") and value.rounding is None:
        b.values[output] = replace(value, rounding=Rounding(scale, quantizer.low, quantizer.high))
        return
    value = b.ordered(node)
    value = value if value.activation == "none" else b.value(node)  # or says why not
    b.values[output] = quantized_value(b, value, node.name, output, quantizer, scale)


def quantized_value(b: Builder, value: Value, name: str, output: str, quantizer: Quantizer, scale: Fraction) -> Value:
    """A value behind a quantizer; what it makes is named after `output`, its nodes after `name`."""
    many = len(value.parts) > 1
    parts = tuple(
        quantized(b, part, f"{name}/{i}" if many else name, f"{output}/{i}" if many else output, quantizer, scale)
        for i, part in enumerate(value.parts)
    )
    return b.settle(replace(value, parts=parts), output)


def rounded(node: OnnxNode, x: np.ndarray, scale: np.ndarray, low: int, high: int) -> np.ndarray:
    """A constant's integers, rounded after the float32 division that QONNX and ONNX define."""
    padded = (1,) * (x.ndim - scale.ndim) + scale.shape
    fits = len(padded) == x.ndim and all(s in (1, n) for s, n in zip(padded, x.shape, strict=True))
    require(fits, node.name, f"scale {scale.shape} must fit the constant {x.shape}", "use one scale")
    with np.errstate(over="ignore"):
        ratio = np.asarray(x / scale)
    if high > 1 << 15:
        ratio = ratio.astype(np.float64)  # float32 does not hold the limits of 32 bits
    q = np.rint(np.clip(ratio, low, high, out=ratio), out=ratio)
    return np.asarray(q.astype(np.int16 if high < 1 << 15 else np.int64))

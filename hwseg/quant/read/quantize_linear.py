"""QuantizeLinear, Clip and DequantizeLinear: a quantizer in two or three nodes, as QDQ and QCDQ files have it.

Together they are a Quant node of the integers q - z, from (low - z) to (high - z), whose zero point is 0: int8 with z =
-128 is uint8 with 0.  What stands between the first and the last of them waits (`hwseg.quant.read.integers`), and the
activation has the name of the last one's output.  A constant goes the same way, wherever in it the file begins: with
floats, or with integers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.integers import clip_limits, read_integers, read_linear
from hwseg.quant.read.onnx_file import OnnxNode
from hwseg.quant.read.quantizer import Quantized
from hwseg.quant.read.requantization import quantize_value, rounded


def quantize_linear(b: Builder, node: OnnxNode) -> None:
    """QuantizeLinear: of a map it waits, of floats it gives integers."""
    name, output = node.input(0), node.outputs[0]
    if name not in b.constants:
        b.integers[output] = read_integers(node, b.constant)
        return
    floats = b.constant(node, 0, "quantized constant")
    linear = read_linear(node, b.constant, floats.ndim)
    limits = np.iinfo(linear.kind)  # type: ignore[type-var]
    with np.errstate(over="ignore"):
        q = rounded(node, floats.astype(np.float32), linear.scale, -(1 << 24), 1 << 24)
    b.constants[output] = np.clip(q + linear.zero, limits.min, limits.max).astype(linear.kind)


def clip(b: Builder, node: OnnxNode) -> None:
    """Clip of integers; of anything else it is refused."""
    name, output = node.input(0), node.outputs[0]
    if name in b.integers:
        waiting = b.integers[name]
        b.integers[output] = waiting.clipped(*clip_limits(node, b.constant, waiting.linear.kind))
        return
    integers = name in b.constants and b.constants[name].dtype.kind in "iu"
    cure = "use ReLU, and let the largest number of its quantizer be the limit"
    require(integers, node.name, "Clip must stand between QuantizeLinear and DequantizeLinear", cure)
    x = b.constants[name]
    b.constants[output] = np.clip(x.astype(np.int64), *clip_limits(node, b.constant, x.dtype)).astype(x.dtype)


def dequantize_linear(b: Builder, node: OnnxNode) -> None:
    """DequantizeLinear: integers that waited become an activation, integers of the file a quantized constant."""
    name, output = node.input(0), node.outputs[0]
    if name in b.integers:
        waiting = b.integers[name]
        linear = read_linear(node, b.constant, 4, waiting.linear.kind)
        same = linear.same(waiting.linear)
        rule = f"scale and zero point must be those of {waiting.node.name}"
        require(same, node.name, rule, "give QuantizeLinear and DequantizeLinear the same ones")
        quantizer = waiting.quantizer(node.name)
        source = b.values.get(waiting.source)
        if source is not None and all(part.positive for part in source.parts):
            quantizer = replace(quantizer, low=max(quantizer.low, 0))  # nothing is below
        quantize_value(b, waiting.node, quantizer, output, 8 + (linear.kind.itemsize == 1))
        return
    if name not in b.constants or b.constants[name].dtype.kind not in "iu":
        rule = f"must read what QuantizeLinear or Clip gives, or constant integers, not {name!r}"
        raise HwsegError(node.name, rule, "quantize floats by QuantizeLinear first")
    integers = b.constants[name]
    linear = read_linear(node, b.constant, integers.ndim, integers.dtype)
    fits = all(s in (1, n) for s, n in zip(linear.scale.shape, integers.shape, strict=True))
    rule = f"scale {linear.scale.shape} must fit the constant {integers.shape}"
    require(fits, node.name, rule, "quantize per tensor or per channel")
    b.quantized[output] = Quantized(integers.astype(np.int64) - linear.zero, linear.scale)

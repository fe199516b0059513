"""Quant: a constant becomes integers; of anything else, all that waited since the last one becomes one `Requantize`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwseg.errors import require
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.onnx_file import EXPORT, OnnxNode
from hwseg.quant.read.quantizer import Quantized, one_scale


def requantization(b: Builder, node: OnnxNode) -> None:
    """Quant."""
    quantizer = b.quantizer(node)
    name, output = node.input(0), node.outputs[0]
    if name in b.constants:
        floats = b.constant(node, 0, "quantized constant").astype(np.float32)
        b.quantized[output] = _constant(node, floats, quantizer.scale, quantizer.low, quantizer.high)
        return
    value = b.value(node)
    scale = one_scale(node, quantizer)
    parts = tuple(
        b.quantize_part(
            part,
            node.name if len(value.parts) == 1 else f"{node.name}/{i}",
            output if len(value.parts) == 1 else f"{output}/{i}",
            quantizer,
            scale,
        )
        for i, part in enumerate(value.parts)
    )
    b.values[output] = b.settle(replace(value, parts=parts), output)


def _constant(node: OnnxNode, x: np.ndarray, scale: np.ndarray, low: int, high: int) -> Quantized:
    """Rounded after the float32 division that QONNX defines."""
    padded = (1,) * (x.ndim - scale.ndim) + scale.shape
    fits = len(padded) == x.ndim and all(s in (1, n) for s, n in zip(padded, x.shape, strict=True))
    require(fits, node.name, f"scale {scale.shape} must fit the constant {x.shape}", EXPORT)
    with np.errstate(over="ignore"):
        ratio = np.asarray(x / scale)
    if high > 1 << 15:
        ratio = ratio.astype(np.float64)  # float32 does not hold the limits of 32 bits
    q = np.rint(np.clip(ratio, low, high, out=ratio), out=ratio)
    return Quantized(q.astype(np.int16 if high < 1 << 15 else np.int64), scale)

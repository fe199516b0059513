"""What a Quant node says: scale, smallest and largest integer.  Zero points are 0, scales positive, widths whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hwseg.errors import require
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.onnx_file import OnnxNode
from hwseg.quant.read.values import Rationals, shortest


@dataclass(frozen=True)
class Quantizer:
    """A Quant node's parameters."""

    scale: np.ndarray
    low: int
    high: int

    @property
    def bits(self) -> int:
        """Of the smallest word that holds every integer."""
        return max(self.high.bit_length(), (-self.low - 1).bit_length() if self.low < 0 else 0) + (self.low < 0)


@dataclass(frozen=True)
class Quantized:
    """A constant behind a Quant node: integers and their scale, broadcast against each other."""

    integers: np.ndarray
    scale: np.ndarray

    @property
    def rationals(self) -> Rationals:
        """Every number, in order: the integer times the rational that its scale is, not rounded to a float."""
        scales = {float(s): Fraction(float(s)) for s in self.scale.reshape(-1)}
        pairs = zip(*(x.reshape(-1).tolist() for x in np.broadcast_arrays(self.integers, self.scale)), strict=True)
        return shortest(tuple(int(q) * scales[s] for q, s in pairs))


def read_quantizer(node: OnnxNode, constant: Callable[[OnnxNode, int, str], np.ndarray]) -> Quantizer:
    """Checked parameters of a Quant node; `constant` gives its inputs by number."""
    found = attributes(node, signed=[0, 1], narrow=[0, 1], rounding_mode=["ROUND", "HALF_EVEN"])
    signed, narrow = (int(found.get(key, 1)) for key in ("signed", "narrow"))
    scale = checked_scale(node, constant)
    zero = constant(node, 2, "zero point")
    width = constant(node, 3, "bit width")
    off = float(np.abs(zero).max()) if zero.size else 0.0
    require(off == 0, node.name, f"zero point must be 0, is {off:g}", "use a symmetric quantizer (Int8..., Uint8...)")
    require(width.size == 1, node.name, f"bit width must be one number, is {width.size}", "use one bit width")
    bits = float(width.reshape(()))
    whole = bits == int(bits) and 1 + signed <= bits <= 32
    require(
        whole,
        node.name,
        f"bit width must be a whole number from {1 + signed} to 32, is {bits:g}",
        "use 2 to 8 bits",
    )
    b = int(bits)
    low = -(1 << b - 1) + narrow if signed else 0
    high = (1 << b - 1) - 1 if signed else (1 << b) - 1 - narrow
    return Quantizer(scale, low, high)


def checked_scale(node: OnnxNode, constant: Callable[[OnnxNode, int, str], np.ndarray]) -> np.ndarray:
    """A quantizer's scale, its input 1: float32, positive and finite."""
    with np.errstate(over="ignore", under="ignore"):
        scale = constant(node, 1, "scale").astype(np.float32)
    require(
        scale.size > 0 and scale.ndim <= 4,
        node.name,
        f"scale must have 1 to 4 dimensions, has {scale.ndim}",
        "use one scale, or one per output channel",
    )
    within = bool(np.isfinite(scale).all())
    largest = float(constant(node, 1, "scale").max())
    require(within, node.name, f"scale must fit float32, reaches {largest:g}", "use a smaller scale")
    worst = float(scale.min())
    require(worst > 0, node.name, f"scale must be positive, is {worst:g}", "train again, or set it")
    return scale


def one_scale(node: OnnxNode, quantizer: Quantizer, most: int = 8) -> Fraction:
    """The scale of an activation of at most `most` bits: one for the whole tensor."""
    bits = max(quantizer.bits, 1)
    require(bits <= most, node.name, f"activations must have at most 8 bits, these have {bits}", "use 2 to 8 bits")
    scale = quantizer.scale
    same = bool((scale == scale.flat[0]).all())
    require(
        same, node.name, f"activations must have one scale, these have {scale.size}", "use per-tensor activation scales"
    )
    return Fraction(float(scale.flat[0]))

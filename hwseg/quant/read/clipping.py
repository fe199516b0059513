"""Clip of real numbers, as ReLU6 is exported: it narrows the quantizer behind it.

Rounding is monotone, so that rounding what is kept within [low, high] is keeping what is rounded within what both ends
are rounded to, wherever they lie between two integers.  Until then the ends wait (`Part.ends`).
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from hwseg.curves import Curve
from hwseg.errors import HwsegError, require
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.curves import sized
from hwseg.quant.read.onnx_file import EXPORT, OnnxNode
from hwseg.quant.read.values import Ends, Part

FARTHEST = float(np.finfo(np.float32).max)
"""ONNX: the end that is not given."""


def clip_numbers(b: Builder, node: OnnxNode) -> None:
    """Clip of what is no integers."""
    name, output = node.input(0), node.outputs[0]
    ends = _ends(b, node)
    if name in b.constants:
        x = b.constants[name]
        b.constants[output] = np.clip(x, *(x.dtype.type(float(end)) for end in ends))
        return
    if name in b.quantized:
        raise HwsegError(node.name, "Clip of a quantized constant is not supported", "clip it before its quantizer")
    value = b.ordered(node)
    value = value if value.activation == "none" else b.value(node)  # or says why not
    b.values[output] = replace(value, parts=tuple(_clipped(part, ends, node.name) for part in value.parts))


def _ends(b: Builder, node: OnnxNode) -> Ends:
    found = attributes(node, min=float, max=float)  # before operator set 11
    ends = []
    for index, (what, key, farthest) in enumerate((("minimum", "min", -FARTHEST), ("maximum", "max", FARTHEST)), 1):
        end = b.constant(node, index, what).reshape(-1) if node.input(index) else np.array([found.get(key, farthest)])
        require(end.size == 1, node.name, f"the {what} of Clip must be one number, is {end.size}", EXPORT)
        ends.append(Fraction(float(end[0])))
    low, high = ends
    rule = f"the minimum {float(low):g} must not exceed the maximum {float(high):g}"
    require(low <= high, node.name, rule, "give the smaller one first")
    return low, high


def _clipped(part: Part, ends: Ends, name: str) -> Part:
    if part.curve is not None:
        return sized(replace(part, curve=Curve("clip", (part.curve,), ends)), name)
    if part.ends is None:
        return replace(part, ends=ends)
    low, high = (min(max(end, ends[0]), ends[1]) for end in part.ends)
    return replace(part, ends=(low, high))

"""Activation functions that bend: Sigmoid within the network, Tanh, HardSigmoid, HardSwish, SiLU, GELU, ELU and others.

They wait for their quantizer, as functions of the integers that stand before them; so does their sum or product with
what they are a function of, as x * sigmoid(x).
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from hwseg.curves import Curve, number
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.curves import mapped
from hwseg.quant.read.onnx_file import OnnxNode
from hwseg.quant.read.quantizer import Quantizer
from hwseg.quant.read.requantization import quantized_value
from hwseg.quant.read.values import Value
from hwseg.quant.read.wide import joined

FLOATS = {
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5}, "Elu": {"alpha": 1.0}, "Celu": {"alpha": 1.0}, "Swish": {"alpha": 1.0},
    "Selu": {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
}  # fmt: skip
"""Attributes and what they are if the file does not say."""


def function(b: Builder, node: OnnxNode) -> None:
    """An operation of `FUNCTIONS`."""
    known: dict[str, Any] = {"approximate": ["none"]} if node.op == "Gelu" else {}
    defaults = FLOATS.get(node.op, {})
    found = attributes(node, **known, **dict.fromkeys(defaults, float))
    numbers = {key: Fraction(float(np.float32(found.get(key, default)))) for key, default in defaults.items()}
    value = whole(b, b.value(node), node.name)
    b.values[node.outputs[0]] = mapped(value, node.name, lambda x: _curve(node.op, x, numbers))


def inside(b: Builder, name: str, value: Value) -> Value:
    """What a Sigmoid whose output is `name` gives within the network; its quantizer, if any, waited for the head."""
    found = mapped(whole(b, value, name), name, lambda x: Curve("sigmoid", (x,)))
    rounding = value.rounding
    if rounding is None:
        return found
    quantizer = Quantizer(np.ones(1, np.float32), rounding.low, rounding.high)
    return quantized_value(b, found, name, b.unused(f"{name}/inner"), quantizer, rounding.scale)


def whole(b: Builder, value: Value, name: str) -> Value:
    """The same with maps of 9 bits as one tensor."""
    parts = tuple(joined(b, part, f"{name}/sum") if part.split else part for part in value.parts)
    return replace(value, parts=parts)


def _curve(op: str, x: Curve, numbers: dict[str, Fraction]) -> Curve:
    """A function as ONNX defines it."""
    alpha = numbers.get("alpha", Fraction(1))
    above = Curve("slope", (x,), (Fraction(0),))
    below = Curve("below", (x,))
    if op == "HardSigmoid":
        return _hard(x, alpha, numbers["beta"])
    if op == "HardSwish":
        return x * _hard(x, Fraction(1, 6), Fraction(1, 2))
    if op == "Swish":
        return x * Curve("sigmoid", (x * number(alpha),))
    if op == "Mish":
        return x * Curve("tanh", (Curve("softplus", (x,)),))
    if op == "Gelu":
        return x * Curve("normal", (x,))
    if op in ("Elu", "Selu"):
        return (above + Curve("expm1", (below,)) * number(alpha)) * number(numbers.get("gamma", Fraction(1)))
    if op == "Celu":
        return above + Curve("expm1", (below * number(1 / alpha),)) * number(alpha)
    return Curve(op.lower(), (x,))


def _hard(x: Curve, slope: Fraction, offset: Fraction) -> Curve:
    return Curve("clip", (x * number(slope) + number(offset),), (Fraction(0), Fraction(1)))


FUNCTIONS = ("Tanh", "Erf", "Softplus", "HardSigmoid", "HardSwish", "Swish", "Mish", "Gelu", "Elu", "Selu", "Celu")
"""What `function` reads."""

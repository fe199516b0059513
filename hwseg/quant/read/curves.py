"""Parts that are a function of one integer tensor: how such a function comes about, and what it may reach.

A tensor of at most 8 bits may be given to any function: it becomes a table.  Accumulators may be given to functions
that are monotone, which become steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from hwseg.curves import Curve, X, number
from hwseg.errors import HwsegError, require
from hwseg.ops import Function
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.values import ZERO, Part, Value

QUANTIZE = "quantize before the activation: put a QuantIdentity of at most 8 bits before it"
MAX_SIZE = 64
"""Operations of a function: batch normalizations and the like in a row, twice for x * sigmoid(x)."""


def curve_of(part: Part, name: str) -> Curve:
    """What a part is as a function of its tensor."""
    require(not part.moves, name, "cannot follow pooling or enlarging without a quantizer", QUANTIZE)
    if part.curve is not None:
        return part.curve
    require(len(part.tensors) == 1, name, "cannot follow an addition without a quantizer", QUANTIZE)
    found = X if part.scales[0] == (Fraction(1),) else X * number(*part.scales[0])
    found = found if part.offset == ZERO else found + number(*part.offset)
    return Curve("slope", (found,), part.slope) if part.relu else found


def curved(part: Part, curve: Curve, name: str) -> Part:
    """A part that is a function of the tensor of another."""
    require(curve.size <= MAX_SIZE, name, "is one operation too many since the last quantizer", QUANTIZE)
    return Part(part.shape, part.tensors, ((Fraction(1),),), curve=curve)


def mapped(value: Value, name: str, function: Callable[[Curve], Curve]) -> Value:
    """A function of every number."""
    parts = tuple(curved(part, function(curve_of(part, name)), name) for part in value.parts)
    return replace(value, parts=parts, activation="none", rounding=None)


def together(a: Value, b: Value, name: str, function: Callable[[Curve, Curve], Curve]) -> Value | None:
    """A function of two values of the same tensors, one of them bent already; of any other values nothing."""
    pairs = list(zip(a.parts, b.parts, strict=False))
    same = len(a.parts) == len(b.parts) and all(p.tensors == q.tensors and p.shape == q.shape for p, q in pairs)
    if not same or all(p.curve is None and q.curve is None for p, q in pairs):
        return None
    parts = (curved(p, function(curve_of(p, name), curve_of(q, name)), name) for p, q in pairs)
    return replace(a, parts=tuple(parts))


def reached(b: Builder, part: Part, name: str, low: int, high: int, scale: Fraction) -> tuple[int, int]:
    """The range [low, high] of a quantizer of a curve, as far as the curve gets there, 0 included."""
    assert part.curve is not None
    kind, step = b.types[part.tensors[0]], Function(part.curve, scale, low, high)
    channels = range(part.curve.channels)
    if kind.high - kind.low >= step.TABLE:
        monotone = all(part.curve.direction(channel) is not None for channel in channels)
        require(monotone, name, "the function before it falls and rises, and what it reads is not quantized", QUANTIZE)
    try:
        tables = [step.changes(kind.low, kind.high, channel) for channel in channels]
    except ArithmeticError as error:
        raise HwsegError(name, str(error), "use a scale that is a power of two") from None
    results = [y for first, changes in tables for y in (first, *(after for _, after in changes))]
    return max(low, min(*results, 0)), min(high, max(*results, 0))

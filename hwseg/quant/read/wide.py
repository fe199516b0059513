"""Activations of 9 bits, which zero points make: two maps of 8 bits, of which every number is the sum.

A quantizer of 8 bits whose zero point is neither at an end nor in the middle gives v = q - z in [low, high], at most
255 apart, 0 among them.  v is the sum of

    the base    clamp(v, low, 126)  or  clamp(v, -128, high)
    the rest    max(v - 126, 0)     or  min(v + 128, 0)         where high > 127, or where low < -128

Each is a requantizer of what v was rounded from: the shift is even, so that ties still go to the even integer.  A
convolution of v is that of both, with the same weights twice; beyond the edge both are 0, as v is.  Both grow with v,
so that maxima of each are those of v.

Additions and means have no edge: they read one map, v + k, of 8 bits, and their offset takes k back.  That map is
rounded from what v was where k is even or no number lies on a tie, else it is the sum of the base, the rest and k.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import gcd, lcm

import numpy as np

from hwseg.errors import require
from hwseg.ir import Node, TensorType
from hwseg.ops import AveragePool2d, Bilinear2d, Concat, Conv2d
from hwseg.quant.read.builder import Builder, Rounded
from hwseg.quant.read.curves import reached
from hwseg.quant.read.integers import SYMMETRIC
from hwseg.quant.read.onnx_file import MAX_ELEMENTS, OnnxNode
from hwseg.quant.read.quantizer import Quantizer
from hwseg.quant.read.values import ONE, ZERO, Part, Value, zipped

BASE = -128, 126
"""Ends of the base; both are even."""
WIDE = "base", "rest"
"""The two maps."""
MAX_BITS = 8
"""Of a map."""


def interval(b: Builder, part: Part) -> tuple[int, int]:
    """Smallest and largest integer of a wide part."""
    kinds = [b.types[tensor] for tensor in part.tensors]
    return sum(kind.low for kind in kinds), sum(kind.high for kind in kinds)


def quantized(b: Builder, part: Part, name: str, output: str, quantizer: Quantizer, scale: Fraction) -> Part:
    """A part behind a quantizer of up to 9 bits; its maps are named after `output`, their nodes after `name`."""
    if part.ends is not None:
        low, high = (min(max(round(end / scale), quantizer.low), quantizer.high) for end in part.ends)
        part, quantizer = replace(part, ends=None), replace(quantizer, low=low, high=high)
    low, high = quantizer.low, quantizer.high
    if part.curve is not None:
        low, high = reached(b, part, name, low, high, scale)
    if quantizer.bits > MAX_BITS and (part.positive or _never_negative(b, part)):
        low = min(max(low, 0), high)
    same = (b.is_activation(part) or b.is_wide(part)) and part.scales[0] == (scale,)
    if same and low <= interval(b, part)[0] and interval(b, part)[1] <= high:
        return part
    if part.split:
        part = joined(b, part, f"{name}/sum")
    narrowed = replace(quantizer, low=low, high=high)
    if narrowed.bits <= MAX_BITS:
        return b.quantize_part(part, name, output, narrowed, scale)
    above = high > BASE[1] + 1
    turn = BASE[1] if above else BASE[0]
    ends = ((low, turn), (0, high - turn)) if above else ((turn, max(turn, high)), (low - turn, min(high - turn, 0)))
    moved = _moved(part, turn * scale, name)
    maps: list[str] = []
    for what, source, (least, most) in zip(WIDE, (part, moved), ends, strict=True):
        clamped = replace(quantizer, low=least, high=most)
        made = b.quantize_part(source, f"{name}/{what}", b.unused(f"{output}/{what}"), clamped, scale)
        maps += made.tensors
    b.wide[tuple(maps)] = Rounded(part, name, output, narrowed, scale)
    return Part(part.shape, tuple(maps), ((scale,), (scale,)), split=True)


def in_8_bits(b: Builder, node: OnnxNode, index: int = 0) -> tuple[str, int]:
    """A map of at most 8 bits for what has no edge, and by how many integers it is more than what the node reads."""
    name = node.input(index)
    value = b.settle(b.value(node, index), name)
    if not _has_wide(b, value):
        return b.activation(node, index), 0
    b.keep(name, value)
    ends = [interval(b, part) for part in value.parts]
    low, high = min(least for least, _ in ends), max(most for _, most in ends)
    fitting = [k for least, most in ((0, 255), (-128, 127)) for k in range(least - low, most - high + 1)]
    rule = f"{name} must have at most 8 bits, has from {low} to {high} because of its zero points"
    require(bool(fitting), node.name, rule, SYMMETRIC)
    k = min(fitting, key=lambda k: (k % 2, abs(k)))
    key = ("shifted", *(part.tensors for part in value.parts), k)
    if key not in b.made:
        b.made[key] = _shifted(b, value, name, k, (low + k, high + k))
    return b.made[key], k


def sums_of_8_bits(b: Builder, node: OnnxNode, op: AveragePool2d | Bilinear2d) -> None:
    """The node as sums of a map of at most 8 bits, whatever the node reads has."""
    x, more = in_8_bits(b, node)
    kind = b.types[x]
    sums = TensorType(op.shape(kind.shape), *op.interval(kind.interval), (kind.scale[0] / op.unit,))
    output = b.emit(node.name, op, (x,), node.outputs[0], sums)
    b.values[output] = Value((b.part(output).affine(ONE, (-more * kind.scale[0],)),))


def _shifted(b: Builder, value: Value, name: str, k: int, ends: tuple[int, int]) -> str:
    found = b.wide.get(value.parts[0].tensors) if len(value.parts) == 1 else None
    if found is None or not _shifts(b, found, k):
        whole = joined_value(b, value, f"{name}/sum").parts[0]
        scale = whole.scales[0][0]
        found = Rounded(whole, name, name, Quantizer(np.array(float(scale)), *ends), scale)
    part = found.part.affine((Fraction(1),), (k * found.scale,))
    quantizer = replace(found.quantizer, low=ends[0], high=ends[1])
    output = b.unused(f"{found.output}/shifted")
    return b.quantize_part(part, f"{found.name}/shifted", output, quantizer, found.scale).tensors[0]


def _shifts(b: Builder, found: Rounded, k: int) -> bool:
    """Is the rounded part, plus k, what their sum is rounded to?  Of a tie, an odd k makes the other integer."""
    part = found.part
    if part.relu or (k % 2 and part.curve is not None):
        return False
    return k % 2 == 0 or not (len(part.tensors) > 1 or _has_tie(b, part, found.scale))


def _has_tie(b: Builder, part: Part, scale: Fraction) -> bool:
    """Does any integer of a part's tensor come to lie between two integers times `scale`, as far from both?"""
    kind = b.types[part.tensors[0]]
    channels = max(len(part.scales[0]), len(part.offset))
    pairs = {(part.scales[0][c % len(part.scales[0])], part.offset[c % len(part.offset)]) for c in range(channels)}
    return any(meets_half(a / scale, o / scale, kind.low, kind.high) for a, o in pairs)


def meets_half(a: Fraction, o: Fraction, low: int, high: int) -> bool:
    """Is a * x + o an integer and a half for any integer x from low to high?

    Over the common denominator d: 2 (p x + r) = d (mod 2 d), a congruence with one solution modulo 2 d / gcd.
    """
    d = lcm(a.denominator, o.denominator)
    p, r = 2 * int(a * d), 2 * int(o * d)
    common = gcd(p, 2 * d)
    if (d - r) % common:
        return False
    period = 2 * d // common
    first = 0 if period == 1 else (d - r) // common * pow(p // common, -1, period) % period
    return low + (first - low) % period <= high


def _moved(part: Part, by: Fraction, name: str) -> Part:
    """What is beyond `by`: the part less that, as far as it is on the same side of 0.

    Behind a PReLU that is one branch: numbers above 0 are those of v, numbers below 0 those of slope * v.
    """
    if part.curve is not None:
        return part.affine((Fraction(1),), (-by,))
    if part.slope != ZERO:
        rule = "a slope below 0 wants a quantizer of 8 bits, this one has 9 because of its zero point"
        require(min(part.slope) >= 0, name, rule, SYMMETRIC)
        if by < 0:
            part = part.affine(part.slope, ZERO)
    return replace(part, offset=zipped(lambda o, _: o - by, part.offset, ZERO), relu="", slope=ZERO)


def _never_negative(b: Builder, part: Part) -> bool:
    """Then nor is what a quantizer makes of it."""
    if part.curve is not None:
        return False
    factors = [scale for scales in part.scales for scale in scales]
    return min(*factors, *part.offset) >= 0 and all(b.types[tensor].low >= 0 for tensor in part.tensors)


def joined(b: Builder, part: Part, name: str) -> Part:
    """The part with the sum of its two maps instead of them."""
    base = b.types[part.tensors[0]]
    alone = Part(base.shape, part.tensors, (base.scale,) * 2, split=True)
    total = _sum(b, (alone,), interval(b, part), name)
    return replace(part, tensors=(total,), scales=part.scales[:1], split=False)


def joined_value(b: Builder, value: Value, name: str) -> Value:
    """A value of activations of one scale, some of 9 bits, as one tensor; any other as it is."""
    if not _has_wide(b, value):
        return value
    ends = [interval(b, part) for part in value.parts]
    total = _sum(b, value.parts, (min(low for low, _ in ends), max(high for _, high in ends)), name)
    return replace(value, parts=(b.part(total),))


def _sum(b: Builder, parts: tuple[Part, ...], ends: tuple[int, int], name: str) -> str:
    """Bases and rests of activations added up, in [low, high]: a 1x1 convolution, with weights 1."""
    tensors, channels = _maps(parts)
    key = ("sum", tensors)
    if key not in b.made:
        outs = int(channels.max()) + 1
        rule = f"{outs} channels of 9 bits must make at most {MAX_ELEMENTS} weights of a 1x1 layer"
        require(outs * len(channels) <= MAX_ELEMENTS, name, rule, "use fewer channels")
        weights = np.ascontiguousarray(np.eye(outs, dtype=np.int8)[:, channels, None, None])
        source, output = _beside(b, tensors, f"{tensors[0]}/both"), b.unused(f"{tensors[0]}/sum")
        node = Node(b.fresh(name), Conv2d(1, outs, extra=len(channels)), (source,), output, weights)
        b.append(node)
        shape = (*parts[0].shape[:2], outs)
        b.made[key] = b.record(name, output, TensorType(shape, *ends, parts[0].scales[0]))
    return b.made[key]


def operand(b: Builder, node: OnnxNode) -> tuple[str, np.ndarray]:
    """The tensor that a convolution reads, and of each of its channels the model's channel whose weights it takes.

    The model's channels come first; behind them are the rests of those that have 9 bits.
    """
    name = node.input(0)
    value = b.settle(b.value(node), name)
    if not _has_wide(b, value):
        tensor = b.activation(node)
        return tensor, np.arange(b.types[tensor].shape[2])
    b.keep(name, value)
    tensors, channels = _maps(value.parts)
    return _beside(b, tensors, f"{name}/both"), channels


def _has_wide(b: Builder, value: Value) -> bool:
    """Is it all activations of one scale, and any of them of 9 bits?"""
    wide = [b.is_wide(part) for part in value.parts]
    whole = all(w or b.is_activation(part) for w, part in zip(wide, value.parts, strict=True))
    return any(wide) and whole and len({part.scales[0] for part in value.parts}) == 1


def _maps(parts: tuple[Part, ...]) -> tuple[tuple[str, ...], np.ndarray]:
    """All maps of activations, rests last, and the model's channel of each of their channels."""
    starts = np.cumsum([0, *(part.shape[2] for part in parts)])
    tensors, channels = [part.tensors[0] for part in parts], [np.arange(starts[-1])]
    for start, part in zip(starts, parts, strict=False):
        if part.split:
            tensors.append(part.tensors[1])
            channels.append(np.arange(start, start + part.shape[2]))
    return tuple(tensors), np.concatenate(channels)


def _beside(b: Builder, tensors: tuple[str, ...], output: str) -> str:
    """The channels of several maps, one after the other."""
    key = ("beside", tensors)
    if key not in b.made:
        kinds = [b.types[tensor] for tensor in tensors]
        op = Concat()
        kind = TensorType(
            op.shape(*(k.shape for k in kinds)), *op.interval(*(k.interval for k in kinds)), kinds[0].scale
        )
        b.made[key] = b.emit(output, op, tensors, b.unused(output), kind)
    return b.made[key]

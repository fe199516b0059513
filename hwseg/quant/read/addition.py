"""Add and Sub of two activations, which wait for their quantizer; with a constant it is an moved."""

from __future__ import annotations

from fractions import Fraction

from hwseg.curves import number
from hwseg.errors import require
from hwseg.quant.read.affine import scaling, with_constant
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.curves import together
from hwseg.quant.read.onnx_file import OnnxNode
from hwseg.quant.read.sizes import UnfitSizeError
from hwseg.quant.read.values import Part, Value
from hwseg.quant.read.wide import in_8_bits


def addition(b: Builder, node: OnnxNode) -> None:
    """Add."""
    attributes(node, axis=int, broadcast=int)
    if _constant(b, node):
        with_constant(b, node)
        return
    values = [b.value(node, i) for i in (0, 1)]
    found = together(values[0], values[1], node.name, lambda x, y: x + y)
    if found is not None:
        b.values[node.outputs[0]] = found
        return
    _sum(b, node, (1, 1))


def subtraction(b: Builder, node: OnnxNode) -> None:
    """Sub: the sum of the first and of minus the second."""
    if _constant(b, node):
        scaling(b, node)
        return
    attributes(node, axis=int, broadcast=int)
    values = [b.value(node, i) for i in (0, 1)]
    found = together(values[0], values[1], node.name, lambda x, y: x + y * number(-1))
    if found is not None:
        b.values[node.outputs[0]] = found
        return
    _sum(b, node, (1, -1))


def _constant(b: Builder, node: OnnxNode) -> bool:
    return any(node.input(i) in b.constants or node.input(i) in b.quantized for i in (0, 1))


def _sum(b: Builder, node: OnnxNode, signs: tuple[int, int]) -> None:
    shapes = [b.value(node, i).shape for i in (0, 1)]
    rule = f"both operands must have one shape, have {shapes[0]} and {shapes[1]}"
    if shapes[0][:2] != shapes[1][:2]:
        raise UnfitSizeError(node.name, rule, "pool or enlarge one of them before it")
    require(shapes[0] == shapes[1], node.name, rule, "bring one of them to the other's channels by a 1x1 convolution")
    operands, more = zip(*(in_8_bits(b, node, i) for i in (0, 1)), strict=True)
    factors = [sign * b.types[tensor].scale[0] for sign, tensor in zip(signs, operands, strict=True)]
    offset = -sum((k * factor for k, factor in zip(more, factors, strict=True)), Fraction(0))
    b.values[node.outputs[0]] = Value((Part(shapes[0], operands, tuple((f,) for f in factors), (offset,)),))

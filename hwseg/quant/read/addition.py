"""Add: residual addition of two activations, which waits for its quantizer; with a constant it is an addend."""

from __future__ import annotations

from hwseg.errors import require
from hwseg.quant.read.affine import with_constant
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.curves import together
from hwseg.quant.read.onnx_file import OnnxNode
from hwseg.quant.read.sizes import UnfitSizeError
from hwseg.quant.read.values import Part, Value


def addition(b: Builder, node: OnnxNode) -> None:
    """Add."""
    attributes(node, axis=int, broadcast=int)
    if any(node.input(i) in b.constants or node.input(i) in b.quantized for i in (0, 1)):
        with_constant(b, node)
        return
    values = [b.value(node, i) for i in (0, 1)]
    found = together(values[0], values[1], node.name, lambda x, y: x + y)
    if found is not None:
        b.values[node.outputs[0]] = found
        return
    shapes = [value.shape for value in values]
    rule = f"both operands must have one shape, have {shapes[0]} and {shapes[1]}"
    if shapes[0][:2] != shapes[1][:2]:
        raise UnfitSizeError(node.name, rule, "pool or enlarge one of them before it")
    require(shapes[0] == shapes[1], node.name, rule, "bring one of them to the other's channels by a 1x1 convolution")
    operands = b.activation(node, 0), b.activation(node, 1)
    scales = tuple(b.types[tensor].scale for tensor in operands)
    b.values[node.outputs[0]] = Value((Part(shapes[0], operands, scales),))

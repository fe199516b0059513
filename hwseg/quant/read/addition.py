"""Add: residual addition of two activations, which waits for its quantizer; with a constant it is an addend."""

from __future__ import annotations

from hwseg.errors import require
from hwseg.quant.read.affine import with_constant
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.onnx_file import EXPORT, OnnxNode
from hwseg.quant.read.values import Part, Value


def addition(b: Builder, node: OnnxNode) -> None:
    """Add."""
    attributes(node, axis=int, broadcast=int)
    if any(node.input(i) in b.constants or node.input(i) in b.quantized for i in (0, 1)):
        with_constant(b, node)
        return
    shapes = [b.value(node, i).shape for i in (0, 1)]
    require(
        shapes[0] == shapes[1],
        node.name,
        f"both operands must have one shape, have {shapes[0]} and {shapes[1]}",
        EXPORT,
    )
    operands = b.activation(node, 0), b.activation(node, 1)
    scales = tuple(b.types[tensor].scale for tensor in operands)
    b.values[node.outputs[0]] = Value((Part(shapes[0], operands, scales),))

"""Mul: a gate, which is a map times a map; with a constant a factor, with a function of the same tensor another one."""

from __future__ import annotations

from hwseg.errors import require
from hwseg.ir import TensorType
from hwseg.ops import Product
from hwseg.quant.read.affine import with_constant
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.curves import together
from hwseg.quant.read.onnx_file import OnnxNode
from hwseg.quant.read.sizes import UnfitSizeError
from hwseg.quant.read.values import Value


def product(b: Builder, node: OnnxNode) -> None:
    """Mul."""
    attributes(node, axis=int, broadcast=int)
    if any(node.input(i) in b.constants or node.input(i) in b.quantized for i in (0, 1)):
        with_constant(b, node)
        return
    output, values = node.outputs[0], [b.value(node, i) for i in (0, 1)]
    found = together(values[0], values[1], node.name, lambda x, y: x * y)
    if found is not None:
        b.values[output] = found
        return
    shapes = [value.shape for value in values]
    rule = f"both factors must have one size, have {shapes[0]} and {shapes[1]}"
    if shapes[0][:2] != shapes[1][:2]:
        cure = "pool or enlarge one of them before it"
        if (1, 1) in (shape[:2] for shape in shapes):
            require(False, node.name, rule, "leave squeeze-and-excitation out: it needs statistics of the whole map")
        raise UnfitSizeError(node.name, rule, cure)
    gate = 1 if shapes[1][2] == 1 or shapes[0][2] != 1 else 0
    fits = shapes[gate][2] in (1, shapes[1 - gate][2])
    rule = f"a factor must have one channel or as many as the other, these have {shapes[0][2]} and {shapes[1][2]}"
    require(fits, node.name, rule, "make a gate of one channel")
    operands = b.activation(node, 1 - gate), b.activation(node, gate)
    kinds = [b.types[tensor] for tensor in operands]
    op = Product()
    kind = TensorType(
        op.shape(*(k.shape for k in kinds)), *op.interval(*(k.interval for k in kinds)),
        (kinds[0].scale[0] * kinds[1].scale[0],),
    )  # fmt: skip
    b.values[output] = Value((b.part(b.emit(node.name, op, operands, output, kind)),))

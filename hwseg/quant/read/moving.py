"""Pooling and enlarging commute with rounding, which is monotone: they wait where their operand waits."""

from __future__ import annotations

from dataclasses import replace

from hwseg.errors import require
from hwseg.ops import MaxPool2d, Upsample2d, shape
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.onnx_file import OnnxNode
from hwseg.quant.read.values import Move
from hwseg.quant.read.wide import WIDE

MAX_MOVES = 64
"""A map of one pixel can be enlarged and pooled any number of times."""


def move_map(b: Builder, node: OnnxNode, op: MaxPool2d | Upsample2d) -> None:
    """Pool or enlarge activations at once; what is not quantized yet, after its quantizer."""
    output = node.outputs[0]
    value = b.settle(b.value(node), node.input(0))
    move, parts = Move(b.fresh(node.name), op), []
    for i, part in enumerate(value.parts):
        if b.is_activation(part):
            parts.append(b.part(b.move(move, part.tensors[0], output if len(value.parts) == 1 else f"{output}/{i}")))
        elif b.is_wide(part):
            moved = [
                b.move(move, x, b.unused(f"{output}/{i}/{what}")) for x, what in zip(part.tensors, WIDE, strict=True)
            ]
            parts.append(replace(part, shape=b.types[moved[0]].shape, tensors=tuple(moved)))
        else:
            most = f"at most {MAX_MOVES} poolings and enlargings may wait for a quantizer"
            require(len(part.moves) < MAX_MOVES, node.name, most, "put a quantizer between them")
            parts.append(replace(part, shape=shape(op, (part.shape,)), moves=(*part.moves, move)))
    b.values[output] = replace(value, parts=tuple(parts))

"""Relu waits for the quantizer, and is its lower clamp."""

from __future__ import annotations

from dataclasses import replace

from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.onnx_file import OnnxNode


def relu(b: Builder, node: OnnxNode) -> None:
    """Relu."""
    attributes(node)
    value = b.value(node)
    parts = tuple(part if part.relu else replace(part, relu=node.name) for part in value.parts)
    b.values[node.outputs[0]] = replace(value, parts=parts)

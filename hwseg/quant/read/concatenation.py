"""Concat: the channels of all branches, each whatever it is; one tensor where they are quantized alike."""

from __future__ import annotations

from hwseg.errors import require
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.onnx_file import EXPORT, OnnxNode
from hwseg.quant.read.sizes import nearest_sizes
from hwseg.quant.read.values import Value

MAX_BRANCHES = 64


def concatenation(b: Builder, node: OnnxNode) -> None:
    """Concat over channels."""
    attributes(node, axis=[1, -3])
    require("axis" in node.attributes, node.name, "axis must be 1", EXPORT)
    values = [b.value(node, index) for index in range(len(node.inputs))]
    require(len(values) > 0, node.name, "must have inputs", EXPORT)
    sizes = [value.shape[:2] for value in values]
    other = next((size for size in sizes if size != sizes[0]), sizes[0])
    same = other == sizes[0]
    require(
        same,
        node.name,
        f"branches must have one size, have {_size(sizes[0])} and {_size(other)}",
        nearest_sizes(b.file),
    )
    parts = tuple(part for value in values for part in value.parts)
    most = f"at most {MAX_BRANCHES} branches may be concatenated, these are {len(parts)}"
    require(len(parts) <= MAX_BRANCHES, node.name, most, "put quantized convolutions between concatenations")
    b.values[node.outputs[0]] = Value(parts, b.fresh(node.name))


def _size(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))

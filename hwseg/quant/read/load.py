"""A QONNX or QDQ file becomes the integer graph: floating point ends here.

Quant nodes, or QuantizeLinear with DequantizeLinear, say where integers are.  Everything between two of them (bias,
batch normalization, ReLU) is gathered as an exact rational function of the accumulator and becomes one
`Requantize`; every number is the rational that the model's float32 says.  Two constants follow the executors'
floating point: weights are rounded after the float32 division that QONNX defines, and a batch normalization's
factor is gamma / sqrt(variance + epsilon) in float64.

Each ONNX operation has one rule, which adds to the graph so far (`hwseg.quant.read.builder`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.ir import Graph, Node
from hwseg.quant.read.addition import addition
from hwseg.quant.read.affine import batch_normalization, scaling
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.axes import lengths
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.concatenation import concatenation
from hwseg.quant.read.convolution import convolution, transposed_convolution
from hwseg.quant.read.enlarging import enlarging
from hwseg.quant.read.fold import folded
from hwseg.quant.read.functions import FUNCTIONS, function, inside
from hwseg.quant.read.head import comparison, final, head_of
from hwseg.quant.read.instead import FLOATS, all_floats, instead_of
from hwseg.quant.read.layout import in_order
from hwseg.quant.read.onnx_file import OnnxFile, OnnxNode, read
from hwseg.quant.read.pooling import average_pooling, max_pooling
from hwseg.quant.read.products import product
from hwseg.quant.read.quantize_linear import clip, dequantize_linear, quantize_linear
from hwseg.quant.read.requantization import requantization
from hwseg.quant.read.sizes import UnfitSizeError, nearest_sizes
from hwseg.quant.read.slopes import leaky_relu, p_relu, relu
from hwseg.quant.read.tail import cast, flatten, reshape, squeeze, transpose, unsqueeze
from hwseg.quant.read.unchanged import crop, identity, pad
from hwseg.quant.read.values import Value

RULES: Mapping[str, Callable[[Builder, OnnxNode], None]] = {
    "Quant": requantization,
    "QuantizeLinear": quantize_linear,
    "Clip": clip,
    "DequantizeLinear": dequantize_linear,
    "Conv": convolution,
    "ConvTranspose": transposed_convolution,
    "BatchNormalization": batch_normalization,
    "Relu": relu,
    "LeakyRelu": leaky_relu,
    "PRelu": p_relu,
    "MaxPool": max_pooling,
    "AveragePool": average_pooling,
    "Resize": enlarging,
    "Upsample": enlarging,
    "Concat": concatenation,
    "Add": addition,
    "Sub": scaling,
    "Mul": product,
    "Div": scaling,
    "Identity": identity,
    "Dropout": identity,
    "Slice": crop,
    "Pad": pad,
    "Greater": comparison,
    "Sigmoid": final,
    "Softmax": final,
    "ArgMax": final,
    "Transpose": transpose,
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Cast": cast,
    **dict.fromkeys(FUNCTIONS, function),
}
"""What each ONNX operation means.  A module has the same stem here, in `hwseg.golden` and in `hwseg.compile.lower`."""


def load(path: str | Path, output: str = "") -> Graph:
    """The integer graph of a QONNX or QDQ file, or `HwsegError`.

    output: the tensor that the network shall give, of a file with several outputs, or any that the file computes; what
    it does not need is left out.
    """
    return load_with_origins(path, output)[0]


def load_with_origins(path: str | Path, output: str = "") -> tuple[Graph, dict[str, Value]]:
    """The graph, and what every tensor of the ONNX file is in terms of the graph's tensors, for comparing executors."""
    file = read(path, output)
    try:
        return _graph(file)
    except UnfitSizeError as error:
        sizes = nearest_sizes(file, lambda height, width: _fits(file, height, width))
        raise HwsegError(error.place, error.rule, sizes or error.cure) from None


def _fits(file: OnnxFile, height: int, width: int) -> bool:
    """Is the model sound with an input of another size?  It is tried."""
    try:
        _graph(replace(file, shape=(*file.shape[:2], height, width)))
    except HwsegError:
        return False
    return True


def _graph(file: OnnxFile) -> tuple[Graph, dict[str, Value]]:
    """What `load_with_origins` gives, of a checked file."""
    builder = Builder(file, inside)
    for node in file.nodes:
        if _fold(builder, node):
            continue
        how = RULES.get(node.op)
        if how is None:
            cure = FLOATS if all_floats(other.op for other in file.nodes) else instead_of(node.op)
            raise HwsegError(node.name, f"operation {node.op} is not supported", cure)
        in_order(how, builder, node)
    rule = "the output must be what a DequantizeLinear gives, is integers that wait for one"
    waits = file.output in builder.integers
    require(not waits, file.output, rule, "end the model with DequantizeLinear, or name its output")
    constant = "the output must depend on the image, is a constant"
    require(file.output in builder.values, file.output, constant, "give what the convolutions compute")
    head = head_of(builder, file.output)
    nodes = _needed(builder.nodes, head.tensor)
    convolves = any(node.weights is not None for node in nodes)
    require(convolves, file.path.name, "must have a convolution", "put a QuantConv2d before the output")
    kept = {file.input} | {node.output for node in nodes}
    types = {name: kind for name, kind in builder.types.items() if name in kept}
    name, metadata = os.fsencode(file.path.stem).decode("utf-8", "replace"), dict(file.metadata)
    values = _origins(builder, file.output)
    return Graph(name, file.input, nodes, types, head, metadata, builder.input_quantizer), values


def _origins(b: Builder, output: str) -> dict[str, Value]:
    """What every tensor is; a Sigmoid that is not the last one, what it is within the network."""
    found = dict(b.values)
    for name, value in b.values.items():
        if value.activation == "sigmoid" and name != output and value.parts != b.values[output].parts:
            del found[name]
            if name in b.inner or value.rounding is None:
                found[name] = replace(b.inner.get(name) or b.inside(b, name, value), axes=value.axes)
    return found


def _fold(b: Builder, node: OnnxNode) -> bool:
    """Is the node arithmetic on constants?  Then its result is one."""
    if node.op == "Shape":
        attributes(node, start=int, end=int)
        value = b.ordered(node)
        sizes = np.array(lengths(value.axes, value.given), np.int64)
        b.constants[node.outputs[0]] = sizes[node.attributes.get("start", 0) : node.attributes.get("end")]
        return True
    names = [name for name in node.inputs if name]
    if not names or not all(name in b.constants for name in names):
        return False
    result = folded(node, [b.constants[name] if name else None for name in node.inputs])
    if result is not None:
        b.constants[node.outputs[0]] = result
    return result is not None


def _needed(nodes: list[Node], output: str) -> tuple[Node, ...]:
    """The nodes that the head's tensor comes from."""
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if node.output in wanted:
            wanted.update(node.inputs)
            kept.append(node)
    return tuple(reversed(kept))

"""Channels-last files, as qonnx's ConvertToChannelsLast writes them: every rule reads maps [1, C, H, W].

Nodes of the domain `qonnx.custom_op.channels_last` are those of ONNX on maps [1, H, W, C]; Transpose nodes stand where
such maps begin and end, and what is of every number by itself lies on either side of them.  A value knows its axes
(`hwseg.quant.read.axes`), so that a rule is given the same map, weights and constants of one per channel as it knows
them, and its result has the axes of what it read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.ir import AXES
from hwseg.quant.read.axes import LAST, channels_first, channels_last
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.onnx_file import OnnxNode
from hwseg.quant.read.quantizer import Quantized

Rule = Callable[[Builder, OnnxNode], None]

ANY_ORDER = (
    "Quant", "QuantizeLinear", "Clip", "DequantizeLinear", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze",
    "Cast", "Softmax", "ArgMax", "Sigmoid", "Greater", "Identity", "Dropout",
)  # fmt: skip
"""Their rules know the axes of what they read, or do not care."""
EACH_NUMBER = (
    "Relu", "LeakyRelu", "PRelu", "Add", "Sub", "Mul", "Div", "Tanh", "Elu", "Selu", "Gelu", "HardSwish", "HardSigmoid",
    "Erf", "Softplus", "Celu", "Swish", "Mish", "Max", "Min",
)  # fmt: skip
"""Of every number by itself; constants are of one channel, or of all."""
TRANSPOSED = "put Transpose nodes around it, as qonnx-to-channels-last does"


def in_order(rule: Rule, b: Builder, node: OnnxNode) -> None:
    """A rule, on maps of either order."""
    maps = [name for name in dict.fromkeys(node.inputs) if name in b.values]
    last = [name for name in maps if channels_last(b.values[name].axes, b.values[name].given)]
    if node.op in ANY_ORDER and not node.channels_last:
        rule(b, node)
        return
    if node.channels_last:
        found = f"channels_last.{node.op} must read maps [1, H, W, C], as Transpose gives them"
        require(maps == last and maps != [], node.name, found, TRANSPOSED)
    elif not any(name in last and not channels_first(b.values[name].axes, b.values[name].given) for name in maps):
        rule(b, node)
        return
    else:
        known = node.op in (*EACH_NUMBER, "Concat")
        require(known, node.name, f"{node.op} of a map [1, H, W, C] is not supported", TRANSPOSED)
        require(maps == last, node.name, f"{node.op} reads maps of two orders of axes", "give them one by Transpose")
    _given_first(rule, b, node, last)


def _given_first(rule: Rule, b: Builder, node: OnnxNode, maps: list[str]) -> None:
    turned, made = _turned(b, node)
    for name in maps:
        b.values[name] = replace(b.values[name], axes=AXES)
    rule(b, turned)
    for name in (*maps, *node.outputs):
        if name in b.values:
            b.values[name] = replace(b.values[name], axes=LAST)
    for name in made:
        b.constants.pop(name, None)
        b.quantized.pop(name, None)


def _turned(b: Builder, node: OnnxNode) -> tuple[OnnxNode, list[str]]:
    """The node with its constants, and the axis of Concat, as of maps [1, C, H, W]; names of these constants."""
    if node.op == "Concat":
        axis = node.attributes.get("axis")
        require(axis in (3, -1), node.name, f"axis must be that of channels, 3, is {axis}", "concatenate channels")
        return replace(node, attributes={**node.attributes, "axis": 1}), []
    inputs, made = list(node.inputs), []
    for index, name in enumerate(inputs):
        weights = node.op == "Conv" and index == 1
        if name in b.values or not (weights or node.op in EACH_NUMBER):
            continue
        turned = f"{name} of {node.name}, channels first"
        if name in b.constants and (found := _moved(node, b.constants[name])) is not None:
            b.constants[turned] = found
        elif name in b.quantized and (whole := _moved(node, b.quantized[name].integers)) is not None:
            scale = b.quantized[name].scale
            known = _moved(node, scale) if scale.ndim == whole.ndim else scale
            b.quantized[turned] = Quantized(whole, scale if known is None else known)
        else:
            continue
        inputs[index] = turned
        made.append(turned)
    return replace(node, inputs=tuple(inputs), channels_last=False), made


def _moved(node: OnnxNode, array: np.ndarray) -> np.ndarray | None:
    """[.., H, W, C] as [.., C, H, W]; None of one number."""
    if array.size == 1 and node.op != "Conv":
        return None
    if array.ndim > 4:
        raise HwsegError(node.name, f"a constant must have at most 4 axes, has shape {array.shape}", TRANSPOSED)
    return np.moveaxis(array.reshape((1,) * (4 - array.ndim) + array.shape), 3, 1)

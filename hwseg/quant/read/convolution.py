"""Convolutions: quantized weights and an activation give accumulators; their scale and bias wait for the quantizer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.ir import Node, TensorType, accumulator_interval
from hwseg.ops import Conv2d, ConvTranspose2d, shape
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.instead import FLOATS, all_floats
from hwseg.quant.read.kernels import centred, require_divided
from hwseg.quant.read.onnx_file import EXPORT, MAX_ELEMENTS, OnnxNode
from hwseg.quant.read.padding import unpadded
from hwseg.quant.read.sizes import UnfitSizeError
from hwseg.quant.read.values import ZERO, Part, Rationals, Value, rationals, zipped
from hwseg.quant.read.wide import operand

ACCUMULATOR_BITS = 32
TRANSPOSED = (
    "stride 2 with kernel_size=2, or 3 and padding=1, output_padding=1, or 4 and padding=1, or 5 and padding=2, "
    "output_padding=1, or 6 and padding=2"
)


def convolution(b: Builder, node: OnnxNode) -> None:
    """Conv: of stride 1 or 2 and any groups, whose result is as large as its input, or half of it, with near taps."""
    node, pad = unpadded(b, node)
    weights, scale = _weights(b, node, transposed=False)
    kernel = weights.shape[2], weights.shape[3]
    height, width, _ = b.value(node).shape
    try:
        weights, stride, taps = centred(node, weights, (height, width))
    except HwsegError as error:
        if not pad:
            raise
        rule = f"padding a map must keep its size: with {node.name}, {error.rule}"
        raise UnfitSizeError(pad, rule, f"leave it out, and {error.cure}") from None
    op = Conv2d(weights.shape[2], len(weights), stride, node.attributes.get("group", 1), taps=taps)
    require_divided(node, kernel, stride, op.fold, (height, width))
    _accumulate(b, node, op, weights, scale)


def transposed_convolution(b: Builder, node: OnnxNode) -> None:
    """ConvTranspose: stride 2, to twice the size, each pixel from 3x3 neighbouring ones."""
    weights, scale = _weights(b, node, transposed=True)
    kernel = weights.shape[2]
    found = attributes(
        node, kernel_shape=[(kernel, kernel)], pads=tuple, strides=tuple, dilations=[(1, 1)], group=int,
        output_padding=[(0, 0), (1, 1)], auto_pad=["NOTSET"],
    )  # fmt: skip
    stride, pads, more = found.get("strides", (1, 1)), found.get("pads", (0,) * 4), found.get("output_padding", (0, 0))
    rule = f"stride of a transposed convolution must be 2, not {list(stride)[:2]}"
    require(stride == (2, 2), node.name, rule, f"use {TRANSPOSED}, or nearest upsampling and a convolution")
    rule = f"padding {list(pads)[:8]} and output padding {more[0]} of a {kernel}x{kernel} transposed convolution"
    square = len(pads) == 4 and pads[:2] == (pads[0],) * 2 and pads[2:] == (pads[2],) * 2 and min(pads) >= 0
    doubles = square and kernel - pads[0] - pads[2] + more[0] == 2
    cure = f"use {TRANSPOSED}"
    require(doubles, node.name, f"{rule} must make a map of twice the size", cure)
    op = ConvTranspose2d(len(weights), kernel, pads[0], groups=node.attributes.get("group", 1))
    near = pads[0] <= 2 and kernel <= 6 and op.near
    require(near, node.name, f"{rule} must make each pixel from 3x3 neighbouring ones", cure)
    _accumulate(b, node, op, weights, scale)


def _weights(b: Builder, node: OnnxNode, transposed: bool) -> tuple[np.ndarray, Rationals]:
    """int8 weights [out, in, kernel row, kernel column] and their scale per output channel."""
    name = node.input(1)
    group = node.attributes.get("group", 1)
    if name not in b.quantized:
        what = "float constants" if name in b.constants else f"a computed tensor {name!r}"
        cure = "use QuantConv2d with a weight quantizer"
        if all_floats(other.op for other in b.file.nodes):
            what, cure = f"{what}, as everything in this network", FLOATS
        raise HwsegError(node.name, f"weights must be quantized, are {what}", cure)
    found = b.quantized[name]
    q, scale = found.integers, found.scale
    rule = f"weights must have 4 dimensions, have shape {q.shape}"
    require(q.ndim == 4 and q.size > 0, node.name, rule, "use QuantConv2d or QuantConvTranspose2d")
    scale = scale.reshape((1,) * (4 - scale.ndim) + scale.shape)
    if transposed:
        q, scale = _dense(node, q, group, "input").swapaxes(0, 1), scale.swapaxes(0, 1)
        scale = np.concatenate([scale] * (group if len(scale) > 1 else 1))
    square = q.shape[2] == q.shape[3] or not transposed
    require(square, node.name, f"kernel must be square, is {q.shape[2]}x{q.shape[3]}", "use 2x2")
    per_channel = scale.shape[1:] == (1, 1, 1)
    require(
        per_channel, node.name, "weight scales may differ per output channel only", "set scaling_per_output_channel"
    )
    fits = int(q.min()) >= -128 and int(q.max()) <= 127
    require(
        fits,
        node.name,
        f"weights must have at most 8 bits, reach {max(int(q.max()), -int(q.min()))}",
        "use 2 to 8 bits",
    )
    q = q if transposed else _dense(node, q, group, "output")
    return np.ascontiguousarray(q, np.int8), rationals(scale)


def _dense(node: OnnxNode, q: np.ndarray, groups: object, first: str) -> np.ndarray:
    """Weights with 0 between channels of different groups: [out, in / groups, k, k] become [out, in, k, k], and those
    of a transposed convolution [in, out / groups, k, k] become [in, out, k, k].  first: what is counted first.
    """
    if groups == 1:
        return q
    outs, ins = q.shape[:2]
    rule = f"groups must divide the {outs} {first} channels, are {groups}"
    good = type(groups) is int and 0 < groups <= outs and outs % groups == 0
    require(good, node.name, rule, "use as many groups as channels, or fewer")
    assert isinstance(groups, int)
    small = q.size * groups <= MAX_ELEMENTS
    require(small, node.name, f"{groups} groups must make at most {MAX_ELEMENTS} weights", "use fewer channels")
    dense, each = np.zeros((outs, ins * groups, *q.shape[2:]), q.dtype), outs // groups
    for g in range(groups):
        dense[g * each : (g + 1) * each, g * ins : (g + 1) * ins] = q[g * each : (g + 1) * each]
    return dense


def _accumulate(
    b: Builder, node: OnnxNode, op: Conv2d | ConvTranspose2d, weights: np.ndarray, scale: Rationals
) -> None:
    """The convolution as integers; scale and bias wait for the quantizer."""
    x, channels = operand(b, node)
    kind = b.types[x]
    given = int(channels.max()) + 1
    require(
        weights.shape[1] == given, node.name, f"weights need {weights.shape[1]} input channels, {x} has {given}", EXPORT
    )
    weights, op = np.ascontiguousarray(weights[:, channels]), replace(op, extra=len(channels) - given)
    out = shape(op, (kind.shape,))
    require(min(out) > 0, node.name, f"result would be {out}", "use a larger input")
    conv = Node(b.fresh(node.name), op, (x,), node.outputs[0], weights)
    lows, highs = accumulator_interval(conv, kind)
    low, high = int(lows.min()), int(highs.max())
    acc_scale = zipped(lambda w, s: w * s, scale, kind.scale)
    acc = TensorType(out, low, high, acc_scale)
    cure = "use fewer input channels or fewer bits"
    require(
        acc.bits <= ACCUMULATOR_BITS, node.name, f"accumulators must fit {ACCUMULATOR_BITS} bits, need {acc.bits}", cure
    )
    b.append(conv)
    b.record(node.name, conv.output, acc)
    b.values[conv.output] = Value((Part(out, (conv.output,), (acc_scale,), _bias(b, node, out[2])),))


def _bias(b: Builder, node: OnnxNode, channels: int) -> Rationals:
    name = node.input(2)
    if not name:
        return ZERO
    if name not in b.quantized:
        bias = b.constant(node, 2, "bias")
        require(bias.shape == (channels,), node.name, f"bias must have shape ({channels},), has {bias.shape}", EXPORT)
        return rationals(bias)
    found = b.quantized[name]
    good = found.integers.shape == (channels,) and found.scale.size in (1, channels)
    rule = f"bias must have shape ({channels},), has {found.integers.shape} with {found.scale.size} scales"
    require(good, node.name, rule, EXPORT)
    return found.rationals

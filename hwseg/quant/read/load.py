"""A QONNX file becomes the integer graph: floating point ends here.

Quant nodes say where integers are.  Everything between two of them (bias, batch normalization, ReLU) is gathered as an
exact rational function of the accumulator and becomes one `Requantize`; every number is the rational that the model's
float32 says.  Two constants follow the executors' floating point: weights are rounded after the float32 division that
QONNX defines, and a batch normalization's factor is gamma / sqrt(variance + epsilon) in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.ir import Graph, Node, TensorType, accumulator_interval
from hwseg.ops import Conv2d, ConvTranspose2d, MaxPool2d, shape
from hwseg.quant.read.builder import Builder, Quantized, attributes, one_scale, rationals
from hwseg.quant.read.fold import folded
from hwseg.quant.read.onnx_file import EXPORT, OnnxNode, read
from hwseg.quant.read.resample import crop, max_pool, nearest_sizes, pad, resize
from hwseg.quant.read.values import ZERO, Part, Rationals, Value, channels_of, shortest, zipped

ACCUMULATOR_BITS = 32
MAX_DIGITS = 4096
"""Binary digits of an exact scale or offset; a batch normalization adds about a hundred."""

MAX_BRANCHES = 64
DENSE = "use a dense convolution: a depthwise one leaves 15 of 16 lanes idle, a plain 3x3 fills them"


def load(path: str | Path) -> Graph:
    """The integer graph of a QONNX file, or `HwsegError`."""
    return load_with_origins(path)[0]


def load_with_origins(path: str | Path) -> tuple[Graph, dict[str, Value]]:
    """The graph, and what every tensor of the ONNX file is in terms of the graph's tensors, for comparing executors."""
    file = read(path)
    builder = Builder(file)
    for node in file.nodes:
        if _fold(builder, node):
            continue
        rule = RULES.get(node.op)
        if rule is None:
            raise HwsegError(node.name, f"operation {node.op} is not supported", "use " + ", ".join(sorted(RULES)))
        rule(builder, node)
    head = builder.head(file.output)
    nodes = _needed(builder.nodes, head.tensor)
    require(any(node.weights is not None for node in nodes), file.path.name, "must have a convolution", EXPORT)
    kept = {file.input} | {node.output for node in nodes}
    types = {name: kind for name, kind in builder.types.items() if name in kept}
    name, metadata = file.path.stem, dict(file.metadata)
    return Graph(name, file.input, nodes, types, head, metadata, builder.input_quantizer), builder.values


def _fold(b: Builder, node: OnnxNode) -> bool:
    """Is the node arithmetic on constants?  Then its result is one."""
    if node.op == "Shape":
        attributes(node, start=int, end=int)
        height, width, channels = b.value(node).shape
        sizes = np.array([1, channels, height, width], np.int64)
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


def _quant(b: Builder, node: OnnxNode) -> None:
    quantizer = b.quantizer(node)
    name, output = node.input(0), node.outputs[0]
    if name in b.constants:
        floats = b.constant(node, 0, "quantized constant").astype(np.float32)
        b.quantized[output] = _quantize_constant(node, floats, quantizer.scale, quantizer.low, quantizer.high)
        return
    value = b.value(node)
    scale = one_scale(node, quantizer)
    parts = tuple(
        b.quantize_part(
            part,
            node.name if len(value.parts) == 1 else f"{node.name}/{i}",
            output if len(value.parts) == 1 else f"{output}/{i}",
            quantizer,
            scale,
        )
        for i, part in enumerate(value.parts)
    )
    b.values[output] = b.settle(replace(value, parts=parts), output)


def _quantize_constant(node: OnnxNode, x: np.ndarray, scale: np.ndarray, low: int, high: int) -> Quantized:
    padded = (1,) * (x.ndim - scale.ndim) + scale.shape
    fits = len(padded) == x.ndim and all(s in (1, n) for s, n in zip(padded, x.shape, strict=True))
    require(fits, node.name, f"scale {scale.shape} must fit the constant {x.shape}", EXPORT)
    with np.errstate(over="ignore"):
        ratio = np.asarray(x / scale)
    if high > 1 << 15:
        ratio = ratio.astype(np.float64)  # float32 does not hold the limits of 32 bits
    q = np.rint(np.clip(ratio, low, high, out=ratio), out=ratio)
    return Quantized(q.astype(np.int16 if high < 1 << 15 else np.int64), scale)


def _conv(b: Builder, node: OnnxNode) -> None:
    kernel, weights, scale = _weights(b, node, transposed=False)
    require(kernel in (1, 3), node.name, f"kernel must be 3x3 or 1x1, not {kernel}x{kernel}", "use a supported kernel")
    found = attributes(
        node, kernel_shape=[(kernel,) * 2], pads=tuple, strides=[(1, 1), (2, 2)], dilations=[(1, 1)], group=[1],
        auto_pad=["NOTSET"],
    )  # fmt: skip
    pads, wanted = found.get("pads", (0, 0, 0, 0)), (kernel // 2,) * 4
    cure = "use padding=1" if kernel == 3 else "use padding=0"
    require(
        pads == wanted,
        node.name,
        f"padding of a {kernel}x{kernel} kernel must be {list(wanted)}, not {list(pads)[:8]}",
        cure,
    )
    stride = found.get("strides", (1, 1))[0]
    _accumulate(b, node, Conv2d(kernel, len(weights), stride), weights, scale)


def _conv_transpose(b: Builder, node: OnnxNode) -> None:
    kernel, weights, scale = _weights(b, node, transposed=True)
    cure = "use kernel_size=2, stride=2, or nearest upsampling and a convolution"
    require(kernel == 2, node.name, f"transposed kernel must be 2x2, not {kernel}x{kernel}", cure)
    found = attributes(
        node, kernel_shape=[(2, 2)], pads=[(0, 0, 0, 0)], strides=[(1, 1), (2, 2)], dilations=[(1, 1)], group=[1],
        output_padding=[(0, 0)], auto_pad=["NOTSET"],
    )  # fmt: skip
    stride = found.get("strides", (1, 1))
    require(stride == (2, 2), node.name, f"stride of a transposed convolution must be 2, not {stride[0]}", cure)
    _accumulate(b, node, ConvTranspose2d(len(weights)), weights, scale)


def _weights(b: Builder, node: OnnxNode, transposed: bool) -> tuple[int, np.ndarray, Rationals]:
    """Kernel size, int8 weights [out, in, kernel row, kernel column] and their scale per output channel."""
    name = node.input(1)
    group = node.attributes.get("group", 1)
    require(group == 1, node.name, f"groups must be 1, not {group}", DENSE)
    if name not in b.quantized:
        what = "float constants" if name in b.constants else f"a computed tensor {name!r}"
        raise HwsegError(node.name, f"weights must be quantized, are {what}", "use QuantConv2d with a weight quantizer")
    found = b.quantized[name]
    q, scale = found.integers, found.scale
    require(q.ndim == 4 and q.size > 0, node.name, f"weights must have 4 dimensions, have shape {q.shape}", EXPORT)
    scale = scale.reshape((1,) * (4 - scale.ndim) + scale.shape)
    if transposed:
        q, scale = q.swapaxes(0, 1), scale.swapaxes(0, 1)
    require(
        q.shape[2] == q.shape[3], node.name, f"kernel must be square, is {q.shape[2]}x{q.shape[3]}", "use 3x3 or 1x1"
    )
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
    return q.shape[2], np.ascontiguousarray(q, np.int8), rationals(scale)


def _accumulate(
    b: Builder, node: OnnxNode, op: Conv2d | ConvTranspose2d, weights: np.ndarray, scale: Rationals
) -> None:
    """The convolution as integers; scale and bias wait for the quantizer."""
    x = b.activation(node)
    kind = b.types[x]
    given = kind.shape[2]
    require(
        weights.shape[1] == given, node.name, f"weights need {weights.shape[1]} input channels, {x} has {given}", EXPORT
    )
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
    b.nodes.append(conv)
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
    q, scale = found.integers, found.scale.reshape(-1)
    good = q.shape == (channels,) and len(scale) in (1, channels)
    require(good, node.name, f"bias must have shape ({channels},), has {q.shape} with {len(scale)} scales", EXPORT)
    return shortest(tuple(int(q[c]) * Fraction(float(scale[c % len(scale)])) for c in range(channels)))


def _batch_norm(b: Builder, node: OnnxNode) -> None:
    found = attributes(node, epsilon=float, momentum=float, training_mode=[0], spatial=[1])
    require(
        len([o for o in node.outputs if o]) == 1,
        node.name,
        "must have one output",
        "call model.eval() before the export",
    )
    names = ("gamma", "beta", "mean", "variance")
    gamma, beta, mean, variance = (b.constant(node, i, what).astype(np.float64) for i, what in enumerate(names, 1))
    channels = b.value(node).shape[2]
    for what, array in zip(names, (gamma, beta, mean, variance), strict=True):
        require(
            array.shape == (channels,), node.name, f"{what} must have shape ({channels},), has {array.shape}", EXPORT
        )
    power = variance + float(np.float32(found.get("epsilon", 1e-5)))
    worst = float(power.min())
    require(
        np.isfinite(worst) and worst > 0, node.name, f"variance + epsilon must be positive, is {worst:g}", "train again"
    )
    factor = rationals(gamma / np.sqrt(power))
    shift = zipped(lambda m, f: m * f, rationals(mean), factor)
    _affine(b, node, factor, zipped(lambda x, s: x - s, rationals(beta), shift))


def _affine(b: Builder, node: OnnxNode, factor: Rationals, addend: Rationals, index: int = 0) -> None:
    """factor * x + addend, on whatever parts x has."""
    value = b.value(node, index)
    parts, start = [], 0
    for i, part in enumerate(value.parts):
        part = b.settle_part(part, f"{node.outputs[0]}/relu{i}")
        f, a = (channels_of(values, start, part.shape[2]) for values in (factor, addend))
        start += part.shape[2]
        cure = "quantize before it, or move it before the ReLU and the pooling"
        require(
            not part.relu or (a == ZERO and min(f) >= 0), node.name, "cannot follow a ReLU without a quantizer", cure
        )
        pooled = any(isinstance(move.op, MaxPool2d) for move in part.moves)
        require(
            not pooled or min(f) >= 0, node.name, "a negative factor cannot follow pooling without a quantizer", cure
        )
        part = part.affine(f, a)
        plain = part.digits() <= MAX_DIGITS
        require(plain, node.name, "too many multiplications in a row", "put a quantizer between them")
        parts.append(part)
    b.values[node.outputs[0]] = replace(value, parts=tuple(parts))


def _relu(b: Builder, node: OnnxNode) -> None:
    attributes(node)
    value = b.value(node)
    parts = tuple(part if part.relu else replace(part, relu=node.name) for part in value.parts)
    b.values[node.outputs[0]] = replace(value, parts=parts)


def _concat(b: Builder, node: OnnxNode) -> None:
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


def _add(b: Builder, node: OnnxNode) -> None:
    attributes(node, axis=int, broadcast=int)
    if any(node.input(i) in b.constants or node.input(i) in b.quantized for i in (0, 1)):
        _with_constant(b, node)
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


def _with_constant(b: Builder, node: OnnxNode) -> None:
    """x + c, x - c, x * c or x / c, c one number or one per channel."""
    index = 0 if node.input(0) in b.values else 1
    require(index == 0 or node.op in ("Add", "Mul"), node.name, f"{node.op} must have the constant second", EXPORT)
    channels = b.value(node, index).shape[2]
    constant = b.constant(node, 1 - index, "operand")
    good = constant.size == 1 or (constant.size == channels and constant.shape[-3:] == (channels, 1, 1))
    require(good, node.name, f"a constant must be one number or one per channel, has shape {constant.shape}", EXPORT)
    numbers = rationals(constant)
    require(node.op != "Div" or 0 not in numbers, node.name, "division by 0", EXPORT)
    one: Rationals = (Fraction(1),)
    if node.op in ("Add", "Sub"):
        _affine(b, node, one, numbers if node.op == "Add" else tuple(-n for n in numbers), index)
    else:
        _affine(b, node, numbers if node.op == "Mul" else tuple(1 / n for n in numbers), ZERO, index)


def _scale_by_constant(b: Builder, node: OnnxNode) -> None:
    attributes(node, axis=int, broadcast=int)
    constant = any(node.input(i) in b.constants or node.input(i) in b.quantized for i in (0, 1))
    require(constant, node.name, f"{node.op} of two activations is not supported", "use Add, or one constant operand")
    _with_constant(b, node)


def _identity(b: Builder, node: OnnxNode) -> None:
    if node.op == "Dropout":
        attributes(node, ratio=float, seed=int, is_test=[1])
        mode = node.input(2)
        inference = not mode or (mode in b.constants and not b.constants[mode].any())
        require(inference, node.name, "training_mode must be false", "call model.eval() before the export")
    else:
        attributes(node)
    name, output = node.input(0), node.outputs[0]
    tables: tuple[dict[str, Any], ...] = (b.constants, b.quantized, b.values)
    for table in tables:
        if name in table:
            table[output] = table[name]


def _greater(b: Builder, node: OnnxNode) -> None:
    """The model's own mask: value > threshold, where a probability's threshold is moved before the sigmoid."""
    attributes(node)
    name = node.input(0)
    require(name in b.values, node.name, "must compare the network's output with a constant", EXPORT)
    value = b.values[name]
    limit = b.constant(node, 1, "threshold")
    good = value.activation in ("none", "sigmoid") and value.shape[2] == 1 and limit.size == 1
    require(good, node.name, "must compare one channel with one number", "compare outside the model")
    threshold = float(limit.reshape(()))
    if value.activation == "sigmoid":
        require(0 < threshold < 1, node.name, f"a probability's threshold must be in (0, 1), is {threshold:g}")
        threshold = log(threshold / (1 - threshold))
    b.values[node.outputs[0]] = replace(value, activation="threshold", threshold=Fraction(threshold))


def _final(b: Builder, node: OnnxNode) -> None:
    """Sigmoid, Softmax or ArgMax over channels: the head's activation."""
    if node.op == "Softmax":
        attributes(node, axis=[1, -3])
        modern = b.file.opset >= 13 and "axis" in node.attributes
        require(
            modern, node.name, "Softmax must be over channels, operator set 13 or newer", "use dim=1 and a newer opset"
        )
    elif node.op == "ArgMax":
        attributes(node, axis=[1, -3], keepdims=[0, 1], select_last_index=[0])
        require("axis" in node.attributes, node.name, "ArgMax must be over channels", "use dim=1")
    else:
        attributes(node)
    name = {"Sigmoid": "sigmoid", "Softmax": "softmax", "ArgMax": "argmax"}[node.op]
    value = b.value(node)
    b.values[node.outputs[0]] = replace(value, activation=name)


RULES: Mapping[str, Callable[[Builder, OnnxNode], None]] = {
    "Quant": _quant,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "BatchNormalization": _batch_norm,
    "Relu": _relu,
    "MaxPool": max_pool,
    "Resize": resize,
    "Upsample": resize,
    "Concat": _concat,
    "Add": _add,
    "Sub": _scale_by_constant,
    "Mul": _scale_by_constant,
    "Div": _scale_by_constant,
    "Identity": _identity,
    "Dropout": _identity,
    "Slice": crop,
    "Pad": pad,
    "Greater": _greater,
    "Sigmoid": _final,
    "Softmax": _final,
    "ArgMax": _final,
}

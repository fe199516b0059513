"""Every operator on exact numbers, as ONNX and QONNX define it.  A new one is a function and a line of `OPERATIONS`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import onnx

from tests.fuzz import bent, exact
from tests.fuzz.bent import Bent
from tests.fuzz.exact import Exact
from tests.fuzz.executor import Executor, Final, Grid, Levels, Operation, Value, attributes
from tests.fuzz.functions import FUNCTIONS, affine, clipped, ends, function, moved_map, rectified, together
from tests.fuzz.margins import pad, whole
from tests.fuzz.order import ORDERS, SHUFFLES, first


def execute(model: onnx.ModelProto, picture: np.ndarray | None = None) -> Executor:
    """A file, ready to compute."""
    return Executor(model, OPERATIONS, picture)


def _quant(e: Executor, node: onnx.NodeProto) -> Value:
    quantizer, x = e.quantizer(node), _numbers(e, node)
    scale = quantizer.scale
    if isinstance(x, Bent):
        return x.quantized(Fraction(float(scale.reshape(()))), quantizer.low, quantizer.high)
    if isinstance(x, Exact):
        scales = [Fraction(float(s)) for s in np.broadcast_to(scale.reshape(-1), (len(x.units),))]
        return exact.quantized(x, scales, quantizer.low, quantizer.high)
    assert isinstance(x, np.ndarray)
    quotients = np.asarray(np.float32(x) / scale)
    numbers = [min(max(_nearest(float(q)), quantizer.low), quantizer.high) for q in quotients.reshape(-1)]
    return Grid(np.array(numbers, np.int64).reshape(quotients.shape), scale)


def _numbers(e: Executor, node: onnx.NodeProto) -> Value:
    """What a quantizer reads."""
    found = e.value(node.input[0])
    return e.bent(node) if isinstance(found, Final | Bent) else found


def _quantize_linear(e: Executor, node: onnx.NodeProto) -> Value:
    x = _numbers(e, node)
    if isinstance(x, Bent):
        scale, zero, kind = e.linear(node, 3)
        z, limits = int(zero.reshape(())), np.iinfo(kind)
        return Levels(x.quantized(Fraction(float(scale.reshape(()))), limits.min - z, limits.max - z).integers + z)
    if isinstance(x, Exact):
        scale, zero, kind = e.linear(node, 3)
        z, limits = int(zero.reshape(())), np.iinfo(kind)
        scales = [Fraction(float(scale.reshape(())))] * len(x.units)
        return Levels(exact.quantized(x, scales, limits.min - z, limits.max - z).integers + z)
    assert isinstance(x, np.ndarray)
    scale, zero, kind = e.linear(node, x.ndim)
    limits, quotients = np.iinfo(kind), np.asarray(np.float32(x) / scale)
    zeros = np.broadcast_to(zero, quotients.shape).reshape(-1).tolist()
    found = [
        min(max(_nearest(float(q)) + z, limits.min), limits.max) for q, z in zip(quotients.flat, zeros, strict=True)
    ]
    return np.array(found, kind).reshape(quotients.shape)


def _clip(e: Executor, node: onnx.NodeProto) -> Value:
    x = e.value(node.input[0])
    if isinstance(x, Exact | Bent | Final):
        return clipped(e.bent(node), ends(e, node))
    low, high = (int(np.asarray(e.value(name))) for name in node.input[1:])
    n = x.integers if isinstance(x, Levels) else x
    assert isinstance(n, np.ndarray), node.name
    found = np.minimum(np.maximum(n, low), high)
    return Levels(found) if isinstance(x, Levels) else found.astype(n.dtype)


def _dequantize_linear(e: Executor, node: onnx.NodeProto) -> Value:
    x = e.value(node.input[0])
    if isinstance(x, Levels):
        scale, zero, _ = e.linear(node, 3)
        n = x.integers - int(zero.reshape(()))
        return Exact(n, (Fraction(float(scale.reshape(()))),) * len(n))
    assert isinstance(x, np.ndarray), node.name
    scale, zero, _ = e.linear(node, x.ndim, x.dtype)
    return Grid(x.astype(np.int64) - zero, scale)


def _nearest(x: float) -> int:
    """Ties to the even one; a float32 quotient beyond every float saturates."""
    return round(x) if math.isfinite(x) else (1 << 40) * (1 if x > 0 else -1)


def _weights(e: Executor, node: onnx.NodeProto, outputs: int) -> tuple[np.ndarray, list[Fraction]]:
    """Integers as they stand, and the scale of each output channel, which is axis `outputs`."""
    found = e.value(node.input[1])
    assert isinstance(found, Grid), node.name
    scale = found.scale.reshape((1,) * (4 - found.scale.ndim) + found.scale.shape)
    assert all(size == 1 for axis, size in enumerate(scale.shape) if axis != outputs), scale.shape
    count = found.integers.shape[outputs]
    return found.integers, [Fraction(float(s)) for s in np.broadcast_to(scale.reshape(-1), (count,))]


def _with_bias(e: Executor, node: onnx.NodeProto, sums: np.ndarray, units: list[Fraction]) -> Exact:
    found = Exact(sums, tuple(units))
    if len(node.input) < 3 or not node.input[2]:
        return found
    return exact.affine(found, [Fraction(1)] * len(units), e.rationals(node, 2, len(units)))


def _conv(e: Executor, node: onnx.NodeProto) -> Value:
    given = attributes(node)
    weights, scales = _weights(e, node, 0)
    sums, unit = exact.multiply_accumulate(
        e.map(node),
        weights,
        given.get("strides", (1, 1)),
        given.get("pads", (0, 0, 0, 0)),
        given.get("dilations", (1, 1)),
        given.get("group", 1),
    )
    return _with_bias(e, node, sums, [unit * scale for scale in scales])


def _conv_transpose(e: Executor, node: onnx.NodeProto) -> Value:
    given = attributes(node)
    weights, scales = _weights(e, node, 1)
    groups = given.get("group", 1)
    weights, scales = exact.apart(weights, groups), scales * groups
    sums, unit = exact.multiply_scatter(
        e.map(node),
        weights,
        given.get("strides", (1, 1)),
        given.get("pads", (0, 0, 0, 0)),
        given.get("output_padding", (0, 0)),
    )
    return _with_bias(e, node, sums, [unit * scale for scale in scales])


def _batch_normalization(e: Executor, node: onnx.NodeProto) -> Value:
    x = e.bent(node)
    gammas, betas, means, variances = (e.rationals(node, index, x.shape[0]) for index in (1, 2, 3, 4))
    epsilon = float(np.float32(attributes(node).get("epsilon", 1e-5)))
    factors = [
        Fraction(float(gamma) / math.sqrt(float(variance) + epsilon))
        for gamma, variance in zip(gammas, variances, strict=True)
    ]
    addends = [beta - mean * factor for beta, mean, factor in zip(betas, means, factors, strict=True)]
    return affine(x, factors, addends)


def _max_pool(e: Executor, node: onnx.NodeProto) -> Value:
    given, x = attributes(node), e.bent(node)
    kernel, strides = given["kernel_shape"], given.get("strides", (1, 1))
    pads = given.get("pads", (0, 0, 0, 0))
    extra = [0, 0]
    if given.get("ceil_mode", 0):
        sizes = [size + pads[axis] + pads[axis + 2] for axis, size in enumerate(x.shape[1:])]
        extra = [-(size - k) % s for size, k, s in zip(sizes, kernel, strides, strict=True)]
    return moved_map(x, lambda y: exact.pooled(y, kernel, strides, pads, extra))


def _average_pool(e: Executor, node: onnx.NodeProto) -> Value:
    """Without padding, of maps that the window divides: a sum of pixels, divided by their number."""
    given, x = attributes(node), e.map(node)
    kernel, strides = given["kernel_shape"], given["strides"]
    assert not any(given.get("pads", (0,))), node.name
    assert all((size - k) % s == 0 for size, k, s in zip(x.shape[1:], kernel, strides, strict=True)), node.name
    total: Exact | None = None
    for ky, kx in np.ndindex(*kernel):
        seen = x.integers[:, ky : x.shape[1] - kernel[0] + ky + 1 : strides[0]]
        term = Exact(seen[:, :, kx : x.shape[2] - kernel[1] + kx + 1 : strides[1]], x.units)
        total = term if total is None else exact.added(total, term)
    assert total is not None
    return Exact(total.integers, tuple(unit / math.prod(kernel) for unit in total.units))


def _resize(e: Executor, node: onnx.NodeProto) -> Value:
    given, x = attributes(node), e.bent(node)
    old = node.op_type == "Upsample" or e.opset == 10
    sizes = _new_sizes(e, node, given, x)
    coordinates = given.get("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    rounding = given.get("nearest_mode", "floor" if old else "round_prefer_floor")
    for axis in (0, 1):
        places = [_source(coordinates, i, x.shape[axis + 1], sizes[axis]) for i in range(sizes[axis])]
        if given.get("mode", "nearest") == "nearest":
            rows = np.array([_nearest_of(place, rounding, x.shape[axis + 1]) for place in places])
            every = np.arange(x.shape[2 - axis])
            both = (rows, every) if axis == 0 else (every, rows)
            x = moved_map(x, lambda y, both=both: exact.gathered(y, *both))  # type: ignore[misc]
        else:
            assert isinstance(x, Exact), node.name
            x = _interpolated(x, axis, places)
    return x


def _new_sizes(e: Executor, node: onnx.NodeProto, given: Mapping[str, Any], x: Exact) -> tuple[int, int]:
    """Rows and columns of the result, from scales or sizes, wherever this operator set keeps them."""
    if "scales" in given:
        factors = np.array(given["scales"])
    elif node.op_type == "Upsample" or e.opset == 10:
        factors = e.floats(node, 1)
    elif len(node.input) > 2 and node.input[2] and e.floats(node, 2).size:
        factors = e.floats(node, 2)
    else:
        sizes = e.floats(node, 3)
        return int(sizes[2]), int(sizes[3])
    rows, columns = (math.floor(size * Fraction(float(f))) for size, f in zip(x.shape[1:], factors[2:], strict=True))
    return rows, columns


def _source(coordinates: str, i: int, size: int, new: int) -> Fraction:
    """Where output i lies among `size` inputs."""
    if coordinates == "asymmetric":
        return Fraction(i * size, new)
    assert coordinates in ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel"), coordinates
    if coordinates == "pytorch_half_pixel" and new == 1:
        return Fraction(0)
    return (i + Fraction(1, 2)) * Fraction(size, new) - Fraction(1, 2)


def _nearest_of(place: Fraction, rounding: str, size: int) -> int:
    rules: Mapping[str, Callable[[Fraction], int]] = {
        "floor": math.floor,
        "ceil": math.ceil,
        "round_prefer_floor": lambda x: math.ceil(x - Fraction(1, 2)),
        "round_prefer_ceil": lambda x: math.floor(x + Fraction(1, 2)),
    }
    return min(max(rules[rounding](place), 0), size - 1)


def _interpolated(x: Exact, axis: int, places: list[Fraction]) -> Exact:
    """Linear interpolation along rows (0) or columns (1); beyond the edge lies the edge's pixel."""
    d = math.lcm(*(place.denominator for place in places))
    size = x.shape[axis + 1]
    below = [math.floor(place) for place in places]
    weights = np.array([int((place - low) * d) for place, low in zip(places, below, strict=True)])
    first, second = (np.clip(np.array(below) + step, 0, size - 1) for step in (0, 1))
    weight = weights[:, None] if axis == 0 else weights[None, :]
    n = x.integers if exact.largest(x.integers) * d < exact.ROOM else x.integers.astype(object)
    total = np.take(n, first, axis + 1) * (d - weight) + np.take(n, second, axis + 1) * weight
    return Exact(total, tuple(unit / d for unit in x.units))


def _concat(e: Executor, node: onnx.NodeProto) -> Value:
    maps = [e.bent(node, index) for index in range(len(node.input))]
    if any(isinstance(x, Bent) for x in maps):
        return bent.concatenated(maps)
    return exact.concatenated([e.map(node, index) for index in range(len(node.input))])


def _arithmetic(e: Executor, node: onnx.NodeProto) -> Value:
    """Of two maps, or a map and constants that stand for every pixel."""
    values = [e.value(node.input[index]) for index in (0, 1)]
    maps = [isinstance(value, Exact | Bent | Final) for value in values]
    if all(maps):
        return together(e, node)
    index = maps.index(True)
    x = e.bent(node, index)
    numbers = e.rationals(node, 1 - index, x.shape[0])
    same = [Fraction(0)] * len(numbers)
    if node.op_type == "Add":
        return affine(x, [Fraction(1)] * len(numbers), numbers)
    if node.op_type == "Mul":
        return affine(x, numbers, same)
    if node.op_type == "Sub" and index == 1:
        return affine(x, [Fraction(-1)] * len(numbers), numbers)
    assert index == 0, "a constant divided by a map"
    if node.op_type == "Sub":
        return affine(x, [Fraction(1)] * len(numbers), [-number for number in numbers])
    return affine(x, [1 / number for number in numbers], same)


def _relu(e: Executor, node: onnx.NodeProto) -> Value:
    return rectified(e.bent(node), [Fraction(0)])


def _leaky_relu(e: Executor, node: onnx.NodeProto) -> Value:
    return rectified(e.bent(node), [Fraction(float(np.float32(attributes(node).get("alpha", 0.01))))])


def _p_relu(e: Executor, node: onnx.NodeProto) -> Value:
    x = e.bent(node)
    return rectified(x, e.rationals(node, 1, x.shape[0]))


def _same(e: Executor, node: onnx.NodeProto) -> Value:
    return e.value(node.input[0])


def _final(kind: str) -> Operation:
    def final(e: Executor, node: onnx.NodeProto) -> Value:
        x = e.bent(node)
        if isinstance(x, Bent):
            assert kind == "sigmoid", kind
            return x.then(lambda channel, number: bent.sigmoid(number))
        return Final(kind, x)

    return final


def _greater(e: Executor, node: onnx.NodeProto) -> Value:
    limit = Fraction(float(e.floats(node, 1).reshape(())))
    x = e.value(node.input[0])
    if isinstance(x, Final):
        assert x.kind == "sigmoid"
        n, unit = x.x.in_one_unit()
        least = _least_above(limit, unit, n)
        return Final("mask", x.x, n[0] >= least)
    assert isinstance(x, Exact)
    n, unit = x.in_one_unit()
    return Final("mask", x, n[0] > math.floor(limit / unit))


def _least_above(probability: Fraction, unit: Fraction, n: np.ndarray) -> int:
    """The least k from the smallest to beyond the largest of n with sigmoid(k * unit) > probability."""
    low, high = int(n.min()), int(n.max()) + 1
    while low < high:
        middle = (low + high) // 2
        if _sigmoid_above(middle * unit, probability):
            high = middle
        else:
            low = middle + 1
    return low


def _sigmoid_above(x: Fraction, probability: Fraction) -> bool:
    """sigmoid(x) > p, that is exp(x) > p / (1 - p), to sixty digits; only x = 0 can be a tie."""
    odds = probability / (1 - probability)
    if x == 0:
        return odds < 1
    if abs(x) > 1000:
        return x > 0
    with localcontext() as context:
        context.prec = 60
        power = (Decimal(x.numerator) / Decimal(x.denominator)).exp()
        return power > Decimal(odds.numerator) / Decimal(odds.denominator)


OPERATIONS: Mapping[str, Operation] = {
    "Quant": _quant,
    "IntQuant": _quant,
    "QuantizeLinear": _quantize_linear,
    "Clip": _clip,
    "DequantizeLinear": _dequantize_linear,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "BatchNormalization": _batch_normalization,
    "Relu": _relu,
    "LeakyRelu": _leaky_relu,
    "PRelu": _p_relu,
    **dict.fromkeys(FUNCTIONS, function),
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "Resize": _resize,
    "Upsample": _resize,
    "Concat": _concat,
    "Add": _arithmetic,
    "Sub": _arithmetic,
    "Mul": _arithmetic,
    "Div": _arithmetic,
    "Identity": _same,
    "Dropout": _same,
    "Slice": whole,
    "Pad": pad,
    "Greater": _greater,
    "Sigmoid": first(_final("sigmoid")),
    **ORDERS,
    **SHUFFLES,
}

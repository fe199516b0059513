"""What is the right answer: the integer graph executed in NumPy, exactly, from the loop nests that the hardware walks.

A product of matrices in floating point is exact as long as every partial sum is an integer below 2**24 (float32) or
2**53 (float64), in whatever order BLAS adds; sum|w| * max|x| of the largest output channel bounds them all, so the
width is chosen by proof.  Requantization rounds in float64 where that is proven to be the exact rational's rounding,
and otherwise looks up the exact steps (`Requantize.steps`).  Inside, a tensor is channel planes [C, H, W].
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from math import lcm

import numpy as np

from hwseg.errors import require
from hwseg.ir import Graph, Head, Node, TensorType
from hwseg.ops import (
    Add,
    AffineIndex,
    Bilinear2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    LoopNest,
    MaxPool2d,
    Requantize,
    Shape,
    Upsample2d,
)

STRIP_BYTES = 1 << 22
"""Patches gathered at a time: a strip of rows that stays in the cache."""

Integer = np.signedinteger | np.unsignedinteger

Fixed = Mapping[int, int]
"""Values of some loops, by their number in parallel + reduction."""


@dataclass(frozen=True)
class Result:
    """`tensors`: integers [H, W, C] by name (int32 accumulators, int8 or uint8 activations), those that were asked for.

    `mask`: uint8 [H, W], 0/1 or the class; `output`: float32 [1, C, H, W], what the model gives.
    """

    tensors: Mapping[str, np.ndarray]
    mask: np.ndarray
    output: np.ndarray


def run(
    graph: Graph, image_q: np.ndarray, taps: Collection[str] | None = None, planes: int | Mapping[str, int] = 8
) -> Result:
    """Execute `graph` on integers [H, W, C]; keeps every tensor, or the `taps` and the head's.

    `planes`: the most digit planes that an activation may use, for all or by tensor (`rounded`); not the input.
    """
    kind = graph.types[graph.input]
    image_q = np.asarray(image_q)
    rule = f"image must be integers {list(kind.shape)} in [{kind.low}, {kind.high}]"
    require(
        image_q.shape == kind.shape, graph.input, f"{rule}, has shape {list(image_q.shape)}", "crop or resize the image"
    )
    whole = np.issubdtype(image_q.dtype, np.integer)
    require(whole, graph.input, f"{rule}, has type {image_q.dtype}", "quantize the image first")
    low, high = int(image_q.min()), int(image_q.max())
    require(
        kind.low <= low and high <= kind.high,
        graph.input,
        f"{rule}, reaches [{low}, {high}]",
        "quantize the image first",
    )
    tensors = {graph.input: np.ascontiguousarray(image_q.transpose(2, 0, 1), storage(kind))}
    kept = set(tensors if taps is None else taps) | {graph.head.tensor}
    last_reader = {name: number for number, node in enumerate(graph.nodes) for name in node.inputs}
    for number, node in enumerate(graph.nodes):
        inputs = [tensors[name] for name in node.inputs]
        limit = planes if isinstance(planes, int) else planes.get(node.output, 8)
        drop = max(0, graph.types[node.output].bits - limit) if isinstance(node.op, Requantize | Add) else 0
        found = execute(rounded(node, drop), inputs, storage(graph.types[node.output]))
        tensors[node.output] = found << drop if drop else found
        if taps is not None:
            for name in node.inputs:
                if last_reader[name] == number and name not in kept:
                    tensors.pop(name, None)
    pixels = {name: planes.transpose(1, 2, 0) for name, planes in tensors.items() if name in kept or taps is None}
    head = pixels[graph.head.tensor]
    return Result(pixels, mask(graph.head, head), output(graph.head, head))


def rounded(node: Node, drop: int) -> Node:
    """A requantization or addition without its `drop` lowest planes: its result is in units of 2**drop.

    There is one rounding, from the accumulator straight to the planes that stay: y = clamp(round(x / 2**drop)), the
    bounds those of the shorter word.
    """
    if drop == 0:
        return node
    op, unit = node.op, Fraction(1, 1 << drop)
    assert isinstance(op, Requantize | Add), node.name
    bounds = {"low": -(-op.low >> drop), "high": op.high >> drop}
    if isinstance(op, Add):
        a, b = op.multipliers
        return replace(node, op=replace(op, multipliers=(a * unit, b * unit), offset=op.offset * unit, **bounds))
    multiplier, offset = (tuple(m * unit for m in values) for values in (op.multiplier, op.offset))
    return replace(node, op=replace(op, multiplier=multiplier, offset=offset, **bounds))


def storage(kind: TensorType) -> type[Integer]:
    """The NumPy type that holds a tensor."""
    choices: tuple[type[Integer], ...] = (np.uint8, np.int8, np.int32, np.int64)
    return next(t for t in choices if np.iinfo(t).min <= kind.low and kind.high <= np.iinfo(t).max)


def execute(node: Node, inputs: list[np.ndarray], dtype: type[Integer]) -> np.ndarray:
    """One operation on planes."""
    op, x = node.op, inputs[0]
    shape = x.shape[1], x.shape[2], x.shape[0]
    if isinstance(op, Conv2d | ConvTranspose2d):
        assert node.weights is not None, node.name
        return _multiply_add(op.loops(shape), op.shape(shape), x, node.weights, dtype)
    if isinstance(op, Bilinear2d):
        return _bilinear(op, x, dtype)
    if isinstance(op, MaxPool2d):
        nest = op.loops(shape)
        taps = _points(nest, _kernel_loops(nest))
        return np.asarray(np.maximum.reduce([_columns(nest, _rows(nest, x, tap), tap) for tap in taps]))
    if isinstance(op, Upsample2d):
        nest = op.loops(shape)
        return _columns(nest, _rows(nest, x, {}), {})
    if isinstance(op, Concat):
        return np.concatenate([x.astype(dtype, copy=False) for x in inputs])
    if isinstance(op, Requantize):
        return requantize(op, x, dtype)
    return _add(op, inputs[0], inputs[1], dtype)


def _bilinear(op: Bilinear2d, x: np.ndarray, dtype: type[Integer]) -> np.ndarray:
    """Sixteenths: the nine reads of the loop nest, each clamped to the map, weighted and added."""
    nest = op.loops((x.shape[1], x.shape[2], x.shape[0]))
    height, width, channels = nest.parallel
    y = np.zeros((channels, height, width), dtype)
    for ky, kx in product(*map(range, nest.reduction)):
        rows, columns = (index(np.arange(height), np.arange(width), 0, ky, kx) for index in nest.reads[0][:2])
        inside = np.clip(rows, 0, x.shape[1] - 1)[:, None], np.clip(columns, 0, x.shape[2] - 1)
        y += dtype(op.weights[ky] * op.weights[kx]) * x[:, inside[0], inside[1]].astype(dtype)
    return y


def _kernel_loops(nest: LoopNest) -> list[int]:
    """The loops that are neither row (0), column (1) nor a channel: taps of a window, phases of a transposed one."""
    channels = (nest.write[2], nest.reads[0][2])
    loops = len(nest.parallel) + len(nest.reduction)
    return [i for i in range(2, loops) if all(index.coefficients[i] == 0 for index in channels)]


def _points(nest: LoopNest, loops: list[int]) -> list[Fixed]:
    """All values of some loops."""
    bounds = nest.parallel + nest.reduction
    return [dict(zip(loops, values, strict=True)) for values in product(*(range(bounds[i]) for i in loops))]


def _at(
    nest: LoopNest, index: AffineIndex, fixed: Fixed, loop: int = 0, values: range = range(1)
) -> slice | np.ndarray:
    """What `index` selects while one loop runs over `values`; loops that are not fixed are 0."""
    point: list[object] = [fixed.get(i, 0) for i in range(len(nest.parallel) + len(nest.reduction))]
    point[loop] = np.arange(values.start, values.stop)
    found = np.broadcast_to(index(*point), len(values))
    step = int(found[1] - found[0]) if len(found) > 1 else 1
    regular = step > 0 and bool((np.diff(found) == step).all())
    return slice(int(found[0]), int(found[-1]) + 1, step) if regular else found


def _rows(nest: LoopNest, x: np.ndarray, fixed: Fixed) -> np.ndarray:
    return x[:, _at(nest, nest.reads[0][0], fixed, 0, range(nest.parallel[0]))]


def _columns(nest: LoopNest, x: np.ndarray, fixed: Fixed) -> np.ndarray:
    return x[:, :, _at(nest, nest.reads[0][1], fixed, 1, range(nest.parallel[1]))]


def _multiply_add(nest: LoopNest, shape: Shape, x: np.ndarray, weights: np.ndarray, dtype: type[Integer]) -> np.ndarray:
    """One matrix product for a strip of rows: taps that move the column read are gathered before, all others after.

    Before: patches [column tap * input channel, pixel].  After: each row tap (or phase) of the product is read where
    the operand's row map says and added where the write map says.
    """
    real = exact_float(weights, x)
    x, (up, left) = _pad(nest, x.astype(real))
    nest = _shifted(nest, up, left)
    before = [i for i in _kernel_loops(nest) if nest.reads[0][1].coefficients[i]]
    after = [i for i in _kernel_loops(nest) if i not in before]
    gathered, applied = _points(nest, before), _points(nest, after)
    stacked = [[_tap(nest, weights, {**a, **b}) for b in gathered] for a in applied]
    matrix = np.concatenate([np.concatenate(row, axis=1) for row in stacked]).astype(real)
    y = np.empty((shape[2], *shape[:2]), dtype)
    ends = [(0, bound - 1) for bound in nest.parallel + nest.reduction]
    for strip in _strips(nest.parallel[0], nest.parallel[1] * matrix.shape[1] * matrix.itemsize):
        first, last = nest.reads[0][0].interval((strip[0], strip[-1]), *ends[1:])
        top, bottom = nest.write[0].interval((strip[0], strip[-1]), *ends[1:])
        rows = x[:, first : last + 1]
        patches = np.concatenate([_columns(nest, rows, tap) for tap in gathered])
        products = (matrix @ patches.reshape(len(patches), -1)).reshape(len(applied), shape[2], rows.shape[1], -1)
        total = np.zeros((shape[2], bottom - top + 1, shape[1]), real)
        for tap, part in zip(applied, products, strict=True):
            read = _at(nest, _moved(nest.reads[0][0], -first), tap, 0, strip)
            write = _at(nest, _moved(nest.write[0], -top), tap, 0, strip)
            total[:, write, _at(nest, nest.write[1], tap, 1, range(nest.parallel[1]))] += part[:, read]
        y[:, top : bottom + 1] = total
    return y


def _tap(nest: LoopNest, weights: np.ndarray, fixed: Fixed) -> np.ndarray:
    """Weights [out, in] of one tap."""
    row, column = (_at(nest, index, fixed) for index in nest.reads[1][2:])
    return weights[:, :, row, column].reshape(weights.shape[:2])


def _pad(nest: LoopNest, x: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Zeros around x wherever the nest reads outside; how many above and to the left."""
    ends = [(0, bound - 1) for bound in nest.parallel + nest.reduction]
    widths = [(0, 0)]
    for axis, size in enumerate(x.shape[1:]):
        low, high = nest.reads[0][axis].interval(*ends)
        widths.append((max(0, -low), max(0, high - size + 1)))
    return np.pad(x, widths) if any(map(any, widths)) else x, (widths[1][0], widths[2][0])


def _shifted(nest: LoopNest, up: int, left: int) -> LoopNest:
    """The nest on the padded operand."""
    row, column, channel = nest.reads[0]
    return replace(nest, reads=((_moved(row, up), _moved(column, left), channel), *nest.reads[1:]))


def _moved(index: AffineIndex, by: int) -> AffineIndex:
    return replace(index, offset=index.offset + by * index.divisor)


def _strips(rows: int, row_bytes: int) -> Iterator[range]:
    height = max(1, STRIP_BYTES // max(row_bytes, 1))
    for start in range(0, rows, height):
        yield range(start, min(start + height, rows))


def exact_float(weights: np.ndarray, x: np.ndarray) -> type[np.floating]:
    """The narrowest float in which no partial sum of products can round."""
    bound = int(np.abs(weights.astype(np.int64)).reshape(len(weights), -1).sum(1).max()) * _largest(x)
    assert bound < 1 << 53, "an accumulator of at most 32 bits cannot be this large"
    return np.float32 if bound < 1 << 24 else np.float64


def _largest(x: np.ndarray) -> int:
    return max(-int(x.min()), int(x.max()))


def requantize(op: Requantize, x: np.ndarray, dtype: type[Integer]) -> np.ndarray:
    """y = clamp(round(acc * multiplier + offset)) on planes, plane by plane."""
    y = np.empty(x.shape, dtype)
    for c, acc in enumerate(x):
        rounded = _round_in_float(op, c, acc)
        y[c] = _count_steps(op, c, acc) if rounded is None else rounded
    return y


def _round_in_float(op: Requantize, channel: int, acc: np.ndarray) -> np.ndarray | None:
    """The rounding in float64, or None where it might not be that of the exact rational.

    Two proofs.  Multiplier and offset are n / 2**k and everything fits 53 bits: then nothing rounds before `rint`,
    which rounds half to even.  Or no value is so close to a tie that the errors of conversion, product and sum could
    carry it across.
    """
    m, b = (values[channel % len(values)] for values in (op.multiplier, op.offset))
    bound = abs(m) * max(_largest(acc), 1) + abs(b)
    if bound >= 1 << 40:
        return None
    y = acc * float(m)
    y += float(b)
    nearest = np.rint(y)
    d = max(m.denominator, b.denominator)
    if (
        d & (d - 1)
        or m.denominator & (m.denominator - 1)
        or b.denominator & (b.denominator - 1)
        or bound * d >= 1 << 53
    ):
        y -= nearest
        if max(float(y.max()), -float(y.min())) >= 0.5 - float(bound) * 2.0**-50 - 2.0**-52:
            return None
    return np.clip(nearest, op.low, op.high, out=nearest)


def _count_steps(op: Requantize, channel: int, acc: np.ndarray) -> np.ndarray:
    negative = op.multiplier[channel % len(op.multiplier)] < 0
    signed = -acc.astype(np.int64) if negative else acc.astype(np.int64)
    far = 1 << 32
    steps = np.array([min(max(step, -far), far) for step in op.steps(channel)], np.int64)
    return np.searchsorted(steps, signed, side="right") + op.low


def _add(op: Add, a: np.ndarray, b: np.ndarray, dtype: type[Integer]) -> np.ndarray:
    """The table of all pairs of values that occur, by definition of the operation."""
    starts = int(a.min()), int(b.min())
    counts = [int(x.max()) - start + 1 for x, start in zip((a, b), starts, strict=True)]
    table = add_table(op, range(starts[0], starts[0] + counts[0]), range(starts[1], starts[1] + counts[1]))
    return np.asarray(table[a.astype(np.intp) - starts[0], b.astype(np.intp) - starts[1]], dtype)


def add_table(op: Add, a: range, b: range) -> np.ndarray:
    """y for every pair, int16 [a, b]; whole-number arithmetic on the common denominator."""
    d = lcm(*(m.denominator for m in (*op.multipliers, op.offset)))
    ma, mb, c = (m.numerator * (d // m.denominator) for m in (*op.multipliers, op.offset))
    table = np.empty((len(a), len(b)), np.int16)
    for i, x in enumerate(a):
        for j, z in enumerate(b):
            quotient, rest = divmod(ma * x + mb * z + c, d)
            quotient += 2 * rest > d or (2 * rest == d and quotient & 1)
            table[i, j] = min(max(quotient, op.low), op.high)
    return table


def mask(head: Head, q: np.ndarray) -> np.ndarray:
    """Class of every pixel: comparison of exact rationals."""
    values = head_integers(head, q)
    if values.shape[2] == 1:
        return np.asarray(values[:, :, 0] > 0, np.uint8)
    return np.asarray(np.argmax(values, axis=2), np.uint8)


def head_integers(head: Head, q: np.ndarray) -> np.ndarray:
    """Integers in the order of value[c] - threshold over all channels: scale and offset on one denominator."""
    n = q.shape[2]
    scale = [head.scale[c % len(head.scale)] for c in range(n)]
    offset = [head.offset[c % len(head.offset)] - head.threshold for c in range(n)]
    d = lcm(*(f.denominator for f in (*scale, *offset)))
    factors, addends = ([f.numerator * (d // f.denominator) for f in fs] for fs in (scale, offset))
    largest = max(-int(q.min()), int(q.max()), 1)
    bound = max(abs(f) * largest + abs(a) for f, a in zip(factors, addends, strict=True))
    dtype = np.int64 if bound < 1 << 62 else object
    return np.asarray(q.astype(dtype) * np.array(factors, dtype) + np.array(addends, dtype))


def values(scale: tuple[Fraction, ...], offset: tuple[Fraction, ...], q: np.ndarray) -> np.ndarray:
    """The real numbers of integers [H, W, C], in float64."""
    return np.asarray(q * np.array([float(s) for s in scale]) + np.array([float(o) for o in offset]))


def output(head: Head, q: np.ndarray) -> np.ndarray:
    """The model's own output, float32 [1, C, H, W]: real values, then the activation."""
    if head.activation in ("argmax", "threshold"):
        return mask(head, q)[None, None].astype(np.float32)
    x = values(head.scale, head.offset, q)
    if head.activation == "sigmoid":
        x = np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x)))
    elif head.activation == "softmax":
        powers = np.exp(x - x.max(axis=2, keepdims=True))
        x = powers / powers.sum(axis=2, keepdims=True)
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None].astype(np.float32))

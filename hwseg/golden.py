"""What is the right answer: the integer graph executed in NumPy, exactly, from the same loop nests that the hardware walks.

A multiplication of matrices in floating point is exact as long as every partial sum is an integer below 2**24 (float32)
or 2**53 (float64), in whatever order BLAS adds; sum|w| * max|x| of the largest output channel bounds them all, so the
width is chosen by proof.  Requantization looks up the exact steps (`Requantize.steps`); no rounding happens here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import lcm

import numpy as np

from hwseg.errors import require
from hwseg.ir import Graph, Head, Node, TensorType
from hwseg.ops import Add, AffineIndex, Concat, Conv2d, ConvTranspose2d, LoopNest, MaxPool2d, Requantize, Upsample2d

STRIP_BYTES = 1 << 23
"""Patches gathered at a time: a strip of rows that stays in the cache."""


@dataclass(frozen=True)
class Result:
    """`tensors`: integers [H, W, C] by name (int32 accumulators, int8 or uint8 activations), those that were asked for.

    `mask`: uint8 [H, W], 0/1 or the class; `output`: float32 [1, C, H, W], what the model gives.
    """

    tensors: Mapping[str, np.ndarray]
    mask: np.ndarray
    output: np.ndarray


def run(graph: Graph, image_q: np.ndarray, taps: Collection[str] | None = None) -> Result:
    """Execute `graph` on integers [H, W, C]; keeps every tensor, or the `taps` and the head's."""
    kind = graph.types[graph.input]
    image_q = np.asarray(image_q)
    rule = f"must be integers {list(kind.shape)} in [{kind.low}, {kind.high}]"
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
    tensors = {graph.input: image_q.astype(storage(kind))}
    kept = set(tensors if taps is None else taps) | {graph.head.tensor}
    last_reader = {name: number for number, node in enumerate(graph.nodes) for name in node.inputs}
    for number, node in enumerate(graph.nodes):
        inputs = [tensors[name] for name in node.inputs]
        tensors[node.output] = execute(node, inputs, storage(graph.types[node.output]))
        if taps is not None:
            for name in node.inputs:
                if last_reader[name] == number and name not in kept:
                    tensors.pop(name, None)
    head = tensors[graph.head.tensor]
    return Result(tensors, mask(graph.head, head), output(graph.head, head))


def storage(kind: TensorType) -> type[np.generic]:
    """The NumPy type that holds a tensor."""
    choices: tuple[type[np.generic], ...] = (np.uint8, np.int8, np.int32, np.int64)
    return next(t for t in choices if np.iinfo(t).min <= kind.low and kind.high <= np.iinfo(t).max)


def execute(node: Node, inputs: list[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    """One operation."""
    op, x = node.op, inputs[0]
    if isinstance(op, Conv2d | ConvTranspose2d):
        assert node.weights is not None, node.name
        return _multiply_add(op.loops(_shape(x)), x, node.weights, dtype)
    if isinstance(op, MaxPool2d):
        nest = op.loops(_shape(x))
        return np.maximum.reduce([_read(nest, x, dict(taps)) for taps in _points(nest, _kernel_loops(nest))])
    if isinstance(op, Upsample2d):
        return _read(op.loops(_shape(x)), x, {})
    if isinstance(op, Concat):
        return np.concatenate([x.astype(dtype, copy=False) for x in inputs], axis=2)
    if isinstance(op, Requantize):
        return requantize(op, x, dtype)
    return _add(op, inputs[0], inputs[1], dtype)


def _shape(x: np.ndarray) -> tuple[int, int, int]:
    return x.shape[0], x.shape[1], x.shape[2]


def _kernel_loops(nest: LoopNest) -> list[int]:
    """The loops that are neither row (0), column (1) nor a channel: taps of a window, phases of a transposed one."""
    channels = (nest.write[2], nest.reads[0][2])
    loops = len(nest.parallel) + len(nest.reduction)
    return [i for i in range(2, loops) if all(index.coefficients[i] == 0 for index in channels)]


def _points(nest: LoopNest, loops: list[int]) -> Iterator[tuple[tuple[int, int], ...]]:
    """All values of some loops, as (loop, value) pairs."""
    bounds = nest.parallel + nest.reduction
    for values in product(*(range(bounds[i]) for i in loops)):
        yield tuple(zip(loops, values, strict=True))


def _at(
    nest: LoopNest, index: AffineIndex, fixed: Mapping[int, int], loop: int = 0, values: range = range(1)
) -> np.ndarray:
    """The index where one loop runs over `values`, some loops are `fixed` and the others 0."""
    point: list[object] = [fixed.get(i, 0) for i in range(len(nest.parallel) + len(nest.reduction))]
    point[loop] = np.arange(values.start, values.stop)
    return np.broadcast_to(index(*point), len(values))


def _slice(index: np.ndarray) -> slice | np.ndarray:
    """The same selection as a slice, if it is an arithmetic progression."""
    step = int(index[1] - index[0]) if len(index) > 1 else 1
    regular = step > 0 and bool((np.diff(index) == step).all())
    return slice(int(index[0]), int(index[-1]) + 1, step) if regular else index


def _read(
    nest: LoopNest, x: np.ndarray, fixed: Mapping[int, int], rows: range | None = None, halo: int = 0
) -> np.ndarray:
    """Operand 0 at output `rows`, all columns and channels; `x` is surrounded by `halo` zeros."""
    for axis, values in enumerate((rows or range(nest.parallel[0]), range(nest.parallel[1]))):
        index = _at(nest, nest.reads[0][axis], fixed, axis, values) + halo
        x = x[(slice(None),) * axis + (_slice(index),)]
    return x


def _halo(nest: LoopNest, x: np.ndarray) -> int:
    """Rows or columns read outside x, on the side where there are most."""
    ranges = [(0, bound - 1) for bound in nest.parallel + nest.reduction]
    ends = [(nest.reads[0][axis].interval(*ranges), x.shape[axis]) for axis in (0, 1)]
    return max(0, *(max(-low, high - size + 1) for (low, high), size in ends))


def _multiply_add(nest: LoopNest, x: np.ndarray, weights: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
    """Patches times weights, strip by strip; phases of a transposed convolution are multiplications of their own."""
    real = exact_float(weights, x)
    halo = _halo(nest, x)
    x = np.pad(x, ((halo, halo), (halo, halo), (0, 0))).astype(real)
    kernel, parallel = _kernel_loops(nest), len(nest.parallel)
    summed, written = [i for i in kernel if i >= parallel], [i for i in kernel if i < parallel]
    ends = [(0, bound - 1) for bound in nest.parallel + nest.reduction]
    y = np.empty(tuple(index.interval(*ends)[1] + 1 for index in nest.write), dtype)
    for phase in map(dict, _points(nest, written)):
        taps = [{**phase, **dict(tap)} for tap in _points(nest, summed)]
        matrix = np.concatenate(
            [weights[:, :, *(int(_at(nest, i, tap)[0]) for i in nest.reads[1][2:])].T for tap in taps]
        )
        matrix = matrix.astype(real)
        columns = _slice(_at(nest, nest.write[1], phase, 1, range(nest.parallel[1])))
        for rows in _strips(nest.parallel[0], nest.parallel[1] * matrix.shape[0] * matrix.itemsize):
            patches = np.concatenate([_read(nest, x, tap, rows, halo) for tap in taps], axis=2)
            sums = patches.reshape(-1, patches.shape[2]) @ matrix
            y[_slice(_at(nest, nest.write[0], phase, 0, rows)), columns] = sums.reshape(len(rows), -1, y.shape[2])
    return y


def _strips(rows: int, row_bytes: int) -> Iterator[range]:
    height = max(1, STRIP_BYTES // max(row_bytes, 1))
    for start in range(0, rows, height):
        yield range(start, min(start + height, rows))


def exact_float(weights: np.ndarray, x: np.ndarray) -> type[np.floating]:
    """The narrowest float in which no partial sum of products can round."""
    largest = max(-int(x.min()), int(x.max()))
    bound = int(np.abs(weights.astype(np.int64)).reshape(len(weights), -1).sum(1).max()) * largest
    assert bound < 1 << 53, "an accumulator of at most 32 bits cannot be this large"
    return np.float32 if bound < 1 << 24 else np.float64


def requantize(op: Requantize, x: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
    """Count the steps each accumulator has passed, channel by channel."""
    channels = np.ascontiguousarray(x.reshape(-1, x.shape[2]).T)
    if len(op.multiplier) == len(op.offset) == 1:
        channels = channels.reshape(1, -1)
    y = np.empty(channels.shape, dtype)
    limits = np.iinfo(x.dtype)
    for c, acc in enumerate(channels):
        negative = op.multiplier[c % len(op.multiplier)] < 0
        steps = np.array(op.steps(c), np.int64)
        if negative:
            y[c] = np.searchsorted(steps, -acc.astype(np.int64), side="right") + op.low
        else:
            reachable = np.maximum(steps[steps <= limits.max], limits.min).astype(x.dtype)
            y[c] = np.searchsorted(reachable, acc, side="right") + op.low
    return np.ascontiguousarray(y.reshape(x.shape[2], -1).T).reshape(x.shape)


def _add(op: Add, a: np.ndarray, b: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
    """The table of all pairs of values that occur, by definition of the operation."""
    starts = int(a.min()), int(b.min())
    counts = [int(x.max()) - start + 1 for x, start in zip((a, b), starts, strict=True)]
    table = add_table(op, range(starts[0], starts[0] + counts[0]), range(starts[1], starts[1] + counts[1]))
    return table[a.astype(np.intp) - starts[0], b.astype(np.intp) - starts[1]].astype(dtype)


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
        return (values[:, :, 0] > 0).astype(np.uint8)
    return np.argmax(values, axis=2).astype(np.uint8)


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
    return q.astype(dtype) * np.array(factors, dtype) + np.array(addends, dtype)


def values(scale: tuple[Fraction, ...], offset: tuple[Fraction, ...], q: np.ndarray) -> np.ndarray:
    """The real numbers of integers [H, W, C], in float64."""
    return q * np.array([float(s) for s in scale]) + np.array([float(o) for o in offset])


def output(head: Head, q: np.ndarray) -> np.ndarray:
    """The model's own output, float32 [1, C, H, W]: real values, then the activation."""
    if head.activation == "argmax":
        return mask(head, q)[None, None].astype(np.float32)
    x = values(head.scale, head.offset, q)
    if head.activation == "sigmoid":
        x = np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x)))
    elif head.activation == "softmax":
        powers = np.exp(x - x.max(axis=2, keepdims=True))
        x = powers / powers.sum(axis=2, keepdims=True)
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None].astype(np.float32))

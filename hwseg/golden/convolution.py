"""Convolutions as matrix products in floating point, exact by proof.

A product of matrices in floating point is exact as long as every partial sum is an integer below 2**24 (float32) or
2**53 (float64), in whatever order BLAS adds; sum|w| * max|x| of the largest output channel bounds them all, so the
width is chosen by proof.
"""

from __future__ import annotations

import numpy as np

from hwseg.golden.nest import Fixed, columns, kernel_loops, moved, pad, points, rows, selected, shifted, strips
from hwseg.golden.types import Integer, largest
from hwseg.ir import Node
from hwseg.nests import LoopNest
from hwseg.ops import Conv2d, ConvTranspose2d, Shape


def convolution(node: Node, inputs: list[np.ndarray], dtype: type[Integer]) -> np.ndarray:
    """Conv2d and ConvTranspose2d."""
    op, x = node.op, inputs[0]
    assert isinstance(op, Conv2d | ConvTranspose2d), node.name
    assert node.weights is not None, node.name
    shape = x.shape[1], x.shape[2], x.shape[0]
    if isinstance(op, ConvTranspose2d) and (op.kernel, op.padding) != (2, 0):
        return _by_phases(op.loops(shape), op.shape(shape), x, node.weights, dtype)
    return _multiply_add(op.loops(shape), op.shape(shape), x, node.weights, dtype)


def _multiply_add(nest: LoopNest, shape: Shape, x: np.ndarray, weights: np.ndarray, dtype: type[Integer]) -> np.ndarray:
    """One matrix product for a strip of rows: taps that move the column read are gathered before, all others after.

    Before: patches [column tap * input channel, pixel].  After: each row tap (or phase) of the product is read where
    the operand's row map says and added where the write map says.
    """
    real = exact_float(weights, x)
    x, (up, left) = pad(nest, x.astype(real))
    nest = shifted(nest, up, left)
    before = [i for i in kernel_loops(nest) if nest.reads[0][1].coefficients[i]]
    after = [i for i in kernel_loops(nest) if i not in before]
    gathered, applied = points(nest, before), points(nest, after)
    stacked = [[_tap(nest, weights, {**a, **b}) for b in gathered] for a in applied]
    matrix = np.concatenate([np.concatenate(row, axis=1) for row in stacked]).astype(real)
    y = np.empty((shape[2], *shape[:2]), dtype)
    ends = [(0, bound - 1) for bound in nest.parallel + nest.reduction]
    for strip in strips(nest.parallel[0], nest.parallel[1] * matrix.shape[1] * matrix.itemsize):
        first, last = nest.reads[0][0].interval((strip[0], strip[-1]), *ends[1:])
        top, bottom = nest.write[0].interval((strip[0], strip[-1]), *ends[1:])
        part = x[:, first : last + 1]
        patches = np.concatenate([columns(nest, part, tap) for tap in gathered])
        products = (matrix @ patches.reshape(len(patches), -1)).reshape(len(applied), shape[2], part.shape[1], -1)
        total = np.zeros((shape[2], bottom - top + 1, shape[1]), real)
        for tap, sums in zip(applied, products, strict=True):
            read = selected(nest, moved(nest.reads[0][0], -first), tap, 0, strip)
            write = selected(nest, moved(nest.write[0], -top), tap, 0, strip)
            total[:, write, selected(nest, nest.write[1], tap, 1, range(nest.parallel[1]))] += sums[:, read]
        y[:, top : bottom + 1] = total
    return y


def _by_phases(nest: LoopNest, shape: Shape, x: np.ndarray, weights: np.ndarray, dtype: type[Integer]) -> np.ndarray:
    """A transposed convolution whose products meet: for each phase of rows and columns, one product for each tap.

    Taps beyond an odd kernel are zero.
    """
    real, taps = exact_float(weights, x), nest.reduction[0]
    beyond = 2 * taps - weights.shape[2]
    weights = np.pad(weights, ((0, 0), (0, 0), (0, beyond), (0, beyond))).astype(real)
    x, (up, left) = pad(nest, x.astype(real))
    nest = shifted(nest, up, left)
    y = np.empty((shape[2], *shape[:2]), dtype)
    for phase in points(nest, [2, 3]):
        total = np.zeros((shape[2], *nest.parallel[:2]), real)
        for tap in ({**phase, **tap} for tap in points(nest, [5, 6])):
            total += np.tensordot(_tap(nest, weights, tap), columns(nest, rows(nest, x, tap), tap), 1)
        down, across = (selected(nest, nest.write[i], phase, i, range(nest.parallel[i])) for i in (0, 1))
        y[:, down, across] = total
    return y


def _tap(nest: LoopNest, weights: np.ndarray, fixed: Fixed) -> np.ndarray:
    """Weights [out, in] of one tap."""
    row, column = (selected(nest, index, fixed) for index in nest.reads[1][2:])
    return weights[:, :, row, column].reshape(weights.shape[:2])


def exact_float(weights: np.ndarray, x: np.ndarray) -> type[np.floating]:
    """The narrowest float in which no partial sum of products can round."""
    bound = int(np.abs(weights.astype(np.int64)).reshape(len(weights), -1).sum(1).max()) * largest(x)
    assert bound < 1 << 53, "an accumulator of at most 32 bits cannot be this large"
    return np.float32 if bound < 1 << 24 else np.float64

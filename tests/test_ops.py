"""Loop nests against plain sums over the formulas that the docstrings state; requantization against its definition."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from hwseg.nests import AffineIndex, Body, LoopNest, unit
from hwseg.ops import (
    Add,
    AveragePool2d,
    Bilinear2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    MaxPool2d,
    Requantize,
    Upsample2d,
    macs,
    shape,
)


def walk(nest: LoopNest, size: tuple[int, ...], x: np.ndarray, w: np.ndarray | None = None) -> np.ndarray:
    """The nest, executed point by point."""
    y = np.full(size, -(10**9) if nest.body is Body.MAXIMUM else 0)
    for point in product(*map(range, nest.parallel + nest.reduction)):
        at = tuple(index(*point) for index in nest.write)
        read = tuple(index(*point) for index in nest.reads[0])
        inside = all(0 <= i < n for i, n in zip(read, x.shape, strict=True))
        value = x[read] if inside else 0
        if nest.body is Body.MULTIPLY_ADD:
            assert w is not None
            place = tuple(index(*point) for index in nest.reads[1])
            y[at] += value * w[place] if all(i < n for i, n in zip(place, w.shape, strict=True)) else 0
        elif nest.body is Body.SUM:
            y[at] += value
        elif nest.body is Body.MAXIMUM:
            y[at] = max(y[at], value) if inside else y[at]
        else:
            y[at] = value
    return y


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2)])
@pytest.mark.parametrize("size", [(1, 1, 1), (4, 5, 3), (7, 2, 2)])
def test_convolution(kernel: int, stride: int, size: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.integers(-8, 8, size), rng.integers(-8, 8, (2, size[2], kernel, kernel))
    op = Conv2d(kernel, 2, stride)
    p = kernel // 2
    padded = np.pad(x, ((p, p), (p, p), (0, 0)))
    rows, columns = ((n + 2 * p - kernel) // stride + 1 for n in size[:2])
    expected = np.zeros((rows, columns, 2), int)
    for oy, ox in np.ndindex(rows, columns):
        patch = padded[oy * stride : oy * stride + kernel, ox * stride : ox * stride + kernel]
        expected[oy, ox] = np.einsum("yxi,oiyx->o", patch, w)
    assert shape(op, [size]) == expected.shape
    np.testing.assert_array_equal(walk(op.loops(size), expected.shape, x, w), expected)
    assert macs(op, [size]) == expected.size * size[2] * kernel**2


def test_transposed_convolution() -> None:
    rng = np.random.default_rng(1)
    x, w = rng.integers(-8, 8, (3, 2, 4)), rng.integers(-8, 8, (5, 4, 2, 2))
    expected = np.zeros((6, 4, 5), int)
    for iy, ix, a, b in np.ndindex(3, 2, 2, 2):
        expected[2 * iy + a, 2 * ix + b] = w[:, :, a, b] @ x[iy, ix]
    op = ConvTranspose2d(5)
    assert shape(op, [x.shape]) == expected.shape
    np.testing.assert_array_equal(walk(op.loops(x.shape), expected.shape, x, w), expected)
    assert macs(op, [x.shape]) == 3 * 2 * 4 * 4 * 5


@pytest.mark.parametrize(
    ("kernel", "padding"), [(1, 0), (2, 1), (3, 0), (3, 1), (3, 2), (4, 1), (4, 3), (5, 2), (6, 2)]
)
def test_transposed_convolution_of_any_kernel(kernel: int, padding: int) -> None:
    """Every product is added where the definition says; what falls outside is left out."""
    rng = np.random.default_rng(kernel)
    x, w = rng.integers(-8, 8, (3, 4, 2)), rng.integers(-8, 8, (5, 2, kernel, kernel))
    whole = np.zeros((6 + kernel + padding, 8 + kernel + padding, 5), int)
    for iy, ix, a, b in np.ndindex(3, 4, kernel, kernel):
        whole[2 * iy + a, 2 * ix + b] += w[:, :, a, b] @ x[iy, ix]
    op = ConvTranspose2d(5, kernel, padding)
    expected = whole[padding : padding + 6, padding : padding + 8]
    np.testing.assert_array_equal(walk(op.loops(x.shape), op.shape(x.shape), x, w), expected)
    assert macs(op, [x.shape]) == 3 * 4 * 2 * 5 * kernel**2
    assert op.near == ((kernel, padding) != (4, 3))


def test_averages_are_quarters() -> None:
    x = np.random.default_rng(2).integers(-8, 8, (4, 6, 3))
    sums = walk(AveragePool2d().loops(x.shape), (2, 3, 3), x)
    np.testing.assert_array_equal(sums / AveragePool2d.unit, x.reshape(2, 2, 3, 2, 3).mean((1, 3)))
    assert macs(AveragePool2d(), [x.shape]) == 0


def test_pooling_and_upsampling_are_inverse_on_constants() -> None:
    x = np.random.default_rng(2).integers(-8, 8, (4, 6, 3))
    pooled = walk(MaxPool2d().loops(x.shape), (2, 3, 3), x)
    np.testing.assert_array_equal(pooled, x.reshape(2, 2, 3, 2, 3).max((1, 3)))
    large = walk(Upsample2d().loops(pooled.shape), (4, 6, 3), pooled)
    np.testing.assert_array_equal(large, pooled.repeat(2, 0).repeat(2, 1))
    assert macs(MaxPool2d(), [x.shape]) == 0


def test_bilinear_reads_are_nine_three_three_one_with_the_edge_repeated() -> None:
    x = np.random.default_rng(3).integers(-8, 8, (3, 4, 2))
    op = Bilinear2d()
    nest = op.loops(x.shape)
    large = np.zeros((6, 8, 2), int)
    for oy, ox, c, ky, kx in np.ndindex(*nest.parallel, *nest.reduction):
        row, column = (index(oy, ox, c, ky, kx) for index in nest.reads[0][:2])
        weight = op.weights[ky] * op.weights[kx]
        large[oy, ox, c] += weight * x[min(max(row, 0), 2), min(max(column, 0), 3), c]
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode="edge")
    for oy, ox in np.ndindex(6, 8):
        down, right = 2 * (oy % 2) - 1, 2 * (ox % 2) - 1
        y, z = oy // 2 + 1, ox // 2 + 1
        a, b, c, d = padded[y, z], padded[y + down, z], padded[y, z + right], padded[y + down, z + right]
        np.testing.assert_array_equal(large[oy, ox], 9 * a + 3 * b + 3 * c + d)
    assert macs(op, [x.shape]) == 0


def test_shapes() -> None:
    assert shape(Bilinear2d(), [(4, 6, 3)]) == (8, 12, 3)
    assert shape(Concat(), [(4, 6, 3), (4, 6, 5)]) == (4, 6, 8)
    assert shape(Requantize((Fraction(1),), (Fraction(0),), 0, 3), [(4, 6, 3)]) == (4, 6, 3)
    assert shape(Add((Fraction(1), Fraction(1)), Fraction(0), 0, 3), [(4, 6, 3), (4, 6, 3)]) == (4, 6, 3)
    assert shape(MaxPool2d(), [(4, 6, 3)]) == shape(MaxPool2d(3), [(4, 6, 3)]) == (2, 3, 3)
    assert shape(AveragePool2d(), [(4, 6, 3)]) == (2, 3, 3)
    assert shape(ConvTranspose2d(5, 3, 1), [(4, 6, 3)]) == (8, 12, 5)
    assert shape(Upsample2d(), [(4, 6, 3)]) == (8, 12, 3)


def test_affine_index_takes_integers_and_arrays_and_knows_its_interval() -> None:
    index = AffineIndex((2, -3), 5, 4)
    rows, columns = np.arange(7)[:, None], np.arange(5)
    grid = index(rows, columns)
    assert [[index(r, c) for c in range(5)] for r in range(7)] == grid.tolist()
    assert index.interval((0, 6), (0, 4)) == (grid.min(), grid.max())
    assert unit(1, 3)(7, 8, 9) == 8


MULTIPLIERS = [Fraction(1, 4), Fraction(3, 7), Fraction(5), Fraction(-1, 8), Fraction(-5, 3), Fraction(0)]
OFFSETS = [Fraction(0), Fraction(1, 2), Fraction(-7, 3), Fraction(40), Fraction(-100)]


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("multiplier", MULTIPLIERS)
@pytest.mark.parametrize(("low", "high"), [(0, 15), (-8, 7), (0, 0)])
def test_steps_are_the_whole_function(multiplier: Fraction, offset: Fraction, low: int, high: int) -> None:
    op = Requantize((multiplier,), (offset,), low, high)
    steps = op.steps()
    assert len(steps) == high - low
    sign = -1 if multiplier < 0 else 1
    for acc in range(-150, 151):
        assert op(acc) == low + sum(step <= sign * acc for step in steps)
        assert op(acc) == min(max(round(acc * multiplier + offset), low), high)


def test_ties_round_to_even() -> None:
    op = Requantize((Fraction(1, 2),), (Fraction(0),), -4, 4)
    assert [op(acc) for acc in range(-5, 6)] == [-2, -2, -2, -1, 0, 0, 0, 1, 2, 2, 2]


def test_channels_have_their_own_numbers() -> None:
    op = Requantize((Fraction(1), Fraction(2)), (Fraction(3),), 0, 100)
    assert (op(5, 0), op(5, 1)) == (8, 13)
    assert op.steps(0) != op.steps(1)


def test_addition() -> None:
    op = Add((Fraction(1, 2), Fraction(1, 3)), Fraction(1, 6), -3, 3)
    assert op(1, -1) == 0
    assert op(1, 1) == 1
    assert op(0, 1) == 0  # 1/2: a tie
    assert op(2, 1) == 2  # 3/2: a tie
    assert (op(100, 100), op(-100, -100)) == (3, -3)

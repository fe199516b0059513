"""What a loop nest selects of arrays: strips of rows, columns, taps of a window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product

import numpy as np

from hwseg.nests import AffineIndex, LoopNest

STRIP_BYTES = 1 << 22
"""Patches gathered at a time: a strip of rows that stays in the cache."""

Fixed = Mapping[int, int]
"""Values of some loops, by their number in parallel + reduction."""


def kernel_loops(nest: LoopNest) -> list[int]:
    """The loops that are neither row (0), column (1) nor a channel: taps of a window, phases of a transposed one."""
    channels = (nest.write[2], nest.reads[0][2])
    loops = len(nest.parallel) + len(nest.reduction)
    return [i for i in range(2, loops) if all(index.coefficients[i] == 0 for index in channels)]


def points(nest: LoopNest, loops: list[int]) -> list[Fixed]:
    """All values of some loops."""
    bounds = nest.parallel + nest.reduction
    return [dict(zip(loops, values, strict=True)) for values in product(*(range(bounds[i]) for i in loops))]


def selected(
    nest: LoopNest, index: AffineIndex, fixed: Fixed, loop: int = 0, values: range = range(1)
) -> slice | np.ndarray:
    """What `index` selects while one loop runs over `values`; loops that are not fixed are 0."""
    point: list[object] = [fixed.get(i, 0) for i in range(len(nest.parallel) + len(nest.reduction))]
    point[loop] = np.arange(values.start, values.stop)
    found = np.broadcast_to(index(*point), len(values))
    step = int(found[1] - found[0]) if len(found) > 1 else 1
    regular = step > 0 and bool((np.diff(found) == step).all())
    return slice(int(found[0]), int(found[-1]) + 1, step) if regular else found


def rows(nest: LoopNest, x: np.ndarray, fixed: Fixed) -> np.ndarray:
    """The rows of planes that the nest reads, one for each row of the result."""
    return x[:, selected(nest, nest.reads[0][0], fixed, 0, range(nest.parallel[0]))]


def columns(nest: LoopNest, x: np.ndarray, fixed: Fixed) -> np.ndarray:
    """The columns likewise."""
    return x[:, :, selected(nest, nest.reads[0][1], fixed, 1, range(nest.parallel[1]))]


def pad(nest: LoopNest, x: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Zeros around x wherever the nest reads outside; how many above and to the left."""
    ends = [(0, bound - 1) for bound in nest.parallel + nest.reduction]
    widths = [(0, 0)]
    for axis, size in enumerate(x.shape[1:]):
        low, high = nest.reads[0][axis].interval(*ends)
        widths.append((max(0, -low), max(0, high - size + 1)))
    return np.pad(x, widths) if any(map(any, widths)) else x, (widths[1][0], widths[2][0])


def shifted(nest: LoopNest, up: int, left: int) -> LoopNest:
    """The nest on the padded operand."""
    row, column, channel = nest.reads[0]
    return replace(nest, reads=((moved(row, up), moved(column, left), channel), *nest.reads[1:]))


def moved(index: AffineIndex, by: int) -> AffineIndex:
    """The index, larger by a number."""
    return replace(index, offset=index.offset + by * index.divisor)


def strips(count: int, row_bytes: int) -> Iterator[range]:
    """Rows cut into strips that stay in the cache."""
    height = max(1, STRIP_BYTES // max(row_bytes, 1))
    for start in range(0, count, height):
        yield range(start, min(start + height, count))

"""Residual addition: the table of all pairs of values that occur, by definition of the operation."""

from __future__ import annotations

from math import lcm

import numpy as np

from hwseg.golden.types import Integer
from hwseg.ir import Node
from hwseg.ops import Add


def addition(node: Node, inputs: list[np.ndarray], dtype: type[Integer]) -> np.ndarray:
    """Add."""
    op, (a, b) = node.op, inputs
    assert isinstance(op, Add), node.name
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
            v, unit = ma * x + mb * z + c, d
            if v < 0:
                v, unit = v * op.slope.numerator, d * op.slope.denominator
            quotient, rest = divmod(v, unit)
            quotient += 2 * rest > unit or (2 * rest == unit and quotient & 1)
            table[i, j] = min(max(quotient, op.low), op.high)
    return table

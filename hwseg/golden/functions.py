"""Functions of every integer: where the integer lies among those at which the result changes."""

from __future__ import annotations

import numpy as np

from hwseg.golden.types import Integer
from hwseg.ir import Node
from hwseg.ops import Function


def function(node: Node, inputs: list[np.ndarray], dtype: type[Integer]) -> np.ndarray:
    """Function."""
    op, x = node.op, inputs[0]
    assert isinstance(op, Function), node.name
    y = np.empty(x.shape, dtype)
    low, high = int(x.min()), int(x.max())
    for c, plane in enumerate(x):
        first, changes = op.changes(low, high, c)
        results = np.array([first, *(result for _, result in changes)], dtype)
        y[c] = results[np.searchsorted([place for place, _ in changes], plane, side="right")]
    return y

"""Functions of every integer: where the integer lies among those at which the result changes."""

from __future__ import annotations

import numpy as np

from hwseg.errors import HwsegError
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
        first, changes = changes_of(node, low, high, c)
        results = np.array([first, *(result for _, result in changes)], dtype)
        y[c] = results[np.searchsorted([place for place, _ in changes], plane, side="right")]
    return y


def changes_of(node: Node, low: int, high: int, channel: int) -> tuple[int, tuple[tuple[int, int], ...]]:
    """`Staircase.changes` of a node.

    A graph that was read has an answer for every integer; with the dial turned ties are others, and a number may be too
    near to one: SiLU and GELU of large numbers, which are the numbers themselves but for a hundred zeros.  Raises
    HwsegError then.
    """
    op = node.op
    assert isinstance(op, Function), node.name
    try:
        return op.changes(low, high, channel)
    except ArithmeticError as error:
        rule = f"rounded to {op.high.bit_length()} planes, the function before it gives {error}"
        raise HwsegError(node.name, rule, "choose another number of planes") from None

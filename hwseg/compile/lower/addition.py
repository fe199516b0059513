"""Residual addition: a 1x1 over both operands with two weights per channel, and one requantizer.

`hwseg.compile.lower.residual` later moves those into a convolution that the engine can do on the way out.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from hwseg.compile.lower.building import build
from hwseg.compile.lower.slopes import join_branches
from hwseg.compile.lower.state import State
from hwseg.errors import require
from hwseg.golden import add_table, execute
from hwseg.ir import Node, TensorType
from hwseg.ops import Add, PRelu, Requantize

WIDE = 32639
"""Largest weight that is 256 * high + low of two signed bytes."""


def addition(state: State, node: Node) -> None:
    """Add."""
    op = node.op
    assert isinstance(op, Add), node.name
    state.check_planes(node.output, node.name)
    views = [state.view(node, name) for name in node.inputs]
    channels = state.types[node.output].shape[2]
    wide, factor = _weights(state, node, op)
    weights = np.concatenate([w * np.eye(channels, dtype=np.int64) for w in wide], axis=1)[:, :, None, None]
    high, low = weights, None
    if max(map(abs, wide)) > 127:
        low = ((weights + 128) % 256 - 128).astype(np.int8)
        high = (weights - low) // 256

    def make(requantize: Requantize, output: str) -> None:
        layer = build(
            state.types, state.fresh(node.name), "add", 1, views[0] + views[1], high.astype(np.int8), low_weights=low,
            requantize=requantize, output=output,
        )  # fmt: skip
        state.add(layer)

    requantize = _requantize(op, factor)
    if isinstance(requantize, Requantize):
        state.store(node.output)
        make(requantize, node.output)
    else:
        join_branches(state, node, requantize, make)


def _requantize(op: Add, factor: Fraction) -> Requantize | PRelu:
    """What makes the operation of factor * sum."""
    whole = Requantize((factor,), (op.offset,), op.low, op.high)
    if op.slope == 1:
        return whole
    return PRelu(whole.multiplier, whole.offset, (op.slope,), op.low, op.high)


def _weights(state: State, node: Node, op: Add) -> tuple[tuple[int, int], Fraction]:
    """Integers w1, w2 and a factor with factor * (w1 * a + w2 * b) = m1 * a + m2 * b, or as good for every pair."""
    m1, m2 = op.multipliers
    if m1 == 0 or m2 == 0:
        w = (int(m1 != 0), int(m2 != 0))
        return w, m1 or m2
    ratio = m1 / m2
    w1, w2 = ratio.numerator, ratio.denominator
    if max(abs(w1), w2) <= WIDE:
        return (w1, w2), m1 / w1
    w1, w2 = nearest_pair(ratio)
    factor = m1 / w1 if abs(w1) > w2 else m2 / w2
    wrong = _differing_pairs(op, (w1, w2), factor, [state.types[name] for name in node.inputs])
    if wrong:
        require(
            state.allow_inexact,
            node.name,
            f"residual add has {wrong} pairs of values that 16-bit weights do not reproduce "
            f"(scales {float(m1):.9g}, {float(m2):.9g})",
            "use power-of-two scales, or --allow-inexact",
        )
        state.inexact[node.name] = wrong
    return (w1, w2), factor


def _differing_pairs(op: Add, w: tuple[int, int], factor: Fraction, kinds: list[TensorType]) -> int:
    """Pairs of values of which the engine's sum is another than the operation's."""
    a, b = (range(kind.low, kind.high + 1) for kind in kinds)
    exact = add_table(op, a, b)
    acc = w[0] * np.array(a, np.int64)[:, None] + w[1] * np.array(b, np.int64)[None, :]
    near = execute(Node("sum", _requantize(op, factor), ("a, b",), "y"), [acc[None]], np.int16)[0]
    return int((exact != near).sum())


def nearest_pair(ratio: Fraction) -> tuple[int, int]:
    """Integers of at most 16 bits whose quotient is as near to `ratio` as possible; 0 stays 0."""
    if abs(ratio) > 1:
        w2, w1 = nearest_pair(1 / ratio)
        return (w1, w2) if w2 > 0 else (-w1, -w2)
    near = ratio.limit_denominator(WIDE)
    return near.numerator, near.denominator

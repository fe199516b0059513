"""LeakyReLU and PReLU: each branch is a map of its own, of the same sums, and a 1x1 puts both together.

    y = clamp(round(v if v >= 0 else a * v), low, high) = clamp(P + s * M, low, high)
        P = clamp(round(v), 0, max(high, 0))                not 0 only where v > 0
        M = clamp(round(s * a * v), 0, most)                not 0 only where v < 0;  s = -1 where a > 0, else 1

Rounding half to even is the same on both sides of 0, so that both are exact whatever a is.  s differs from channel to
channel; most is the largest number that any of them needs, and the 1x1 clamps the others.  Neither map is signed.

What reads y may read P and M instead, where that takes fewer cycles (`hwseg.compile.lower.branches`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np

from hwseg.compile.lower.building import build
from hwseg.compile.lower.layers import Operand
from hwseg.compile.lower.state import State
from hwseg.ir import Node
from hwseg.ops import PRelu, Requantize

JOIN = "leaky"
"""What reports call the 1x1 over both branches."""


def two_slopes(state: State, node: Node) -> None:
    """PRelu."""
    op, source = node.op, node.inputs[0]
    assert isinstance(op, PRelu), node.name
    pending = state.sums.get(source)

    def make(branch: Requantize, output: str) -> None:
        if pending is not None:
            pending.finish(state, pending.node, node.name, branch, output, 1)
        else:
            state.identity(node.name, source, branch, output=output)

    join_branches(state, node, op, make)


def join_branches(state: State, node: Node, op: PRelu, make: Callable[[Requantize, str], None]) -> None:
    """The layers of both branches, each made by `make` from its requantizer and its name, and the one over both."""
    state.check_planes(node.output, node.name)
    kind = state.types[node.output]
    channels = kind.shape[2]
    signs = tuple(Fraction(-1 if slope > 0 else 1) for slope in op.slope)
    most = max(0, *(-op.low if sign < 0 else op.high for sign in signs))
    below = op.below(tuple(sign * slope for sign, slope in zip(signs, op.slope, strict=True)))
    branches = ("above", replace(op.above, low=0, high=max(op.high, 0))), ("below", replace(below, low=0, high=most))
    view: list[Operand] = []
    for what, branch in branches:
        name, _ = state.extra(node.output, what, replace(kind, low=branch.low, high=branch.high))
        make(branch, name)
        state.store(name)
        view += state.views[name]
    eye = np.eye(channels, dtype=np.int8)
    weights = np.concatenate([eye, eye * np.resize([int(sign) for sign in signs], channels)], axis=1)[:, :, None, None]
    join = Requantize((Fraction(1),), (Fraction(0),), op.low, op.high)
    layer = build(
        state.types, state.fresh(node.name), JOIN, 1, tuple(view), weights.astype(np.int8), requantize=join,
        output=node.output,
    )  # fmt: skip
    state.add(layer)
    state.store(node.output)

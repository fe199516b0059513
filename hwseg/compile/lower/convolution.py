"""Convolutions: their sums wait for the requantizer that reads them, and both are one layer.

A transposed convolution is four 1x1 with a strided write, or, beyond 2x2, four 3x3 (`hwseg.compile.lower.transposed`);
strides and transposed kernels read no enlarged operands, so those are stored first.
"""

from __future__ import annotations

import numpy as np

from hwseg.compile.lower.building import build
from hwseg.compile.lower.state import Pending, State
from hwseg.compile.lower.transposed import window
from hwseg.errors import require
from hwseg.ir import Node
from hwseg.ops import ConvTranspose2d, Requantize, macs

FOUR = tuple(np.ndindex(2, 2))
"""Row and column of a transposed convolution's phases."""


def convolution(state: State, node: Node) -> None:
    """Conv2d and ConvTranspose2d."""
    state.view(node, node.inputs[0])
    state.sums[node.output] = Pending(node, _finish)


def _finish(state: State, node: Node, reader: str, op: Requantize | None, output: str) -> None:
    name, view, weights = state.fresh(node.name, reader), state.views[node.inputs[0]], node.weights
    assert weights is not None, node.name
    count = macs(node.op, [state.types[n].shape for n in node.inputs])
    if isinstance(node.op, ConvTranspose2d):
        _finish_transposed(state, node, name, op, output, count)
        return
    kernel, stride = node.op.kernel, node.op.stride  # type: ignore[union-attr]
    require(kernel in (1, 3), node.name, f"kernel must be 1x1 or 3x3, is {kernel}x{kernel}")
    require(stride in (1, 2), node.name, f"stride must be 1 or 2, is {stride}")
    if stride == 2 and any(o.upsampled for o in view):
        view = state.materialize(node, node.inputs[0])
    kind = f"conv{kernel}x{kernel}" + ("/2" if stride == 2 else "")
    layer = build(
        state.types, name, kind, kernel, view, weights, requantize=op, output=output, macs=count, stride=stride
    )
    state.add(layer)


def _finish_transposed(state: State, node: Node, name: str, op: Requantize | None, output: str, count: int) -> None:
    view, weights, meaning = state.views[node.inputs[0]], node.weights, node.op
    assert isinstance(meaning, ConvTranspose2d), node.name
    assert weights is not None, node.name
    if any(o.upsampled for o in view):
        view = state.materialize(node, node.inputs[0])
    point = (meaning.kernel, meaning.padding) == (2, 0)
    kernel, transposed = (2, None) if point else (3, meaning)
    require(point or meaning.near, node.name, "each pixel must come from 3x3 neighbouring ones")
    if op is None:
        # Sums cannot be scattered: the four phases are channels, and who reads the head unfolds them.
        phases = [weights[:, :, r : r + 1, s : s + 1] if point else window(meaning, weights, r, s) for r, s in FOUR]
        weights, kernel, transposed, state.head_fold = np.concatenate(phases), 1 if point else 3, None, (2, 2)
    kind = f"tconv{meaning.kernel}x{meaning.kernel}"
    layer = build(
        state.types, name, kind, kernel, view, weights, requantize=op, output=output, macs=count, transposed=transposed
    )
    state.add(layer)

"""Convolutions: their sums wait for the requantizer that reads them, and both are one layer.

A transposed convolution is four 1x1 with a strided write; strides and transposed kernels read no enlarged operands, so
those are stored first.
"""

from __future__ import annotations

from hwseg.compile.lower.building import build
from hwseg.compile.lower.state import Pending, State
from hwseg.errors import require
from hwseg.ir import Node
from hwseg.ops import ConvTranspose2d, Requantize, macs


def convolution(state: State, node: Node) -> None:
    """Conv2d and ConvTranspose2d."""
    state.view(node, node.inputs[0])
    state.sums[node.output] = Pending(node, _finish)


def _finish(state: State, node: Node, reader: str, op: Requantize | None, output: str) -> None:
    name, view, weights = state.fresh(node.name, reader), state.views[node.inputs[0]], node.weights
    assert weights is not None, node.name
    transposed = isinstance(node.op, ConvTranspose2d)
    kernel, stride = (2, 1) if isinstance(node.op, ConvTranspose2d) else (node.op.kernel, node.op.stride)  # type: ignore[union-attr]
    require(kernel in (1, 2, 3), node.name, f"kernel must be 1x1 or 3x3, is {kernel}x{kernel}")
    require(stride in (1, 2), node.name, f"stride must be 1 or 2, is {stride}")
    if (transposed or stride == 2) and any(o.upsampled for o in view):
        view = state.materialize(node, node.inputs[0])
    kind = {1: "conv1x1", 3: "conv3x3", 2: "tconv2x2"}[kernel] + ("/2" if stride == 2 else "")
    if transposed and op is None:
        # Sums cannot be scattered: the four phases are channels, and who reads the head unfolds them.
        kernel, state.head_fold = 1, (2, 2)
        weights = weights.transpose(2, 3, 0, 1).reshape(-1, weights.shape[1], 1, 1)
    count = macs(node.op, [state.types[n].shape for n in node.inputs])
    layer = build(
        state.types, name, kind, kernel, view, weights, requantize=op, output=output, macs=count, stride=stride
    )
    state.add(layer)

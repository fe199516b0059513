"""A layer from what it reads and multiplies: its shape, the interval of its sums, and the proof that they fit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwseg.compile.lower.layers import Layer, View
from hwseg.errors import require
from hwseg.ir import TensorType
from hwseg.ops import Requantize
from hwseg.rtl.config import PSUM_BITS

SUM_BITS = 32
"""What a requantizer takes."""


def build(
    types: Mapping[str, TensorType],
    name: str,
    op: str,
    kernel: int,
    view: View,
    weights: np.ndarray,
    *,
    low_weights: np.ndarray | None = None,
    requantize: Requantize | None = None,
    output: str | None = None,
    pooled: str | None = None,
    macs: int = 0,
    stride: int = 1,
    phases: np.ndarray | None = None,
) -> Layer:
    """The layer over `view` (see `Layer`), or `HwsegError` where its sums may not fit.  types: of the tensors it reads.

    A 1x1 of stride 2 or on an enlarged operand becomes a 3x3 with one tap: only its windows skip and repeat pixels.
    """
    if kernel == 1 and (stride == 2 or any(o.upsampled for o in view)):
        kernel = 3
        weights = centred(weights)
        low_weights = None if low_weights is None else centred(low_weights)
    height, width, _ = types[view[0].tensor].shape
    enlarged = 2 if view[0].upsampled else 1
    x = (height * enlarged, width * enlarged, (weights if phases is None else phases[0, 0]).shape[1])
    out = weights.shape[0]
    doubles = kernel == 2 or phases is not None
    shape = (2 * x[0], 2 * x[1], out) if doubles else ((x[0] - 1) // stride + 1, (x[1] - 1) // stride + 1, out)
    wide = _whole(weights, phases)
    wide = wide if low_weights is None else 256 * wide + low_weights
    limits = [types[o.tensor] for o in view for _ in range(o.channels)]
    low, high = (np.array([getattr(t, side) for t in limits], np.int64) for side in ("low", "high"))
    intervals = sum_intervals(_sums(wide, kernel, phases), np.minimum(low, 0), np.maximum(high, 0))
    largest = _reach(wide) * int(max(-low.min(), high.max()))
    least, most = int(intervals[0].min()), int(intervals[1].max())
    require(
        largest < 1 << PSUM_BITS - 1 and least >= -(1 << SUM_BITS - 1) and most < 1 << SUM_BITS - 1,
        name,
        f"accumulator must fit {SUM_BITS} bits, reaches [{least}, {most}]",
        "use fewer input channels or smaller weights",
    )
    return Layer(
        name, op, kernel, stride, view, weights, low_weights, requantize, intervals, x, shape, output, pooled, macs,
        phases=phases,
    )  # fmt: skip


def centred(weights: np.ndarray) -> np.ndarray:
    """A 1x1 kernel as the middle of a 3x3 one."""
    return np.pad(weights, ((0, 0), (0, 0), (1, 1), (1, 1)))


def reach(weights: np.ndarray, phases: np.ndarray | None) -> int:
    """The largest sum of any part of what an output channel multiplies, of inputs of magnitude 1."""
    return _reach(_whole(weights, phases))


def _reach(wide: np.ndarray) -> int:
    return int(np.abs(wide).reshape(len(wide), -1).sum(1).max())


def _whole(weights: np.ndarray, phases: np.ndarray | None) -> np.ndarray:
    return (weights if phases is None else _side_by_side(phases)).astype(np.int64)


def _side_by_side(phases: np.ndarray) -> np.ndarray:
    """[out, in, 4, tap] of four phases."""
    return phases.transpose(2, 3, 0, 1, 4, 5).reshape(*phases.shape[2:4], 4, -1)


def _sums(weights: np.ndarray, kernel: int, phases: np.ndarray | None) -> list[np.ndarray]:
    """[out, in, tap] of every sum that the layer makes: one, or those of four phases."""
    taps = weights.reshape(*weights.shape[:2], -1)
    if phases is not None:
        return [weights[:, :, i] for i in range(4)]
    return [taps[:, :, i : i + 1] for i in range(4)] if kernel == 2 else [taps]


def sum_intervals(phases: list[np.ndarray], low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest sum of every output channel, over all phases [out, in, tap]."""
    least, most = [], []
    for taps in phases:
        positive, negative = np.maximum(taps, 0).sum(2), np.minimum(taps, 0).sum(2)
        least.append(positive @ low + negative @ high)
        most.append(positive @ high + negative @ low)
    return np.min(least, axis=0), np.max(most, axis=0)

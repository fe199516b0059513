"""What one pass of the engine does: a layer, what it reads and writes, and a network of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hwseg.compile.bilinear import Columns
from hwseg.compile.layout import TensorLayout
from hwseg.ops import Requantize, Shape


@dataclass(frozen=True)
class Operand:
    """A stored tensor, `upsampled` twice in both directions while it is read."""

    tensor: str
    channels: int
    upsampled: bool = False


View = tuple[Operand, ...]


@dataclass(frozen=True)
class Dot:
    """A 1x1 head of one class.  weights: int8 [channel of the layer]."""

    name: str
    tensor: str
    weights: np.ndarray = field(compare=False, repr=False)


@dataclass(frozen=True)
class Residual:
    """An addition of the layer's own input x to its requantized values q: clamp((x + q * 2**double) / 2**halve).

    name: of the addition.  low, high: its clamp; the layer's requantizer has its own.
    """

    name: str
    double: bool
    halve: bool
    low: int
    high: int


@dataclass(frozen=True)
class Layer:
    """One convolution with everything that happens before its result is stored.

    kernel: 3, 1, or 2 for the transposed convolution.  weights: int8 [out, in, kernel, kernel], inputs in the order of
    `operands`; with `low_weights` the weight is 256 * weights + low_weights.  `interval`: of the sum over all channels.
    requantize: None for the head's sums.  shape: before pooling.  output, pooled: names of what is stored.
    """

    name: str
    op: str
    kernel: int
    stride: int
    operands: View
    weights: np.ndarray = field(compare=False, repr=False)
    low_weights: np.ndarray | None = field(compare=False, repr=False)
    requantize: Requantize | None
    intervals: tuple[np.ndarray, np.ndarray] = field(compare=False, repr=False)
    input_shape: Shape
    shape: Shape
    output: str | None
    pooled: str | None
    macs: int
    dot: Dot | None = None
    """The head, where it is computed from this layer's values as they are requantized."""
    columns: Columns | None = None
    """Word columns of the map that this layer makes; None: all."""
    repeat_rows: bool = False
    """Above and below the map lie its first and its last row, not zeros."""
    residual: Residual | None = None

    @property
    def clamp(self) -> tuple[int, int]:
        """Smallest and largest value that is stored."""
        if self.residual is not None:
            return self.residual.low, self.residual.high
        assert self.requantize is not None, "sums are not clamped"
        return self.requantize.low, self.requantize.high

    @property
    def interval(self) -> tuple[int, int]:
        return int(self.intervals[0].min()), int(self.intervals[1].max())

    @property
    def wide_weights(self) -> np.ndarray:
        """int64, high and low parts together."""
        wide = self.weights.astype(np.int64)
        return wide if self.low_weights is None else 256 * wide + self.low_weights


@dataclass(frozen=True)
class Network:
    """Layers in order, stored tensors, names of the input and the head; `sums`: the head is raw sums."""

    name: str
    input: str
    head: str
    sums: bool
    layers: tuple[Layer, ...]
    tensors: dict[str, TensorLayout]

"""What one pass of the engine does: a layer, what it reads and writes, and a network of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hwseg.compile.lower.bilinear import Columns
from hwseg.layout import Fold, TensorLayout
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

    kernel: 3, 1, or 2 for the transposed convolution of 2x2.  weights: int8 [out, in, kernel, kernel], inputs in the
    order of `operands`; with `low_weights` the weight is 256 * weights + low_weights.  `interval`: of the sum over all
    channels.  requantize: None for the head's sums.  shape: before pooling.  output, pooled: names of what is stored.
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
    fold: Fold = (1, 1)
    """Rows and columns of the input that are stored as channels (`TensorLayout.fold`)."""
    phases: np.ndarray | None = field(default=None, compare=False, repr=False)
    """int8 [2, 2, out, in, 3, 3]: the 3x3 of each row and column phase, where `weights` are those of another kernel."""
    made_for: str = field(default="", compare=False)
    """The graph's node that wanted it: the same for all layers that an operation becomes."""

    def __post_init__(self) -> None:
        assert self.pooled is None or self.pools, f"{self.name} stores the maximum of pixels that are no neighbours"

    @property
    def clamp(self) -> tuple[int, int]:
        """Smallest and largest value that is stored."""
        if self.residual is not None:
            return self.residual.low, self.residual.high
        assert self.requantize is not None, "sums are not clamped"
        return self.requantize.low, self.requantize.high

    @property
    def row_phases(self) -> int:
        """Rows of the map that one row of RUN makes, each with weights of its own: output sets apart."""
        return 2 if self.doubles else self.fold[0]

    @property
    def column_phases(self) -> int:
        """Pixels of the map that one pixel of RUN makes, each with weights of its own: passes apart."""
        return 2 if self.doubles else self.fold[1]

    @property
    def doubles(self) -> bool:
        """Whether its map is twice as large as what it reads, in four phases."""
        return self.kernel == 2 or self.phases is not None

    @property
    def pools(self) -> bool:
        """Whether it can store the 2x2 maximum of its map: what a RUN makes in a pair of rows must be neighbours in
        the map, and pixels of one phase are not.
        """
        return self.row_phases == self.column_phases == 1

    @property
    def run_shape(self) -> tuple[int, int]:
        """Rows and pixels that RUNs walk over."""
        return self.shape[0] // self.row_phases, self.shape[1] // self.column_phases

    def phase(self, row: int, column: int, part: int = 0) -> np.ndarray:
        """int8 [out, stored in, k, k]: the convolution, k 3 or 1, that makes one row phase and one column phase.

        part: 1 for the low weights.  Where f rows are folded into one, phase r at folded row y makes row f * y + r; its
        tap t reads row f * y + r + t - 1, which is part (r + t - 1) % f of folded row y + (r + t - 1) // f.  Columns
        alike.  Every other weight is zero.
        """
        weights = self.low_weights if part else self.weights
        assert weights is not None
        if self.kernel == 2:
            return weights[:, :, row : row + 1, column : column + 1]
        if self.phases is not None:
            return np.asarray(self.phases[row, column])
        if self.fold == (1, 1):
            return weights
        found = np.zeros((len(weights), *self.fold, weights.shape[1], 3, 3), np.int8)
        for ky, kx in np.ndindex(3, 3):
            (y, r), (x, s) = divmod(row + ky - 1, self.fold[0]), divmod(column + kx - 1, self.fold[1])
            found[:, r, s, :, 1 + y, 1 + x] = weights[:, :, ky, kx]
        return found.reshape(len(weights), -1, 3, 3)

    @property
    def stored_factor(self) -> int:
        """Stored channels of each channel of the input."""
        return self.fold[0] * self.fold[1]

    @property
    def array_macs(self) -> int:
        """Without those of a head that the requantizers' slices multiply."""
        height, width, channels = self.shape
        return self.macs - (height * width * channels if self.dot is not None else 0)

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
    """Layers in order, stored tensors, names of the input and the head; `sums`: the head is raw sums.

    head_fold: rows and columns of the head that the last layer's sums have as channels.
    """

    name: str
    input: str
    head: str
    sums: bool
    layers: tuple[Layer, ...]
    tensors: dict[str, TensorLayout]
    head_fold: Fold = (1, 1)

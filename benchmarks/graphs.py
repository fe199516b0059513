"""Integer graphs built by hand, node by node, for what exporters write rarely."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from hwseg.ir import Graph, Head, Node, TensorType, accumulator_interval
from hwseg.ops import (
    Add,
    AveragePool2d,
    Bilinear2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    MaxPool2d,
    Op,
    Requantize,
    Upsample2d,
    shape,
)


class GraphBuilder:
    """Each method adds a node and returns the name of its output; weights are drawn from the seed."""

    def __init__(
        self, height: int, width: int, channels: int, seed: int = 0, low: int = 0, high: int = 255, prefix: str = ""
    ) -> None:
        self.prefix = prefix
        self.random = np.random.default_rng(seed)
        self.types = {"image": TensorType((height, width, channels), low, high, (Fraction(1),))}
        self.nodes: list[Node] = []

    def _node(self, op: Op, inputs: tuple[str, ...], low: int, high: int, weights: np.ndarray | None = None) -> str:
        name = f"{self.prefix}{type(op).__name__}_{len(self.nodes)}"
        found = shape(op, [self.types[i].shape for i in inputs])
        self.nodes.append(Node(name, op, inputs, f"{name}_out", weights))
        self.types[f"{name}_out"] = TensorType(found, low, high, (Fraction(1),))
        return f"{name}_out"

    def apply(self, op: Op, *inputs: str, low: int, high: int) -> str:
        """Any operation without weights."""
        return self._node(op, inputs, low, high)

    def sums(self, x: str, out: int, kernel: int = 3, stride: int = 1, weight_bits: int = 8) -> str:
        """Convolution; kernel 2 is the transposed one."""
        return self._sums(ConvTranspose2d(out) if kernel == 2 else Conv2d(kernel, out, stride), x, weight_bits)

    def grouped(self, x: str, groups: int, kernel: int = 3, bits: int = 8) -> str:
        """Convolution of channels of a group with those of the same group, with a requantizer."""
        channels = self.types[x].shape[2]
        y = self._sums(Conv2d(kernel, channels, 1, groups), x)
        mine = np.arange(channels) * groups // channels
        weights = self.nodes[-1].weights
        assert weights is not None
        weights[mine[:, None] != mine] = 0
        return self._rounded(y, x, bits, signed=False)

    def transposed_sums(self, x: str, out: int, kernel: int, padding: int) -> str:
        """Transposed convolution of any kernel."""
        return self._sums(ConvTranspose2d(out, kernel, padding), x)

    def transposed(self, x: str, out: int, kernel: int, padding: int, bits: int = 8, signed: bool = False) -> str:
        """The same with a requantizer."""
        return self._rounded(self.transposed_sums(x, out, kernel, padding), x, bits, signed)

    def _sums(self, op: Conv2d | ConvTranspose2d, x: str, weight_bits: int = 8) -> str:
        most = 1 << (weight_bits - 1)
        weights = self.random.integers(
            -most, most, (op.out_channels, self.types[x].shape[2], op.kernel, op.kernel)
        ).astype(np.int8)
        return self._node(op, (x,), -(1 << 31), (1 << 31) - 1, weights)

    def conv(
        self,
        x: str,
        out: int,
        kernel: int = 3,
        stride: int = 1,
        bits: int = 8,
        signed: bool = False,
        weight_bits: int = 8,
    ) -> str:
        """Convolution and a requantizer that uses the whole range."""
        return self._rounded(self.sums(x, out, kernel, stride, weight_bits), x, bits, signed)

    def _rounded(self, y: str, x: str, bits: int, signed: bool) -> str:
        low, high = accumulator_interval(self.nodes[-1], self.types[x])
        spread = [int(max(b, -a, 1)) for a, b in zip(low, high, strict=True)]
        factors = [Fraction(1 << bits, 1 << (s // 2).bit_length()) for s in spread]
        offsets = tuple(Fraction(int(self.random.integers(-64, 64)), 8) for _ in spread)
        least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        return self._node(Requantize(tuple(factors), offsets, least, most), (y,), least, most)

    def requantize(self, x: str, factor: Fraction, low: int, high: int) -> str:
        return self._node(Requantize((factor,), (Fraction(0),), low, high), (x,), low, high)

    def pool(self, x: str, kernel: int = 2) -> str:
        return self._node(MaxPool2d(kernel), (x,), self.types[x].low, self.types[x].high)

    def quarters(self, x: str) -> str:
        """2x2 averages before they are rounded."""
        return self._node(AveragePool2d(), (x,), 4 * self.types[x].low, 4 * self.types[x].high)

    def average(self, x: str, bits: int = 8, factor: Fraction = Fraction(1, 4)) -> str:
        """2x2 averages, rounded."""
        kind, y = self.types[x], self.quarters(x)
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind.signed else (0, (1 << bits) - 1)
        return self.requantize(y, factor, low, high)

    def up(self, x: str) -> str:
        return self._node(Upsample2d(), (x,), self.types[x].low, self.types[x].high)

    def sixteenths(self, x: str) -> str:
        """Bilinear enlarging before it is rounded."""
        return self._node(Bilinear2d(), (x,), 16 * self.types[x].low, 16 * self.types[x].high)

    def bilinear(self, x: str, bits: int = 8) -> str:
        """Bilinear enlarging, rounded to `bits` planes at the same scale if there is room, else at one that fits."""
        kind = self.types[x]
        y = self.sixteenths(x)
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind.signed else (0, (1 << bits) - 1)
        return self.requantize(y, Fraction(1, 16 << max(0, kind.bits - bits)), low, high)

    def concat(self, *xs: str) -> str:
        low, high = min(self.types[x].low for x in xs), max(self.types[x].high for x in xs)
        return self._node(Concat(), xs, low, high)

    def add(
        self,
        a: str,
        b: str,
        m1: Fraction,
        m2: Fraction,
        low: int = 0,
        high: int = 255,
        offset: Fraction = Fraction(1, 3),
    ) -> str:
        return self._node(Add((m1, m2), offset, low, high), (a, b), low, high)

    def graph(self, head: str) -> Graph:
        return Graph("built", "image", tuple(self.nodes), self.types, Head(head, (Fraction(1),), (Fraction(0),)))

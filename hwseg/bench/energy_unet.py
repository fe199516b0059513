"""A U-Net of the ICECS 2025 paper's work, about 1.41 GMAC a frame, as an integer graph on a real picture.

Its weights are drawn, not trained, from a normal distribution as wide as trained ones; each requantizer's power of two
is the smallest that lets 99.5 % of its sums pass unclipped, on that picture.  So its shapes, cycles and transfers are
those of such a network, and its activations are as dense as ReLU leaves random sums: half of them zero.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from hwseg import golden
from hwseg.ir import Graph, Head, Node, TensorType, accumulator_interval
from hwseg.ops import Concat, Conv2d, MaxPool2d, Op, Requantize, Upsample2d, shape

WIDTH, DEPTH, SIZE = 16, 4, 160
"""Channels of the first level, poolings, pixels of a side."""

SPREAD = {8: 25.0, 4: 2.5}
"""Standard deviation of the weights by their bits."""


class Builder:
    """Adds nodes and runs them as it goes, so that each requantizer is fitted to the picture."""

    def __init__(self, image: np.ndarray, bits: int, seed: int = 0) -> None:
        self.random, self.bits = np.random.default_rng(seed), bits
        self.types = {"image": TensorType(image.shape, 0, 255, (Fraction(1, 256),))}
        self.nodes: list[Node] = []
        self.maps = {"image": np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.uint8)}

    def add(
        self, name: str, op: Op, inputs: tuple[str, ...], low: int, high: int, weights: np.ndarray | None = None
    ) -> str:
        """A node, run on the picture; its output has its name."""
        kind = TensorType(shape(op, [self.types[i].shape for i in inputs]), low, high, (Fraction(1),))
        node = Node(name, op, inputs, name, weights)
        self.nodes.append(node)
        self.types[name] = kind
        self.maps[name] = golden.execute(node, [self.maps[i] for i in inputs], golden.storage(kind))
        return name

    def sums(self, name: str, x: str, out: int, kernel: int = 3) -> str:
        """Convolution with weights as wide as trained ones."""
        most = (1 << (self.bits - 1)) - 1
        drawn = self.random.normal(0, SPREAD[self.bits], (out, self.types[x].shape[2], kernel, kernel))
        weights = drawn.round().clip(-most, most).astype(np.int8)
        probe = Node(name, Conv2d(kernel, out), (x,), name, weights)
        low, high = accumulator_interval(probe, self.types[x])
        return self.add(name, probe.op, (x,), int(low.min()), int(high.max()), weights)

    def conv(self, name: str, x: str, out: int) -> str:
        """Convolution, ReLU and rounding to the tensor's bits."""
        y = self.sums(f"{name}/sum", x, out)
        top = max(1.0, float(np.quantile(self.maps[y], 0.995)))
        shift = max(0, int(np.ceil(np.log2(top / (1 << self.bits)))))
        op = Requantize((Fraction(1, 1 << shift),), (Fraction(0),), 0, (1 << self.bits) - 1)
        return self.add(name, op, (y,), 0, (1 << self.bits) - 1)


def unet(image: np.ndarray, bits: int = 8) -> Graph:
    """The graph for a picture uint8 [SIZE, SIZE, 1]; weights and activations of 8 or 4 bits, the picture of 8."""
    b = Builder(image, bits)
    top = (1 << bits) - 1
    x, skips = "image", []
    for level in range(DEPTH):
        x = b.conv(f"enc{level}/conv1", b.conv(f"enc{level}/conv0", x, WIDTH << level), WIDTH << level)
        skips.append(x)
        x = b.add(f"enc{level}/pool", MaxPool2d(), (x,), 0, top)
    x = b.conv("bottom/conv1", b.conv("bottom/conv0", x, WIDTH << DEPTH), WIDTH << DEPTH)
    for level in reversed(range(DEPTH)):
        up = b.add(f"dec{level}/up", Upsample2d(), (x,), 0, top)
        joined = b.add(f"dec{level}/concat", Concat(), (up, skips[level]), 0, top)
        x = b.conv(f"dec{level}/conv1", b.conv(f"dec{level}/conv0", joined, WIDTH << level), WIDTH << level)
    head = b.sums("head", x, 1, 1)
    size = "" if len(image) == SIZE else f"-{len(image)}"
    return Graph(
        f"unet{WIDTH}-{bits}bit{size}", "image", tuple(b.nodes), b.types, Head(head, (Fraction(1),), (Fraction(0),))
    )

"""Random integer graphs, made without a model file: every operation, branches, joins, signed and unsigned maps."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np

from hwseg.ir import Graph, Head, Node, TensorType, accumulator_interval
from hwseg.ops import (
    Add,
    Bilinear2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    MaxPool2d,
    Op,
    Requantize,
    Shape,
    Upsample2d,
    shape,
)

SCALE = (Fraction(1, 16),)


class Pen:
    """A graph that grows; every method adds a node and returns its tensor."""

    def __init__(self, seed: int, size: tuple[int, int], channels: int) -> None:
        self.rng, self.draws = np.random.default_rng(seed), random.Random(seed)
        self.types = {"image": TensorType((*size, channels), 0, 255, (Fraction(1, 256),))}
        self.nodes: list[Node] = []

    def shape(self, tensor: str) -> Shape:
        return self.types[tensor].shape

    def add(self, op: Op, *inputs: str, low: int, high: int, weights: np.ndarray | None = None) -> str:
        name = f"{type(op).__name__}{len(self.nodes)}"
        self.nodes.append(Node(name, op, inputs, name, weights))
        self.types[name] = TensorType(shape(op, [self.shape(i) for i in inputs]), low, high, SCALE)
        return name

    def sums(self, op: Conv2d | ConvTranspose2d, x: str, kernel: int) -> str:
        weights = self.rng.integers(-7, 8, (op.out_channels, self.shape(x)[2], kernel, kernel)).astype(np.int8)
        lows, highs = accumulator_interval(Node("", op, (x,), "", weights), self.types[x])
        return self.add(op, x, low=int(lows.min()), high=int(highs.max()), weights=weights)

    def quantized(self, x: str) -> str:
        """Into 8 bits, so that values neither vanish nor all saturate."""
        kind = self.types[x]
        low, high = self.draws.choice(((0, 255), (-128, 127), (0, 15)))
        step = Fraction(high - low, max(1, (kind.high - kind.low) // self.draws.choice((2, 4, 8))))
        offset = Fraction(self.draws.randint(-8, 8), 4)
        return self.add(Requantize((step,), (offset,), low, high), x, low=low, high=high)

    def conv(self, x: str, channels: int, kernel: int = 3, stride: int = 1) -> str:
        return self.quantized(self.sums(Conv2d(kernel, channels, stride), x, kernel))

    def block(self, x: str) -> str:
        """One or two convolutions, now and then with an addition around them."""
        y = x
        for _ in range(self.draws.choice((1, 1, 1, 2))):
            y = self.conv(y, self.draws.randint(1, 5), self.draws.choice((3, 3, 1)))
        if self.draws.random() < 0.3:
            around = self.conv(x, self.shape(y)[2], 1)
            multipliers = Fraction(1, 2), Fraction(3, 5)
            y = self.add(Add(multipliers, Fraction(1, 3), -128, 127), y, around, low=-128, high=127)
        return y

    def down(self, x: str) -> str:
        kind = self.draws.choice(("pool", "pool", "stride", "point"))
        if kind == "pool":
            return self.add(MaxPool2d(), x, low=self.types[x].low, high=self.types[x].high)
        return self.conv(x, self.draws.randint(1, 6), 3 if kind == "stride" else 1, 2)

    def up(self, x: str) -> str:
        kind, own = self.draws.choice(("nearest", "bilinear", "transposed")), self.types[x]
        if kind == "nearest":
            return self.add(Upsample2d(), x, low=own.low, high=own.high)
        if kind == "bilinear":
            return self.quantized(self.add(Bilinear2d(), x, low=16 * own.low, high=16 * own.high))
        return self.quantized(self.sums(ConvTranspose2d(self.draws.randint(1, 4)), x, 2))

    def join(self, *inputs: str) -> str:
        kinds = [self.types[i] for i in inputs]
        return self.add(Concat(), *inputs, low=min(k.low for k in kinds), high=max(k.high for k in kinds))

    def graph(self, head: str) -> Graph:
        count = self.shape(head)[2]
        offsets = tuple(Fraction(self.draws.randint(-9, 9)) for _ in range(count))
        return Graph("random", "image", tuple(self.nodes), self.types, Head(head, SCALE, offsets))


def random_graph(seed: int, size: tuple[int, int] | None = None) -> Graph:
    """A U-Net of depth 0 to 2, or a chain that goes down and up, of the smallest size that all of it divides."""
    draws = random.Random(seed)
    depth = draws.choice((0, 1, 1, 1, 2))
    unit = 1 << depth
    size = size or (unit * draws.randint(1, 3), unit * draws.randint(1, 3))
    pen = Pen(seed, size, draws.choice((1, 1, 2, 3)))
    x, skips = pen.block("image"), []
    for _ in range(depth):
        skips.append(x)
        x = pen.block(pen.down(x))
    while skips:
        x, skip = pen.up(x), skips.pop()
        if draws.random() < 0.8:
            x = pen.join(skip, x)
        x = pen.block(x)
    return pen.graph(_head(pen, x))


def _head(pen: Pen, x: str) -> str:
    kernel = pen.draws.choice((1, 1, 3))
    sums = pen.sums(Conv2d(kernel, pen.draws.choice((1, 1, 2, 3))), x, kernel)
    return pen.quantized(sums) if pen.draws.random() < 0.2 else sums

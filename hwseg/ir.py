"""How layers are joined: the integer graph, from the QONNX border to the compiler.

A tensor is integers q with a scale, value = q * scale; the zero point is 0 everywhere.  Activations have at most 8 bits
and one scale; accumulators have one scale per output channel.  Nodes keep their ONNX name to the end, so that errors,
reports and waveforms speak the user's language.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import numpy as np

from hwseg.ops import Interval, Op, Shape


@dataclass(frozen=True)
class TensorType:
    """Integers [height, width, channels] in [low, high]; `scale`: one, or one per channel (accumulators)."""

    shape: Shape
    low: int
    high: int
    scale: tuple[Fraction, ...]

    @property
    def interval(self) -> Interval:
        return self.low, self.high

    @property
    def signed(self) -> bool:
        return self.low < 0

    @property
    def bits(self) -> int:
        """Digit planes: smallest word that holds [low, high]."""
        return max(1, self.high.bit_length() + self.signed, (-self.low - 1).bit_length() + 1 if self.signed else 0)


@dataclass(frozen=True)
class Node:
    """`output` = `op`(`inputs`); `weights`: int8 [out, in, kernel row, kernel column] of convolutions, else None."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    output: str
    weights: np.ndarray | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Rounding:
    """A quantizer of probabilities: clamp(round_half_even(p / scale), low, high) * scale."""

    scale: Fraction
    low: int
    high: int


Axes = tuple[str, ...]
"""What each axis of an ONNX tensor counts, of C, H and W; "" has size 1."""

AXES: Axes = ("", "C", "H", "W")
"""Those of a map."""


@dataclass(frozen=True)
class Head:
    """The network's result: value[c] = tensor[c] * scale[c] + offset[c], then `activation`; the mask compares integers.

    `activation`: "none", "sigmoid", "softmax", or, where the model itself gives the mask, "threshold" or "argmax".  One
    channel: mask = value > threshold before the activation (probability 1/2 is value 0).  Several: mask = argmax over
    channels, the smallest index first among equals.  `rounding`: of the probabilities that the model gives; the mask is
    that of the probabilities before it.  `axes`: of what the model gives; classes have no channels, C is 1.
    """

    tensor: str
    scale: tuple[Fraction, ...]
    offset: tuple[Fraction, ...]
    activation: str = "none"
    threshold: Fraction = Fraction(0)
    rounding: Rounding | None = None
    axes: Axes = AXES


@dataclass(frozen=True)
class Graph:
    """A network of integers: `nodes` in execution order, `types` of every tensor, one input, one head."""

    name: str
    input: str
    nodes: tuple[Node, ...]
    types: dict[str, TensorType]
    head: Head
    metadata: dict[str, str] = field(default_factory=dict)
    input_quantizer: bool = True
    """Does the model quantize its input itself?  If not, it takes only floats that are integers times the scale."""

    @cached_property
    def producer(self) -> dict[str, Node]:
        return {node.output: node for node in self.nodes}

    @cached_property
    def consumers(self) -> dict[str, tuple[Node, ...]]:
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                found.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}


def accumulator_interval(node: Node, x: TensorType) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest sum of each output channel of a convolution, from its real weights.

    Zero is in the input's interval (padding, and every quantizer's range), so the bounds also hold at the border.
    """
    assert node.weights is not None, node.name
    w = node.weights.astype(np.int64).reshape(len(node.weights), -1)
    positive, negative = np.maximum(w, 0).sum(1), np.minimum(w, 0).sum(1)
    low, high = min(x.low, 0), max(x.high, 0)
    return positive * low + negative * high, positive * high + negative * low

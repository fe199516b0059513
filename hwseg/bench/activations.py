"""What digit order buys on real activations: windows, weights and thresholds of a trained network's convolutions.

An output needs all B planes of its window, less the leading ones that are zero in all lanes, and less those after which
ReLU and saturation have decided it (`hwseg.arith.decision`).  "Alone" is one core by itself; "lockstep" is what 16
output channels x 8 neighbouring pixels need together, because an array steps all of its cores at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hwseg.arith.decision import Decision
from hwseg.arith.mma import MmaSpec
from hwseg.arith.types import IntType
from hwseg.ir import Graph, Node
from hwseg.ops import Conv2d, Requantize

CHANNELS, PIXELS = 16, 8
GROUPS = 24
"""Groups of 8 pixels per layer, drawn with a fixed seed."""


@dataclass(frozen=True)
class Layer:
    """One convolution: windows [pixel, tap and input channel], groups of 8 neighbours; weights [channel, the same]."""

    name: str
    activation: IntType
    windows: np.ndarray
    weights: np.ndarray
    requantize: Requantize
    macs: int

    def decision(self, channel: int) -> Decision | None:
        """None where the output falls with the sum."""
        op = self.requantize
        multiplier = op.multiplier[channel if len(op.multiplier) > 1 else 0]
        if multiplier <= 0:
            return None
        steps = op.steps(channel)
        return Decision(tuple(self.weights[channel].tolist()), self.activation, 0, steps[0] - 1, steps[-1])


@dataclass(frozen=True)
class Planes:
    """Mean planes per output of one layer."""

    layer: str
    lanes: int
    dense: float
    skipping: float
    early_exit: float
    both: float
    lockstep_skipping: float
    lockstep_exit: float
    growth: float
    growth_of_words: int


def layers(graph: Graph, tensors: dict[str, np.ndarray]) -> Iterator[Layer]:
    """Convolutions whose sums are requantized, with windows of these tensors."""
    generator = np.random.default_rng(0)
    for node in graph.nodes:
        readers = graph.consumers.get(node.output, ())
        op = readers[0].op if len(readers) == 1 else None
        if isinstance(node.op, Conv2d) and node.weights is not None and isinstance(op, Requantize):
            yield _layer(graph, node, op, tensors[node.inputs[0]], generator)


def _layer(graph: Graph, node: Node, op: Requantize, x: np.ndarray, generator: np.random.Generator) -> Layer:
    assert node.weights is not None
    kernel, pad = node.weights.shape[2:], (node.weights.shape[2] - 1) // 2
    padded = np.pad(x.astype(np.int64), ((pad, pad), (pad, pad), (0, 0)))
    height, width = padded.shape[0] - kernel[0] + 1, padded.shape[1] - kernel[1] + 1
    rows = generator.integers(0, height, GROUPS)
    columns = generator.integers(0, max(1, width // PIXELS), GROUPS) * PIXELS
    windows = [
        padded[r : r + kernel[0], c + p : c + p + kernel[1]].reshape(-1)
        for r, c in zip(rows, columns, strict=True)
        for p in range(min(PIXELS, width))
    ]
    kind = graph.types[node.inputs[0]]
    weights = node.weights.transpose(0, 2, 3, 1).reshape(len(node.weights), -1).astype(np.int64)
    macs = weights.size * height * width
    return Layer(node.name, IntType(kind.bits, kind.signed), np.array(windows), weights, op, macs)


def leading(windows: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """Leading planes that are zero in all lanes of each window."""
    if signed:
        return np.zeros(len(windows), np.int64)
    largest = windows.max(1)
    return bits - np.array([int(v).bit_length() for v in largest])


def planes(layer: Layer) -> Planes:
    """Means over the layer's sampled windows and, for the lockstep, its first 16 channels."""
    bits = layer.activation.width
    skipped = np.minimum(leading(layer.windows, bits, layer.activation.signed), bits - 1)
    needed = []
    for channel in range(min(CHANNELS, len(layer.weights))):
        decision = layer.decision(channel)
        full = np.full(len(layer.windows), bits)
        needed.append(full if decision is None else decision.planes_needed_all(layer.windows))
    exits = np.array(needed)
    groups = exits.reshape(len(needed), -1, min(PIXELS, len(skipped)))
    growth = [MmaSpec.of(w.tolist(), layer.activation).growth for w in layer.weights]
    lanes = layer.weights.shape[1]
    return Planes(
        layer=layer.name,
        lanes=lanes,
        dense=float(bits),
        skipping=float((bits - skipped).mean()),
        early_exit=float(exits.mean()),
        both=float(np.maximum(exits - skipped, 1).mean()),
        lockstep_skipping=float((bits - skipped.reshape(groups.shape[1:]).min(1)).mean()),
        lockstep_exit=float(groups.max((0, 2)).mean()),
        growth=float(np.mean(growth)),
        growth_of_words=MmaSpec(lanes, layer.activation, IntType(8, signed=True)).growth,
    )

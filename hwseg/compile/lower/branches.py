"""Readers of a LeakyReLU or PReLU may read its two branches instead of the 1x1 that puts both together.

    y = P + s * M        sum of w * y  =  sum of w * P + (s * w) * M

That is the same sum in every reader, so that its interval and its requantizer stay.  It takes twice as many input
channels of each of its taps, and saves the 1x1 and the map that it stores.  `hwseg.compile.plan.variants` plans both
ways and takes the cheaper one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from hwseg.compile.lower.building import reach
from hwseg.compile.lower.layers import Layer, Network, Operand
from hwseg.compile.lower.slopes import JOIN
from hwseg.compile.lower.state import MAX_PLANES
from hwseg.layout import TensorLayout
from hwseg.rtl.config import PSUM_BITS


def joins(network: Network) -> list[str]:
    """Maps that a 1x1 makes of two branches, those that are pooled or the head left out."""
    made = [layer for layer in network.layers if layer.op == JOIN and layer.pooled is None]
    return [layer.output for layer in made if layer.output is not None and layer.output != network.head]


def apart(network: Network, tensor: str) -> Iterator[Network]:
    """The network without the map `tensor` of `joins`, if all that read it can read its branches; else nothing."""
    join = next(layer for layer in network.layers if layer.output == tensor)
    readers = {
        id(layer): _reading(layer, join)
        for layer in network.layers
        if any(operand.tensor == tensor for operand in layer.operands)
    }
    if not _never_clamps(join, network) or not all(_possible(layer, network) for layer in readers.values()):
        return
    layers = tuple(_of_bytes(readers[id(x)]) if id(x) in readers else x for x in network.layers if x is not join)
    tensors = {name: layout for name, layout in network.tensors.items() if name != tensor}
    yield replace(network, layers=layers, tensors=tensors)


def _signs(join: Layer) -> np.ndarray:
    """1 or -1 of each channel: what its second branch counts."""
    return np.diagonal(join.weights[:, len(join.weights) :, 0, 0])


def _never_clamps(join: Layer, network: Network) -> bool:
    """Whether no number of either branch is beyond the ends of the 1x1, which would keep it back."""
    highs = {layer.output: layer.clamp[1] for layer in network.layers if layer.output and layer.requantize is not None}
    above, below = (highs[operand.tensor] for operand in join.operands)
    low, high = join.clamp
    ends = [high if sign > 0 else -low for sign in _signs(join)]
    return low <= 0 <= high and above <= high and below <= min(ends)


def _reading(layer: Layer, join: Layer) -> Layer:
    """The layer with both branches in place of their sum; its weights are of 16 bits until they are known to fit 8."""
    operands: list[Operand] = []
    channels: list[np.ndarray] = []
    factors: list[np.ndarray] = []
    first = 0
    for operand in layer.operands:
        own, one = np.arange(first, first + operand.channels), np.ones(operand.channels, np.int16)
        first += operand.channels
        both = ((join.operands[0], one), (join.operands[1], _signs(join)[: operand.channels].astype(np.int16)))
        parts = both if operand.tensor == join.output else ((operand, one),)
        # A layer may read the first channels of a map only.
        operands += [replace(part, channels=operand.channels, upsampled=operand.upsampled) for part, _ in parts]
        channels += [own] * len(parts)
        factors += [factor for _, factor in parts]
    order, factor = np.concatenate(channels), np.concatenate(factors)[:, None, None]
    phases = None if layer.phases is None else layer.phases[:, :, :, order] * factor
    return replace(layer, operands=tuple(operands), weights=layer.weights[:, order] * factor, phases=phases)


def _possible(layer: Layer, network: Network) -> bool:
    """Whether the array can do it: weights of a byte, sums of few bits, and one word for all that it reads."""
    kinds = [network.tensors[operand.tensor] for operand in layer.operands]
    weights = [layer.weights] if layer.phases is None else [layer.weights, layer.phases]
    plain = layer.residual is None and layer.low_weights is None and max(w.max() for w in weights) <= 127
    signed = any(kind.signed for kind in kinds)
    planes = max(kind.planes + (signed and not kind.signed) for kind in kinds)
    return plain and planes <= MAX_PLANES and reach(layer.weights, layer.phases) * _most(kinds) < 1 << PSUM_BITS - 1


def _of_bytes(layer: Layer) -> Layer:
    phases = None if layer.phases is None else layer.phases.astype(np.int8)
    return replace(layer, weights=layer.weights.astype(np.int8), phases=phases)


def _most(kinds: list[TensorLayout]) -> int:
    """The largest magnitude of what is read."""
    return max(1 << kind.planes - kind.signed for kind in kinds)

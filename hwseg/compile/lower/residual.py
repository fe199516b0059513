"""Residual additions that cost no time: y = clamp((x + f(x) * 2**j) / 2**k) moves into the layer that makes f(x).

The engine adds the centre words of a layer's own input to its requantized sums (`hwseg.rtl.residual`), if

    f is one 3x3 convolution of stride 1 that reads x alone, and nothing else reads f(x)
    x is unsigned; the scales of f(x) and of y are that of x, or twice it (j, k = 0 or 1; ties to even)
    its input fits the banks as a whole strip (a chain of one layer at least)

Every other addition is a 1x1 layer over both operands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hwseg.compile.lower.layers import Layer, Network, Residual


@dataclass(frozen=True)
class Move:
    """A convolution, an addition that can move into it, and the layer that does both."""

    maker: Layer
    add: Layer
    both: Layer


def additions(network: Network) -> list[Move]:
    """Every addition that the engine could do on the way out."""
    makers = {layer.output: layer for layer in network.layers if layer.output}
    found = []
    for add in network.layers:
        if add.op == "add" and len(add.operands) == 2:
            for x, made in (add.operands, add.operands[::-1]):
                maker = makers.get(made.tensor)
                if maker is not None and maker.operands == (x,) and _movable(maker, add, network):
                    found.append(Move(maker, add, _together(maker, add, network)))
                    break
    return found


def _together(maker: Layer, add: Layer, network: Network) -> Layer:
    assert add.requantize is not None
    scales = _scales(maker, add, network)
    assert scales is not None
    residual = Residual(add.name, *scales, add.requantize.low, add.requantize.high)
    return replace(
        maker,
        op=f"{maker.op}+add",
        output=add.output,
        pooled=add.pooled,
        macs=maker.macs + add.macs,
        residual=residual,
    )


def _movable(maker: Layer, add: Layer, network: Network) -> bool:
    readers = [layer for layer in network.layers if any(o.tensor == maker.output for o in layer.operands)]
    return (
        readers == [add]
        and maker.output != network.head
        and (maker.kernel, maker.stride, maker.pooled, maker.residual) == (3, 1, None, None)
        and not maker.doubles
        and not any(operand.upsampled for operand in (*add.operands, *maker.operands))
        and not network.tensors[maker.operands[0].tensor].signed
        and add.low_weights is None
        and _scales(maker, add, network) is not None
    )


def _scales(maker: Layer, add: Layer, network: Network) -> tuple[bool, bool] | None:
    """Whether f(x) is doubled and the sum halved; None if the addition means something else for any possible sum."""
    x = network.tensors[maker.operands[0].tensor]
    assert maker.requantize is not None
    assert add.requantize is not None
    channels = add.shape[2]
    weights = [add.weights[:, :channels, 0, 0], add.weights[:, channels:, 0, 0]]
    (of_x, of_f) = weights if add.operands[0] == maker.operands[0] else weights[::-1]
    eye = np.eye(channels)
    double = next((j for j in (0, 1) if np.array_equal(of_f, eye * 2**j)), None)
    if double is None or not np.array_equal(of_x, eye):
        return None
    op, (m,), (offset,) = add.requantize, add.requantize.multiplier, add.requantize.offset
    low, high = (bound << double for bound in (maker.requantize.low, maker.requantize.high))
    sums = range(low, high + (1 << x.planes))
    exact = [min(op.high, max(op.low, round(m * s + offset))) for s in sums]
    for halve in (False, True):
        made = [(s >> 1) + (s & s >> 1 & 1) if halve else s for s in sums]
        if exact == [min(op.high, max(op.low, value)) for value in made]:
            return bool(double), halve
    return None


def with_moved(network: Network, move: Move) -> Network:
    """The network without an addition, which its convolution does."""
    layers = [move.both if layer is move.maker else layer for layer in network.layers if layer is not move.add]
    tensors = {name: layout for name, layout in network.tensors.items() if name != move.maker.output}
    return replace(network, layers=tuple(layers), tensors=tensors)

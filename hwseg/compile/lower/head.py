"""What the network gives: stored planes, or the sums of its last convolution; perhaps made by the layer before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwseg.compile.lower.building import build
from hwseg.compile.lower.layers import Dot, Network
from hwseg.compile.lower.state import MAX_PLANES, State
from hwseg.errors import require


def store_head(state: State) -> bool:
    """Make the head's tensor something that is stored; True if it is sums."""
    head, graph = state.graph.head.tensor, state.graph
    pending = None if head in state.views else state.sums.get(head)
    if pending is not None and (pending.plain or not state.settled(head)):
        pending.finish(state, pending.node, head, None, head, 1)
        return True
    require(head in state.views, head, "the model's output must come from a convolution or a quantizer")
    view = state.views[head]
    if state.types[head].bits > MAX_PLANES:
        # Signed and unsigned operands: no map holds both, but sums do.
        weights = np.eye(state.types[head].shape[2], dtype=np.int8)[:, :, None, None]
        state.add(build(state.types, state.fresh(head), "concat", 1, view, weights, output=head))
        return True
    if len(view) != 1 or view[0].upsampled or view[0].tensor != head or head == graph.input:
        state.materialize(graph.nodes[-1], head)
    return False


def fuse_head(network: Network, rows: int) -> Network:
    """The network with a 1x1 head of one class moved into the layer before it, if one pass of `rows` output channels
    makes all that it reads.
    """
    if not network.sums or len(network.layers) < 2:
        return network
    head = network.layers[-1]
    makers = [layer for layer in network.layers if layer.output == head.operands[0].tensor]
    if head.kernel != 1 or head.stride != 1 or head.shape[2] != 1 or len(head.operands) != 1 or len(makers) != 1:
        return network
    maker, tensor = makers[0], head.operands[0].tensor
    alone = sum(operand.tensor == tensor for layer in network.layers for operand in layer.operands) == 1
    fits = maker.shape[2] <= rows and maker.row_phases == 1 and maker.pooled is None and maker.low_weights is None
    if not alone or not fits or head.operands[0].upsampled or head.low_weights is not None:
        return network
    dot = Dot(head.name, head.output or network.head, head.weights[0, :, 0, 0])
    fused = replace(maker, dot=dot, macs=maker.macs + head.macs)
    layers = tuple(fused if layer is maker else layer for layer in network.layers[:-1])
    return replace(network, layers=layers)

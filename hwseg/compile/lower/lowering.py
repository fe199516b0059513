"""The integer graph becomes layers: the walk over its nodes, one function for each operation.

A layer reads operands (the inputs of a concat, each perhaps enlarged twice by nearest neighbour while it is read),
multiplies, requantizes, and stores its map, its 2x2 maximum, or both; the head's layer stores sums.  Concat and
Upsample2d move no data: they are a *view*, a list of operands.  The rest is brought into a form that the engine has:

    1x1 of stride 2 or on an enlarged operand    a 3x3 with one tap
    AveragePool2d                                a 3x3 of stride 2 with four ones
    ConvTranspose2d beyond 2x2                   four 3x3, one for each phase
    Bilinear2d                                   a 3x3 on an enlarged operand, the edges apart
    Add                                          a 1x1 over both operands, two weights per channel
    PRelu                                        two maps, one of each branch, and a 1x1 over both
    Function                                     maps of straight pieces, and a 1x1 over them
    Product                                      maps of the bits of one factor, which open and close the other
    Requantize or MaxPool2d of stored planes     a 1x1 with weight 1
    Upsample2d of Upsample2d, and the like       the inner one is stored
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from hwseg.compile.lower.addition import addition
from hwseg.compile.lower.concatenation import concatenation
from hwseg.compile.lower.convolution import convolution
from hwseg.compile.lower.enlarging import bilinear_sums, nearest
from hwseg.compile.lower.functions import function
from hwseg.compile.lower.head import store_head
from hwseg.compile.lower.layers import Layer, Network
from hwseg.compile.lower.pooling import average_pooling, max_pooling
from hwseg.compile.lower.products import product
from hwseg.compile.lower.requantization import requantization
from hwseg.compile.lower.slopes import two_slopes
from hwseg.compile.lower.state import MAX_PLANES, State
from hwseg.errors import HwsegError
from hwseg.ir import Graph, Node
from hwseg.layout import TensorLayout
from hwseg.ops import (
    Add,
    AveragePool2d,
    Bilinear2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Function,
    MaxPool2d,
    Op,
    PRelu,
    Product,
    Requantize,
    Upsample2d,
)

LOWERINGS: Mapping[type[Op], Callable[[State, Node], None]] = {
    Conv2d: convolution,
    ConvTranspose2d: convolution,
    Bilinear2d: bilinear_sums,
    Upsample2d: nearest,
    MaxPool2d: max_pooling,
    AveragePool2d: average_pooling,
    Concat: concatenation,
    Add: addition,
    Product: product,
    Requantize: requantization,
    PRelu: two_slopes,
    Function: function,
}
"""How the engine does each operation: a view, sums that wait, or layers."""


def lower(graph: Graph, allow_inexact: bool = False) -> tuple[Network, dict[str, int]]:
    """The layers of a graph, and the number of inexact pairs by node (empty unless allowed)."""
    state = State(graph, allow_inexact)
    for node in graph.nodes:
        lowering = LOWERINGS.get(type(node.op))
        if lowering is None:
            raise HwsegError(node.name, f"{type(node.op).__name__} is not supported by the compiler")
        lowering(state, node)
        state.note(node.name)
    sums = store_head(state)
    state.note(graph.head.tensor)
    layers = _needed(state)
    stored = {graph.input} | {name for layer in layers for name in (layer.output, layer.pooled) if name}
    if sums:
        stored.discard(graph.head.tensor)
    tensors = {
        name: TensorLayout(kind.shape, kind.bits, kind.signed) for name, kind in state.types.items() if name in stored
    }
    assert all(layout.planes <= MAX_PLANES for layout in tensors.values()), "what is stored has at most eight planes"
    network = Network(graph.name, graph.input, graph.head.tensor, sums, layers, tensors, state.head_fold)
    return network, state.inexact


def _needed(state: State) -> tuple[Layer, ...]:
    """Layers that the head depends on, storing only what is read."""
    read, kept = {state.graph.head.tensor}, []
    for layer in reversed(state.layers.values()):
        output = layer.output if layer.output in read else None
        pooled = layer.pooled if layer.pooled in read else None
        if output or pooled:
            kept.append(replace(layer, output=output, pooled=pooled))
            read |= {operand.tensor for operand in layer.operands}
    return tuple(reversed(kept))

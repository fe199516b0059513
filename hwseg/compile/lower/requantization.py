"""Requantize: the layer of the sums that waited for it, or a 1x1 with weight 1 over planes that are stored."""

from __future__ import annotations

from hwseg.compile.lower.state import State
from hwseg.ir import Node
from hwseg.ops import Requantize


def requantization(state: State, node: Node) -> None:
    """Requantize."""
    op, source = node.op, node.inputs[0]
    assert isinstance(op, Requantize), node.name
    state.check_planes(node.output, node.name)
    state.store(node.output)
    pending = state.sums.get(source)
    if pending is not None:
        pending.finish(state, pending.node, node.name, op, node.output, 1)
    else:
        state.identity(node.name, source, op, output=node.output)

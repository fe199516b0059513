"""Concatenation moves no data: it is a list of operands."""

from __future__ import annotations

from hwseg.compile.lower.state import State
from hwseg.ir import Node


def concatenation(state: State, node: Node) -> None:
    """Concat; input channels in the order of the inputs."""
    state.views[node.output] = tuple(operand for name in node.inputs for operand in state.view(node, name))

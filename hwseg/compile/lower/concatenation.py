"""Concatenation moves no data: it is a list of operands."""

from __future__ import annotations

from hwseg.compile.lower.state import State
from hwseg.errors import require
from hwseg.ir import Node

MAX_OPERANDS = 4096
"""Of one layer: a map joined with itself, twenty times over, would be a million."""


def concatenation(state: State, node: Node) -> None:
    """Concat; input channels in the order of the inputs."""
    view = tuple(operand for name in node.inputs for operand in state.view(node, name))
    most = f"at most {MAX_OPERANDS} stored maps may be concatenated, these are {len(view)}"
    require(len(view) <= MAX_OPERANDS, node.name, most, "put quantized convolutions between concatenations")
    state.views[node.output] = view

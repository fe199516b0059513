"""What the bits of activations cost: predicted cycles of a network whose activations get other word lengths.

Cycles follow from shapes and digit planes alone, so the graph's words are shortened in place of training and exporting
another network: 0.3 to 1 second for a network of 15 layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hwseg.boards import Board
from hwseg.compile.program import Program, compile_graph
from hwseg.errors import require
from hwseg.ir import Graph, Node
from hwseg.ops import ROUNDING, SUMS
from hwseg.rtl.config import EngineConfig


@dataclass(frozen=True)
class Cycles:
    """Predicted cycles of the whole network and of each layer, and bytes of its weight image."""

    total: int
    layers: dict[str, int]
    weight_bytes: int


def activation_nodes(graph: Graph) -> tuple[Node, ...]:
    """The nodes that round to a word of their own, in execution order; the head is none of them."""
    return tuple(n for n in graph.nodes if isinstance(n.op, ROUNDING) and n.output != graph.head.tensor)


def shortened(graph: Graph, bits: Sequence[int]) -> Graph:
    """`graph` with these word lengths, one for each of `activation_nodes`; values mean nothing any more."""
    chosen = activation_nodes(graph)
    require(len(bits) == len(chosen), graph.name, f"has {len(chosen)} activations, not {len(bits)}")
    words = {node.output: width for node, width in zip(chosen, bits, strict=True)}
    nodes, types = [], dict(graph.types)
    for node in graph.nodes:
        op = node.op
        if isinstance(op, ROUNDING) and node.output in words:
            width, signed = words[node.output], op.low < 0
            high = (1 << (width - signed)) - 1
            op = replace(op, low=-high - 1 if signed else 0, high=high)
            types[node.output] = replace(types[node.output], low=op.low, high=op.high)
        elif not isinstance(op, (*ROUNDING, *SUMS)):
            low, high = op.interval(*(types[name].interval for name in node.inputs))
            types[node.output] = replace(types[node.output], low=low, high=high)
        nodes.append(replace(node, op=op))
    return replace(graph, nodes=tuple(nodes), types=types)


def compiled(graph: Graph, bits: Sequence[int], config: EngineConfig, board: Board) -> Program:
    """`graph` at these word lengths as a program; its requantizers mean nothing."""
    return compile_graph(shortened(graph, bits), config, board, allow_inexact=True)


def cycles(program: Program) -> Cycles:
    """What a program takes."""
    timing = program.timing()
    layers = {plan.layer.name: timing.layers[plan.index] for plan in program.plans}
    return Cycles(timing.total, layers | {"": timing.startup}, len(program.weights))

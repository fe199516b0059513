"""The accuracy dial: the same network with activations rounded to fewer digit planes where they are written.

Fewer planes take fewer cycles, on the same gates: only program and requantizers change.  There is one rounding, from
the accumulator straight to the planes that stay (`hwseg.golden.rounded`); what reads a rounded tensor counts in its
larger unit, which the next requantizer, or the head's scale, takes back.  Exact: `golden.run` of the turned graph gives
the integers of `golden.run(graph, planes=...)`, shifted.

    tensor q, b bits   ->   q' = round(q / 2**d), b - d bits        sum of w q  =  2**d * sum of w q'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from hwseg.errors import require
from hwseg.golden import rounded
from hwseg.ir import Graph, Head, Node, TensorType
from hwseg.ops import ROUNDING, SUMS, Add, Concat, Requantize

LEAST, MOST = 1, 8


def drops(graph: Graph, planes: int) -> dict[str, int]:
    """Planes that each tensor loses.  Tensors that are concatenated lose as many as the one that can lose least."""
    require(LEAST <= planes <= MOST, "--planes", f"must be from {LEAST} to {MOST}, is {planes}")
    found = {graph.input: 0}
    for node in graph.nodes:
        rounds = isinstance(node.op, ROUNDING)
        found[node.output] = max(0, graph.types[node.output].bits - planes) if rounds else 0
    changed = True
    while changed:
        before = dict(found)
        for node in graph.nodes:
            if isinstance(node.op, (*ROUNDING, *SUMS)):
                continue
            least = min([found[name] for name in node.inputs])
            found[node.output] = least
            if isinstance(node.op, Concat):
                for name in node.inputs:
                    _limit(graph, found, name, least)
        changed = found != before
    return found


def _limit(graph: Graph, found: dict[str, int], name: str, most: int) -> None:
    """Lower a tensor's drop, at the node that rounds it."""
    found[name] = min(found[name], most)
    node = graph.producer.get(name)
    if node is not None and not isinstance(node.op, ROUNDING):
        for source in node.inputs:
            _limit(graph, found, source, most)


def turned(graph: Graph, planes: int) -> Graph:
    """`graph` with activations of at most `planes` digit planes; the input keeps its own."""
    lost = drops(graph, planes)
    if not any(lost.values()):
        return graph
    units = dict(lost)
    nodes: list[Node] = []
    types = {graph.input: graph.types[graph.input]}
    for node in graph.nodes:
        nodes.append(_node(node, units, lost[node.output]))
        if isinstance(node.op, SUMS):
            units[node.output] = units[node.inputs[0]]
        kind = graph.types[node.output]
        types[node.output] = _type(kind, units[node.output], nodes[-1], isinstance(node.op, SUMS))
    head = graph.head
    unit = 1 << units[head.tensor]
    scaled = Head(head.tensor, tuple(s * unit for s in head.scale), head.offset, head.activation, head.threshold)
    return replace(graph, nodes=tuple(nodes), types=types, head=scaled)


def _node(node: Node, units: Mapping[str, int], drop: int) -> Node:
    """The node with inputs in their new units and its result without `drop` planes."""
    op = node.op
    factors = [Fraction(1 << units[name]) for name in node.inputs]
    if isinstance(op, Requantize):
        op = replace(op, multiplier=tuple(m * factors[0] for m in op.multiplier))
    elif isinstance(op, Add):
        a, b = op.multipliers
        op = replace(op, multipliers=(a * factors[0], b * factors[1]))
    else:
        return node
    return rounded(replace(node, op=op), drop)


def _type(kind: TensorType, unit: int, node: Node, sums: bool) -> TensorType:
    if unit == 0:
        return kind
    low, high = kind.low, kind.high
    if isinstance(node.op, ROUNDING):
        low, high = node.op.low, node.op.high
    elif not sums:
        low, high = -(-low >> unit), high >> unit
    return replace(kind, low=low, high=high, scale=tuple(s * (1 << unit) for s in kind.scale))

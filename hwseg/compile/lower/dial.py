"""The accuracy dial: the same network with activations rounded to fewer digit planes where they are written.

Fewer planes take fewer cycles, on the same gates: only program and requantizers change.  There is one rounding, from
the accumulator straight to the planes that stay (`hwseg.golden.dial`); what reads a rounded tensor counts in its
larger unit, which the next requantizer, or the head's scale, takes back.  Exact: `golden.run` of the turned graph gives
the integers of `golden.run(graph, planes=...)`, shifted.

    tensor q, b bits   ->   q' = round(q / 2**d), b - d bits        sum of w q  =  2**d * sum of w q'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from hwseg.golden.dial import drops, rounded
from hwseg.ir import Graph, Node, TensorType
from hwseg.ops import ROUNDING, SUMS, Add, Function, PRelu, Requantize, with_zero
from hwseg.trust.fitted import TRUST


def turned(graph: Graph, planes: int) -> Graph:
    """`graph` with activations of at most `planes` digit planes; the input keeps its own.

    Where that changes it, metadata `hwseg.trust` are left out: they are the whole network's.
    """
    units = drops(graph, planes)
    if not any(units.values()):
        return graph
    nodes: list[Node] = []
    types = {graph.input: graph.types[graph.input]}
    for node in graph.nodes:
        nodes.append(_node(node, units))
        types[node.output] = _type(graph.types[node.output], units[node.output], nodes[-1], types)
    head = graph.head
    unit = 1 << units[head.tensor]
    scaled = replace(head, scale=tuple(s * unit for s in head.scale))
    # What was fitted to the doubts of one network says nothing of another's.
    metadata = {key: text for key, text in graph.metadata.items() if key != TRUST}
    return replace(graph, nodes=tuple(nodes), types=types, head=scaled, metadata=metadata)


def _node(node: Node, units: Mapping[str, int]) -> Node:
    """The node with inputs and result in their new units."""
    op = node.op
    factors = [Fraction(1 << units[name]) for name in node.inputs]
    if isinstance(op, Requantize | PRelu):
        op = replace(op, multiplier=tuple(m * factors[0] for m in op.multiplier))
    elif isinstance(op, Function):
        op = replace(op, unit=op.unit * (1 << units[node.inputs[0]]))
    elif isinstance(op, Add):
        a, b = op.multipliers
        op = replace(op, multipliers=(a * factors[0], b * factors[1]))
    else:
        return node
    return rounded(replace(node, op=op), units[node.output])


def _type(kind: TensorType, unit: int, node: Node, types: Mapping[str, TensorType]) -> TensorType:
    """The result's type.  The sums of shorter words are in the interval that they had; what is moved keeps its own."""
    if unit == 0:
        return kind
    low, high = kind.low, kind.high
    if isinstance(node.op, ROUNDING):
        low, high = with_zero(node.op.low, node.op.high)
    elif not isinstance(node.op, SUMS):
        low, high = (pick(getattr(types[n], end) for n in node.inputs) for pick, end in ((min, "low"), (max, "high")))
    return replace(kind, low=low, high=high, scale=tuple(s * (1 << unit) for s in kind.scale))

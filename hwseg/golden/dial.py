"""The accuracy dial: how many digit planes each tensor loses, and a rounding that leaves them out.

Requantizations and additions round; everything else is in the units of what it reads.  Tensors that are concatenated
have one unit, so they lose as many planes as the one that can lose least, and so does what they were made of, back to
where it was rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from hwseg.errors import require
from hwseg.ir import Graph, Node
from hwseg.ops import ROUNDING, Add, Function, Product

LEAST, MOST = 1, 8


def drops(graph: Graph, planes: int | Mapping[str, int] = MOST) -> dict[str, int]:
    """Lowest digit planes that each tensor is without: its unit is 2**drop.

    planes: the most that a rounded tensor keeps, for all or by tensor; the input keeps its own.
    """
    limits = {node.output: planes if isinstance(planes, int) else planes.get(node.output, MOST) for node in graph.nodes}
    for limit in limits.values():
        require(LEAST <= limit <= MOST, "--planes", f"must be from {LEAST} to {MOST}, is {limit}")
    found = {graph.input: 0}
    for node in graph.nodes:
        if isinstance(node.op, ROUNDING):
            found[node.output] = max(0, graph.types[node.output].bits - limits[node.output])
        else:
            lost = [found[name] for name in node.inputs]
            found[node.output] = sum(lost) if isinstance(node.op, Product) else min(lost)
    changed = True
    while changed:
        before = dict(found)
        for node in graph.nodes:
            if isinstance(node.op, Product):
                found |= _product_drops(found, node)
            elif not isinstance(node.op, ROUNDING):
                least = min(found[name] for name in (*node.inputs, node.output))
                found |= dict.fromkeys((*node.inputs, node.output), least)
        changed = found != before
    return found


def _product_drops(found: Mapping[str, int], node: Node) -> dict[str, int]:
    """A product is without the planes of both factors; where its reader wants it with more, both keep all of theirs."""
    total = sum(found[name] for name in node.inputs)
    if found[node.output] < total:
        return dict.fromkeys((*node.inputs, node.output), 0)
    return {node.output: total}


def rounded(node: Node, drop: int) -> Node:
    """A requantization or addition without its `drop` lowest planes: its result is in units of 2**drop.

    There is one rounding, from the accumulator straight to the planes that stay: y = clamp(round(x / 2**drop)), the
    bounds those of the shorter word.  Where no multiple of 2**drop lies between them, as a Clip may have it, the result
    is the one below.
    """
    if drop == 0:
        return node
    op, unit = node.op, Fraction(1, 1 << drop)
    assert isinstance(op, ROUNDING), node.name
    high = op.high >> drop
    low = min(-(-op.low >> drop), high)
    if isinstance(op, Function):
        return replace(node, op=replace(op, scale=op.scale / unit, low=low, high=high))
    if isinstance(op, Add):
        a, b = op.multipliers
        return replace(
            node, op=replace(op, multipliers=(a * unit, b * unit), offset=op.offset * unit, low=low, high=high)
        )
    multiplier, offset = (tuple(m * unit for m in values) for values in (op.multiplier, op.offset))
    return replace(node, op=replace(op, multiplier=multiplier, offset=offset, low=low, high=high))

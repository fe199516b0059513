"""How far the pixels of a result look, and the same network for another size: both from the loop nests of `hwseg.ops`.

`reach` walks from the head to the input with intervals: the rows of the head that are wanted, through the index maps of
each node, are the rows of its operand that are needed.  What is needed of any tensor must lie inside a tile, for beyond
the tile's edge a convolution reads zeros that the whole picture does not have there.

A network may be moved by m pixels without changing what it computes if every tensor moves by a whole number of its own
pixels: a pooled map moves half as far.  The smallest such m is the multiple of which tiles' origins must be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import ceil, lcm

from hwseg.errors import HwsegError, require
from hwseg.ir import Graph, Node
from hwseg.nests import AffineIndex, LoopNest
from hwseg.ops import ROUNDING, Concat, Product, shape
from hwseg.pictures.tiles import Reach, Size

Interval = tuple[int, int]
"""First and last, both included."""

ALONE = "segment pictures of the model's own size, one at a time, with hwseg golden"


def reach(graph: Graph) -> Reach:
    """What a pixel of the head depends on, rows and columns, and the multiple by which the network may be moved.

    HwsegError for a network that is not the same everywhere in a picture, or whose mask has not the picture's size.
    """
    _require_whole(graph)
    found = [_axis(graph, axis) for axis in (0, 1)]
    return Reach(*((rows, columns) for rows, columns in zip(*found, strict=True)))


def reshaped(graph: Graph, size: Size) -> Graph:
    """The same network for pictures of another size (height, width): weights and quantizers stay, shapes follow."""
    kind = graph.types[graph.input]
    if kind.shape[:2] == size:
        return graph
    types = dict(graph.types) | {graph.input: replace(kind, shape=(*size, kind.shape[2]))}
    for node in graph.nodes:
        own = [types[name].shape for name in node.inputs]
        alike = len({found[:2] for found in own}) == 1
        rule = f"has operands of {own[0][0]}x{own[0][1]} and {own[-1][0]}x{own[-1][1]} pixels in a picture of that size"
        require(alike, node.name, rule, "use a multiple of what the network pools by")
        made = shape(node.op, own)
        require(min(made) > 0, node.name, f"has no pixels for a picture of {size[0]}x{size[1]}", "use a larger size")
        types[node.output] = replace(types[node.output], shape=made)
    return replace(graph, types=types)


def _require_whole(graph: Graph) -> None:
    """The model's own size must be one that its poolings divide, or it computes something else than on larger ones."""
    scales = [_scales(graph, axis) for axis in (0, 1)]
    for axis, name in ((0, "height"), (1, "width")):
        length, multiple = graph.types[graph.input].shape[axis], _multiple(graph, axis, scales[axis])
        rule = f"{name} must be a multiple of {multiple}, by which its network pools, to be tiled, is {length}"
        require(length % multiple == 0, graph.name, rule, "export the network for such a size")
        head = scales[axis][graph.head.tensor]
        rule = f"gives a mask with a pixel for {head} of the picture's, so its tiles do not make the picture's mask"
        require(head == 1, graph.name, rule, ALONE)


def _axis(graph: Graph, axis: int) -> tuple[int, int, int]:
    """Before, after, multiple along one axis."""
    scales = _scales(graph, axis)
    multiple = _multiple(graph, axis, scales)
    # The pixels 0 to multiple - 1 stand for all others: the network is the same everywhere.
    needed: dict[str, Interval] = {graph.head.tensor: (0, multiple - 1)}
    for node in reversed(graph.nodes):
        if node.output in needed:
            for name in node.inputs:
                wanted = _wanted(graph, node, axis, needed[node.output])
                old = needed.get(name, wanted)
                needed[name] = min(old[0], wanted[0]), max(old[1], wanted[1])
    before = max(-low * scales[name] for name, (low, _) in needed.items())
    after = max((high + 1) * scales[name] for name, (_, high) in needed.items()) - multiple
    return _up(before, multiple), _up(after, multiple), multiple


def _up(length: Fraction, multiple: int) -> int:
    """The next multiple that is no less."""
    return max(0, ceil(length / multiple)) * multiple


def _nest(graph: Graph, node: Node) -> LoopNest | None:
    """The loops of an operation that moves pixels; none where each pixel comes from the same one."""
    if isinstance(node.op, (Concat, Product, *ROUNDING)):
        return None
    return node.op.loops(graph.types[node.inputs[0]].shape)


def _scales(graph: Graph, axis: int) -> Mapping[str, Fraction]:
    """How many pixels of the input one pixel of each tensor stands for."""
    scales = {graph.input: Fraction(1)}
    for node in graph.nodes:
        own = {scales[name] for name in node.inputs}
        rule = (
            f"joins maps of different scale: a pixel stands for {' and for '.join(map(str, sorted(own)))} of the input"
        )
        require(len(own) == 1, node.name, rule, ALONE)
        nest = _nest(graph, node)
        factor = Fraction(1) if nest is None else _rate(nest.reads[0][axis], axis) / _rate(nest.write[axis], axis)
        scales[node.output] = own.pop() * factor
    return scales


def _rate(index: AffineIndex, loop: int) -> Fraction:
    """By how much an index grows with a loop, over many steps of it."""
    rate = Fraction(index.coefficients[loop], index.divisor)
    if rate <= 0:
        raise HwsegError("operation", "must walk over its pixels in their order to be tiled", ALONE)
    return rate


def _multiple(graph: Graph, axis: int, scales: Mapping[str, Fraction]) -> int:
    """The smallest move of the input that moves every tensor, and the loops between them, by whole numbers."""
    units = list(scales.values())
    for node in graph.nodes:
        nest = _nest(graph, node)
        if nest is not None:
            units.append(scales[node.output] * _rate(nest.write[axis], axis))
    # m / unit is whole exactly if m is a multiple of the unit's numerator (it is in lowest terms).
    return lcm(*(unit.numerator for unit in units))


def _wanted(graph: Graph, node: Node, axis: int, output: Interval) -> Interval:
    """Rows of a node's operands that the rows `output` of its result need."""
    nest = _nest(graph, node)
    if nest is None:
        return output
    others = [(0, bound - 1) for bound in nest.parallel + nest.reduction]
    others[axis] = (0, 0)
    # write = rate * loop + low..high; the loop runs wherever that meets the output.
    write = nest.write[axis]
    low, high = write.interval(*others)
    rate = write.coefficients[axis]
    assert write.divisor == 1, node.name
    loops = list(others)
    loops[axis] = -(-(output[0] - high) // rate), (output[1] - low) // rate
    return nest.reads[0][axis].interval(*loops)

"""A few rows of every layer of a network: graphs small enough to simulate every cycle of, however large the network.

Layers that run fused are cut together.  A cut keeps the widths, channels, bits, weights and requantizers of its layers;
only rows are fewer: two strips and a bit, where that is not too long.  What the layers read comes from one picture,
which is their finest operand; other operands are 1x1 convolutions of it, pooled if they are smaller.  What they store,
pooled maps too, is joined into the head.  The compiler plans the cut as it plans any network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from benchmarks.graphs import GraphBuilder
from hwseg.compile.plan.chain import Chain
from hwseg.compile.program import Program
from hwseg.ir import Graph, Head, Node, TensorType
from hwseg.ops import Shape, shape

Compile = Callable[[Graph], Program]


@dataclass(frozen=True)
class Cut:
    """`layers`: their names in the whole network; `rows` of `whole` rows of their finest map.

    same: does the compiler cut these rows into the same strips, tiles and chains as in the whole network.
    """

    layers: tuple[str, ...]
    rows: int
    whole: int
    same: bool
    program: Program
    cycles: int


def cuts(program: Program, compiled: Compile, most_cycles: int) -> Iterator[Cut]:
    """One for each chain, of about `most_cycles` at most if fewer rows can do that."""
    for chain in program.chains:
        boundary, nodes, made = _inside(program, chain)
        finest = max(program.graph.types[name].shape[0] for name in (*boundary, *(node.output for node in nodes)))
        unit, count = _rows(program, chain, boundary, nodes, finest)
        while True:
            found = compiled(_cut(program.graph, boundary, nodes, made, unit * count, finest))
            cycles = found.timing().total
            if cycles <= most_cycles or count == 1:
                break
            count = max(1, min(count - 1, count * most_cycles // cycles))
        names = tuple(plan.layer.name for plan in chain.plans)
        yield Cut(names, unit * count, finest, _planned_alike(chain, found), found, cycles)


def _inside(program: Program, chain: Chain) -> tuple[list[str], list[Node], list[str]]:
    """Tensors that the chain's layers read from outside, its nodes in order, and what it stores."""
    graph = program.graph
    outputs = [name for plan in chain.plans for name in (plan.layer.output, plan.layer.pooled) if name]
    read = [operand.tensor for plan in chain.plans for operand in plan.layer.operands]
    boundary = [name for name in dict.fromkeys(read) if name not in outputs]
    kept = [plan.layer.output for plan in chain.plans if plan.layer.output and plan.stored]
    kept += [plan.layer.pooled for plan in chain.plans if plan.layer.pooled]
    if any(plan.head_rows for plan in chain.plans):
        kept.append(graph.head.tensor)
    wanted, nodes = {*kept, *outputs}, []
    for node in reversed(graph.nodes):
        if node.output in wanted and node.output not in boundary:
            wanted.update(node.inputs)
            nodes.append(node)
    return boundary, nodes[::-1], kept


def _rows(program: Program, chain: Chain, boundary: list[str], nodes: list[Node], finest: int) -> tuple[int, int]:
    """Rows of the finest map come in multiples of the first; the second is how many make two strips and a bit."""
    heights = [program.graph.types[name].shape[0] for name in (*boundary, *(node.output for node in nodes))]
    unit = 2 * finest // min(heights)
    plan = chain.plans[-1]
    strip = plan.rows * finest // plan.run_shape[0]
    most = min(finest, 2 * strip + unit)
    return unit, max(1, most // unit)


def _cut(graph: Graph, boundary: list[str], nodes: list[Node], made: list[str], rows: int, finest: int) -> Graph:
    """The nodes on `rows` of `finest` rows."""

    def height(name: str) -> int:
        return graph.types[name].shape[0] * rows // finest

    first = max(boundary, key=lambda name: (graph.types[name].shape[0], graph.types[name].shape[2]))
    kind = graph.types[first]
    b = GraphBuilder(height(first), kind.shape[1], kind.shape[2], low=kind.low, high=kind.high, prefix="cut/")
    names = {first: "image"}
    for name in boundary:
        if name != first:
            names[name] = _operand(b, graph.types[name], height(name))
    for node in nodes:
        inputs = tuple(names.get(name, name) for name in node.inputs)
        found: Shape = shape(node.op, [b.types[name].shape for name in inputs])
        b.nodes.append(replace(node, inputs=inputs))
        b.types[node.output] = replace(graph.types[node.output], shape=found)
    head = graph.head if graph.head.tensor in made else Head(_joined(b, made), (Fraction(1),), (Fraction(0),))
    return Graph("cut", "image", tuple(b.nodes), b.types, head)


def _operand(b: GraphBuilder, kind: TensorType, height: int) -> str:
    """A map of that kind, from the picture."""
    name = b.conv("image", kind.shape[2], 1, bits=kind.bits, signed=kind.signed)
    while b.types[name].shape[0] > height:
        name = b.pool(name)
    return name


def _joined(b: GraphBuilder, made: list[str]) -> str:
    """All maps as one, so that each is needed."""
    if len(made) == 1:
        return made[0]
    finest = max(b.types[name].shape[0] for name in made)
    branches = []
    for name in made:
        while b.types[name].shape[0] < finest:
            name = b.up(name)
        branches.append(name)
    return b.concat(*branches)


def _planned_alike(chain: Chain, cut: Program) -> bool:
    """Are the chain's layers fused, and their strips and blocks of passes, as in the whole network?"""
    names = [plan.layer.name for plan in chain.plans]
    found = next((c for c in cut.chains if [p.layer.name for p in c.plans][: len(names)] == names), None)
    if found is None or len(found.plans) != len(names):
        return False
    pairs = zip(chain.plans, found.plans, strict=True)
    return all((a.rows, a.columns, a.blocks, a.resident) == (b.rows, b.columns, b.blocks, b.resident) for a, b in pairs)

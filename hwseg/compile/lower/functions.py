"""Functions of every integer: y = y[low] + sum of pieces, each a clamped straight line, in 1x1 layers.

    piece    weight * clamp(round(m * x + b), 0, h)        0 before a run of steps, weight * h behind it

Steps in a row that go the same way are one piece if a straight line, rounded, makes them all.  Any single step is a
piece.  Pieces of one height are channels of one layer, since a layer has one clamp; a 1x1 over all adds them up.

Of a stored map the pieces are 1x1 layers, K channels for each of its own.  Of sums that wait they are the convolution
itself, or whatever makes them, with its weights K times, and every step is a piece of height 1: neighbouring ones are
no straight line of an accumulator.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from hwseg.compile.lower.building import build
from hwseg.compile.lower.layers import Operand
from hwseg.compile.lower.state import Pending, State
from hwseg.errors import require
from hwseg.golden.functions import changes_of
from hwseg.ir import Node, accumulator_interval
from hwseg.ops import Function, Requantize

MAX_CHANNELS = 4096
"""Of all pieces together."""
HEAVIEST = 127
"""What a weight of the last 1x1 can be."""
KIND = "function"
"""What reports call the layers of pieces, and the one over them."""


@dataclass(frozen=True)
class Piece:
    """weight * clamp(round(factor * x + offset), 0, height)."""

    weight: int
    factor: Fraction
    offset: Fraction
    height: int


NOTHING = Piece(0, Fraction(0), Fraction(0), 0)
"""Of a channel that has fewer pieces than others."""

Step = tuple[int, int]
"""Where the result changes, and by how much."""


def function(state: State, node: Node) -> None:
    """Function."""
    op, source = node.op, node.inputs[0]
    assert isinstance(op, Function), node.name
    state.check_planes(node.output, node.name)
    kind = state.types[source]
    channels, pending = kind.shape[2], None if state.settled(source) else state.sums[source]
    lows, highs = np.full(channels, kind.low), np.full(channels, kind.high)
    if pending is not None:
        place = pending.node
        if place.weights is not None:
            lows, highs = accumulator_interval(place, state.types[place.inputs[0]])
    firsts, pieces = [], []
    for c, (low, high) in enumerate(zip(lows.tolist(), highs.tolist(), strict=True)):
        first, changes = changes_of(node, low, high, c)
        before = [first, *(y for _, y in changes)]
        steps = [(x, y - old) for (x, y), old in zip(changes, before, strict=False)]
        firsts.append(Fraction(first))
        pieces.append(list(single_pieces(steps) if pending is not None else straight_pieces(steps)))
    _build(state, node, pieces, tuple(firsts), pending)


def _build(
    state: State, node: Node, pieces: list[list[Piece]], firsts: tuple[Fraction, ...], pending: Pending | None
) -> None:
    """The layers of all pieces, and the one that adds them up."""
    op, kind, channels = node.op, state.types[node.output], len(pieces)
    assert isinstance(op, Function), node.name
    operands, columns, total = [], [], 0
    for height in sorted({piece.height for own in pieces for piece in own} or {1}):
        rows = _in_rows([[piece for piece in own if piece.height == height] for own in pieces])
        total += channels * len(rows)
        rule = f"the function before it has {total} steps in all channels, more than {MAX_CHANNELS}"
        cure = "use fewer channels or bits, or ReLU" if pending is None else "quantize before the activation"
        require(total <= MAX_CHANNELS, node.name, rule, cure)
        shape = (*kind.shape[:2], channels * len(rows))
        name, _ = state.extra(node.output, f"pieces of {height}", replace(kind, shape=shape, low=0, high=height))
        flat = [piece for row in rows for piece in row]
        lines = Requantize(tuple(piece.factor for piece in flat), tuple(piece.offset for piece in flat), 0, height)
        _lines(state, node, name, lines, len(rows), pending)
        operands.append(Operand(name, shape[2]))
        columns += [np.diag([piece.weight for piece in row]) for row in rows]
    weights = np.concatenate(columns, axis=1).astype(np.int8)[:, :, None, None]
    join = Requantize((Fraction(1),), firsts, op.low, op.high)
    layer = build(
        state.types, state.fresh(node.name), KIND, 1, tuple(operands), weights, requantize=join, output=node.output
    )
    state.add(layer)
    state.store(node.output)


def _lines(state: State, node: Node, name: str, lines: Requantize, count: int, pending: Pending | None) -> None:
    """The layer of `count` pieces of every channel."""
    if pending is not None:
        pending.finish(state, pending.node, node.name, lines, name, count)
        return
    view = state.views[node.inputs[0]]
    weights = np.tile(np.eye(sum(operand.channels for operand in view), dtype=np.int8), (count, 1))[:, :, None, None]
    state.add(build(state.types, state.fresh(node.name), KIND, 1, view, weights, requantize=lines, output=name))


def _in_rows(pieces: list[list[Piece]]) -> list[list[Piece]]:
    """The first piece of every channel, then the second ones, and so on; one row at least."""
    count = max(1, *map(len, pieces))
    return [[own[i] if i < len(own) else NOTHING for own in pieces] for i in range(count)]


def single_pieces(steps: list[Step]) -> Iterator[Piece]:
    """One of height 1 for every step, several where a weight cannot be as large."""
    for x, rise in steps:
        while rise:
            weight = min(max(rise, -HEAVIEST), HEAVIEST)
            yield Piece(weight, Fraction(1), Fraction(1 - x), 1)
            rise -= weight


def straight_pieces(steps: list[Step]) -> Iterator[Piece]:
    """As few as possible, found from the lowest step on."""
    start = 0
    while start < len(steps):
        line, end = Line(1 if steps[start][1] > 0 else -1), start
        while end < len(steps) and line.take(*steps[end]):
            end += 1
        if end == start + 1:
            yield from single_pieces(steps[start:end])
        else:
            yield line.piece()
        start = end


class Line:
    """A straight line that, rounded, makes all the steps that it has taken; it is nowhere a tie.

    For every step it lies above one point and below another.  One point of either kind bound its slope; there is such
    a line while any slope is left, since one of a given slope needs to pass the outermost of each kind only.
    """

    def __init__(self, sign: int) -> None:
        self.sign, self.height = sign, 0
        self.above: list[tuple[int, Fraction]] = []
        self.below: list[tuple[int, Fraction]] = []
        self.least, self.most = Fraction(0), Fraction(1 << 16)

    def take(self, x: int, rise: int) -> bool:
        """One step more, if the line can make it, too; else it stays as it was."""
        high = self.height + self.sign * rise
        if self.sign * rise < 0:
            return False
        top, bottom = (x, high - Fraction(1, 2)), (x - 1, self.height + Fraction(1, 2))
        least, most = self.least, self.most
        pairs = [(top, other) for other in (*self.below, bottom)] + [(other, bottom) for other in self.above]
        for (a, over), (b, under) in pairs:
            if a > b:
                least = max(least, (over - under) / (a - b))
            elif a < b:
                most = min(most, (under - over) / (b - a))
        if least >= most:
            return False
        self.least, self.most, self.height = least, most, high
        self.above.append(top)
        self.below.append(bottom)
        return True

    def piece(self) -> Piece:
        """The line in the middle of all that would do."""
        factor = (self.least + min(self.most, self.least + 2)) / 2
        floor = max(y - factor * x for x, y in self.above)
        ceiling = min(y - factor * x for x, y in self.below)
        assert floor < ceiling, "no pair of points has a slope of its own"
        return Piece(self.sign, factor, (floor + ceiling) / 2, self.height)

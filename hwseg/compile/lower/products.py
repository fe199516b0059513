"""Products of two maps, by the bits of one: x * g = sum of 2**k * x where bit k of g is 1.

With x' = x - low of x and g' = g - low of g, which are 0 or more, and R the largest x':

    bits       b_k = clamp(...): m where g' has bit k, else 0; one layer for each bit, from the highest down
    rest       g' without its bits from k on, made of what was left before and b_k; one layer for each but the last
    gated      x_k = clamp(x' + w * b_k - w * m, 0, R), with w * m >= R: x' if bit k is 1, else 0; one layer for all k
    sums       -x * g = sum of -2**k * x_k - (low of g) * x - (low of x) * g + (low of x) * (low of g)

all of them 1x1.  The sums have the sign turned because -128 is a weight and 128 is none; their requantizer turns it
back, and adds the constant.  A weight of 128 is the map twice, 64 each.  Where the network ends with them nothing turns
them back: they have their own sign, and the constant is a map.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from hwseg.compile.lower.building import build
from hwseg.compile.lower.layers import Operand, View
from hwseg.compile.lower.state import Pending, State
from hwseg.errors import require
from hwseg.ir import Node, TensorType
from hwseg.ops import Requantize

KIND = "product"
"""What reports call all these layers."""
LARGEST = 127
"""Of the weights above 0."""
ONE = (Fraction(1),)


def product(state: State, node: Node) -> None:
    """Product; its factors are read when a requantizer has come."""
    for name in node.inputs:
        state.view(node, name)
    state.sums[node.output] = Pending(node, _finish)


@dataclass(frozen=True)
class Gates:
    """Maps of the bits of a factor, the lowest first, each 0 or `high`, and how each is read."""

    bits: tuple[str, ...]
    high: int
    weight: int


def _finish(state: State, node: Node, reader: str, op: Requantize | None, output: str, copies: int) -> None:
    x, g = (_stored(state, node, name) for name in node.inputs)
    if state.types[x].shape[2] == state.types[g].shape[2] and state.types[x].bits < state.types[g].bits:
        x, g = g, x
    gated, count = _gated(state, node, x, g)
    (_, _, channels), low, gate_low = state.types[x].shape, state.types[x].low, state.types[g].low
    eye = np.eye(channels, dtype=np.int64)
    sign, constant = -1 if op is not None else 1, low * gate_low
    terms = [(gated, np.concatenate([sign * (1 << k) * eye for k in range(count)], axis=1))]
    of_gate = np.ones((channels, 1), np.int64) if state.types[g].shape[2] == 1 else eye
    terms += [(x, sign * gate_low * eye)] if gate_low else []
    terms += [(g, sign * low * of_gate)] if low else []
    if op is not None:
        op = replace(
            op,
            multiplier=tuple(-m for m in op.multiplier),
            offset=_zipped(op.offset, tuple(-m * constant for m in op.multiplier)),
        )
    elif constant:
        terms.append((_everywhere(state, node, x, -low), np.full((channels, 1), gate_low)))
    view, weights = _within_bytes(state, [(name, np.tile(w, (copies, 1))) for name, w in terms])
    name = state.fresh(node.name, reader)
    state.add(build(state.types, name, KIND, 1, view, weights[:, :, None, None], requantize=op, output=output))


def _everywhere(state: State, node: Node, like: str, number: int) -> str:
    """A map of one channel that is one number, as large as another."""
    kind = state.types[like]
    name, new = state.extra(like, f"{number} everywhere", replace(kind, shape=(*kind.shape[:2], 1), low=0, high=number))
    if new:
        nothing = np.zeros((1, kind.shape[2]), np.int64)
        _layer(state, node, state.views[like], nothing, Requantize(ONE, (Fraction(number),), 0, number), name)
    return name


def _stored(state: State, node: Node, name: str) -> str:
    """A factor as one stored map."""
    require(state.types[name].bits <= 8, node.name, f"{name} must have at most 8 bits", "quantize it alike")
    view = state.views[name]
    if len(view) == 1 and not view[0].upsampled:
        return view[0].tensor
    state.materialize(node, name)
    return name


def _gated(state: State, node: Node, x: str, g: str) -> tuple[str, int]:
    """The map of all x_k, the lowest bit's first, and how many there are; made once for the same factors."""
    kind, count = state.types[x], max(1, (state.types[g].high - state.types[g].low).bit_length())
    span = kind.high - kind.low
    channels, name = kind.shape[2], f"gated {x} by {g}"
    shape = (*kind.shape[:2], channels * count)
    name, new = state.extra(node.output, name, TensorType(shape, 0, span, kind.scale))
    if not new:
        return name, count
    gates = _gates(state, node, g, count, span)
    eye, one = np.eye(channels, dtype=np.int64), state.types[g].shape[2] == 1
    opening = gates.weight * (np.ones((channels, 1), np.int64) if one else eye)
    terms = [(x, np.concatenate([eye] * count))]
    for k, bit in enumerate(gates.bits):
        weights = np.zeros((count, channels, opening.shape[1]), np.int64)
        weights[k] = opening
        terms.append((bit, weights.reshape(count * channels, -1)))
    view, weights = _within_bytes(state, terms)
    op = Requantize(ONE, (Fraction(-kind.low - gates.weight * gates.high),), 0, span)
    _layer(state, node, view, weights, op, name)
    return name, count


def _gates(state: State, node: Node, g: str, count: int, span: int) -> Gates:
    """The bits of g' in maps whose open gate lets numbers up to `span` through; made once for each factor."""
    high = -(-span // LARGEST) or 1
    kind, bits = state.types[g], []
    rest, before = g, kind.low
    channels = kind.shape[2]
    eye = np.eye(channels, dtype=np.int64)
    for k in reversed(range(count)):
        bit, new = state.extra(g, f"bit {k} times {high}", replace(kind, low=0, high=high))
        if new:
            edge = Fraction(high * (1 - (1 << k) - before))
            _layer(state, node, state.views[rest], eye, Requantize((Fraction(high),), (edge,), 0, high), bit)
        bits.append(bit)
        if k == 0:
            break
        left, new = state.extra(g, f"below bit {k} by {high}", replace(kind, low=0, high=(1 << k) - 1))
        if new:
            view, weights = _within_bytes(state, [(rest, high * eye), (bit, -(1 << k) * eye)])
            op = Requantize((Fraction(1, high),), (Fraction(-before),), 0, (1 << k) - 1)
            _layer(state, node, view, weights, op, left)
        rest, before = left, 0
    return Gates(tuple(reversed(bits)), high, -(-span // high))


def _within_bytes(state: State, terms: list[tuple[str, np.ndarray]]) -> tuple[View, np.ndarray]:
    """Operands and weights side by side; what has a weight of 128 is read twice, with half of each."""
    view: list[Operand] = []
    columns: list[np.ndarray] = []
    for name, weights in terms:
        parts = [weights] if weights.max() <= LARGEST else [weights // 2, weights - weights // 2]
        for part in parts:
            view += state.views[name]
            columns.append(part)
    return tuple(view), np.concatenate(columns, axis=1)


def _layer(state: State, node: Node, view: View, weights: np.ndarray, op: Requantize, output: str) -> None:
    """A 1x1 whose map is stored."""
    name = state.fresh(f"{node.name}/gate")
    layer = build(
        state.types, name, KIND, 1, view, weights.astype(np.int8)[:, :, None, None], requantize=op, output=output
    )
    state.add(layer)
    state.store(output)


def _zipped(a: tuple[Fraction, ...], b: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    """Sums channel by channel."""
    return tuple(a[i % len(a)] + b[i % len(b)] for i in range(max(len(a), len(b))))

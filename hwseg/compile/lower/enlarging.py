"""Enlarging by 2: nearest neighbour is how an operand is read; bilinear is a 3x3 on such an operand, the edges apart.

`hwseg.compile.lower.bilinear` has the geometry and the weights of the second.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from hwseg.compile.lower import bilinear
from hwseg.compile.lower.building import build, centred
from hwseg.compile.lower.layers import Operand, View
from hwseg.compile.lower.state import Pending, State
from hwseg.ir import Node
from hwseg.ops import Requantize


def nearest(state: State, node: Node) -> None:
    """Upsample2d; of what is enlarged already, the inner one is stored."""
    view = state.view(node, node.inputs[0])
    if any(operand.upsampled for operand in view):
        view = state.materialize(node, node.inputs[0])
    state.views[node.output] = tuple(replace(operand, upsampled=True) for operand in view)


def bilinear_sums(state: State, node: Node) -> None:
    """Bilinear2d: sixteenths that wait for their requantizer, or need none if they have few bits."""
    state.view(node, node.inputs[0])
    state.sums[node.output] = Pending(node, _finish, plain=False)


def _finish(state: State, node: Node, _reader: str, op: Requantize | None, output: str, copies: int) -> None:
    if op is None:
        _end(state, node, output)
    else:
        _pieces(state, node, op, output, copies)


def _end(state: State, node: Node, output: str) -> None:
    """The network's sums in one layer: sixty-fourths of them and what these leave are maps, each of 8 bits.

    v = 64 * h + (v - 64 * h) with h = round(v / 64), the rest from -32 to 32.
    """
    kind = state.types[output]
    least, most = (round(Fraction(end, bilinear.COARSE)) for end in kind.interval)
    coarse, _ = state.extra(output, "coarse", replace(kind, low=min(least, 0), high=max(most, 0)))
    fine, _ = state.extra(output, "rest", replace(kind, low=-bilinear.COARSE // 2, high=bilinear.COARSE // 2))
    _pieces(state, node, bilinear.clamping(least, most, factor=Fraction(1, bilinear.COARSE)), coarse, 1)
    state.store(coarse)
    channels = kind.shape[2]
    less = -bilinear.COARSE * centred(np.eye(channels, dtype=np.int8)[:, :, None, None])
    whole = bilinear.clamping(*state.types[fine].interval)
    _pieces(state, node, whole, fine, 1, (state.views[coarse], less.astype(np.int8)))
    state.store(fine)
    eye = np.eye(channels, dtype=np.int8)
    weights = np.concatenate([bilinear.COARSE * eye, eye], axis=1)[:, :, None, None]
    view = state.views[coarse] + state.views[fine]
    state.add(build(state.types, state.fresh(node.name), "bilinear", 1, view, weights, output=output))


def _pieces(
    state: State,
    node: Node,
    op: Requantize,
    output: str,
    copies: int,
    more: tuple[View, np.ndarray] = ((), np.zeros((0, 0, 3, 3), np.int8)),
) -> None:
    """Layers for the word columns at the edges and for those between them.  more: what is added to the sums."""
    x = state.views[node.inputs[0]]
    if len(x) > 1 or x[0].upsampled:
        x = state.materialize(node, node.inputs[0])
    width = state.types[x[0].tensor].shape[1]
    for piece in bilinear.pieces(width):
        parts = [_part(state, node, operand, piece) for operand in x]
        view = tuple(operand for operands, _ in parts for operand in operands) + more[0]
        weights = np.tile(bilinear.side_by_side([weights for _, weights in parts]), (copies, 1, 1, 1))
        weights = np.concatenate([weights, more[1]], axis=1) if more[0] else weights
        name = state.fresh(f"{node.name}/{piece.name}" if piece.name else node.name)
        layer = build(state.types, name, "bilinear", 3, view, weights, requantize=op, output=output)
        state.layers[f"{output} {piece.name}"] = replace(layer, columns=piece.columns, repeat_rows=True)


def _part(state: State, node: Node, x: Operand, piece: bilinear.Piece) -> tuple[View, np.ndarray]:
    """One operand's channels in a piece of the map: what they are made of, and its weights."""
    signed = state.types[x.tensor].signed
    maps = _unsigned(state, node, x.tensor) if signed else (x.tensor,)
    sides = [side for side, wanted in (("left", piece.left), ("right", piece.right)) if wanted]
    names = [name for m in maps for name in (m, *(_edge(state, node, m, side) for side in sides))]
    view = tuple(Operand(name, x.channels, True) for name in names)
    return view, bilinear.enlarging_weights(x.channels, (1, -1) if signed else (1,), piece.left, piece.right)


def _unsigned(state: State, node: Node, tensor: str) -> tuple[str, str]:
    """The tensor is the first minus the second, both unsigned."""
    kind = state.types[tensor]
    made = []
    for side, high, factor in (("positive", kind.high, 1), ("negative", -kind.low, -1)):
        name, new = state.extra(tensor, side, bilinear.unsigned(kind.shape, high, kind.scale))
        if new:
            state.identity(f"{node.name}/{side}", tensor, bilinear.clamping(0, high, factor=factor), output=name)
        made.append(name)
    return made[0], made[1]


def _edge(state: State, node: Node, tensor: str, side: str) -> str:
    """The map that is 0 but for the pixels at one edge; other word columns than are needed are never written."""
    kind = state.types[tensor]
    height, width, channels = kind.shape
    name, new = state.extra(tensor, side, bilinear.unsigned(kind.shape, kind.high, kind.scale))
    if not new:
        return name
    ones, new = state.extra(tensor, "ones", bilinear.unsigned((height, width, 1), bilinear.ONES, kind.scale))
    if new:
        group = Operand(tensor, min(8, channels))
        weights, op = bilinear.ones_weights(group.channels), bilinear.clamping(0, bilinear.ONES, bilinear.ONES)
        label = state.fresh(f"{node.name}/ones")
        state.add(build(state.types, label, "edge", 1, (group,), weights, requantize=op, output=ones))
    view, weights = (Operand(tensor, channels), Operand(ones, 1)), bilinear.edge_weights(channels, side == "right")
    op, label = bilinear.clamping(0, kind.high), state.fresh(f"{node.name}/{side} edge")
    layer = build(state.types, label, "edge", 3, view, weights, requantize=op, output=name)
    columns = (0, 1) if side == "left" else bilinear.right_columns(width)
    state.layers[name] = replace(layer, columns=columns)
    return name

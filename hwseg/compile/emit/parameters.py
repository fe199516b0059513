"""What goes into the tables and requantizers: weight tiles as bytes, and a proven triple for every output channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwseg.arith.requantize import Triple, differing_steps, fit, nearest
from hwseg.compile.lower.layers import Layer
from hwseg.compile.plan.plan import LayerPlan, Pass, Tile, tile_lanes
from hwseg.errors import require
from hwseg.rtl.config import ROWS_PER_SET, EngineConfig
from hwseg.rtl.isa import PARAMETER, Scatter

FIELDS = PARAMETER.fields


def weight_bytes(plan: LayerPlan, p: Pass, tile: Tile, config: EngineConfig) -> np.ndarray:
    """uint8 [row, padded lane] of one weight tile; both halves of the rows have a split layer's weights."""
    layer, source = plan.layer, plan.sources[tile.source]
    lanes = np.zeros((config.rows, config.row_words * 8), np.int8)
    for number, chosen in enumerate(p.sets):
        rows = slice(ROWS_PER_SET * number, ROWS_PER_SET * number + chosen.count)
        weights = layer.phase(chosen.phase, int(p.scatter == Scatter.ODD), tile.part)
        outputs = weights[chosen.first : chosen.first + chosen.count]
        for lane, first, count in tile_lanes(source, tile, config.channels):
            for tap, (ky, kx) in enumerate(np.ndindex(outputs.shape[2:])):
                at = lane + tap * config.channels
                lanes[rows, at : at + count] = outputs[:, first : first + count, ky, kx]
    if p.split:
        lanes[config.rows // 2 :] = lanes[: config.rows // 2]
    return lanes.view(np.uint8)


def packed(tile: np.ndarray) -> np.ndarray:
    """Two weights of four bits in a byte, the first one low; whole words."""
    flat = tile.reshape(-1) & 15
    flat = np.concatenate([flat, np.zeros(-len(flat) % 16, np.uint8)])
    joined: np.ndarray = flat[0::2] | flat[1::2] << 4
    return joined


@dataclass(frozen=True)
class LayerTriples:
    """A layer's requantizers by output channel; `wrong`: steps that differ from the exact ones, if that is allowed."""

    triples: tuple[Triple, ...]
    wrong: int = 0


def layer_triples(layer: Layer, allow_inexact: bool = False) -> LayerTriples:
    """Proven equal to the exact requantizer over each channel's interval; raw sums pass unchanged."""
    op, channels = layer.requantize, layer.shape[2]
    if op is None:
        return LayerTriples((Triple(1, 0, 0),) * channels)
    low, high = layer.intervals
    triples, wrong = [], 0
    for c in range(channels):
        m, b = (values[c if len(values) > 1 else 0] for values in (op.multiplier, op.offset))
        limits = op.low, op.high, int(low[c]), int(high[c])
        triple = fit(m, b, *limits)
        if triple is None:
            triple = nearest(m, b)
            different = differing_steps(triple, m, b, *limits)
            require(
                allow_inexact and triple.fits,
                layer.name,
                f"channel {c}: {len(different)} of {op.high - op.low} requantization steps, the first at "
                f"{different[0]}, are not reproduced by a 29-bit multiplier (factor {float(m):.9g}, "
                f"offset {float(b):.9g})",
                "use power-of-two scales" + (", or --allow-inexact" if triple.fits else ""),
            )
            wrong += len(different)
        triples.append(triple)
    return LayerTriples(tuple(triples), wrong)


def parameter_words(plan: LayerPlan, triples: Sequence[Triple], config: EngineConfig) -> np.ndarray:
    """uint64 [slot, row, 2] of a layer: pass after pass."""
    words = np.zeros((len(plan.passes), config.rows, 2), np.uint64)
    dots = [0] * len(triples) if plan.layer.dot is None else plan.layer.dot.weights.tolist()
    packed = [
        PARAMETER.pack(
            offset=t.o & (1 << FIELDS["offset"]) - 1,
            shift=t.s,
            multiplier=t.m & (1 << FIELDS["multiplier"]) - 1,
            dot=dot & (1 << FIELDS["dot"]) - 1,
        )
        for t, dot in zip(triples, dots, strict=True)
    ]
    for number, p in enumerate(plan.passes):
        for s, chosen in enumerate(p.sets):
            for i in range(chosen.count):
                value = packed[chosen.first + i]
                words[number, ROWS_PER_SET * s + i] = value & (1 << 64) - 1, value >> 64
        if p.split:
            words[number, config.rows // 2 :] = words[number, : config.rows // 2]
    return words


def images(
    plan: LayerPlan, triples: Sequence[Triple], tiles: dict[tuple[int, int], int], config: EngineConfig
) -> tuple[bytes, bytes]:
    """Weight tiles in the order of their addresses, and parameters."""
    ordered = sorted(tiles, key=tiles.__getitem__)
    tile_bytes = [weight_bytes(plan, plan.passes[p], plan.tiles[t], config) for p, t in ordered]
    weights = b"".join((packed(tile) if plan.packed else tile).tobytes() for tile in tile_bytes)
    return weights, parameter_words(plan, triples, config).tobytes()

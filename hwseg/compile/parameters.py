"""What goes into the tables and requantizers: weight tiles as bytes, and a proven triple for every output channel."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hwseg.compile.lower import Layer
from hwseg.compile.plan import LayerPlan, Pass, Tile, tile_lanes
from hwseg.errors import HwsegError
from hwseg.rtl.config import ROWS_PER_SET, EngineConfig
from hwseg.rtl.isa import PARAMETER, Scatter

MULTIPLIER_BITS = 24
OFFSET_BITS = 48
MAX_SHIFT = 47


@dataclass(frozen=True)
class Triple:
    """y = clamp(round_half_even((acc * multiplier + offset) / 2**shift)); `wrong`: steps that differ from the exact ones."""

    multiplier: int
    offset: int
    shift: int
    wrong: int = 0


def weight_bytes(plan: LayerPlan, p: Pass, tile: Tile, config: EngineConfig) -> np.ndarray:
    """uint8 [row, padded lane] of one weight tile."""
    layer, source = plan.layer, plan.sources[tile.source]
    weights = layer.low_weights if tile.part else layer.weights
    assert weights is not None
    lanes = np.zeros((config.rows, config.row_words * 8), np.int8)
    for number, chosen in enumerate(p.sets):
        rows = slice(ROWS_PER_SET * number, ROWS_PER_SET * number + chosen.count)
        outputs = weights[chosen.first : chosen.first + chosen.count]
        for lane, first, count in tile_lanes(source, tile, config.channels):
            part = outputs[:, first : first + count]
            if layer.kernel == 3:
                for tap in range(9):
                    at = lane + tap * config.channels
                    lanes[rows, at : at + count] = part[:, :, tap // 3, tap % 3]
            elif layer.kernel == 2:
                lanes[rows, lane : lane + count] = part[:, :, chosen.phase, int(p.scatter == Scatter.ODD)]
            else:
                lanes[rows, lane : lane + count] = part[:, :, 0, 0]
    return lanes.view(np.uint8)


def layer_triples(layer: Layer, allow_inexact: bool = False) -> list[Triple]:
    """One per output channel; raw sums pass unchanged."""
    op, channels = layer.requantize, layer.shape[2]
    if op is None:
        return [Triple(1, 0, 0)] * channels
    low, high = layer.intervals
    triples = []
    known: dict[tuple[Fraction, Fraction], tuple[int, ...]] = {}
    for c in range(channels):
        m, b = (values[c if len(values) > 1 else 0] for values in (op.multiplier, op.offset))
        if (m, b) not in known:
            known[m, b] = op.steps(c)
        triple = fit(m, b, np.array(known[m, b], np.int64), op.low, int(low[c]), int(high[c]))
        if triple.wrong and not allow_inexact:
            raise HwsegError(
                layer.name,
                f"channel {c}: {triple.wrong} of {op.high - op.low} requantization steps (factor {float(m):.9g}, offset "
                f"{float(b):.9g}) are not reproduced by a {MULTIPLIER_BITS}-bit multiplier",
                "use power-of-two scales, or --allow-inexact",
            )
        triples.append(triple)
    return triples


def fit(m: Fraction, b: Fraction, steps: np.ndarray, low_value: int, low: int, high: int) -> Triple:
    """The triple with the smallest shift that takes every step of accumulators in [low, high] where the exact one does.

    y >= k exactly from step T_k on (of sign * acc).  For a multiplier and shift, each step bounds the offset from both
    sides; the bounds of all steps meet if the triple exists.
    """
    if m < 0:
        low, high = -high, -low
    k = low_value + 1 + np.arange(len(steps), dtype=np.int64)
    passed, open_ = steps <= low, steps > high
    at, before = np.where(passed, low, steps), np.where(open_, high, steps - 1)
    best: Triple | None = None
    for shift in candidate_shifts(abs(m)):
        factor = round(abs(m) * (1 << shift))
        tie = k & 1 if shift else 0
        half = (2 * k - 1) << shift - 1 if shift else k
        least = (half - at * factor + tie)[~open_]
        most = (half - before * factor - 1 + tie)[~passed]
        most_offset = int(most.min()) if most.size else 1 << 62
        least_offset = int(least.max()) if least.size else -(1 << 62)
        wanted = round(b * (1 << shift))
        offset = min(max(wanted, least_offset), most_offset) if least_offset <= most_offset else wanted
        if abs(offset) >= 1 << OFFSET_BITS - 1:
            continue
        sign = -1 if m < 0 else 1
        if least_offset <= most_offset:
            return Triple(sign * factor, offset, shift)
        middle = ~passed & ~open_
        wrong = count_wrong(factor, offset, shift, steps[middle], k[middle])
        if best is None or wrong < best.wrong:
            best = Triple(sign * factor, offset, shift, max(1, wrong))
    return best or Triple(0, 0, 0, len(steps))


def candidate_shifts(m: Fraction) -> list[int]:
    """Shifts from exact and small to as many bits as the multiplier has."""
    if m == 0:
        return [0, 1]
    largest = 0
    while largest < MAX_SHIFT and round(m * (1 << largest + 1)) < 1 << MULTIPLIER_BITS:
        largest += 1
    exact = m.denominator.bit_length() - 1
    found = list(range(largest, max(largest - 12, -1), -1))
    if m.denominator == 1 << exact and exact <= largest:
        found.insert(0, exact)
        if exact == 0 and largest > 0:
            found.insert(0, 1)
    return found


def count_wrong(factor: int, offset: int, shift: int, steps: np.ndarray, k: np.ndarray) -> int:
    """Steps that the triple takes at another accumulator."""
    at, before = rounded(steps * factor + offset, shift), rounded((steps - 1) * factor + offset, shift)
    return int(((at < k) | (before >= k)).sum())


def rounded(value: np.ndarray, shift: int) -> np.ndarray:
    """round_half_even(value / 2**shift) of int64."""
    if shift == 0:
        return value
    quotient = value >> shift
    rest, half = value - (quotient << shift), 1 << shift - 1
    return np.asarray(quotient + ((rest > half) | ((rest == half) & (quotient & 1 == 1))))


def parameter_words(plan: LayerPlan, triples: list[Triple], config: EngineConfig) -> np.ndarray:
    """uint64 [slot, row, 2] of a layer: pass after pass."""
    words = np.zeros((len(plan.passes), config.rows, 2), np.uint64)
    packed = [
        PARAMETER.pack(
            offset=t.offset & (1 << OFFSET_BITS) - 1, shift=t.shift, multiplier=t.multiplier & (1 << MULTIPLIER_BITS + 1) - 1
        )
        for t in triples
    ]
    for number, p in enumerate(plan.passes):
        for s, chosen in enumerate(p.sets):
            for i in range(chosen.count):
                value = packed[chosen.first + i]
                words[number, ROWS_PER_SET * s + i] = value & (1 << 64) - 1, value >> 64
    return words


def images(plan: LayerPlan, triples: list[Triple], tiles: dict[tuple[int, int], int], config: EngineConfig) -> tuple[bytes, bytes]:
    """Weight tiles in the order of their addresses, and parameters."""
    ordered = sorted(tiles, key=tiles.__getitem__)
    weights = b"".join(weight_bytes(plan, plan.passes[p], plan.tiles[t], config).tobytes() for p, t in ordered)
    return weights, parameter_words(plan, triples, config).tobytes()

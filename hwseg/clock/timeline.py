"""What the engine did when: its intervals in bins for a drawing, and every instruction in a few bytes for zooming.

A drawing of fixed width shows shares of each bin, so that a program of 400,000 instructions is as readable, and as
small, as one of 2,000.  `encode` keeps the instructions themselves: loops make programs so regular that 1,000 of them
take about 100 bytes.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hwseg.clock.spans import READS, STORE, WALK, Spans
from hwseg.clock.timing import STARTUP

TURN = "turn"
STACK = (WALK, "reload", "weights", "input", "output", "dispatch", TURN, STARTUP)
"""The array's states, in the order in which a bin stacks them."""
LANES = {"array": STACK, "reads": READS, "writes": (STORE,)}
BINS = 360


@dataclass(frozen=True)
class Lane:
    """One unit, or one layer's time on the array.  shares: by state, the part of each bin that it takes; their sum is
    at most 1.
    """

    name: str
    shares: dict[str, np.ndarray]


@dataclass(frozen=True)
class Timeline:
    """A frame of `total` cycles.  lanes: array, reads, writes.  layers: one lane each, in order.  packed: `encode`."""

    total: int
    lanes: tuple[Lane, ...]
    layers: tuple[Lane, ...]
    packed: str
    instructions: int


Intervals = tuple[np.ndarray, np.ndarray]


def timeline(spans: Spans, names: Sequence[str], bins: int = BINS) -> Timeline:
    """`names`: of the layers, by their numbers."""
    edges = np.linspace(0, spans.timing.total, bins + 1)
    states = [(name, starts, ends, layers) for name, starts, ends, layers in spans.array()]
    array = Lane("array", _stacked(((name, (s, e)) for name, s, e, _ in states), edges, spans.timing.total))
    reader, writer = spans.reader, spans.writer
    reads = {
        name: covered(reader.start[reader.kind == i], reader.end[reader.kind == i], edges)
        for i, name in enumerate(READS)
    }
    writes = {STORE: covered(writer.start, writer.end, edges)}
    layers = []
    for number, name in enumerate(names):
        mine = ((state, (s[at == number], e[at == number])) for state, s, e, at in states if state != STARTUP)
        layers.append(Lane(name, {state: covered(*interval, edges) for state, interval in mine}))
    count = len(spans.compute.start) + len(reader.start) + len(writer.start)
    return Timeline(
        spans.timing.total, (array, Lane("reads", reads), Lane("writes", writes)), tuple(layers), encode(spans), count
    )


def _stacked(parts: Iterable[tuple[str, Intervals]], edges: np.ndarray, total: int) -> dict[str, np.ndarray]:
    """Shares of the array's states; what none of them covers is the cycles that instructions take."""
    shares = {name: covered(*interval, edges) for name, interval in parts}
    shares[TURN] = np.clip(1 - sum(shares.values()), 0, 1)
    return shares


def covered(starts: np.ndarray, ends: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """float64 [bins]: the share of each bin between `edges` that disjoint intervals in order cover."""
    before = np.concatenate(([0], np.cumsum(ends - starts)))
    i = np.searchsorted(starts, edges, "right")
    latest = np.concatenate(([0], ends))[i]
    until = before[i] - np.maximum(0, latest - edges)
    found: np.ndarray = np.clip(np.diff(until) / np.diff(edges), 0, 1)
    return found


def encode(spans: Spans) -> str:
    """Base64 of the deflated columns below, each number as LEB128, after the three counts of rows.

    compute: layer, run, idle, wait, cause, weights, reload, walk (see `spans.Instructions`)
    reader:  layer, kind, cycles since the transfer before, cycles
    writer:  layer, cycles since the transfer before, cycles
    """
    c, r, w = spans.compute, spans.reader, spans.writer
    columns = [np.array([len(c.start), len(r.start), len(w.start)])]
    columns += [c.layer, c.run, c.idle, c.wait, c.cause, c.weights, c.reload, c.walk]
    columns += [r.layer, r.kind, _gaps(r.start, r.end), r.end - r.start]
    columns += [w.layer, _gaps(w.start, w.end), w.end - w.start]
    return base64.b64encode(zlib.compress(b"".join(map(leb128, columns)), 9)).decode()


def _gaps(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    return start - np.concatenate(([0], end[:-1])) if len(start) else start


def leb128(values: np.ndarray) -> bytes:
    """Numbers from 0 up, seven bits a byte, the lowest first; the last byte of each is below 128."""
    rest = np.asarray(values, np.uint64)
    digits, more = [], []
    while True:
        digits.append((rest & np.uint64(127)).astype(np.uint8))
        rest = rest >> np.uint64(7)
        more.append(rest > 0)
        if not rest.any():
            break
    grid = np.stack(digits, axis=-1) | (np.stack(more, axis=-1) * np.uint8(128))
    used = np.concatenate((np.ones((len(grid), 1), bool), np.stack(more, axis=-1)[:, :-1]), axis=1)
    return bytes(grid[used])

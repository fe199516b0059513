"""What a cut of a layer is expected to cost, in closed formulas: compute cycles, memory cycles, waits.

`search` weighs the cuts of one layer with them, `chain` those of layers that run fused.  They choose; the cycles that
are promised come from `hwseg.clock.timing`.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwseg.clock.constants import Constants
from hwseg.compile.plan.plan import MIN_INTERVAL, MIN_LAST_INTERVAL, region_words
from hwseg.compile.plan.problem import Problem
from hwseg.layout import step_words
from hwseg.rtl.config import ROWS_PER_SET
from hwseg.rtl.isa import Mode

RUN_OVERHEAD = 6

MEMORY_SHARE, FILL, DRAIN, TIGHT = 0.06, 1.0, 0.5, 0.1
"""Weights of what `max(compute, memory)` leaves out: all traffic, first load, last store, fewer than three buffers."""


@dataclass(frozen=True)
class Cost:
    """Cycles: of the array, waits for the writer included; of the busiest of reader, writer and DDR; of what overlaps
    with nothing.
    """

    compute: float
    memory: float
    serial: float

    @property
    def cycles(self) -> float:
        """That a plan is expected to take."""
        return max(self.compute, self.memory) + MEMORY_SHARE * self.memory + self.serial


def strips_cost(problem: Problem, rows: int, columns: int, resident: bool, blocks: int) -> Cost:
    """Of a layer alone, in strips of that size.

    resident: sources stay in the banks for all `blocks`, else each block loads them.
    """
    config = problem.config
    height, words = problem.shape[0], problem.words
    strips, tiles_x = -(-height // rows), -(-words // columns)
    rectangles = strips * tiles_x
    loads = 0
    for source in problem.sources:
        down, across = reach(source.mode, strips, height), reach(source.mode, tiles_x, words)
        loads += len(source.groups) * source.planes * down * across
    if not resident:
        loads *= blocks
    compute, _ = compute_cycles(problem, rows, columns)
    stores = problem.stored_words()
    memory = busiest(problem, loads + loaded_tiles(problem, rectangles) * problem.stored_tile, stores)
    largest = max(region_words(s, rows, columns) for s in problem.sources)
    regions = rectangles * len(problem.sources) * (1 if resident else blocks)
    serial = loads / regions * FILL + stores / rectangles * DRAIN
    if regions > 1 and 2 * largest > config.bank_words:
        serial += min(compute, float(loads))
    elif regions > 2 and 3 * largest > config.bank_words:
        serial += TIGHT * min(compute, float(loads))
    compute += waits_for_writer(problem, rows, columns, True)
    return Cost(compute, memory, serial)


def compute_cycles(problem: Problem, rows: int, columns: int) -> tuple[float, int]:
    """Of all strips of that size, and the weight tiles of one strip."""
    config, adds = problem.config, problem.layer.residual is not None
    planes_in = max(s.planes for s in problem.sources)
    interval = max(planes_in, MIN_INTERVAL)
    last = max(planes_in, MIN_LAST_INTERVAL, step_words(problem.head_rows, config.pixels))
    rectangles = -(-problem.shape[0] // rows) * -(-problem.words // columns)
    gates = Constants.of(config)
    reload = gates.reload + RUN_OVERHEAD
    compute, weights = 0.0, 0
    chunks = -(-rows // max(1, problem.chunk_rows(rows, columns)))
    for p in problem.passes:
        n = len(p.tiles)
        if adds:
            # The tiles that it adds come once for each chunk.
            n += len(p.sets) * (chunks - 1)
        weights += n
        steps = problem.steps(problem.shape[0], problem.words, p.split) / rectangles
        slow = len(p.sets) - 1 if adds else 0
        walk = (len(p.tiles) - 1 - slow) * interval + slow * max(interval, ROWS_PER_SET) + last
        body = walk * steps + n * reload + chunks * RUN_OVERHEAD
        compute += max(body, n * float(gates.hold + config.tile_words))
    return rectangles * compute, weights


def waits_for_writer(problem: Problem, rows: int, columns: int, full: bool) -> float:
    """Cycles of all strips in which the output memory is full: a last tile makes words faster than they leave.

    full: the full-resolution map is stored.
    """
    if problem.head_rows:
        return 0.0
    config, passes = problem.config, len(problem.passes)
    rectangles = -(-problem.shape[0] // rows) * -(-problem.words // columns)
    words = problem.stored_words(full) / rectangles / passes
    last = max(MIN_LAST_INTERVAL, *(s.planes for s in problem.sources)) * problem.steps(rows, columns)
    room = 2 * config.sets * config.out_words * 0.75
    return max(0.0, words - last - room) * rectangles * passes


def busiest(problem: Problem, reads: float, writes: float, moves: float = 0.0) -> float:
    """Cycles of reader, writer or DDR, whichever is longest, for so many words."""
    return max(reads + moves, writes, (reads + writes) * problem.cycles_per_word)


def loaded_tiles(problem: Problem, strips: int) -> int:
    """Weight tiles that are loaded when every strip needs all: once, if the ring holds them."""
    fits = problem.weight_tiles * problem.stored_tile <= problem.config.weight_words
    return problem.weight_tiles * (1 if fits else strips)


def reach(mode: Mode, parts: int, outputs: int) -> int:
    """Source positions along an axis, counted once per part."""
    if mode == Mode.POINT:
        return outputs
    if mode == Mode.SAME:
        return outputs + 2 * (parts - 1)
    if mode == Mode.STRIDE2:
        return 2 * outputs + parts - 1
    return outputs // 2 + 2 * (parts - 1)

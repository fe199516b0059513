"""The search for the cheapest cut of a layer: strips, blocks and residency, weighed with closed formulas.

A `Problem` is a layer without a decision; `plan_layer` tries what fits the memories and returns the `LayerPlan` that is
expected to take fewest cycles.  `hwseg.compile.plan.chain` asks the same problems what layers cost that run fused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from hwseg.clock.timing import Constants
from hwseg.compile.lower.layers import Layer, Network
from hwseg.compile.plan.plan import (
    MIN_INTERVAL,
    MIN_LAST_INTERVAL,
    LayerPlan,
    Pass,
    Source,
    Tile,
    output_sets,
    packs,
    passes_of,
    region_words,
    sources_of,
)
from hwseg.errors import require
from hwseg.layout import PIXELS, TensorLayout, groups
from hwseg.ops import Shape
from hwseg.rtl.config import ROWS_PER_SET, EngineConfig
from hwseg.rtl.isa import Mode
from hwseg.rtl.residual import WAITING

RUN_OVERHEAD = 6

MEMORY_SHARE, FILL, DRAIN, TIGHT = 0.06, 1.0, 0.5, 0.1
"""Weights of what `max(compute, memory)` leaves out: all traffic, first load, last store, fewer than three buffers."""


def problem_of(layer: Layer, network: Network, config: EngineConfig, cycles_per_word: float) -> Problem:
    """A layer, cut into what does not depend on strips."""
    sources = sources_of(layer, network)
    parts = (0, 1) if layer.low_weights is not None else (0,)
    slices = [(part, s, n) for part in parts for s in range(len(sources)) for n in range(config.slices)]
    tiles = tuple(
        Tile(s, n, part)
        for part, s, n in slices
        if any(group.count > n * config.channels for group in sources[s].groups)
    )
    return Problem(
        layer=layer,
        sources=sources,
        tiles=tiles,
        passes=tuple(
            replace(p, split=splits(layer, sources, config) and 2 * len(p.sets) <= config.sets)
            for p in passes_of(layer, sources, tiles, config)
        ),
        config=config,
        shape=(*layer.run_shape, layer.shape[2]),
        planes=8 if layer.requantize is None else output_layout(layer, network).planes,
        head_rows=1 if layer.dot else min(8, layer.shape[2]) if layer.requantize is None else 0,
        limits={
            o.tensor: (network.tensors[o.tensor].rows, network.tensors[o.tensor].pixel_groups) for o in layer.operands
        },
        cycles_per_word=cycles_per_word,
    )


def splits(layer: Layer, sources: tuple[Source, ...], config: EngineConfig) -> bool:
    """Whether passes of few output channels can be made two word columns at a time, by the two halves of the rows.

    The window needs the pixel left of the left word, which only a walk from the map's left edge leaves behind; and
    words come in pairs.
    """
    return (
        config.splits
        and not layer.repeat_rows
        and layer.columns is None
        and layer.column_phases == 1
        and all(source.mode == Mode.SAME for source in sources)
        and layer.requantize is not None
        and layer.dot is None
        and layer.residual is None
        and layer.shape[1] % 16 == 0
    )


def plan_layer(index: int, problem: Problem) -> tuple[LayerPlan, float]:
    """The cheapest cut that fits and its cost in cycles, or `HwsegError` naming the memory that is too small."""
    place = f"{problem.layer.name} on array {problem.config.name}"
    require(problem.layer.residual is None, place, "an addition on the way out needs all operands at once")
    found = [(candidate, form) for form in problem.forms for candidate in form.candidates()]
    if not found:
        problem.refuse()
        raise AssertionError
    best, problem = min(found, key=lambda one: (one[0].cost, one[0].memory, one[0].rows))
    size = -(-len(problem.passes) // best.block)
    per_block = -(-len(problem.passes) // size)
    per_block += per_block % problem.scatters
    numbers = range(len(problem.passes))
    blocks = tuple(tuple(numbers[i : i + per_block]) for i in range(0, len(problem.passes), per_block))
    return problem.plan(index, best.rows, best.columns, blocks, best.resident and len(blocks) > 1), best.cost


def even_parts(total: int, most: int, unit: int) -> int:
    """The size of equal parts of at most `most`, a multiple of `unit`; 0 if there is none."""
    most -= most % unit
    if most <= 0:
        return 0
    size = -(-total // -(-total // most))
    return min(most, size + -size % unit)


def output_layout(layer: Layer, network: Network) -> TensorLayout:
    name = layer.output or layer.pooled
    assert name is not None
    return network.tensors[name]


@dataclass(frozen=True)
class Candidate:
    rows: int
    columns: int
    block: int
    resident: bool
    compute: float
    memory: float
    serial: float

    @property
    def cost(self) -> float:
        return cost(self.compute, self.memory, self.serial)


def cost(compute: float, memory: float, serial: float) -> float:
    """Cycles that a plan is expected to take; `memory`: of the busiest of reader, writer and DDR."""
    return max(compute, memory) + MEMORY_SHARE * memory + serial


@dataclass(frozen=True)
class Problem:
    """One layer's search."""

    layer: Layer
    sources: tuple[Source, ...]
    tiles: tuple[Tile, ...]
    passes: tuple[Pass, ...]
    config: EngineConfig
    shape: Shape
    planes: int
    head_rows: int
    limits: dict[str, tuple[int, int]] = field(repr=False)
    cycles_per_word: float

    @property
    def forms(self) -> tuple[Problem, ...]:
        """With split passes, which walk whole rows, and without: then strips may have fewer columns."""
        if not any(p.split for p in self.passes):
            return (self,)
        return self, replace(self, passes=tuple(replace(p, split=False) for p in self.passes))

    @cached_property
    def stored_tile(self) -> int:
        """Words of a weight tile in memory."""
        return self.config.stored_words(packs(self.layer))

    def steps(self, rows: int, columns: int, split: bool | None = None) -> int:
        """Steps of the array for that many rows and word columns, in split passes or others; None: the longest."""
        split = all(p.split for p in self.passes) if split is None else split
        return rows * LayerPlan.run_columns(columns, split) * self.config.substeps

    def plan(
        self,
        index: int,
        rows: int,
        columns: int,
        blocks: tuple[tuple[int, ...], ...],
        resident: bool,
        memory_words: int = 0,
    ) -> LayerPlan:
        return LayerPlan(
            index,
            self.layer,
            self.sources,
            self.tiles,
            self.passes,
            blocks,
            rows,
            columns,
            resident,
            self.chunk_rows(rows, columns, memory_words),
            self.planes,
            (self.shape[0], self.shape[1]),
            self.limits,
            self.out_pitch(columns),
            -(-columns // 2) * self.planes if self.layer.pooled else 0,
            self.head_rows,
            stored=not self.head_rows and self.layer.output is not None,
            tile_words=self.stored_tile,
        )

    def busiest(self, reads: float, writes: float, moves: float = 0.0) -> float:
        """Cycles of reader, writer or DDR, whichever is longest."""
        return max(reads + moves, writes, (reads + writes) * self.cycles_per_word)

    @cached_property
    def weight_tiles(self) -> int:
        """Of all passes."""
        return sum(len(p.tiles) for p in self.passes)

    def loaded_tiles(self, strips: int) -> int:
        """Weight tiles that are loaded when every strip needs all: once, if the ring holds them."""
        fits = self.weight_tiles * self.stored_tile <= self.config.weight_words
        return self.weight_tiles * (1 if fits else strips)

    @property
    def scatters(self) -> int:
        return self.layer.column_phases

    @property
    def unit(self) -> int:
        """Rows (and columns) come in pairs for pooling."""
        return 2 if self.layer.pooled else 1

    @property
    def words(self) -> int:
        """Word columns that the layer makes."""
        first, end = self.layer.columns or (0, groups(self.shape[1]))
        return end - first

    @property
    def deepest(self) -> int:
        return max(len(p.tiles) for p in self.passes)

    def out_pitch(self, columns: int) -> int:
        """Output-memory addresses of one row, in each parity bank."""
        if self.head_rows:
            step = self.head_rows * max(1, self.config.pixels // 2)
            return columns * self.config.substeps * step // 2
        if self.layer.output is None:
            return 0
        return (columns if self.scatters == 2 else -(-columns // 2)) * self.planes

    def chunk_rows(self, rows: int, columns: int, memory_words: int = 0) -> int:
        """Rows that one RUN of the last tile may write: half of the output memories if possible; 0 if nothing fits.

        memory_words: of a parity bank, by default the output memory's.
        """
        memory_words = memory_words or self.config.out_words
        pooled = -(-columns // 2) * self.planes if self.layer.pooled else 0
        for share in (2, 1):
            count = rows
            if pitch := self.out_pitch(columns):
                count = min(count, memory_words // share // pitch)
            if pooled:
                count = min(count, 2 * (self.config.pool_words // share // pooled))
            if self.layer.residual is not None:
                count = even_parts(rows, min(count, WAITING // (columns * self.config.substeps)), self.unit)
            count -= count % self.unit
            # With two column phases a RUN must write its whole strip.  Where these are a folded layer's only passes,
            # nothing waits for the memory before the next strip, so the strip may fill all of it.
            whole = self.scatters == 2 and self.layer.kernel == 3 and len(self.passes) == 2
            if count and (count == rows or not whole):
                return min(count, 4094)
        return 0

    def candidates(self) -> Iterator[Candidate]:
        most = 1 if any(p.split for p in self.passes) else self.words
        parts = sorted({-(-self.words // n) for n in range(1, most + 1)}, reverse=True)
        parts = sorted({min(self.words, w + w % self.unit) for w in parts}, reverse=True)
        seen = 0
        for columns in parts:
            found = list(self._strips(columns))
            yield from found
            seen += bool(found)
            if seen >= 6:
                return

    def _strips(self, columns: int) -> Iterator[Candidate]:
        config = self.config
        if columns > 1023:
            return
        for rows in range(self.unit, self.shape[0] + self.shape[0] % self.unit + 1, self.unit):
            rows = min(rows, self.shape[0])
            steps = self.steps(rows, columns)
            largest = max(region_words(s, rows, columns) for s in self.sources)
            total = sum(region_words(s, rows, columns) for s in self.sources)
            if largest > config.bank_words or rows > 2048:
                return
            chunk = self.chunk_rows(rows, columns)
            if not chunk or (self.scatters == 2 and self.deepest > 1 and chunk < rows):
                return
            if self.scatters == 2 and chunk < rows:
                return
            most = len(self.passes) if self.deepest == 1 else config.psum_steps // steps
            most -= most % self.scatters
            if most < self.scatters:
                return
            blocks = sorted({min(len(self.passes), most), self.scatters, *(b for b in (2, 4, 8, 16) if b < most)})
            for block in blocks:
                count = -(-len(self.passes) // block)
                if self.layer.low_weights is not None:
                    if block == self.scatters and self._live(rows, columns) <= config.bank_words:
                        yield self._cost(rows, columns, block, count == 1, count)
                    continue
                if 2 * largest <= config.bank_words or (largest <= config.bank_words and len(self.sources) == 1):
                    yield self._cost(rows, columns, block, count == 1, count)
                if count > 1 and total + largest <= config.bank_words:
                    yield self._cost(rows, columns, block, True, count)

    def _live(self, rows: int, columns: int) -> int:
        """Bank addresses that one pass needs when it visits every source twice."""
        used = ({self.tiles[t].source for t in p.tiles} for p in self.passes)
        return 2 * max(sum(region_words(self.sources[s], rows, columns) for s in found) for found in used)

    def _cost(self, rows: int, columns: int, block: int, resident: bool, blocks: int) -> Candidate:
        config = self.config
        height, words = self.shape[0], self.words
        strips, tiles_x = -(-height // rows), -(-words // columns)
        rectangles = strips * tiles_x
        loads = 0
        for source in self.sources:
            down, across = self._reach(source.mode, strips, height), self._reach(source.mode, tiles_x, words)
            loads += len(source.groups) * source.planes * down * across
        if not resident:
            loads *= blocks
        compute, _ = self.compute_cycles(rows, columns)
        stores = self.stored_words()
        memory = self.busiest(loads + self.loaded_tiles(rectangles) * self.stored_tile, stores)
        largest = max(region_words(s, rows, columns) for s in self.sources)
        regions = rectangles * len(self.sources) * (1 if resident else blocks)
        serial = loads / regions * FILL + stores / rectangles * DRAIN
        if regions > 1 and 2 * largest > config.bank_words:
            serial += min(compute, float(loads))
        elif regions > 2 and 3 * largest > config.bank_words:
            serial += TIGHT * min(compute, float(loads))
        compute += self.waits_for_writer(rows, columns, True)
        return Candidate(rows, columns, block, resident, compute, memory, serial)

    def compute_cycles(self, rows: int, columns: int) -> tuple[float, int]:
        """Of all strips of that size, and the weight tiles of one strip."""
        config = self.config
        planes_in = max(s.planes for s in self.sources)
        interval = max(planes_in, MIN_INTERVAL)
        last = max(planes_in, MIN_LAST_INTERVAL, self.head_rows * max(1, config.pixels // 2))
        rectangles = -(-self.shape[0] // rows) * -(-self.words // columns)
        gates = Constants.of(config)
        reload = gates.reload + RUN_OVERHEAD
        compute, weights = 0.0, 0
        chunks = -(-rows // max(1, self.chunk_rows(rows, columns)))
        for p in self.passes:
            n = len(p.tiles)
            if self.layer.residual is not None:
                # The tiles that it adds come once for each chunk.
                n += len(p.sets) * (chunks - 1)
            weights += n
            steps = self.steps(self.shape[0], self.words, p.split) / rectangles
            slow = len(p.sets) - 1 if self.layer.residual is not None else 0
            walk = (len(p.tiles) - 1 - slow) * interval + slow * max(interval, ROWS_PER_SET) + last
            body = walk * steps + n * reload + chunks * RUN_OVERHEAD
            compute += max(body, n * float(gates.hold + config.tile_words))
        return rectangles * compute, weights

    def waits_for_writer(self, rows: int, columns: int, full: bool) -> float:
        """Cycles of all strips in which the output memory is full: a last tile makes words faster than they leave."""
        if self.head_rows:
            return 0.0
        config = self.config
        rectangles = -(-self.shape[0] // rows) * -(-self.words // columns)
        words = self.stored_words(full) / rectangles / len(self.passes)
        last = max(MIN_LAST_INTERVAL, *(s.planes for s in self.sources)) * self.steps(rows, columns)
        room = 2 * config.sets * config.out_words * 0.75
        return max(0.0, words - last - room) * rectangles * len(self.passes)

    def stored_words(self, full: bool = True) -> int:
        """Words that go to DDR; `full`: with the full-resolution map."""
        area, sets = self.shape[0] * self.words, len(output_sets(self.layer))
        if self.head_rows:
            sets = 1 if self.layer.dot else sets
            return sets * area * self.config.substeps * self.head_rows * max(1, self.config.pixels // 2)
        area *= self.planes * self.scatters
        return sets * (area * (full and self.layer.output is not None) + area // 4 * (self.layer.pooled is not None))

    @staticmethod
    def _reach(mode: Mode, parts: int, outputs: int) -> int:
        """Source positions along an axis, counted once per part."""
        if mode == Mode.POINT:
            return outputs
        if mode == Mode.SAME:
            return outputs + 2 * (parts - 1)
        if mode == Mode.STRIDE2:
            return 2 * outputs + parts - 1
        return outputs // 2 + 2 * (parts - 1)

    def refuse(self) -> None:
        """Say which memory one row of the narrowest strip overflows."""
        config, unit = self.config, self.unit
        largest = max(region_words(s, unit, unit) for s in self.sources)
        place = f"{self.layer.name} on array {config.name}"
        strip = f"the smallest strip, {unit} rows of {8 * unit} pixels,"
        rule = f"{strip} needs {2 * largest} bank words, has {config.bank_words}"
        require(2 * largest <= config.bank_words, place, rule, "use an array with deeper input banks")
        steps = unit * unit * config.substeps * self.scatters
        rule = f"{strip} needs {steps} partial sums, has {config.psum_steps}"
        require(steps <= config.psum_steps, place, rule, f"use {PIXELS} pixels per step, or a deeper store")
        rule = f"{strip} does not fit {config.out_words} output words"
        require(False, place, rule, "use fewer pixels per step or a larger array")

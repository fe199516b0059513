"""How a layer is cut to fit the engine: sources, passes, tiles, strips.

    source   what one input region holds: a channel group's window, or up to 8 channel groups for 1x1
    tile     weights of one source and channel slice for one pass: what the tables hold at a time
    pass     R output channels (times one column phase of a transposed convolution)
    block    passes whose partial sums lie in the store together; a region serves a whole block once loaded
    strip    rows x columns of the map; all passes are done on it before the next one

`plan_layer` tries strips, blocks and residency with closed formulas and keeps the cheapest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from hwseg.compile.layout import PIXELS, TensorLayout, groups
from hwseg.compile.lower import Layer, Network
from hwseg.compile.timing import Constants
from hwseg.errors import require
from hwseg.ops import Shape
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.isa import Mode, Scatter
from hwseg.rtl.skip import PLANES

MIN_INTERVAL = 4
MIN_LAST_INTERVAL = 8
RUN_OVERHEAD = 6

MEMORY_SHARE, FILL, DRAIN, TIGHT = 0.06, 1.0, 0.5, 0.1
"""Weights of what `max(compute, memory)` leaves out: all traffic, first load, last store, fewer than three buffers."""


@dataclass(frozen=True)
class Group:
    """A channel group of a stored tensor and where its channels are in the layer's weights."""

    tensor: str
    channel_group: int
    first: int
    count: int


@dataclass(frozen=True)
class Source:
    mode: Mode
    planes: int
    signed: bool
    groups: tuple[Group, ...]

    @property
    def key(self) -> tuple[Mode, int, bool]:
        """What CONFIG must say to read it."""
        return self.mode, self.planes, self.signed


@dataclass(frozen=True)
class Tile:
    """`part` 0: the weights (or their high bytes), 1: the low bytes."""

    source: int
    slice: int
    part: int


@dataclass(frozen=True)
class OutputSet:
    """Eight output channels: `count` weights rows from `first`, stored as `channel_group`, row phase `phase`."""

    first: int
    count: int
    channel_group: int
    phase: int


@dataclass(frozen=True)
class Pass:
    sets: tuple[OutputSet, ...]
    scatter: Scatter
    tiles: tuple[int, ...]


@dataclass(frozen=True)
class Rectangle:
    """Rows [y0, y1) and word columns [x0, x1), in coordinates of RUN (transposed convolution: of its input)."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def rows(self) -> int:
        return self.y1 - self.y0

    @property
    def columns(self) -> int:
        return self.x1 - self.x0


@dataclass(frozen=True)
class Span:
    """One axis of a region: source positions [first, last], loaded from buffer position `at` on."""

    first: int
    last: int
    at: int

    @property
    def count(self) -> int:
        return self.last - self.first + 1


def span(mode: Mode, start: int, stop: int, limit: int, unit: int) -> Span:
    """The source positions that outputs [start, stop) read; `unit` is 1 for rows, 8 pixels for word columns."""
    if mode == Mode.POINT:
        return Span(start, stop - 1, 0)
    if mode == Mode.SAME:
        origin, low, high = start - 1, start - 1, stop
    elif mode == Mode.STRIDE2:
        origin, low, high = 2 * start - 1, 2 * start - 1, 2 * stop - 1
    else:
        origin = (start >> 1) - 1
        low, high = ((unit * start - 1) // 2) // unit, (unit * stop // 2) // unit
    first, last = max(low, 0), min(high, limit - 1)
    return Span(first, last, first - origin)


@dataclass(frozen=True)
class LayerPlan:
    """Everything that the schedule needs to know about one layer."""

    index: int
    layer: Layer
    sources: tuple[Source, ...]
    tiles: tuple[Tile, ...]
    passes: tuple[Pass, ...]
    blocks: tuple[tuple[int, ...], ...]
    rows: int
    columns: int
    resident: bool
    chunk_rows: int
    out_planes: int
    run_shape: tuple[int, int]
    """Rows and pixels of the map in RUN coordinates."""
    limits: dict[str, tuple[int, int]] = field(repr=False)
    """Rows and word columns of each operand."""
    out_pitch: int = 0
    pool_pitch: int = 0
    head_rows: int = 0
    stored: bool = True
    """The full-resolution map goes to DDR."""
    moved: bool = False
    """It goes from the loop memory to input banks."""
    split: bool = False
    """The upper half of the array's rows makes the even word columns, the lower half the odd ones."""

    @property
    def packed(self) -> bool:
        """Weights lie in memory with four bits each."""
        return packs(self.layer)

    @property
    def pair(self) -> bool:
        return self.layer.pooled is not None

    @property
    def words(self) -> int:
        return groups(self.run_shape[1])

    def run_columns(self, rectangle: Rectangle) -> int:
        """Steps that a RUN walks along a row."""
        return rectangle.columns // 2 if self.split else rectangle.columns

    def rectangles(self) -> Iterator[Rectangle]:
        first, end = self.layer.columns or (0, self.words)
        for y in range(0, self.run_shape[0], self.rows):
            for x in range(first, end, self.columns):
                yield Rectangle(y, min(y + self.rows, self.run_shape[0]), x, min(x + self.columns, end))

    def region(self, source: Source, rectangle: Rectangle) -> tuple[Span, Span]:
        rows, columns = self.limits[source.groups[0].tensor]
        return (
            span(source.mode, rectangle.y0, rectangle.y1, rows, 1),
            span(source.mode, rectangle.x0, rectangle.x1, columns, 8),
        )

    def pitch(self, source: Source) -> int:
        """Addresses from one block of three rows (POINT: row) to the next, for the widest strip."""
        return region_pitch(source, self.columns)


def region_pitch(source: Source, columns: int) -> int:
    if source.mode == Mode.POINT:
        return columns * source.planes
    return -(-buffer_size(source.mode, columns) // 3) * source.planes


def buffer_size(mode: Mode, outputs: int) -> int:
    """Largest number of buffer positions along an axis that `outputs` rows or columns take."""
    if mode == Mode.POINT:
        return outputs
    if mode == Mode.SAME:
        return outputs + 2
    return 2 * outputs + 1 if mode == Mode.STRIDE2 else outputs // 2 + 3


def region_words(source: Source, rows: int, columns: int) -> int:
    """Addresses of each bank that a region takes."""
    size = buffer_size(source.mode, rows)
    blocks = size if source.mode == Mode.POINT else -(-size // 3)
    return whole_blocks(blocks * region_pitch(source, columns))


def whole_blocks(words: int) -> int:
    """Rounded up, so that in tensors of eight planes every block of a word column lies at a multiple of eight: there
    its count of leading zero planes is kept (`hwseg.rtl.skip`).
    """
    return -(-words // PLANES) * PLANES


def sources_of(layer: Layer, network: Network) -> tuple[Source, ...]:
    """Channel groups in the order of the operands; for 1x1 eight at a time, alike in planes and sign."""
    first, found = 0, []
    for operand in layer.operands:
        layout = network.tensors[operand.tensor]
        mode = Mode.NEAREST if operand.upsampled else Mode.STRIDE2 if layer.stride == 2 else Mode.SAME
        mode = mode if layer.kernel == 3 else Mode.POINT
        members = [
            Group(operand.tensor, g, first + 8 * g, min(8, operand.channels - 8 * g))
            for g in range(groups(operand.channels))
        ]
        found.append(((mode, layout.planes, layout.signed), members))
        first += operand.channels
    if layer.kernel == 3:
        return tuple(Source(*key, (group,)) for key, members in found for group in members)
    merged: dict[tuple[Mode, int, bool], list[list[Group]]] = {}
    for key, members in found:
        merged.setdefault(key, []).append(members)
    result = []
    for key, lists in merged.items():
        members = interleaved(lists) if layer.op == "add" else [group for part in lists for group in part]
        result += [Source(*key, tuple(members[i : i + 8])) for i in range(0, len(members), 8)]
    return tuple(result)


def interleaved(lists: list[list[Group]]) -> list[Group]:
    """First groups of all lists, then second ones: operands of an addition meet in one tile."""
    return (
        [group for column in zip(*lists, strict=True) for group in column]
        if len({*map(len, lists)}) == 1
        else [group for part in lists for group in part]
    )


def tile_lanes(source: Source, tile: Tile, channels: int) -> list[tuple[int, int, int]]:
    """(first lane, first weight input, count) of the channels that a tile multiplies, for tap 0 or each POINT tap."""
    start = tile.slice * channels
    lanes = []
    for tap, group in enumerate(source.groups):
        count = min(group.count - start, channels)
        if count > 0:
            lanes.append((tap * channels, group.first + start, count))
    return lanes


def output_sets(layer: Layer) -> list[OutputSet]:
    channels = layer.shape[2]
    phases = 2 if layer.kernel == 2 else 1
    return [
        OutputSet(8 * g, min(8, channels - 8 * g), g, phase) for phase in range(phases) for g in range(groups(channels))
    ]


def passes_of(
    layer: Layer, sources: tuple[Source, ...], tiles: tuple[Tile, ...], config: EngineConfig
) -> tuple[Pass, ...]:
    """Output sets R/8 at a time; tiles whose weights are all zero are left out, except one."""
    sets = output_sets(layer)
    scatters = (Scatter.EVEN, Scatter.ODD) if layer.kernel == 2 else (Scatter.NONE,)
    occupied = [occupancy(layer, sources[tile.source], tile, config.channels) for tile in tiles]
    passes = []
    for i in range(0, len(sets), config.sets):
        chosen = tuple(sets[i : i + config.sets])
        used = [
            t
            for t, nonzero in enumerate(occupied)
            if any(nonzero[s.first : s.first + s.count, s.phase].any() for s in chosen)
        ]
        if layer.low_weights is not None and not any(tiles[t].part for t in used):
            used.append(next(t for t, tile in enumerate(tiles) if tile.part))
        passes += [Pass(chosen, scatter, tuple(used) or (0,)) for scatter in scatters]
    return tuple(passes)


def occupancy(layer: Layer, source: Source, tile: Tile, channels: int) -> np.ndarray:
    """bool [output channel, row phase]: is any weight of the tile nonzero."""
    weights = layer.low_weights if tile.part else layer.weights
    assert weights is not None
    found: np.ndarray = np.zeros((len(weights), 2), bool)
    for _, first, count in tile_lanes(source, tile, channels):
        part = weights[:, first : first + count]
        if layer.kernel == 2:
            found |= part.any(axis=(1, 3))
        else:
            found |= np.asarray(part.reshape(len(part), -1).any(axis=1))[:, None]
    return found


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
        passes=passes_of(layer, sources, tiles, config),
        config=config,
        shape=layer.input_shape if layer.kernel == 2 else layer.shape,
        planes=8 if layer.requantize is None else output_layout(layer, network).planes,
        split=splits(layer, sources, config),
        head_rows=1 if layer.dot else min(8, layer.shape[2]) if layer.requantize is None else 0,
        limits={
            o.tensor: (network.tensors[o.tensor].shape[0], network.tensors[o.tensor].pixel_groups)
            for o in layer.operands
        },
        cycles_per_word=cycles_per_word,
    )


def packs(layer: Layer) -> bool:
    """Whether four bits hold every weight."""
    parts = [part for part in (layer.weights, layer.low_weights) if part is not None and part.size]
    return all(part.min() >= -8 and part.max() <= 7 for part in parts)


def splits(layer: Layer, sources: tuple[Source, ...], config: EngineConfig) -> bool:
    """Whether a layer of few output channels can be made two word columns at a time, by the two halves of the rows.

    The window needs the pixel left of the left word, which only a walk from the map's left edge leaves behind; and
    words come in pairs.
    """
    return (
        config.splits
        and not layer.repeat_rows
        and all(source.mode == Mode.SAME for source in sources)
        and layer.requantize is not None
        and layer.dot is None
        and 2 * groups(layer.shape[2]) <= config.sets
        and layer.shape[1] % 16 == 0
    )


def plan_layer(index: int, problem: Problem) -> tuple[LayerPlan, float]:
    """The cheapest cut that fits and its cost in cycles, or `HwsegError` naming the memory that is too small."""
    best = min(problem.candidates(), default=None, key=lambda c: (c.cost, c.memory, c.rows))
    if best is None and problem.split:
        return plan_layer(index, replace(problem, split=False))
    if best is None:
        problem.refuse()
        raise AssertionError
    size = -(-len(problem.passes) // best.block)
    per_block = -(-len(problem.passes) // size)
    per_block += per_block % problem.scatters
    numbers = range(len(problem.passes))
    blocks = tuple(tuple(numbers[i : i + per_block]) for i in range(0, len(problem.passes), per_block))
    return problem.plan(index, best.rows, best.columns, blocks, best.resident and len(blocks) > 1), best.cost


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
    split: bool = False

    @cached_property
    def stored_tile(self) -> int:
        """Words of a weight tile in memory."""
        return self.config.stored_words(packs(self.layer))

    def steps(self, rows: int, columns: int) -> int:
        """Steps of the array for that many rows and word columns."""
        return rows * (columns // 2 if self.split else columns) * self.config.substeps

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
            split=self.split,
        )

    def busiest(self, reads: float, writes: float, moves: float = 0.0) -> float:
        """Cycles of reader, writer or DDR, whichever is longest."""
        return max(reads + moves, writes, (reads + writes) * self.cycles_per_word)

    @property
    def scatters(self) -> int:
        return 2 if self.layer.kernel == 2 else 1

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
            count -= count % self.unit
            if count:
                return min(count, 4094)
        return 0

    def candidates(self) -> Iterator[Candidate]:
        parts = sorted({-(-self.words // n) for n in range(1, 2 if self.split else self.words + 1)}, reverse=True)
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
        compute, weights = self.compute_cycles(rows, columns)
        stores = self.stored_words()
        memory = self.busiest(loads + rectangles * weights * self.stored_tile, stores)
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
        steps = self.steps(self.shape[0], self.words) / rectangles
        gates = Constants.of(config)
        reload = gates.reload + RUN_OVERHEAD
        compute, weights = 0.0, 0
        chunks = -(-rows // max(1, self.chunk_rows(rows, columns)))
        for p in self.passes:
            n = len(p.tiles)
            weights += n
            body = ((n - 1) * interval + last) * steps + n * reload + chunks * RUN_OVERHEAD
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

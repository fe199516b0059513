"""How a layer is cut to fit the engine: sources, passes, tiles, strips.

    source   what one input region holds: a channel group's window, or up to 8 channel groups for 1x1
    tile     weights of one source and channel slice for one pass: what the tables hold at a time
    pass     R output channels (times one column phase of a transposed convolution)
    block    passes whose partial sums lie in the store together; a region serves a whole block once loaded
    strip    rows x columns of the map; all passes are done on it before the next one

`hwseg.compile.plan.search` tries strips, blocks and residency and keeps the cheapest; this module says what they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from hwseg.compile.lower.layers import Layer, Network
from hwseg.compile.lower.slopes import JOIN
from hwseg.layout import groups
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.isa import Mode, Scatter
from hwseg.rtl.skip import PLANES

TOGETHER = ("add", JOIN)
"""1x1 layers of which each output reads the same channel of several operands."""

MIN_INTERVAL = 4
MIN_LAST_INTERVAL = 8


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
    """`split`: the upper half of the array's rows makes the even word columns, the lower half the odd ones."""

    sets: tuple[OutputSet, ...]
    scatter: Scatter
    tiles: tuple[int, ...]
    split: bool = False


@dataclass(frozen=True)
class Rectangle:
    """Rows [y0, y1) and word columns [x0, x1), in coordinates of RUN: the map's, divided by the layer's phases."""

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

    def bands(self, rows: int) -> Iterator[Rectangle]:
        """Its rows, so many at a time."""
        for y in range(self.y0, self.y1, rows):
            yield Rectangle(y, min(y + rows, self.y1), self.x0, self.x1)


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
    tile_words: int = 0
    """Words of a weight tile in memory and in the ring."""

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

    @property
    def weight_words(self) -> int:
        """Words of all its weight tiles in the ring."""
        return sum(len(p.tiles) for p in self.passes) * self.tile_words

    @property
    def split(self) -> bool:
        """Whether every pass is."""
        return all(p.split for p in self.passes)

    @staticmethod
    def run_columns(columns: int, split: bool) -> int:
        """Steps that a RUN walks along a row of so many word columns."""
        return columns // 2 if split else columns

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
        layout, channels = network.tensors[operand.tensor], layer.stored_factor * operand.channels
        mode = Mode.NEAREST if operand.upsampled else Mode.STRIDE2 if layer.stride == 2 else Mode.SAME
        mode = mode if layer.kernel == 3 else Mode.POINT
        members = [Group(operand.tensor, g, first + 8 * g, min(8, channels - 8 * g)) for g in range(groups(channels))]
        found.append(((mode, layout.planes, layout.signed), members))
        first += channels
    if layer.kernel == 3:
        return tuple(Source(*key, (group,)) for key, members in found for group in members)
    merged: dict[tuple[Mode, int, bool], list[list[Group]]] = {}
    for key, members in found:
        merged.setdefault(key, []).append(members)
    result = []
    for key, lists in merged.items():
        members = interleaved(lists) if layer.op in TOGETHER else [group for part in lists for group in part]
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
    return [
        OutputSet(8 * g, min(8, channels - 8 * g), g, phase)
        for phase in range(layer.row_phases)
        for g in range(groups(channels))
    ]


def passes_of(
    layer: Layer, sources: tuple[Source, ...], tiles: tuple[Tile, ...], config: EngineConfig
) -> tuple[Pass, ...]:
    """Output sets R/8 at a time; tiles whose weights are all zero are left out, except one."""
    sets = output_sets(layer)
    scatters = (Scatter.EVEN, Scatter.ODD) if layer.column_phases == 2 else (Scatter.NONE,)
    occupied = [occupancy(layer, sources[tile.source], tile, config.channels) for tile in tiles]
    passes = []
    for i in range(0, len(sets), config.sets):
        chosen = tuple(sets[i : i + config.sets])
        used = [
            t
            for t, nonzero in enumerate(occupied)
            if any(nonzero[s.first : s.first + s.count, s.phase].any() for s in chosen)
        ]
        if layer.residual is not None:
            # The last tiles read the channel groups that the pass makes.
            own = [s.channel_group for s in chosen]
            used = [*(t for t in used if t not in own), *own]
        if layer.low_weights is not None and not any(tiles[t].part for t in used):
            used.append(next(t for t, tile in enumerate(tiles) if tile.part))
        passes += [Pass(chosen, scatter, tuple(used) or (0,)) for scatter in scatters]
    return tuple(passes)


def occupancy(layer: Layer, source: Source, tile: Tile, channels: int) -> np.ndarray:
    """bool [output channel, row phase]: is any weight of the tile nonzero."""
    found: np.ndarray = np.zeros((layer.shape[2], layer.row_phases), bool)
    lanes = tile_lanes(source, tile, channels)
    for row in range(layer.row_phases):
        for column in range(layer.column_phases):
            weights = layer.phase(row, column, tile.part)
            for _, first, count in lanes:
                found[:, row] |= weights[:, first : first + count].any(axis=(1, 2, 3))
    return found


def packs(layer: Layer) -> bool:
    """Whether four bits hold every weight."""
    parts = [part for part in (layer.weights, layer.low_weights) if part is not None and part.size]
    return all(part.min() >= -8 and part.max() <= 7 for part in parts)

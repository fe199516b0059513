"""A layer before it is cut: sources, tiles and passes, and the arithmetic of shapes that every cut needs.

A `Problem` decides nothing.  `hwseg.compile.plan.search` looks for the cheapest strips of a layer alone,
`hwseg.compile.plan.chain` for those of layers that run fused; both ask it how many rows fit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from hwseg.compile.lower.layers import Layer, Network
from hwseg.compile.plan.plan import (
    LayerPlan,
    Pass,
    Source,
    Tile,
    output_sets,
    packs,
    passes_of,
    sources_of,
)
from hwseg.layout import TensorLayout, groups, step_words
from hwseg.ops import Shape
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.isa import Mode
from hwseg.rtl.residual import WAITING


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


def even_parts(total: int, most: int, unit: int) -> int:
    """The size of equal parts of at most `most`, a multiple of `unit`; 0 if there is none."""
    most -= most % unit
    if most <= 0:
        return 0
    size = -(-total // -(-total // most))
    return min(most, size + -size % unit)


def output_layout(layer: Layer, network: Network) -> TensorLayout:
    """Of the map, or of the pooled one."""
    name = layer.output or layer.pooled
    assert name is not None
    return network.tensors[name]


@dataclass(frozen=True)
class Problem:
    """One layer on one array.

    shape: rows and pixels that RUNs walk over, output channels.  planes: of the map.  head_rows: channels of a set
    whose sums are stored, 0: planes are.  limits: rows and word columns of each operand.  cycles_per_word: of the DDR.
    """

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
        """The plan of a cut; memory_words: as in `chunk_rows`."""
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

    @cached_property
    def weight_tiles(self) -> int:
        """Of all passes."""
        return sum(len(p.tiles) for p in self.passes)

    @cached_property
    def scatters(self) -> int:
        """Column phases: so many passes make one row of the map."""
        return self.layer.column_phases

    @property
    def unit(self) -> int:
        """Rows (and columns) come in pairs for pooling."""
        return 2 if self.layer.pooled else 1

    @cached_property
    def words(self) -> int:
        """Word columns that the layer makes."""
        first, end = self.layer.columns or (0, groups(self.shape[1]))
        return end - first

    @cached_property
    def deepest(self) -> int:
        """Tiles of the longest pass."""
        return max(len(p.tiles) for p in self.passes)

    def out_pitch(self, columns: int) -> int:
        """Output-memory addresses of one row, in each parity bank."""
        if self.head_rows:
            return columns * self.config.substeps * step_words(self.head_rows, self.config.pixels) // 2
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

    def stored_words(self, full: bool = True) -> int:
        """Words that go to DDR; `full`: with the full-resolution map."""
        area, sets = self.shape[0] * self.words, len(output_sets(self.layer))
        if self.head_rows:
            sets = 1 if self.layer.dot else sets
            return sets * area * self.config.substeps * step_words(self.head_rows, self.config.pixels)
        area *= self.planes * self.scatters
        return sets * (area * (full and self.layer.output is not None) + area // 4 * (self.layer.pooled is not None))

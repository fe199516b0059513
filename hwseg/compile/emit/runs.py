"""CONFIG and RUN, field by field, and what a RUN needs before it begins."""

from __future__ import annotations

from dataclasses import dataclass

from hwseg.compile.emit.instruction import instruction
from hwseg.compile.emit.outputs import Places
from hwseg.compile.emit.regions import Region
from hwseg.compile.emit.walk import Queue, Walk
from hwseg.compile.plan.plan import MIN_INTERVAL, MIN_LAST_INTERVAL, LayerPlan, Pass, Rectangle, Source
from hwseg.layout import step_words
from hwseg.rtl.config import ROWS_PER_SET
from hwseg.rtl.isa import Mode, Opcode
from hwseg.rtl.latency import overtakes
from hwseg.rtl.skip import PLANES


def shortest(added: int | None) -> int:
    """Cycles of a step that is not last, at least; what waits for a residual addition leaves row by row of eight."""
    return MIN_INTERVAL if added is None else ROWS_PER_SET


def skips(source: Source) -> bool:
    """Whether leading zero planes of its windows can be left out."""
    return source.mode != Mode.POINT and source.planes == PLANES and not source.signed


@dataclass(frozen=True, slots=True)
class TileRuns:
    """A weight tile against a rectangle: what its RUNs have in common.

    first, last: of the pass's tiles; shift: the first one of the low weights.  slot, parameters: of a last tile, where
    its pass's parameters are and how many LOADs of them it needs.  added: the set that a residual addition gives the
    tile's input to.
    """

    source: Source
    region: Region
    chosen: Pass
    slice: int
    first: bool
    last: bool
    shift: bool
    slot: int
    parameters: int
    added: int | None


class Runs:
    """The compute unit's instructions of one layer."""

    def __init__(self, walk: Walk, plan: LayerPlan) -> None:
        self.walk, self.plan, self.layer, self.config = walk, plan, plan.layer, walk.config

    def configure(self, source: Source, split: bool, least: int) -> None:
        """CONFIG when the way of reading changes; least: cycles of a step."""
        interval = max(source.planes, least)
        if self.walk.key == (self.plan.index, source.key, split, interval):
            return
        self.walk.key = self.plan.index, source.key, split, interval
        plan, op, residual = self.plan, self.layer.requantize, self.layer.residual
        (first_low, first_high), (low, high) = ((0, 0), (0, 0)) if op is None else ((op.low, op.high), self.layer.clamp)
        # Sums and planes have one way into the output memory.
        writes = "sums" if plan.head_rows else "planes" if plan.stored else ""
        mixed = "" not in (self.walk.written_by, writes) and self.walk.written_by != writes
        fields = instruction(
            Opcode.CONFIG,
            layer=plan.index,
            planes=source.planes,
            signed_in=source.signed,
            mode=source.mode,
            pitch=plan.pitch(source),
            out_planes=plan.out_planes,
            low=low & 0x1FF,
            high=high & 0x1FF,
            residual=residual is not None,
            double=residual is not None and residual.double,
            halve=residual is not None and residual.halve,
            first_low=first_low & 0x1FF,
            first_high=first_high & 0x1FF,
            keep=plan.stored,
            loop=plan.moved,
            pool=plan.pair,
            raw=op is None,
            dot=self.layer.dot is not None,
            raw_rows=plan.head_rows,
            out_pitch=plan.out_pitch if op is not None else 0,
            pool_pitch=plan.pool_pitch,
            interval=interval,
            last_interval=self._last_interval(source),
            drain=mixed or (source.planes < self.walk.planes and overtakes(self.config)),
            # What waits for an addition takes eight cycles a step to leave.
            skip=skips(source) and not split and residual is None,
            split=split,
        )
        self.walk.written_by, self.walk.planes = writes, source.planes
        self.walk.configure(fields)

    def run(
        self, tile: TileRuns, part: Rectangle, row: dict[str, int], psum: int, places: Places, reload: bool
    ) -> None:
        """RUN of a tile against a part.  row: where it reads first (`Regions.first_row`).  places: of a last tile."""
        walk, plan, split = self.walk, self.plan, tile.chosen.split
        planes = tile.source.planes
        # The first centre word: the buffer begins one word to the left of the map.
        column = 0 if tile.source.mode == Mode.POINT else 2 if split else 1
        columns = plan.run_columns(part.columns, split)
        fields = instruction(
            Opcode.RUN,
            layer=plan.index,
            reload=reload,
            first=tile.first,
            last=tile.last,
            shift=tile.shift,
            scatter=tile.chosen.scatter,
            pair=plan.pair,
            slice=tile.slice,
            tail=plan.run_shape[1] - 8 * (plan.words - 1) if part.x1 == plan.words else 8,
            rows=part.rows // 2 if plan.pair else part.rows,
            columns=columns,
            column_address=column // 3 * planes,
            column_phase=column % 3,
            psum=0 if tile.first and tile.last else psum,
            out_address=places.out,
            loop_address=places.loop,
            pool_address=places.pool,
            slot=tile.slot,
            residual=tile.added is not None,
            residual_set=tile.added or 0,
            **row,
            **self._edges(tile.source, part),
        )
        interval = self._last_interval(tile.source) if tile.last else max(planes, shortest(tile.added))
        moves = max(tile.region.moves, walk.loop.released if tile.last else 0)
        needs = (tile.region.loads, len(walk.loads[Queue.WEIGHTS]), tile.parameters, moves)
        stores = max(walk.out.released, walk.pool.released) if tile.last else 0
        walk.run(fields, needs, stores, part.rows * columns * self.config.substeps * interval, reload)

    def _last_interval(self, source: Source) -> int:
        """Cycles of a step of a last tile."""
        return max(source.planes, MIN_LAST_INTERVAL, step_words(self.plan.head_rows, self.config.pixels))

    def _edges(self, source: Source, part: Rectangle) -> dict[str, int]:
        """Fields of RUN that say where the map ends, and where an enlarged one begins in its word and row."""
        plan = self.plan
        if source.mode == Mode.POINT:
            return {}
        found: dict[str, int] = {"left": part.x0 == 0}
        if source.mode == Mode.STRIDE2:
            rows, columns = plan.limits[source.groups[0].tensor]
            bottom, found["right"] = 2 * part.y1 - 1 >= rows, 2 * part.x1 - 1 >= columns
        else:
            bottom, found["right"] = part.y1 == plan.run_shape[0], part.x1 == plan.words
        if source.mode == Mode.NEAREST:
            found["odd_row"], found["odd_column"] = part.y0 & 1, part.x0 & 1
        if not self.layer.repeat_rows:
            found["top"], found["bottom"] = part.y0 == 0, bottom
        return found

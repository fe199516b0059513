"""What a layer's sources hold in the input banks: LOADs bring it, RUNs read it.

A source that stays is loaded once; the rows above and below a map that repeats its edges are LOADs of their own.
`hwseg.compile.emit.feeds` is the same for layers that run fused.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwseg.compile.emit.instruction import load_fields
from hwseg.compile.emit.rings import Space
from hwseg.compile.emit.walk import Queue, Walk
from hwseg.compile.plan.plan import LayerPlan, Rectangle, Source, region_words
from hwseg.rtl.isa import NO_WRAP, Mode, Target


@dataclass(slots=True)
class Region:
    """Where a source lies.  `loads`, `moves`: how many of each it needs."""

    space: Space
    loads: int
    moves: int = 0


class Regions:
    """The regions of one layer that runs alone, by the number of their source."""

    def __init__(self, walk: Walk, plan: LayerPlan) -> None:
        self.walk, self.plan = walk, plan
        self.held: dict[int, Region] = {}

    def region(self, rectangle: Rectangle, number: int) -> Region:
        """What a rectangle reads of a source, loaded once for as long as it stays."""
        if number not in self.held:
            self.held[number] = self._bring(rectangle, number)
        return self.held[number]

    def drop(self, number: int) -> None:
        """Its space is free after the RUNs so far."""
        self.held.pop(number).space.live = False

    def _bring(self, rectangle: Rectangle, number: int) -> Region:
        """Load all that the rectangle reads, the source's groups one after the other."""
        walk, plan, source = self.walk, self.plan, self.plan.sources[number]
        space = walk.banks.take(region_words(source, rectangle.rows, plan.columns))
        after_run = walk.banks.released
        rows, columns = plan.region(source, rectangle)
        read = range(columns.first, columns.last + 1)
        pieces = [(range(rows.first, rows.last + 1), rows.at)]
        if plan.layer.repeat_rows:
            # The map's first row once more above it, its last row below.
            if rectangle.y0 == 0:
                pieces.append((range(rows.first, rows.first + 1), rows.at - 1))
            if rectangle.y1 == plan.run_shape[0]:
                pieces.append((range(rows.last, rows.last + 1), rows.at + rows.count))
        count = 0
        for bank in range(len(source.groups)):
            for piece, at in pieces:
                where = self._destination(source, space, bank, at, columns.at)
                count = self._load(source, bank, piece, read, after_run, where)
        return Region(space, count)

    def _destination(self, source: Source, space: Space, bank: int, row: int, column: int) -> dict[str, int]:
        """Fields of LOAD for a row and a word column of one of the source's groups."""
        pitch, planes = self.plan.pitch(source), source.planes
        if source.mode == Mode.POINT:
            return {"address": space.start, "pitch": pitch, "bank": bank}
        return {
            "address": space.start + row // 3 * pitch,
            "pitch": pitch,
            "row_phase": row % 3,
            "column_phase": column % 3,
            "column_address": column // 3 * planes,
            "planes": planes,
            "bank": bank,
        }

    def _load(
        self, source: Source, bank: int, rows: range, columns: range, after_run: int, where: dict[str, int]
    ) -> int:
        """A LOAD of one of a source's groups, of these rows and word columns, to the fields `where` of DESTINATION.

        Returns how many LOADs of regions there are now.
        """
        walk, group = self.walk, source.groups[bank]
        layout, base = walk.memory.located(group.tensor)
        fields = load_fields(
            Target.POINT if source.mode == Mode.POINT else Target.WINDOW,
            self.plan.index,
            base + layout.offset(rows.start, group.channel_group, columns.start),
            len(columns) * source.planes,
            len(rows),
            layout.row_bytes,
            **where,
        )
        return walk.load(Queue.REGION, fields, after_run, walk.stores_before(group.tensor, rows))

    def first_row(self, number: int, rectangle: Rectangle, part: Rectangle) -> dict[str, int]:
        """Fields of RUN for the first centre row of a part of the rectangle that the region was loaded for."""
        source, start = self.plan.sources[number], part.y0 - rectangle.y0
        row, phase = start, 0
        if source.mode != Mode.POINT:
            row = {
                Mode.SAME: 1 + start,
                Mode.STRIDE2: 1 + 2 * start,
                Mode.NEAREST: (part.y0 >> 1) - (rectangle.y0 >> 1) + 1,
            }[source.mode]
            row, phase = divmod(row, 3)
        address = self.held[number].space.start + row * self.plan.pitch(source)
        return {"row_address": address, "row_phase": phase, "wrap_at": NO_WRAP, "wrap_to": NO_WRAP}

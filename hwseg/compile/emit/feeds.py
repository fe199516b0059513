"""What the sources of a layer that runs fused hold in the input banks: rings of rows.

Every source of every stage has a ring (`Feed`).  LOADs and MOVEs bring rows, each only once; a row's place is free when
the last strip that reads it is done.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from hwseg.compile.emit.regions import Region, Regions
from hwseg.compile.emit.rings import Space
from hwseg.compile.emit.walk import Walk
from hwseg.compile.plan.chain import Ring, Stage
from hwseg.compile.plan.plan import Rectangle
from hwseg.rtl.isa import Mode


@dataclass(slots=True)
class Feed:
    """The rows of one ring: which are there, and after which RUN a row's place is free.

    present: rows [0, present) have been loaded.  arrived: by the layer that makes them, (rows, MOVEs): rows [0, rows)
    are there after so many MOVEs.  left: by strip, (rows, RUNs): rows [0, rows) are read no more after so many RUNs.
    """

    ring: Ring
    space: Space
    released: int
    present: int = 0
    arrived: defaultdict[int, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    left: list[tuple[int, int]] = field(default_factory=list)

    def after(self, row: int) -> int:
        """RUNs that must be complete before rows up to this one may be written."""
        over = row - self.ring.rows
        if over < 0:
            return self.released
        return next(runs for gone, runs in self.left if gone > over)

    def moves(self, row: int) -> int:
        """MOVEs that must be complete before rows up to this one may be read."""
        return max(next(count for rows, count in made if rows > row) for made in self.arrived.values())

    def place(self, row: int) -> tuple[int, int, dict[str, int]]:
        """A row's address and phase, and the fields of RUN, LOAD and MOVE for the ring."""
        ring, start = self.ring, self.space.start
        unit, phase = (row, 0) if ring.source.mode == Mode.POINT else divmod(row, 3)
        around = {"wrap_at": start + ring.words, "wrap_to": start}
        return start + unit % ring.units * ring.pitch, phase, around

    def destination(self, bank: int, row: int) -> dict[str, int]:
        """Fields of LOAD and MOVE for a row of one of the source's groups."""
        ring = self.ring
        address, phase, around = self.place(row)
        return around | {
            "address": address,
            "row_phase": phase,
            "pitch": ring.pitch,
            "column_phase": 0 if ring.source.mode == Mode.POINT else 1,
            "planes": ring.source.planes,
            "bank": bank,
        }


class Reader(NamedTuple):
    """A ring that wants a layer's map: position among its source's groups, channel group of the map."""

    feed: Feed
    bank: int
    channel_group: int


class Feeds(Regions):
    """The rings of one stage, by the number of their source."""

    def __init__(self, walk: Walk, stage: Stage) -> None:
        super().__init__(walk, stage.plan)
        self.stage = stage
        self.feeds: list[Feed] = []
        for ring in stage.rings:
            space = walk.banks.take(ring.space)
            self.feeds.append(Feed(ring, space, walk.banks.released))

    def readers(self, tensor: str | None) -> Iterator[Reader]:
        """Rings that a map of the chain is moved to."""
        for feed in self.feeds:
            for bank, group in enumerate(feed.ring.source.groups):
                if group.tensor == tensor and group.tensor in feed.ring.moved:
                    yield Reader(feed, bank, group.channel_group)

    def _bring(self, rectangle: Rectangle, number: int) -> Region:
        """Loads the rows that are not there yet; moved ones have been sent by the stage that makes them."""
        feed = self.feeds[number]
        ring, source = feed.ring, feed.ring.source
        _, after = ring.reads(rectangle.y0, rectangle.y1)
        region = Region(Space(0, 0, 0), 0)
        if ring.moved:
            region.moves = feed.moves(after - 1)
        elif after > feed.present:
            rows = range(feed.present, after)
            for bank, group in enumerate(source.groups):
                columns = range(self.walk.memory.layouts[group.tensor].pixel_groups)
                where = feed.destination(bank, rows.start)
                region.loads = self._load(source, bank, rows, columns, feed.after(after - 1), where)
            feed.present = after
        return region

    def first_row(self, number: int, rectangle: Rectangle, part: Rectangle) -> dict[str, int]:
        feed = self.feeds[number]
        mode = feed.ring.source.mode
        address, phase, around = feed.place({Mode.NEAREST: part.y0 >> 1, Mode.STRIDE2: 2 * part.y0}.get(mode, part.y0))
        return around | {"row_address": address, "row_phase": phase}

    def end_strip(self, done: int) -> None:
        """Outputs [0, done) exist: rows that only they read may be overwritten."""
        for number, feed in enumerate(self.feeds):
            # A source whose weights are all zero is read by no RUN.
            until = self.held[number].space.until if number in self.held else self.walk.runs
            feed.left.append((self.stage.keeps(feed.ring, done), until))
        self.held.clear()

    def end(self) -> None:
        """Everything the stage held may be overwritten."""
        for feed in self.feeds:
            feed.space.until, feed.space.live = feed.left[-1][1], False

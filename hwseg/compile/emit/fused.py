"""The program of layers that run fused: the walk of `hwseg.compile.emit.walk`, strip by strip of the chain's order.

Every source of every stage has a ring of rows in the banks (`Feed`).  LOADs and MOVEs bring rows, each only once; a
row's place is free when the last strip that reads it is done.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from hwseg.compile.emit.layer_walk import LayerWalk, Region
from hwseg.compile.emit.memory import MemoryMap
from hwseg.compile.emit.rings import Space
from hwseg.compile.emit.walk import NEVER, Queue, Walk, load_fields
from hwseg.compile.plan.chain import Chain, Ring, Stage, Strip, rectangle
from hwseg.compile.plan.plan import OutputSet, Rectangle, Source
from hwseg.layout import groups
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.isa import MOVE_TAIL, Mode, Opcode, Target


def walk_network(chains: Sequence[Chain], config: EngineConfig, memory: MemoryMap) -> Walk:
    """Every step of the network, chain after chain."""
    walk = Walk(config, memory)
    for chain in chains:
        if chain.stages:
            _walk_chain(walk, chain)
        else:
            with walk.weights.keeping(chain.plans):
                LayerWalk(walk, chain.plans[0]).run()
    return walk


def _walk_chain(walk: Walk, chain: Chain) -> None:
    walk.banks.reserve(sum(ring.space for stage in chain.stages for ring in stage.rings))
    walks: list[StageWalk] = []
    for stage in chain.stages:
        walks.append(StageWalk(walk, stage, walks))
    with walk.weights.keeping(chain.plans):
        for strip in chain.order:
            walks[strip.stage].strip(strip)
    for found in walks:
        found.end()


@dataclass(slots=True)
class Feed:
    """The rows of one ring: which are there, and after which RUN a row's place is free.

    present: rows [0, present) have been loaded.  arrived: by the layer that makes them, (rows, MOVEs): rows [0, rows)
    are there after so many MOVEs.
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

    def place(self, row: int) -> dict[str, int]:
        """Fields of RUN, LOAD and MOVE for a row."""
        ring, start = self.ring, self.space.start
        point = ring.source.mode == Mode.POINT
        unit, phase = (row, 0) if point else divmod(row, 3)
        return {
            "address": start + unit % ring.units * ring.pitch,
            "row_phase": phase,
            "wrap_at": start + ring.words,
            "wrap_to": start,
        }


class StageWalk(LayerWalk):
    """One layer of a chain, strip by strip.  `earlier`: the stages before it."""

    def __init__(self, walk: Walk, stage: Stage, earlier: list[StageWalk]) -> None:
        super().__init__(walk, stage.plan)
        self.stage = stage
        self.readers: list[tuple[Feed, int, int]] = []
        """Rings that want this layer's map: ring, position among its source's groups, channel group."""
        self.feeds: list[Feed] = []
        for ring in stage.rings:
            space = walk.banks.take(ring.space)
            self.feeds.append(Feed(ring, space, walk.banks.released))
        for before in earlier:
            before.readers += [
                (feed, bank, group.channel_group)
                for feed in self.feeds
                for bank, group in enumerate(feed.ring.source.groups)
                if group.tensor == before.layer.output and group.tensor in feed.ring.moved
            ]

    def strip(self, strip: Strip) -> None:
        """Every pass of rows [y0, y1)."""
        self._block(rectangle(self.plan, strip), self.plan.blocks[0], 0, set(range(len(self.feeds))))
        for number, feed in enumerate(self.feeds):
            # A source whose weights are all zero is read by no RUN.
            until = self.regions[number].space.until if number in self.regions else self.walk.runs
            feed.left.append((self.stage.keeps(feed.ring, strip.y1), until))
        self.regions.clear()
        for feed, _, _ in self.readers:
            feed.arrived[self.plan.index].append((strip.y1 * self.stage.rows_made, len(self.walk.loads[Queue.MOVES])))

    def end(self) -> None:
        """Everything the stage held may be overwritten."""
        for feed in self.feeds:
            feed.space.until, feed.space.live = feed.left[-1][1], False
        self._end_parameters()

    def _region(self, rectangle: Rectangle, number: int) -> Region:
        """Loads the rows that are not there yet; moved ones have been sent by the stage that makes them."""
        if number in self.regions:
            return self.regions[number]
        walk, plan, feed = self.walk, self.plan, self.feeds[number]
        ring, source = feed.ring, feed.ring.source
        _, after = ring.reads(rectangle.y0, rectangle.y1)
        region = Region(Space(0, 0, 0), 0)
        if ring.moved:
            region.moves = feed.moves(after - 1)
        elif after > feed.present:
            rows = after - feed.present
            for bank, group in enumerate(source.groups):
                layout, base = walk.memory.layouts[group.tensor], walk.memory.tensors[group.tensor]
                written = walk.written.get(group.tensor)
                stores = max((written[row] for row in range(feed.present, after)), default=0) if written else 0
                fields = load_fields(
                    Target.POINT if source.mode == Mode.POINT else Target.WINDOW,
                    plan.index,
                    base + layout.offset(feed.present, group.channel_group, 0),
                    layout.pixel_groups * source.planes,
                    rows,
                    layout.row_bytes,
                    **self._destination(feed, bank, feed.present),
                )
                region.loads = walk.load(Queue.REGION, fields, feed.after(after - 1), stores)
            feed.present = after
        self.regions[number] = region
        return region

    @staticmethod
    def _destination(feed: Feed, bank: int, row: int) -> dict[str, int]:
        ring = feed.ring
        column = 0 if ring.source.mode == Mode.POINT else 1
        return {
            **feed.place(row),
            "pitch": ring.pitch,
            "column_phase": column,
            "planes": ring.source.planes,
            "bank": bank,
        }

    def _first_row(self, source: Source, region: Region, start: int, part: Rectangle) -> dict[str, int]:
        feed = self.feeds[self.plan.sources.index(source)]
        row = {Mode.NEAREST: part.y0 >> 1, Mode.STRIDE2: 2 * part.y0}.get(source.mode, part.y0)
        return feed.place(row)

    def _move(self, number: int, chosen: OutputSet, part: Rectangle, loop: int, split: bool) -> None:
        """The part's rows go to every ring that wants them."""
        walk, plan = self.walk, self.plan
        down = self.layer.row_phases
        for feed, bank, channel_group in self.readers:
            if channel_group != chosen.channel_group:
                continue
            source = feed.ring.source
            first = down * part.y0 + chosen.phase
            last = first + (part.rows - 1) * down
            columns = groups(plan.run_shape[1] * self.layer.column_phases)
            point = source.mode == Mode.POINT
            steps = (columns if point else -(-columns // 2)) * source.planes
            fields = load_fields(
                Target.POINT if point else Target.WINDOW,
                plan.index,
                loop | number << 14 | int(split) << 17,
                steps,
                part.rows,
                plan.out_pitch,
                every_other=down - 1,
                **self._destination(feed, bank, first),
            )
            fields[0], fields[-1] = Opcode.MOVE, steps * part.rows + MOVE_TAIL
            walk.load(Queue.MOVES, fields, max(walk.runs, feed.after(last)))
            walk.loads[Queue.MOVES][-1].deadline = NEVER

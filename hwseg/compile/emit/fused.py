"""The program of the network, chain after chain; layers that run fused take turns, strip by strip of the chain's order.

A stage of a chain is a `LayerWalk` whose sources are rings of rows (`hwseg.compile.emit.feeds`), and whose map goes by
MOVE to the rings of the stages that read it.
"""

from __future__ import annotations

from collections.abc import Sequence

from hwseg.compile.emit.feeds import Feeds, Reader
from hwseg.compile.emit.instruction import instruction
from hwseg.compile.emit.layer_walk import LayerWalk
from hwseg.compile.emit.memory import MemoryMap
from hwseg.compile.emit.outputs import Outputs
from hwseg.compile.emit.walk import NEVER, Queue, Walk
from hwseg.compile.plan.chain import Chain, Stage, Strip, rectangle
from hwseg.compile.plan.plan import LayerPlan, OutputSet, Rectangle
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
    walk.slots.reserve_apart([len(plan.passes) for plan in chain.plans])
    walks: list[StageWalk] = []
    for stage in chain.stages:
        walks.append(StageWalk(walk, stage, walks))
    with walk.weights.keeping(chain.plans):
        for strip in chain.order:
            walks[strip.stage].strip(strip)
    for found in walks:
        found.end()


class MovedOutputs(Outputs):
    """What a stage writes: its map goes to every ring that wants it, too."""

    def __init__(self, walk: Walk, plan: LayerPlan) -> None:
        super().__init__(walk, plan)
        self.readers: list[Reader] = []

    def end_strip(self, rows: int) -> None:
        """Rows [0, rows) of the map are in the rings after the MOVEs so far."""
        for reader in self.readers:
            reader.feed.arrived[self.plan.index].append((rows, len(self.walk.loads[Queue.MOVES])))

    def _move(self, number: int, chosen: OutputSet, part: Rectangle, loop: int, split: bool) -> None:
        """The part's rows, to every ring that wants them."""
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
            fields = instruction(
                Opcode.MOVE,
                target=Target.POINT if point else Target.WINDOW,
                layer=plan.index,
                source=loop,
                set=number,
                split=split,
                run_words=steps,
                runs=part.rows,
                source_pitch=plan.out_pitch,
                every_other=down - 1,
                cost=steps * part.rows + MOVE_TAIL,
                **feed.destination(bank, first),
            )
            walk.load(Queue.MOVES, fields, max(walk.runs, feed.after(last)))
            walk.loads[Queue.MOVES][-1].deadline = NEVER


class StageWalk(LayerWalk):
    """One layer of a chain, strip by strip.  `earlier`: the stages before it."""

    def __init__(self, walk: Walk, stage: Stage, earlier: list[StageWalk]) -> None:
        self.stage, self.feeds, self.moved = stage, Feeds(walk, stage), MovedOutputs(walk, stage.plan)
        super().__init__(walk, stage.plan, self.feeds, self.moved)
        for before in earlier:
            before.moved.readers += self.feeds.readers(before.layer.output)

    def strip(self, strip: Strip) -> None:
        """Every pass of rows [y0, y1)."""
        self._block(rectangle(self.plan, strip), self.plan.blocks[0], 0, set(range(len(self.plan.sources))))
        self.feeds.end_strip(strip.y1)
        self.moved.end_strip(strip.y1 * self.stage.rows_made)

    def end(self) -> None:
        """Everything the stage held may be overwritten."""
        self.feeds.end()
        self.parameters.end()

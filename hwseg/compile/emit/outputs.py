"""Where RUNs of a last tile write, and the STOREs that bring it to memory."""

from __future__ import annotations

from dataclasses import dataclass

from hwseg.compile.emit.instruction import instruction
from hwseg.compile.emit.walk import Queue, Walk
from hwseg.compile.plan.plan import LayerPlan, OutputSet, Pass, Rectangle
from hwseg.layout import HeadLayout
from hwseg.rtl.isa import Opcode, Scatter


@dataclass(frozen=True, slots=True)
class Places:
    """Addresses in the output, loop and pool memories."""

    out: int = 0
    loop: int = 0
    pool: int = 0


class Outputs:
    """What one layer writes: its map, its pooled map, or its sums."""

    def __init__(self, walk: Walk, plan: LayerPlan) -> None:
        self.walk, self.plan, self.layer = walk, plan, plan.layer
        self.places = Places()

    def take(self, p: Pass, part: Rectangle) -> Places:
        """Room for a part; both column phases of a transposed convolution share it."""
        walk, plan = self.walk, self.plan
        if p.scatter == Scatter.ODD:
            return self.places
        size = part.rows * plan.out_pitch
        self.places = Places(
            walk.out.take(size).start if size and (plan.stored or plan.head_rows) else 0,
            walk.loop.take(size).start if size and plan.moved else 0,
            walk.pool.take(part.rows // 2 * plan.pool_pitch).start if plan.pool_pitch else 0,
        )
        return self.places

    def store(self, p: Pass, part: Rectangle, places: Places) -> None:
        """Everything that the RUN so far has made of a part, set after set; its room is free when that has left."""
        plan, walk = self.plan, self.walk
        if p.scatter == Scatter.EVEN:
            return
        for i, chosen in enumerate(p.sets):
            if self.layer.dot is not None:
                if i == 0:
                    self._store_head(walk.config.sets - 1, chosen, part, places.out)
                continue
            if plan.head_rows:
                self._store_head(i, chosen, part, places.out)
                continue
            if self.layer.output is not None and plan.stored:
                self._store_map(self.layer.output, i, chosen, part, places.out, p.split)
            if plan.moved:
                self._move(i, chosen, part, places.loop, p.split)
            if self.layer.pooled is not None:
                self._store_pooled(self.layer.pooled, i, chosen, part, places.pool, p.split)
        for ring, used, until in (
            (walk.out, plan.out_pitch and (plan.stored or plan.head_rows), len(walk.stores)),
            (walk.pool, plan.pool_pitch, len(walk.stores)),
            (walk.loop, plan.out_pitch and plan.moved, len(walk.loads[Queue.MOVES])),
        ):
            if used:
                ring.spaces[-1].until = until
                ring.spaces[-1].live = False

    def _store_map(self, name: str, i: int, chosen: OutputSet, part: Rectangle, out: int, split: bool) -> None:
        """Rows of one row phase of the full-resolution map."""
        layout, base = self.walk.memory.located(name)
        down, across = self.layer.row_phases, self.layer.column_phases
        x0, x1 = across * part.x0, min(across * part.x1, layout.pixel_groups)
        self._emit_store(
            ddr=base + layout.offset(down * part.y0 + chosen.phase, chosen.channel_group, x0),
            run_words=(x1 - x0) * layout.planes,
            runs=part.rows,
            ddr_stride=down * layout.row_bytes,
            set=i,
            address=out,
            pitch=self.plan.out_pitch,
            planes=layout.planes,
            split=split,
        )
        self.walk.wrote(name, range(down * part.y0, down * part.y1))

    def _store_pooled(self, name: str, i: int, chosen: OutputSet, part: Rectangle, pool: int, split: bool) -> None:
        half = Rectangle(part.y0 // 2, part.y1 // 2, part.x0 // 2, -(-part.x1 // 2))
        layout, base = self.walk.memory.located(name)
        self._emit_store(
            pool=1,
            ddr=base + layout.offset(half.y0, chosen.channel_group, half.x0),
            run_words=half.columns * layout.planes,
            runs=half.rows,
            ddr_stride=layout.row_bytes,
            set=i,
            address=pool,
            pitch=self.plan.pool_pitch,
            planes=layout.planes,
            split=split,
        )
        self.walk.wrote(name, range(half.y0, half.y1))

    def _store_head(self, i: int, chosen: OutputSet, part: Rectangle, out: int) -> None:
        """Sums of 32 bits."""
        plan, head = self.plan, self.walk.memory.head
        assert isinstance(head, HeadLayout)
        word_bytes = head.row_bytes // plan.words
        base = self.walk.memory.head_address + chosen.channel_group * head.set_bytes
        words = part.columns * word_bytes // 8
        self._emit_store(
            ddr=base + part.y0 * head.row_bytes + part.x0 * word_bytes,
            run_words=words,
            runs=part.rows,
            ddr_stride=head.row_bytes,
            set=i,
            address=out,
            pitch=words // 2,
            planes=1,
        )

    def _emit_store(self, **fields: int) -> None:
        self.walk.store(instruction(Opcode.STORE, layer=self.plan.index, **fields))

    def _move(self, number: int, chosen: OutputSet, part: Rectangle, loop: int, split: bool) -> None:
        raise AssertionError("a layer alone moves nothing")

"""One layer's part of the program: rectangles, blocks of passes and tiles as RUNs, and the transfers for them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from hwseg.compile.emit.rings import Space
from hwseg.compile.emit.walk import Queue, Step, Store, Walk, load_fields
from hwseg.compile.plan.plan import (
    MIN_INTERVAL,
    MIN_LAST_INTERVAL,
    LayerPlan,
    OutputSet,
    Pass,
    Rectangle,
    Source,
    Span,
    region_words,
)
from hwseg.layout import HeadLayout, TensorLayout
from hwseg.rtl.config import ROWS_PER_SET
from hwseg.rtl.isa import LOAD, NO_WRAP, Mode, Opcode, Scatter, Target
from hwseg.rtl.skip import PLANES


def shortest(added: int | None) -> int:
    """Cycles of a step that is not last, at least; what waits for a residual addition leaves row by row of eight."""
    return MIN_INTERVAL if added is None else ROWS_PER_SET


def skips(source: Source) -> bool:
    """Whether leading zero planes of its windows can be left out."""
    return source.mode != Mode.POINT and source.planes == PLANES and not source.signed


@dataclass(slots=True)
class Region:
    """Where a source lies.  `loads`, `moves`: how many of each it needs."""

    space: Space
    loads: int
    moves: int = 0


class LayerWalk:
    """One layer's rectangles, blocks, tiles and passes."""

    def __init__(self, walk: Walk, plan: LayerPlan) -> None:
        self.walk, self.plan, self.config = walk, plan, walk.config
        self.layer = plan.layer
        self.regions: dict[int, Region] = {}
        self.parameters: dict[int, tuple[Space, int]] = {}
        self.all_parameters = len(plan.passes) <= self.config.param_slots
        self.addresses = walk.memory.tiles[plan.index]
        self.written = (0, 0, 0)

    def run(self) -> None:
        for part in self.plan.rectangles():
            self._rectangle(part)
        self._end_parameters()

    def _rectangle(self, rectangle: Rectangle) -> None:
        plan = self.plan
        uses = [{plan.tiles[t].source for p in block for t in plan.passes[p].tiles} for block in plan.blocks]
        for number, block in enumerate(plan.blocks):
            later = set().union(*uses[number + 1 :]) if plan.resident else set()
            self._block(rectangle, block, number, later)
        assert not self.regions

    def _block(self, rectangle: Rectangle, block: tuple[int, ...], number: int, later: set[int]) -> None:
        plan, passes = self.plan, self.plan.passes
        order = self._tile_order(block, number)
        wanted = {p: [t for t in order if t in passes[p].tiles] for p in block}
        needed = [t for t in order if any(t in wanted[p] for p in block)]
        split = all(passes[p].split for p in block)
        steps = rectangle.rows * plan.run_columns(rectangle.columns, split) * self.config.substeps
        if self.layer.residual is not None:
            for p in block:
                self._adding_pass(rectangle, p)
            return
        last_use = {plan.tiles[t].source: t for t in needed}
        for t in needed:
            source = plan.tiles[t].source
            for i, p in enumerate(block):
                if t in wanted[p]:
                    psum = i * steps if len(wanted[p]) > 1 else 0
                    self._tile(rectangle, p, t, wanted[p], psum)
            if last_use[source] == t and source not in later:
                self.regions.pop(source).space.live = False

    def _adding_pass(self, rectangle: Rectangle, p: int) -> None:
        """A pass that ends with the tiles whose input it adds, for a few rows at a time: so many wait in the queue."""
        plan, chosen = self.plan, self.plan.passes[p]
        for number in range(len(plan.sources)):
            self._region(rectangle, number)
        tiles, own = list(chosen.tiles), len(chosen.sets)
        for t in tiles[:-own]:
            self._tile(rectangle, p, t, tiles, 0)
        for y in range(rectangle.y0, rectangle.y1, plan.chunk_rows):
            part = Rectangle(y, min(y + plan.chunk_rows, rectangle.y1), rectangle.x0, rectangle.x1)
            psum = (y - rectangle.y0) * rectangle.columns * self.config.substeps
            for number, t in enumerate(tiles[-own:]):
                self._tile(part, p, t, tiles, psum, number)

    def _tile_order(self, block: tuple[int, ...], number: int) -> list[int]:
        """All tiles; every other block starts with the operand that the block before ended with."""
        plan = self.plan
        order = list(range(len(plan.tiles)))
        if number % 2 and self.layer.low_weights is None:
            keys = list(dict.fromkeys(plan.sources[tile.source].key for tile in plan.tiles))
            rank = {key: -i for i, key in enumerate(keys)}
            order.sort(key=lambda t: rank[plan.sources[plan.tiles[t].source].key])
        return order

    def _tile(
        self, rectangle: Rectangle, p: int, t: int, wanted: list[int], psum: int, added: int | None = None
    ) -> None:
        """A tile for a rectangle; `added`: the set that a residual addition gives its input to."""
        plan, tile = self.plan, self.plan.tiles[t]
        source = plan.sources[tile.source]
        region = self._region(rectangle, tile.source)
        self._configure(source, plan.passes[p].split, shortest(added))
        first, last = t == wanted[0], t == wanted[-1]
        shift = tile.part == 1 and not any(plan.tiles[u].part for u in wanted[: wanted.index(t)])
        shift = shift and not first
        rows = plan.chunk_rows if last else rectangle.rows
        loads = [region.loads, 0, 0, region.moves]
        slot = self._slot(p, loads) if last else 0
        reload = self.walk.tile(plan.index, self.addresses[p, t], (plan.index, p, t), plan.packed)
        for start in range(0, rectangle.rows, rows):
            part = Rectangle(
                rectangle.y0 + start, min(rectangle.y0 + start + rows, rectangle.y1), rectangle.x0, rectangle.x1
            )
            columns = plan.run_columns(rectangle.columns, plan.passes[p].split)
            offset = psum + start * columns * self.config.substeps
            flags = (reload, first, last, shift)
            self._run(rectangle, part, source, region, p, tile.slice, flags, offset, slot, loads, added)
            reload = False
        region.space.until = self.walk.runs
        if last:
            self.parameters[self._slot_key(p)][0].until = self.walk.runs
            if not self.all_parameters:
                self.parameters.pop(p)[0].live = False

    def _region(self, rectangle: Rectangle, number: int) -> Region:
        """The input that a source holds, loaded once for as long as it stays."""
        if number in self.regions:
            return self.regions[number]
        walk, plan, source = self.walk, self.plan, self.plan.sources[number]
        space = walk.banks.take(region_words(source, rectangle.rows, plan.columns))
        rows, columns = plan.region(source, rectangle)
        pitch, b = plan.pitch(source), source.planes
        count = 0
        for bank, group in enumerate(source.groups):
            layout, base = walk.memory.layouts[group.tensor], walk.memory.tensors[group.tensor]
            written = walk.written.get(group.tensor)
            after = max((written[row] for row in range(rows.first, rows.last + 1)), default=0) if written else 0
            where = {"address": space.start, "pitch": pitch, "bank": bank}
            if source.mode != Mode.POINT:
                where = {
                    "address": space.start + rows.at // 3 * pitch,
                    "pitch": pitch,
                    "row_phase": rows.at % 3,
                    "column_phase": columns.at % 3,
                    "column_address": columns.at // 3 * b,
                    "planes": b,
                }
            fields = load_fields(
                Target.POINT if source.mode == Mode.POINT else Target.WINDOW,
                plan.index,
                base + layout.offset(rows.first, group.channel_group, columns.first),
                columns.count * b,
                rows.count,
                layout.row_bytes,
                **where,
            )
            count = walk.load(Queue.REGION, fields, walk.banks.released, after)
            if self.layer.repeat_rows:
                count = self._repeated(rectangle, rows, layout, fields, after)
        self.regions[number] = Region(space, count)
        return self.regions[number]

    def _repeated(self, rectangle: Rectangle, rows: Span, layout: TensorLayout, fields: list[int], after: int) -> int:
        """The map's first row once more above it, its last row below; `fields`: of the LOAD of the rows between."""
        edges = []
        if rectangle.y0 == 0:
            edges.append((rows.at - 1, 0))
        if rectangle.y1 == self.plan.run_shape[0]:
            edges.append((rows.at + rows.count, rows.count - 1))
        for at, row in edges:
            again = dict(zip(LOAD.fields, fields, strict=True))
            blocks = at // 3 - rows.at // 3
            again |= {"ddr": again["ddr"] + row * layout.row_bytes, "runs": 1, "row_phase": at % 3}
            again["address"] += blocks * again["pitch"]
            self.walk.load(Queue.REGION, list(again.values()), self.walk.banks.released, after)
        return len(self.walk.loads[Queue.REGION])

    def _slot_key(self, p: int) -> int:
        return -1 if self.all_parameters else p

    def _slot(self, p: int, loads: list[int]) -> int:
        """The parameter slot of a pass; all of a layer's at once if they fit."""
        walk, key = self.walk, self._slot_key(p)
        if key not in self.parameters:
            count = len(self.plan.passes) if self.all_parameters else 1
            space = walk.slots.take(count)
            words = 2 * self.config.rows * count
            address = walk.memory.parameters[self.plan.index] + (0 if self.all_parameters else p) * words * 8
            fields = load_fields(Target.PARAMETERS, self.plan.index, address, words, address=space.start)
            self.parameters[key] = space, walk.load(Queue.PARAMETERS, fields, walk.slots.released)
        space, loads[2] = self.parameters[key]
        return space.start + (p if self.all_parameters else 0)

    def _end_parameters(self) -> None:
        for space, _ in self.parameters.values():
            space.live = False

    def _configure(self, source: Source, split: bool, least: int) -> None:
        """CONFIG when the way of reading changes; least: cycles of a step."""
        interval = max(source.planes, least)
        if self.walk.key == (self.plan.index, source.key, split, interval):
            return
        self.walk.key = self.plan.index, source.key, split, interval
        plan, config, op, residual = self.plan, self.config, self.layer.requantize, self.layer.residual
        raw = op is None
        first, bounds = ((0, 0), (0, 0)) if op is None else ((op.low, op.high), self.layer.clamp)
        # Sums and planes have one way into the output memory.
        writes = "sums" if plan.head_rows else "planes" if plan.stored else ""
        step = plan.head_rows * max(1, config.pixels // 2)
        fields = [
            Opcode.CONFIG,
            plan.index,
            source.planes,
            int(source.signed),
            source.mode,
            plan.pitch(source),
            plan.out_planes,
            *(bound & 0x1FF for bound in bounds),
            int(residual is not None),
            int(residual is not None and residual.double),
            int(residual is not None and residual.halve),
            *(bound & 0x1FF for bound in first),
            int(plan.stored),
            int(plan.moved),
            int(self.layer.pooled is not None),
            int(raw),
            int(self.layer.dot is not None),
            plan.head_rows,
            plan.out_pitch if not raw else 0,
            plan.pool_pitch,
            interval,
            max(source.planes, MIN_LAST_INTERVAL, step),
            int("" not in (self.walk.written_by, writes) and self.walk.written_by != writes),
            # What waits for an addition takes eight cycles a step to leave.
            int(skips(source) and not split and residual is None),
            int(split),
        ]
        self.walk.written_by = writes
        self.walk.steps.append(Step(fields, self.walk.runs))

    def _run(
        self,
        whole: Rectangle,
        part: Rectangle,
        source: Source,
        region: Region,
        p: int,
        slice_: int,
        flags: tuple[bool, bool, bool, bool],
        psum: int,
        slot: int,
        loads: list[int],
        added: int | None = None,
    ) -> None:
        walk, plan, config = self.walk, self.plan, self.config
        reload, first, last, shift = flags
        limit_rows, limit_columns = plan.limits[source.groups[0].tensor]
        odd_row = odd_column = 0
        top = bottom = left = right = False
        b = source.planes
        # The first centre word: the buffer begins one word to the left of the map.
        split = plan.passes[p].split
        column = 0 if source.mode == Mode.POINT else 2 if split else 1
        columns = plan.run_columns(part.columns, split)
        where = self._first_row(source, region, part.y0 - whole.y0, part)
        if source.mode != Mode.POINT:
            if source.mode == Mode.STRIDE2:
                bottom, right = 2 * part.y1 - 1 >= limit_rows, 2 * part.x1 - 1 >= limit_columns
            else:
                bottom, right = part.y1 == plan.run_shape[0], part.x1 == plan.words
            if source.mode == Mode.NEAREST:
                odd_row, odd_column = part.y0 & 1, part.x0 & 1
            top, left = part.y0 == 0, part.x0 == 0
            if self.layer.repeat_rows:
                top = bottom = False
        tail = plan.run_shape[1] - 8 * (plan.words - 1) if part.x1 == plan.words else 8
        out, loop, pool = self._outputs(plan.passes[p], part) if last else (0, 0, 0)
        steps = part.rows * columns * config.substeps
        interval = max(b, shortest(added))
        if last:
            interval = max(b, MIN_LAST_INTERVAL, plan.head_rows * max(1, config.pixels // 2))
        fields = [
            Opcode.RUN,
            plan.index,
            int(reload),
            int(first),
            int(last),
            int(shift),
            plan.passes[p].scatter,
            int(plan.pair),
            int(top),
            int(bottom),
            int(left),
            int(right),
            odd_row,
            odd_column,
            slice_,
            tail,
            0,
            0,
            part.rows // 2 if plan.pair else part.rows,
            columns,
            where["address"],
            where["row_phase"],
            column // 3 * b,
            column % 3,
            0 if first and last else psum,
            out,
            loop,
            pool,
            slot,
            where["wrap_at"],
            where["wrap_to"],
            0,
            0,
            int(added is not None),
            added or 0,
        ]
        if reload:
            walk.reloaded = fields
        moves = max(loads[3], walk.loop.released if last else 0)
        needs = (loads[0], len(walk.loads[Queue.WEIGHTS]), loads[2], moves)
        stores = max(walk.out.released, walk.pool.released) if last else 0
        walk.steps.append(Step(fields, walk.runs, needs, stores, steps * interval, reload))
        walk.runs += 1
        if last:
            if self.layer.requantize is not None:
                walk.written_blocks.append((plan.index, p, part))
            self._store(p, part, out, loop, pool)

    def _first_row(self, source: Source, region: Region, start: int, part: Rectangle) -> dict[str, int]:
        """Fields of RUN for the first centre row of a part that begins `start` rows into the rectangle."""
        pitch = self.plan.pitch(source)
        row, phase = start, 0
        if source.mode != Mode.POINT:
            row = {
                Mode.SAME: 1 + start,
                Mode.STRIDE2: 1 + 2 * start,
                Mode.NEAREST: (part.y0 >> 1) - (part.y0 - start >> 1) + 1,
            }[source.mode]
            row, phase = divmod(row, 3)
        address = region.space.start + row * pitch
        return {"address": address, "row_phase": phase, "wrap_at": NO_WRAP, "wrap_to": NO_WRAP}

    def _outputs(self, p: Pass, part: Rectangle) -> tuple[int, int, int]:
        """Output, loop and pool memory addresses; both column phases of a transposed convolution share a space."""
        walk, plan = self.walk, self.plan
        if p.scatter == Scatter.ODD:
            return self.written
        size = part.rows * plan.out_pitch
        self.written = (
            walk.out.take(size).start if size and (plan.stored or plan.head_rows) else 0,
            walk.loop.take(size).start if size and plan.moved else 0,
            walk.pool.take(part.rows // 2 * plan.pool_pitch).start if plan.pool_pitch else 0,
        )
        return self.written

    def _store(self, number: int, part: Rectangle, out: int, loop: int, pool: int) -> None:
        plan, walk = self.plan, self.walk
        p = plan.passes[number]
        if p.scatter == Scatter.EVEN:
            return
        for i, chosen in enumerate(p.sets):
            if self.layer.dot is not None:
                if i == 0:
                    self._store_head(self.config.sets - 1, chosen, part, out)
                continue
            if plan.head_rows:
                self._store_head(i, chosen, part, out)
                continue
            if self.layer.output is not None and plan.stored:
                self._store_map(self.layer.output, i, chosen, part, out, p.split)
            if plan.moved:
                self._move(i, chosen, part, loop, p.split)
            if self.layer.pooled is not None:
                half = Rectangle(part.y0 // 2, part.y1 // 2, part.x0 // 2, -(-part.x1 // 2))
                layout, base = self._tensor(self.layer.pooled)
                ddr = base + layout.offset(half.y0, chosen.channel_group, half.x0)
                words = half.columns * layout.planes
                place = pool, plan.pool_pitch, layout.planes, p.split
                self._emit_store(1, ddr, words, half.rows, layout.row_bytes, i, *place)
                self._wrote(self.layer.pooled, half.y0, half.y1)
        for ring, used, until in (
            (walk.out, plan.out_pitch and (plan.stored or plan.head_rows), len(walk.stores)),
            (walk.pool, plan.pool_pitch, len(walk.stores)),
            (walk.loop, plan.out_pitch and plan.moved, len(walk.loads[Queue.MOVES])),
        ):
            if used:
                ring.spaces[-1].until = until
                ring.spaces[-1].live = False

    def _move(self, number: int, chosen: OutputSet, part: Rectangle, loop: int, split: bool) -> None:
        raise AssertionError("a layer alone moves nothing")

    def _tensor(self, name: str) -> tuple[TensorLayout, int]:
        return self.walk.memory.layouts[name], self.walk.memory.tensors[name]

    def _store_map(self, name: str, i: int, chosen: OutputSet, part: Rectangle, out: int, split: bool) -> None:
        plan = self.plan
        layout, base = self._tensor(name)
        down, across = self.layer.row_phases, self.layer.column_phases
        x0, x1 = across * part.x0, min(across * part.x1, layout.pixel_groups)
        ddr = base + layout.offset(down * part.y0 + chosen.phase, chosen.channel_group, x0)
        words = (x1 - x0) * layout.planes
        place = out, plan.out_pitch, layout.planes, split
        self._emit_store(0, ddr, words, part.rows, down * layout.row_bytes, i, *place)
        self._wrote(name, down * part.y0, down * part.y1)

    def _store_head(self, i: int, chosen: OutputSet, part: Rectangle, out: int) -> None:
        plan, head = self.plan, self.walk.memory.head
        assert isinstance(head, HeadLayout)
        word_bytes = head.row_bytes // plan.words
        base = self.walk.memory.head_address + chosen.channel_group * head.set_bytes
        ddr = base + part.y0 * head.row_bytes + part.x0 * word_bytes
        words = part.columns * word_bytes // 8
        self._emit_store(0, ddr, words, part.rows, head.row_bytes, i, out, words // 2, 1)

    def _emit_store(
        self,
        pool: int,
        ddr: int,
        words: int,
        runs: int,
        stride: int,
        number: int,
        address: int,
        pitch: int,
        planes: int,
        split: bool = False,
    ) -> None:
        fields = [Opcode.STORE, pool, self.plan.index, 0, ddr, words, runs, stride, number, address, pitch, planes]
        fields += [int(split), 0]
        self.walk.stores.append(Store(fields, self.walk.runs))

    def _wrote(self, name: str, y0: int, y1: int) -> None:
        rows = self.walk.written.setdefault(name, defaultdict(int))
        for row in range(y0, y1):
            rows[row] = len(self.walk.stores)

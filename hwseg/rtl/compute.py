"""The compute unit: executes CONFIG and RUN in order and sends beats, addresses and tokens into the array's front.

    CONFIG  replaces the configuration.  What follows the array keeps the one before too, for RUNs on their way; so
            CONFIG waits only for the RUNs before the last CONFIG (with `drain` for all)
    RUN     waits for its operands; with `reload` waits for the shadow weights and sends the reload marker; then walks

        for row: for word column: for row of the pair: for substep:      one step = `interval` cycles
            plane 0, plane 1, ... plane B-1, idle ...                       the token goes with the last plane

With skipping a step begins at the first plane that is not zero in its whole window (`hwseg.rtl.skip`), except a RUN's
first step, for which there is no time to find out; every plane left out is a cycle less, down to the shortest step.
Planes that save no cycle are idle ones before the first, so that last planes stay a step apart.

The walk is one row state and one column state, advanced as `Mode` says; addresses are sums of the two and the plane.
Timing: see `hwseg.rtl.latency`.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out
from amaranth.utils import exact_log2

from hwseg.rtl.config import BANKS, EngineConfig
from hwseg.rtl.cores.pipeline import adds_up, delayed, unreset
from hwseg.rtl.isa import Mode, Opcode, Scatter
from hwseg.rtl.layouts import BACK_FIELDS, BACK_LAYOUT, BEAT, CONFIG_LAYOUT, PLANE, RUN_LAYOUT, TOKEN, WINDOW
from hwseg.rtl.resets import beat_later, later, valid_apart
from hwseg.rtl.skip import COUNT_BITS, MOST, POSITION
from hwseg.rtl.weights import JUMP
from hwseg.rtl.window import ADDRESS_BITS

COUNTER_BITS = 16

ROW = data.StructLayout({"address": ADDRESS_BITS, "phase": 2, "odd": 1})
"""A position along one axis of the input buffer: block address, position modulo 3, half (nearest enlargement)."""


AHEAD = data.StructLayout({"row": ROW, "column": ROW, "top": 1, "bottom": 1, "left": 1, "right": 1})
"""A step's window: centre, and which of its sides lie outside the map."""


def advance(
    m: Module, state: data.View, mode: Signal, pitch: Signal, name: str, ring: data.View | None = None
) -> data.View:
    """The state one output row (or word column) further; `pitch` is the step from one block of three to the next, and
    `ring` the RUN whose `wrap_at` and `wrap_to` close a ring.
    """
    new = Signal(ROW, name=name)
    wrap, phase = Signal(name=f"{name}_wrap"), Signal(3, name=f"{name}_phase")
    m.d.comb += new.eq(state)
    with m.Switch(mode):
        with m.Case(Mode.SAME):
            m.d.comb += phase.eq(state.phase + 1)
        with m.Case(Mode.STRIDE2):
            m.d.comb += phase.eq(state.phase + 2)
        with m.Case(Mode.NEAREST):
            m.d.comb += [phase.eq(state.phase + state.odd), new.odd.eq(~state.odd)]
        with m.Case(Mode.POINT):
            m.d.comb += phase.eq(3)
    m.d.comb += [
        wrap.eq(phase >= 3),
        new.phase.eq(Mux(wrap, phase - 3, phase)),
    ]
    further = Signal(ADDRESS_BITS, name=f"{name}_further")
    m.d.comb += further.eq(state.address + pitch)
    target = further if ring is None else Mux(adds_up(state.address, pitch, ring.wrap_at), ring.wrap_to, further)
    m.d.comb += new.address.eq(Mux(wrap, target, state.address))
    return new


class Compute(Component):
    """Sequencer of the array.  `instruction`: 256 bits, CONFIG or RUN.  `done` counts completed RUNs modulo 2**16.

    completion: cycles from a RUN's last plane to the end of everything that it wrote (the engine's pipeline depth).
    reload: cycles from the reload marker to the first plane.  wait: cycles by which addresses and planes at the ports
    come after the marker and the token of the same cycle of the walk.
    """

    latency = 3
    """Cycles from a walk's cycle to its beat, addresses and token at the ports."""

    def __init__(self, config: EngineConfig, *, reload: int, completion: int, wait: int = 0) -> None:
        self.config, self.reload, self.completion, self.wait = config, reload, completion, wait
        super().__init__(
            {
                "instruction": In(stream.Signature(unsigned(256))),
                "loads": In(COUNTER_BITS),
                "stores": In(COUNTER_BITS),
                "shadow_full": In(1),
                "shadow_take": Out(1),
                "jump": Out(JUMP),
                "addresses": Out(data.ArrayLayout(ADDRESS_BITS, BANKS)),
                "beat": Out(BEAT),
                "token": Out(TOKEN),
                "back": Out(data.ArrayLayout(BACK_LAYOUT, 2)),
                "done": Out(COUNTER_BITS),
                "idle": Out(1),
                "layer": Out(8),
                "walking": Out(1),
                "clear": In(1),
                "skip": In(1),
                "ahead": Out(POSITION),
                "count": In(COUNT_BITS),
                "skipped": Out(4),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        run, configuration = Signal(RUN_LAYOUT, reset_less=True), Signal(CONFIG_LAYOUT, reset_less=True)
        self._configuration = configuration
        # Of a RUN, subtracted as it is taken.
        self._columns_less = [Signal(10, name=f"columns_less_{n}", reset_less=True) for n in (1, 2)]
        self._rows_less = [Signal(12, name=f"rows_less_{n}", reset_less=True) for n in (1, 2)]
        half, mark = Signal(), Signal(COUNTER_BITS)
        self._half = half
        held, back = Signal(256, reset_less=True), Signal(self.back.shape(), name="back_half", reset_less=True)
        m.d.comb += self.back.eq(back)
        begin, step_end, walk_end = Signal(), Signal(), Signal()
        issued, drained = Signal(COUNTER_BITS), Signal()
        timer = Signal(range(max(self.reload, 2) + 1), reset_less=True)
        m.d.comb += [drained.eq(issued == self.done), self.jump.enable.eq(run.jump), self.jump.to.eq(run.tile)]

        def reached(counter: Signal, wait: Signal) -> Signal:
            return ~(counter - wait)[COUNTER_BITS - 1]

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.instruction.ready.eq(1), self.idle.eq(drained & ~self.instruction.valid)]
                with m.If(self.instruction.valid):
                    view = data.View(RUN_LAYOUT, self.instruction.payload[: RUN_LAYOUT.size])
                    m.d.sync += [held.eq(self.instruction.payload), run.eq(view), self.layer.eq(view.layer)]
                    m.d.sync += [s.eq(view.columns - n) for n, s in enumerate(self._columns_less, 1)]
                    m.d.sync += [s.eq(view.rows - n) for n, s in enumerate(self._rows_less, 1)]
                    with m.If(view.opcode == Opcode.CONFIG):
                        m.next = "CONFIG"
                    with m.Else():
                        m.next = "WAIT"
            with m.State("CONFIG"):
                new = data.View(CONFIG_LAYOUT, held[: CONFIG_LAYOUT.size])
                with m.If(Mux(new.drain, drained, reached(self.done, mark))):
                    m.d.sync += [configuration.eq(new), half.eq(~half), mark.eq(issued)]
                    for number in range(2):
                        with m.If(half != number):
                            m.d.sync += [getattr(back[number], f).eq(getattr(new, f)) for f in BACK_FIELDS]
                    m.next = "IDLE"
            with m.State("WAIT"):
                ready = reached(self.loads, run.wait_loads) & reached(self.stores, run.wait_stores)
                with m.If(ready & (~run.reload | self.shadow_full)):
                    m.d.comb += begin.eq(1)
                    m.d.sync += timer.eq(self.reload - 1)
                    with m.If(run.reload):
                        m.d.comb += self.shadow_take.eq(1)
                        m.next = "RELOAD" if self.reload > 1 else "WALK"
                    with m.Else():
                        m.next = "WALK"
            with m.State("RELOAD"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 1):
                    m.next = "WALK"
            with m.State("WALK"):
                m.d.comb += self.walking.eq(1)
                with m.If(walk_end):
                    m.d.sync += issued.eq(issued + 1)
                    m.next = "IDLE"

        self._walk(m, run, begin, step_end, walk_end)
        finished = [walk_end]
        for stage in range(self.completion):
            finished.append(Signal(name=f"finished_{stage}"))
            m.d.sync += finished[-1].eq(finished[-2])
        with m.If(finished[-1]):
            m.d.sync += self.done.eq(self.done + 1)
        with m.If(self.clear):
            m.d.sync += [self.done.eq(0), issued.eq(0)]
        return m

    def _walk(self, m: Module, run: data.View, begin: Signal, step_end: Signal, walk_end: Signal) -> None:
        cfg = self._configuration
        cycle, last_cycle, plane, first_plane = unreset(cycle=6, last_cycle=6, plane=7, first_plane=COUNT_BITS)
        longest, following = Signal(6), Signal(COUNT_BITS)
        substep, second, x, y = unreset(substep=3, second=1, x=10, y=12)
        row, pair_row, column = unreset(row=ROW, pair_row=ROW, column=ROW)
        block = Signal(ADDRESS_BITS)

        m.d.comb += [
            longest.eq(Mux(run.last, cfg.last_interval, cfg.interval) - 1),
            following.eq(Mux(cfg.skip & self.skip, self.count, 0)),
            step_end.eq(self.walking & (cycle == last_cycle)),
            block.eq(cfg.planes),
        ]
        # Subtracted beforehand: the count comes late in its cycle.
        shorter = [Signal(6, name=f"shorter_{saved}", reset_less=True) for saved in range(MOST + 1)]
        m.d.sync += [signal.eq(longest - saved) for saved, signal in enumerate(shorter)]
        next_row = advance(m, row, cfg.mode, cfg.pitch, "row_next", run)
        after_pair = advance(m, pair_row, cfg.mode, cfg.pitch, "row_after_pair", run)
        column_mode = Mux(cfg.split, Mode.STRIDE2, cfg.mode)
        next_column = advance(m, column, column_mode, block, "column_next")
        self._wrap_back = Signal(ADDRESS_BITS, name="wrap_back", reset_less=True)
        m.d.sync += [pair_row.eq(next_row), self._wrap_back.eq(run.wrap_at - cfg.pitch)]

        last_substep = substep == self.config.substeps - 1
        last_second = second == run.pair
        last_x, last_y = Signal(), Signal()
        (columns_less, columns_less_2), (rows_less, rows_less_2) = self._columns_less, self._rows_less
        m.d.comb += [last_x.eq(x == columns_less), last_y.eq(y == rows_less)]
        m.d.comb += walk_end.eq(step_end & last_substep & last_second & last_x & last_y)

        first_column = Signal(ROW)
        m.d.comb += [
            first_column.address.eq(run.column_address),
            first_column.phase.eq(run.column_phase),
            first_column.odd.eq(run.odd_column),
        ]
        with m.If(self.walking):
            m.d.sync += [cycle.eq(cycle + 1), plane.eq(plane + 1)]
        with m.If(step_end):
            saved = Mux(run.last, 0, Mux(following > MOST, MOST, following))
            m.d.sync += [
                cycle.eq(0),
                plane.eq(saved),
                first_plane.eq(following),
                last_cycle.eq(Array(shorter)[saved]),
                substep.eq(substep + 1),
            ]
            with m.If(last_substep):
                m.d.sync += [substep.eq(0), second.eq(second + 1)]
                with m.If(last_second):
                    m.d.sync += [second.eq(0), x.eq(x + 1), column.eq(next_column)]
                    with m.If(last_x):
                        m.d.sync += [x.eq(0), y.eq(y + 1), column.eq(first_column)]
                        m.d.sync += row.eq(Mux(run.pair, after_pair.as_value(), pair_row.as_value()))
        with m.If(begin):
            m.d.sync += [
                cycle.eq(0),
                plane.eq(0),
                first_plane.eq(0),
                last_cycle.eq(longest),
                substep.eq(0),
                second.eq(0),
                x.eq(0),
                y.eq(0),
                column.eq(first_column),
                row.address.eq(run.row_address),
                row.phase.eq(run.row_phase),
                row.odd.eq(run.odd_row),
            ]

        current = Signal(ROW)
        m.d.comb += current.eq(Mux(second, pair_row.as_value(), row.as_value()))
        # Where the next step stands, for the count of planes that it may leave out.
        moves_on, ends_row = last_substep & last_second, last_substep & last_second & last_x
        turn = Mux(run.pair, after_pair.as_value(), next_row.as_value())
        beside = Mux(last_second, row.as_value(), next_row.as_value())
        upper = Mux(last_substep, ~last_second, second)
        ahead = Signal(AHEAD, reset_less=True)
        m.d.sync += [
            ahead.row.eq(Mux(ends_row, turn, Mux(last_substep, beside, current.as_value()))),
            ahead.column.eq(
                Mux(
                    ends_row,
                    first_column.as_value(),
                    Mux(moves_on, next_column.as_value(), column.as_value()),
                )
            ),
            ahead.top.eq(run.top & (y == 0) & ~ends_row & ~upper),
            ahead.bottom.eq(run.bottom & Mux(ends_row, y == rows_less_2, last_y) & (upper == run.pair)),
            ahead.left.eq(run.left & Mux(moves_on, last_x, x == 0)),
            ahead.right.eq(run.right & Mux(moves_on, Mux(last_x, columns_less == 0, x == columns_less_2), last_x)),
        ]
        self._ahead(m, run, ahead)
        point = cfg.mode == Mode.POINT
        executed, last_plane = Signal(), Signal()
        m.d.comb += [
            executed.eq(self.walking & (plane >= first_plane) & (plane < cfg.planes)),
            last_plane.eq(executed & (plane == cfg.planes - 1)),
            self.skipped.eq(Mux(step_end, first_plane, 0)),
        ]
        held, held_column = Signal(ROW, reset_less=True), Signal(ROW, reset_less=True)
        held_plane, held_point = Signal(4), Signal()
        held_beat, held_token = Signal(BEAT, reset_less=True), Signal(TOKEN, reset_less=True)
        beat_valid, beat_reload, token_valid = Signal(), Signal(), Signal()
        window = held_beat.window
        m.d.sync += [
            held.eq(current),
            held_column.eq(column),
            held_plane.eq(plane),
            held_point.eq(point),
            beat_reload.eq(begin & run.reload),
            beat_valid.eq(executed),
            held_beat.plane.first.eq(plane == first_plane),
            held_beat.plane.last.eq(last_plane),
            held_beat.plane.negate.eq(cfg.signed_in & (plane == 0)),
            window.point.eq(point),
            window.stride2.eq(cfg.mode == Mode.STRIDE2),
            window.nearest.eq(cfg.mode == Mode.NEAREST),
            window.row_phase.eq(current.phase),
            window.column_phase.eq(column.phase),
            window.odd_row.eq(current.odd),
            window.odd_column.eq(column.odd),
            window.no_top.eq(run.top & (y == 0) & ~second),
            window.no_bottom.eq(run.bottom & last_y & last_second),
            window.no_left.eq(run.left & (x == 0) & ~cfg.split),
            window.no_right.eq(run.right & last_x),
            window.slice.eq(run.slice),
            window.substep.eq(substep),
            window.plane.eq(plane),
            window.second.eq(second),
            window.split.eq(cfg.split),
            window.edge.eq(x == 0),
            window.residual.eq(run.residual),
            window.residual_set.eq(run.residual_set),
            token_valid.eq(last_plane),
            held_token.half.eq(self._half),
            held_token.first.eq(run.first),
            held_token.last.eq(run.last),
            held_token.shift.eq(run.shift),
            held_token.slot.eq(run.slot),
            held_token.substep.eq(substep),
            held_token.second.eq(second),
            held_token.odd.eq(x[0]),
            held_token.end_of_row.eq(last_x),
            held_token.tail.eq(Mux(last_x, run.tail, 8)),
            held_token.scatter.eq(run.scatter),
        ]
        self._output_addresses(m, run, begin, step_end, last_substep, last_second, last_x, second, x, held_token)
        self._input_addresses(m, run, held, held_column, held_plane, held_point)
        token = later(m, valid_apart(held_token, token_valid), "middle_token")
        m.d.comb += self.token.eq(later(m, token, "token_out"))
        whole = data.View(BEAT, Cat(beat_valid, held_beat.as_value()[1:-1], beat_reload))
        beat = beat_later(m, whole, "middle_beat")
        late_window = data.View(WINDOW, delayed(m, beat.window.as_value(), self.wait, "window"))
        late_plane = data.View(PLANE, delayed(m, beat.plane.as_value(), self.wait, "plane", reset_less=False))
        late = data.View(BEAT, Cat(late_plane.as_value(), late_window.as_value(), beat.reload))
        m.d.comb += self.beat.eq(beat_later(m, late, "beat_out"))

    def _input_addresses(
        self, m: Module, run: data.View, row: data.View, column: data.View, plane: Signal, point: Signal
    ) -> None:
        """bank 3a+b reads row block of residue a plus column block of residue b plus the plane; two register stages."""
        cfg = self._configuration
        before, after = self._row_blocks(m, run, row, point, "row")
        rows, columns = [], []
        for residue in range(3):
            # Centre at phase 0: residue 2 lies in the block before; centre at phase 2: residue 0 in the block after.
            a = Signal(ADDRESS_BITS, name=f"row_block_{residue}", reset_less=True)
            b = Signal(ADDRESS_BITS, name=f"column_block_{residue}", reset_less=True)
            m.d.sync += a.eq((after, row.address, before)[residue])
            neighbour: Any = 0
            if residue == 2:
                neighbour = Mux((column.phase == 0) & ~point, -cfg.planes, 0)
            elif residue == 0:
                neighbour = Mux((column.phase == 2) & ~point, cfg.planes, 0)
            m.d.sync += b.eq(column.address + neighbour + plane)
            rows.append(delayed(m, a, self.wait, f"row_block_{residue}"))
            columns.append(delayed(m, b, self.wait, f"column_block_{residue}"))
        for bank in range(BANKS):
            address = (rows[bank // 3] + columns[bank % 3])[:ADDRESS_BITS]
            m.d.comb += self.addresses[bank].eq(delayed(m, address, 1, f"address_{bank}"))

    def _row_blocks(
        self, m: Module, run: data.View, row: data.View, point: Signal | int, name: str
    ) -> tuple[Value, Value]:
        """Block addresses of the rows above and below, where those lie in another block than the row itself."""
        cfg = self._configuration
        above, below = Signal(ADDRESS_BITS, name=f"{name}_above"), Signal(ADDRESS_BITS, name=f"{name}_below")
        m.d.comb += [
            above.eq(Mux(row.address == run.wrap_to, self._wrap_back, row.address - cfg.pitch)),
            below.eq(Mux(adds_up(row.address, cfg.pitch, run.wrap_at), run.wrap_to, row.address + cfg.pitch)),
        ]
        before = Mux((row.phase == 0) & ~point, above, row.address)
        after = Mux((row.phase == 2) & ~point, below, row.address)
        return before, after

    def _ahead(self, m: Module, run: data.View, ahead: data.View) -> None:
        """Blocks of the next step's window, by residues modulo 3 as the banks are."""
        cfg = self._configuration
        nearest = cfg.mode == Mode.NEAREST
        before, after = self._row_blocks(m, run, ahead.row, 0, "ahead")
        top, bottom = ahead.top | (nearest & ahead.row.odd), ahead.bottom | (nearest & ~ahead.row.odd)
        left, right = ahead.left | (nearest & ahead.column.odd), ahead.right | (nearest & ~ahead.column.odd)
        column = ahead.column.address[COUNT_BITS:]
        offsets = (
            Mux(ahead.column.phase == 2, column + 1, column),
            column,
            Mux(ahead.column.phase == 0, column - 1, column),
        )
        position: Any = Signal(POSITION, name="position", reset_less=True)
        m.d.comb += self.ahead.eq(position)
        for residue, row in enumerate((after, ahead.row.address, before)):
            m.d.sync += [
                position.rows[residue].eq(row[COUNT_BITS:]),
                position.columns[residue].eq(offsets[residue]),
                # The row above has the residue before the centre's, the row below the one behind it.
                position.dark_rows[residue].eq(
                    (top & (ahead.row.phase == (residue + 1) % 3)) | (bottom & (ahead.row.phase == (residue + 2) % 3))
                ),
                position.dark_columns[residue].eq(
                    (left & (ahead.column.phase == (residue + 1) % 3))
                    | (right & (ahead.column.phase == (residue + 2) % 3))
                ),
            ]

    def _output_addresses(
        self,
        m: Module,
        run: data.View,
        begin: Signal,
        step_end: Signal,
        last_substep: Signal,
        last_second: Signal,
        last_x: Signal,
        second: Signal,
        x: Signal,
        token: data.View,
    ) -> None:
        """Counters for the partial sum, the output word, the pooled word and the raw word of each step."""
        cfg = self._configuration
        out_row, out_second, out_column = unreset(out_row=14, out_second=14, out_column=14)
        pool_row, pool_column, raw, psum = unreset(pool_row=14, pool_column=14, raw=15, psum=10)
        scattered = run.scatter != Scatter.NONE
        shift, here = Signal(ADDRESS_BITS, reset_less=True), Signal(ADDRESS_BITS)
        m.d.sync += shift.eq(run.loop_address - run.out_address)
        m.d.comb += here.eq(Mux(second, out_second, out_row) + out_column)
        m.d.sync += [
            token.psum.eq(psum),
            token.loop.eq(here + shift),
            token.out.eq(Mux(cfg.raw | cfg.dot, raw, here)),
            token.pool.eq(pool_row + pool_column),
        ]
        m.d.sync += out_second.eq(out_row + cfg.out_pitch)
        with m.If(step_end):
            m.d.sync += [psum.eq(psum + 1), raw.eq(raw + (cfg.raw_rows << exact_log2(max(1, self.config.pixels // 2))))]
            with m.If(last_substep & last_second):
                with m.If(x[0] | scattered | cfg.split):
                    m.d.sync += out_column.eq(out_column + cfg.out_planes)
                with m.If(x[0] | cfg.split):
                    m.d.sync += pool_column.eq(pool_column + cfg.out_planes)
                with m.If(last_x):
                    m.d.sync += [
                        out_column.eq(0),
                        pool_column.eq(0),
                        out_row.eq(Mux(run.pair, out_second, out_row) + cfg.out_pitch),
                        pool_row.eq(pool_row + cfg.pool_pitch),
                    ]
        with m.If(begin):
            m.d.sync += [
                psum.eq(run.psum),
                raw.eq(run.out_address << 1),
                out_row.eq(run.out_address),
                out_column.eq(0),
                pool_row.eq(run.pool_address),
                pool_column.eq(0),
            ]

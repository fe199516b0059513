"""The walk through a RUN: which plane of which step is sent in this cycle, and where the step's window lies.

    for row: for word column: for row of the pair: for substep:      one step = `interval` cycles
        plane 0, plane 1, ... plane B-1, idle ...

One row state and one column state, advanced as `Mode` says.  With skipping a step begins at the first plane that is not
zero in its whole window, and is shorter by the cycles that saves; planes that save none are idle ones before the first,
so that last planes stay a step apart.
"""

from __future__ import annotations

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hwseg.rtl.config import EngineConfig
from hwseg.rtl.cores.pipeline import unreset
from hwseg.rtl.emit import Part
from hwseg.rtl.isa import Mode
from hwseg.rtl.layouts import CONFIG_LAYOUT, RUN_LAYOUT
from hwseg.rtl.skip import COUNT_BITS, MOST
from hwseg.rtl.window import ADDRESS_BITS

COLUMN_BITS, ROW_BITS = 10, 12
"""Of a RUN's word columns and rows."""

ROW = data.StructLayout({"address": ADDRESS_BITS, "phase": 2, "odd": 1})
"""A position along one axis of the input buffer: block address, position modulo 3, half (nearest enlargement)."""


AHEAD = data.StructLayout({"row": ROW, "column": ROW, "top": 1, "bottom": 1, "left": 1, "right": 1})
"""A step's window: centre, and which of its sides lie outside the map."""

WALK = data.StructLayout(
    {
        "row": ROW,
        "column": ROW,
        "plane": 7,
        "first_plane": COUNT_BITS,
        "last_plane": 1,
        "executed": 1,  # the cycle belongs to a plane
        "substep": 3,
        "second": 1,  # second row of a pair
        "x": COLUMN_BITS,
        "y": ROW_BITS,
        "last_substep": 1,
        "last_second": 1,
        "last_x": 1,
        "last_y": 1,
    }
)
"""A cycle of the walk: its step's centre, its plane, and where the step lies in the RUN."""


def advance(
    m: Module, state: data.View, mode: Signal, pitch: Signal, name: str, ring: tuple[Signal, Value] | None = None
) -> data.View:
    """The state one output row (or word column) further; `pitch` is the step from one block of three to the next, and
    `ring` the addresses of the last block of a ring and of its first, which follows.
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
    target = further if ring is None else Mux(state.address == ring[0], ring[1], further)
    m.d.comb += new.address.eq(Mux(wrap, target, state.address))
    return new


class Walk(Part):
    """Walks `run` under `configuration` from the cycle behind `begin` on, while `walking`; `at` is this cycle's.

    columns_less, rows_less: the RUN's columns and rows less 1, and less 2.  step_end, walk_end: this cycle is a step's
    last, and the RUN's.  skip: whether planes may be left out, `count` of them in the next step, which `saved` cycles
    saves; skipped: how many the step that ends left out.  ahead: the next step's window, a register behind the walk.
    wrap_back: the last block of a ring, there when a walk begins.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "run": In(RUN_LAYOUT),
                "configuration": In(CONFIG_LAYOUT),
                "columns_less": In(data.ArrayLayout(COLUMN_BITS, 2)),
                "rows_less": In(data.ArrayLayout(ROW_BITS, 2)),
                "begin": In(1),
                "walking": In(1),
                "skip": In(1),
                "count": In(COUNT_BITS),
                "saved": In(range(MOST + 1)),
                "at": Out(WALK),
                "step_end": Out(1),
                "walk_end": Out(1),
                "skipped": Out(4),
                "ahead": Out(AHEAD),
                "wrap_back": Out(ADDRESS_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        at, cfg = self.at, self.configuration
        self._row, self._pair_row, self._column = unreset(row=ROW, pair_row=ROW, column=ROW)
        self._substep, self._second, self._x, self._y = unreset(substep=3, second=1, x=COLUMN_BITS, y=ROW_BITS)
        self._neighbours(m)
        self._planes(m)
        m.d.comb += [
            at.row.eq(Mux(self._second, self._pair_row.as_value(), self._row.as_value())),
            at.column.eq(self._column),
            at.substep.eq(self._substep),
            at.second.eq(self._second),
            at.x.eq(self._x),
            at.y.eq(self._y),
            at.last_substep.eq(self._substep == self.config.substeps - 1),
            at.last_second.eq(self._second == self.run.pair),
            at.last_x.eq(self._x == self.columns_less[0]),
            at.last_y.eq(self._y == self.rows_less[0]),
            self.walk_end.eq(self.step_end & at.last_substep & at.last_second & at.last_x & at.last_y),
            self.skipped.eq(Mux(self.step_end, at.first_plane, 0)),
            at.executed.eq(self.walking & (at.plane >= at.first_plane) & (at.plane < cfg.planes)),
            at.last_plane.eq(at.executed & (at.plane == cfg.planes - 1)),
        ]
        self._positions(m)
        self._look_ahead(m)
        return m

    def _neighbours(self, m: Module) -> None:
        """Row and column states one further, and a RUN's first column."""
        run, cfg = self.run, self.configuration
        # Both there when a walk begins, which is two cycles behind its RUN and more behind a CONFIG.
        wrap_back = Signal(ADDRESS_BITS, reset_less=True)
        column_mode = Signal(Mode, reset_less=True)
        block = Signal(ADDRESS_BITS)
        m.d.comb += [self.wrap_back.eq(wrap_back), block.eq(cfg.planes)]
        m.d.sync += [
            wrap_back.eq(run.wrap_at - cfg.pitch),
            column_mode.eq(Mux(cfg.split, Mode.STRIDE2, cfg.mode)),
        ]
        ring = wrap_back, run.wrap_to
        self._next_row = advance(m, self._row, cfg.mode, cfg.pitch, "row_next", ring)
        self._after_pair = advance(m, self._pair_row, cfg.mode, cfg.pitch, "row_after_pair", ring)
        self._next_column = advance(m, self._column, column_mode, block, "column_next")
        m.d.sync += self._pair_row.eq(self._next_row)
        self._first_column = Signal(ROW, name="first_column")
        m.d.comb += [
            self._first_column.address.eq(run.column_address),
            self._first_column.phase.eq(run.column_phase),
            self._first_column.odd.eq(run.odd_column),
        ]

    def _planes(self, m: Module) -> None:
        """The step's cycle and plane, and how long it is."""
        run, cfg, at = self.run, self.configuration, self.at
        cycle, last_cycle, plane, first_plane = unreset(cycle=6, last_cycle=6, plane=7, first_plane=COUNT_BITS)
        longest, following, saved = Signal(6), Signal(COUNT_BITS), Signal(range(MOST + 1))
        m.d.comb += [
            longest.eq(Mux(run.last, cfg.last_interval, cfg.interval) - 1),
            following.eq(Mux(cfg.skip & self.skip, self.count, 0)),
            saved.eq(Mux(cfg.skip & self.skip & ~run.last, self.saved, 0)),
            self.step_end.eq(self.walking & (cycle == last_cycle)),
            at.plane.eq(plane),
            at.first_plane.eq(first_plane),
        ]
        # Subtracted beforehand: the count comes late in its cycle.
        shorter = [Signal(6, name=f"shorter_{saved}", reset_less=True) for saved in range(MOST + 1)]
        m.d.sync += [signal.eq(longest - saved) for saved, signal in enumerate(shorter)]
        with m.If(self.walking):
            m.d.sync += [cycle.eq(cycle + 1), plane.eq(plane + 1)]
        with m.If(self.step_end):
            m.d.sync += [
                cycle.eq(0),
                plane.eq(saved),
                first_plane.eq(following),
                last_cycle.eq(Array(shorter)[saved]),
            ]
        with m.If(self.begin):
            m.d.sync += [cycle.eq(0), plane.eq(0), first_plane.eq(0), last_cycle.eq(longest)]

    def _positions(self, m: Module) -> None:
        """Substep, row of the pair, word column and row of the next step."""
        run, at = self.run, self.at
        with m.If(self.step_end):
            m.d.sync += self._substep.eq(self._substep + 1)
            with m.If(at.last_substep):
                m.d.sync += [self._substep.eq(0), self._second.eq(self._second + 1)]
                with m.If(at.last_second):
                    m.d.sync += [self._second.eq(0), self._x.eq(self._x + 1), self._column.eq(self._next_column)]
                    with m.If(at.last_x):
                        m.d.sync += [
                            self._x.eq(0),
                            self._y.eq(self._y + 1),
                            self._column.eq(self._first_column),
                            self._row.eq(Mux(run.pair, self._after_pair.as_value(), self._pair_row.as_value())),
                        ]
        with m.If(self.begin):
            m.d.sync += [
                self._substep.eq(0),
                self._second.eq(0),
                self._x.eq(0),
                self._y.eq(0),
                self._column.eq(self._first_column),
                self._row.address.eq(run.row_address),
                self._row.phase.eq(run.row_phase),
                self._row.odd.eq(run.odd_row),
            ]

    def _look_ahead(self, m: Module) -> None:
        """Where the next step stands, for the count of planes that it may leave out."""
        run, at = self.run, self.at
        moves_on = at.last_substep & at.last_second
        ends_row = at.last_substep & at.last_second & at.last_x
        turn = Mux(run.pair, self._after_pair.as_value(), self._next_row.as_value())
        beside = Mux(at.last_second, self._row.as_value(), self._next_row.as_value())
        further = Mux(moves_on, self._next_column.as_value(), self._column.as_value())
        upper = Mux(at.last_substep, ~at.last_second, self._second)
        next_last_x = Mux(at.last_x, self.columns_less[0] == 0, self._x == self.columns_less[1])
        ahead = Signal(AHEAD, name="next_window", reset_less=True)
        m.d.comb += self.ahead.eq(ahead)
        m.d.sync += [
            ahead.row.eq(Mux(ends_row, turn, Mux(at.last_substep, beside, at.row.as_value()))),
            ahead.column.eq(Mux(ends_row, self._first_column.as_value(), further)),
            ahead.top.eq(run.top & (self._y == 0) & ~ends_row & ~upper),
            ahead.bottom.eq(run.bottom & Mux(ends_row, self._y == self.rows_less[1], at.last_y) & (upper == run.pair)),
            ahead.left.eq(run.left & Mux(moves_on, at.last_x, self._x == 0)),
            ahead.right.eq(run.right & Mux(moves_on, next_last_x, at.last_x)),
        ]

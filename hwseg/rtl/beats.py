"""Beats and tokens: what the compute unit sends into the array's front for each cycle of the walk, three registers
behind it.  Only what says that there is a plane, a reload or a token is reset.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hwseg.rtl.addresses import TARGETS
from hwseg.rtl.cores.pipeline import delayed
from hwseg.rtl.emit import Part
from hwseg.rtl.isa import Mode
from hwseg.rtl.layouts import BEAT, CONFIG_LAYOUT, PLANE, RUN_LAYOUT, TOKEN, WINDOW
from hwseg.rtl.resets import beat_later, later, valid_apart
from hwseg.rtl.walk import WALK


class Beats(Part):
    """`beat` and `token` of the walk's cycle `at`; `targets`: the step's places behind the array.  `reload`: the
    marker, in a cycle of no plane.  `half`: which of the two back-end configurations.

    wait: cycles by which planes come after the marker and the token of the same cycle.
    """

    latency = 3

    def __init__(self, wait: int) -> None:
        self.wait = wait
        super().__init__(
            {
                "run": In(RUN_LAYOUT),
                "configuration": In(CONFIG_LAYOUT),
                "half": In(1),
                "reload": In(1),
                "at": In(WALK),
                "targets": In(TARGETS),
                "beat": Out(BEAT),
                "token": Out(TOKEN),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._make_token(m)
        beat = self._beat(m)
        late_window = data.View(WINDOW, delayed(m, beat.window.as_value(), self.wait, "window"))
        late_plane = data.View(PLANE, delayed(m, beat.plane.as_value(), self.wait, "plane", reset_less=False))
        late = data.View(BEAT, Cat(late_plane.as_value(), late_window.as_value(), beat.reload))
        m.d.comb += self.beat.eq(beat_later(m, late, "beat_out"))
        return m

    def _beat(self, m: Module) -> Any:
        """The beat, two registers behind the walk."""
        run, cfg, at = self.run, self.configuration, self.at
        held_beat, beat_valid, beat_reload = Signal(BEAT, reset_less=True), Signal(), Signal()
        window = held_beat.window
        m.d.sync += [
            beat_reload.eq(self.reload),
            beat_valid.eq(at.executed),
            held_beat.plane.first.eq(at.plane == at.first_plane),
            held_beat.plane.last.eq(at.last_plane),
            held_beat.plane.negate.eq(cfg.signed_in & (at.plane == 0)),
            window.point.eq(cfg.mode == Mode.POINT),
            window.stride2.eq(cfg.mode == Mode.STRIDE2),
            window.nearest.eq(cfg.mode == Mode.NEAREST),
            window.row_phase.eq(at.row.phase),
            window.column_phase.eq(at.column.phase),
            window.odd_row.eq(at.row.odd),
            window.odd_column.eq(at.column.odd),
            window.no_top.eq(run.top & (at.y == 0) & ~at.second),
            window.no_bottom.eq(run.bottom & at.last_y & at.last_second),
            window.no_left.eq(run.left & (at.x == 0) & ~cfg.split),
            window.no_right.eq(run.right & at.last_x),
            window.slice.eq(run.slice),
            window.substep.eq(at.substep),
            window.plane.eq(at.plane),
            window.second.eq(at.second),
            window.split.eq(cfg.split),
            window.edge.eq(at.x == 0),
            window.residual.eq(run.residual),
            window.residual_set.eq(run.residual_set),
        ]
        whole = data.View(BEAT, Cat(beat_valid, held_beat.as_value()[1:-1], beat_reload))
        return beat_later(m, whole, "middle_beat")

    def _make_token(self, m: Module) -> None:
        """The token, with the step's last plane."""
        run, at = self.run, self.at
        held_token, token_valid = Signal(TOKEN, reset_less=True), Signal()
        m.d.sync += [
            token_valid.eq(at.last_plane),
            held_token.half.eq(self.half),
            held_token.first.eq(run.first),
            held_token.last.eq(run.last),
            held_token.shift.eq(run.shift),
            held_token.slot.eq(run.slot),
            held_token.substep.eq(at.substep),
            held_token.second.eq(at.second),
            held_token.odd.eq(at.x[0]),
            held_token.end_of_row.eq(at.last_x),
            held_token.tail.eq(Mux(at.last_x, run.tail, 8)),
            held_token.scatter.eq(run.scatter),
            held_token.psum.eq(self.targets.psum),
            held_token.loop.eq(self.targets.loop),
            held_token.out.eq(self.targets.out),
            held_token.pool.eq(self.targets.pool),
        ]
        token = later(m, valid_apart(held_token, token_valid), "middle_token")
        m.d.comb += self.token.eq(later(m, token, "token_out"))

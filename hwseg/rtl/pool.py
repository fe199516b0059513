"""The pool of an output set: the 2x2 maximum as rows go by, its blocks of 8 channels x 8 pixels, and their planes.

First the larger of each two neighbours, with everything else a register later, then of that and what there was.  Two
word columns of the map make one pooled word.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hwseg.rtl.blocks import BLOCK, MEMORY_WRITE, configuration_of, plane
from hwseg.rtl.config import ROWS_PER_SET, EngineConfig
from hwseg.rtl.cores.pipeline import delayed
from hwseg.rtl.emit import Part
from hwseg.rtl.layouts import BACK_LAYOUT, TOKEN
from hwseg.rtl.resets import later, leaves


def larger(a: Value, b: Value, sign: Value) -> Value:
    """Of two bytes, signed ones or not."""
    flip = sign << 7
    return Mux((a ^ flip) > (b ^ flip), a, b)


class Pool(Part):
    """`values`: the row `row` of the step that `token` tells of.  `write`: of the pool memory, a block's planes one
    after the other.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "back": In(data.ArrayLayout(BACK_LAYOUT, 2)),
                "token": In(TOKEN),
                "row": In(3),
                "values": In(data.ArrayLayout(8, config.pixels)),
                "write": Out(MEMORY_WRITE),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        token: Any = later(m, self.token, "token_pooling")
        row = delayed(m, self.row, 1, "row_pooling")
        now = configuration_of(m, token, self.back, "pooling")
        best, leaving = Signal(BLOCK, reset_less=True), Signal(BLOCK, reset_less=True)
        held = Signal(TOKEN, name="pool_held", reset_less=True)
        complete, busy, number, address = Signal(), Signal(), Signal(4), Signal(14)

        # Taken a cycle before it is compared: the row written in that cycle is another one.
        so_far, into = Signal(BLOCK.elem_shape, reset_less=True), Signal(ROWS_PER_SET, name="into")
        m.d.sync += [
            so_far.eq(Array(best[r] for r in range(ROWS_PER_SET))[self.row]),
            into.eq(Cat(self.token.valid & (self.row == r) for r in range(ROWS_PER_SET))),
        ]
        updated = self._updated(m, so_far, token, now)
        for r in range(ROWS_PER_SET):
            with m.If(into[r]):
                m.d.sync += best[r].eq(updated)
        finished = token.valid & (row == ROWS_PER_SET - 1) & (token.substep == self.config.substeps - 1) & token.second
        ends = finished & (token.odd | token.end_of_row | now.split) & now.pool
        m.d.sync += complete.eq(ends)
        for pair, leaf in enumerate(leaves(m, ends, ROWS_PER_SET // 2, "pooled")):
            with m.If(leaf):
                m.d.sync += [leaving[r].eq(best[r]) for r in (2 * pair, 2 * pair + 1)]
        with m.If(finished):
            m.d.sync += held.eq(token)
        cfg = configuration_of(m, held, self.back, "pooled")
        write = Signal(MEMORY_WRITE, name="pool_write", reset_less=True)
        with m.If(busy):
            m.d.sync += [number.eq(number - 1), address.eq(address + 1)]
            with m.If(number == 0):
                m.d.sync += busy.eq(0)
        with m.If(complete):
            m.d.sync += [busy.eq(1), number.eq(cfg.out_planes - 1), address.eq(held.pool)]
        m.d.sync += [
            write.enable.eq(Mux(busy, 0xFF, 0)),
            write.address.eq(address),
            write.data.eq(plane(leaving, number[:3])),
        ]
        m.d.comb += self.write.eq(write)
        return m

    def _tops(self, m: Module) -> list[Value]:
        """The larger of two neighbours of a row, or the one pixel that a step has; a register behind the row."""
        sign = configuration_of(m, self.token, self.back, "pooling_early").low[8]
        pixels = self.config.pixels
        pairs = [larger(self.values[2 * i], self.values[2 * i + 1], sign) for i in range(pixels // 2)] or [
            self.values[0]
        ]
        return [delayed(m, pair, 1, f"top_{i}") for i, pair in enumerate(pairs)]

    def _updated(self, m: Module, best: Value, token: data.View, now: data.View) -> data.View:
        """A row's eight pooled pixels so far, and with this step's values: pixel 4 * odd + column."""
        current, updated = Signal(BLOCK.elem_shape), Signal(BLOCK.elem_shape)
        m.d.comb += [current.eq(best), updated.eq(current)]
        with m.If(~token.odd & ~token.second):
            for column in range(4):
                m.d.comb += updated[4 + column].eq(0)
        with m.If(now.split & token.odd & ~token.second):
            for column in range(4):
                m.d.comb += updated[column].eq(0)
        sign = now.low[8]
        pixels, tops = self.config.pixels, self._tops(m)
        with m.Switch(token.substep):
            for s in range(self.config.substeps):
                with m.Case(s):
                    for i, top in enumerate(tops):
                        column = s * pixels // 2 + i
                        fresh = ~token.second & (s * pixels % 2 == 0)
                        for half in range(2):
                            cell = current[4 * half + column]
                            with m.If(token.odd == half):
                                m.d.comb += updated[4 * half + column].eq(Mux(fresh, top, larger(cell, top, sign)))
        return updated

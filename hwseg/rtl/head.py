"""A 1x1 head of one class in the output sets: y times its channel's weight, added up row by row through all of them.

The rows of the next set follow those of this one by a cycle, so its sum begins where this one ends.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hwseg.rtl.blocks import configuration_of
from hwseg.rtl.config import ROWS_PER_SET, EngineConfig
from hwseg.rtl.cores.pipeline import delayed
from hwseg.rtl.emit import Part
from hwseg.rtl.layouts import BACK_LAYOUT, TOKEN

DOT_BITS = 24
"""A head's sum over at most 64 channels of 8 x 8 bits."""
DOT_REQUEST = data.StructLayout({"valid": 1, "index": 15})
"""`valid`: the sums are whole in the next cycle; `index`: then, of the step's first word among the raw ones."""


class HeadSum(Part):
    """`values`: the row `row` of the step that `token` tells of; `weight`: its channel's, a cycle before.  `sums`: over
    the rows up to here, on top of the set before's.  `request`: they become whole, in the `last` set.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        sums = data.ArrayLayout(signed(DOT_BITS), config.pixels)
        super().__init__(
            {
                "back": In(data.ArrayLayout(BACK_LAYOUT, 2)),
                "token": In(TOKEN),
                "row": In(3),
                "values": In(data.ArrayLayout(8, config.pixels)),
                "weight": In(signed(8)),
                "sums_before": In(sums),
                "last": In(1),
                "sums": Out(sums),
                "request": Out(DOT_REQUEST),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        token = self.token
        now = configuration_of(m, token, self.back, "dot")
        weight = delayed(m, self.weight, 1, "weight_in")
        products = Signal(data.ArrayLayout(signed(17), self.config.pixels))
        for pixel in range(self.config.pixels):
            y = self.values[pixel]
            wide = Cat(y, y[7] & now.low[8]).as_signed()
            m.d.sync += products[pixel].eq(wide * weight)
        held, late = (Signal(TOKEN, name=f"dot_{name}", reset_less=True) for name in ("held", "late"))
        row, active = Signal(3, name="dot_row"), Signal(name="dot_active")
        m.d.sync += [held.eq(token), late.eq(held), row.eq(self.row), active.eq(token.valid & now.dot)]
        with m.If(active):
            for pixel in range(self.config.pixels):
                before = Mux(row == 0, self.sums_before[pixel], self.sums[pixel])
                m.d.sync += self.sums[pixel].eq(before + products[pixel])
        m.d.comb += [
            self.request.valid.eq(active & (row == ROWS_PER_SET - 1) & self.last),
            self.request.index.eq(late.out),
        ]
        return m

"""An output set's raw values: accumulators, or a head's sums, queue up by rows and leave as words of two."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hwseg.rtl.blocks import MEMORY_WRITE, configuration_of
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.cores.pipeline import delayed
from hwseg.rtl.emit import Part
from hwseg.rtl.head import DOT_BITS, DOT_REQUEST
from hwseg.rtl.layouts import BACK_LAYOUT, TOKEN
from hwseg.rtl.requantize import RAW_BITS
from hwseg.rtl.resets import leaves


class RawQueue(Part):
    """`raw`: accumulators of the row `row` of the step that `token` tells of, a cycle before.  `sums`: a head's, in
    the cycle behind a valid `request`.  `writes`: of the output memory's banks, even and odd words.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "back": In(data.ArrayLayout(BACK_LAYOUT, 2)),
                "token": In(TOKEN),
                "row": In(3),
                "raw": In(data.ArrayLayout(RAW_BITS, config.pixels)),
                "sums": In(data.ArrayLayout(signed(DOT_BITS), config.pixels)),
                "request": In(DOT_REQUEST),
                "writes": Out(data.ArrayLayout(MEMORY_WRITE, 2)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        token = self.token
        cfg = configuration_of(m, token, self.back, "raw")
        words = max(1, self.config.pixels // 2)
        width = self.config.pixels * RAW_BITS
        m.submodules.queue = queue = SyncFIFO(width=width + 15, depth=8)
        w_data, w_en = Signal(width + 15, name="row_in", reset_less=True), Signal(name="row_put")
        index, raw = Signal(15), delayed(m, self.raw.as_value(), 1, "raw_in")
        sums = Signal(data.ArrayLayout(signed(RAW_BITS), self.config.pixels), name="dot_sums")
        m.d.comb += [sums[pixel].eq(self.sums[pixel]) for pixel in range(self.config.pixels)]
        m.d.comb += [
            index.eq(token.out + (self.row << exact_log2(words))),
            queue.w_data.eq(w_data),
            queue.w_en.eq(w_en),
        ]
        low, high = leaves(m, self.request.valid, 2, "whole")
        dot, plain = Cat(sums, self.request.index), Cat(raw, index)
        half = len(dot) // 2
        m.d.sync += [
            w_data.eq(Cat(Mux(low, dot[:half], plain[:half]), Mux(high, dot[half:], plain[half:]))),
            w_en.eq(low | (token.valid & cfg.raw & (self.row < cfg.raw_rows))),
        ]
        count = Signal(range(max(2, words)))
        values = Signal(64 * words)
        m.d.comb += values.eq(queue.r_data[:width])
        number = Signal(15)
        m.d.comb += [number.eq(queue.r_data[width:] + count), queue.r_en.eq(queue.r_rdy & (count == words - 1))]
        with m.If(queue.r_rdy):
            m.d.sync += count.eq(Mux(queue.r_en, 0, count + 1))
        for parity in range(2):
            write = Signal(MEMORY_WRITE, name=f"raw_{parity}", reset_less=True)
            m.d.sync += [
                write.enable.eq(Mux(queue.r_rdy & (number[0] == parity), 0xFF, 0)),
                write.address.eq(number[1:]),
                write.data.eq(values.word_select(count, 64)),
            ]
            m.d.comb += self.writes[parity].eq(write)
        return m

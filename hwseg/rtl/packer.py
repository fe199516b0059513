"""The packer: an output set's rows become blocks of 8 channels x 8 pixels, and these their planes.

    row (C pixels of one channel) -> block -> held for its planes -> plane by plane, the most significant first -> words

A plane goes into one bank of the output memory, even or odd word column; of a transposed convolution into both,
scattered: every source pixel is one of two neighbours.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hwseg.rtl.blocks import BLOCK, MEMORY_WRITE, configuration_of, plane
from hwseg.rtl.config import ROWS_PER_SET, WORD_PIXELS, EngineConfig
from hwseg.rtl.cores.pipeline import delayed
from hwseg.rtl.emit import Part
from hwseg.rtl.isa import Scatter
from hwseg.rtl.layouts import BACK_LAYOUT, TOKEN
from hwseg.rtl.resets import leaves


class Packer(Part):
    """`values`: the row `row` of the step that `token` tells of; `into`: a bit for each row of each substep, set while
    these are its values.  `writes`: of the output memory's banks, even and odd
    word columns; `loop_writes`: of the loop memory's, the same words a cycle later.  `tap`: every block, before it is
    packed, while `tap_valid`.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "back": In(data.ArrayLayout(BACK_LAYOUT, 2)),
                "token": In(TOKEN),
                "row": In(3),
                "values": In(data.ArrayLayout(8, config.pixels)),
                "into": In(ROWS_PER_SET * config.substeps),
                "writes": Out(data.ArrayLayout(MEMORY_WRITE, 2)),
                "loop_writes": Out(data.ArrayLayout(MEMORY_WRITE, 2)),
                "tap": Out(BLOCK),
                "tap_valid": Out(1),
                "tap_layer": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        token = self.token
        block, leaving = Signal(BLOCK, reset_less=True), Signal(BLOCK, reset_less=True)
        held = Signal(TOKEN, reset_less=True)
        now, cfg = configuration_of(m, token, self.back, "arriving"), configuration_of(m, held, self.back, "complete")
        complete, busy, number, offset = Signal(), Signal(), Signal(4), Signal(4)
        width = 8 * self.config.pixels
        for part in range(ROWS_PER_SET * self.config.substeps):
            s, r = divmod(part, ROWS_PER_SET)
            with m.If(self.into[part]):
                m.d.sync += block[r].as_value()[s * width : (s + 1) * width].eq(self.values)
        finished = token.valid & (self.row == ROWS_PER_SET - 1) & (token.substep == self.config.substeps - 1)
        m.d.sync += complete.eq(finished & ~now.raw)
        with m.If(finished):
            m.d.sync += held.eq(token)
        emitted, keep, loop = Signal(TOKEN, reset_less=True), Signal(), Signal()
        m.d.comb += [self.tap.eq(block), self.tap_valid.eq(complete), self.tap_layer.eq(cfg.layer)]
        with m.If(busy):
            m.d.sync += [number.eq(number - 1), offset.eq(offset + 1)]
            with m.If(number == 0):
                m.d.sync += busy.eq(0)
        for pair, leaf in enumerate(leaves(m, finished & ~now.raw, ROWS_PER_SET // 2, "complete")):
            with m.If(leaf):
                m.d.sync += [leaving[r].eq(block[r]) for r in (2 * pair, 2 * pair + 1)]
        with m.If(complete):
            m.d.sync += [
                emitted.eq(held),
                busy.eq(cfg.keep | cfg.loop),
                keep.eq(cfg.keep),
                loop.eq(cfg.loop),
                number.eq(cfg.out_planes - 1),
                offset.eq(0),
            ]
        word = plane(leaving, number[:3])
        for parity in range(2):
            self._write(m, parity, word, emitted, offset, busy & keep, busy & loop)
        return m

    def _write(
        self, m: Module, parity: int, word: Value, token: data.View, offset: Signal, keep: Value, loop: Value
    ) -> None:
        """A plane's word, or the half of it that is of this parity, into a bank of either memory."""
        scattered = token.scatter != Scatter.NONE
        phase = token.scatter == Scatter.ODD
        write = Signal(MEMORY_WRITE, name=f"write_{parity}", reset_less=True)
        # Word 2x + parity of the wide row: source pixels 4 * parity + i at positions 2i and 2i + 1, one of them
        # enabled.
        wide = Cat(*(word[8 * (4 * parity + i // 2) :][:8] for i in range(WORD_PIXELS)))
        enable = Mux(scattered, Mux(phase, 0xAA, 0x55), Mux(token.odd == parity, 0xFF, 0))
        m.d.sync += [
            write.enable.eq(Mux(keep, enable, 0)),
            write.address.eq(token.out + offset),
            write.data.eq(Mux(scattered, wide, word)),
        ]
        late = Signal(8, name=f"loop_enable_{parity}")
        m.d.sync += late.eq(Mux(loop, enable, 0))
        m.d.comb += [
            self.writes[parity].eq(write),
            self.loop_writes[parity].enable.eq(late),
            self.loop_writes[parity].address.eq(delayed(m, (token.loop + offset)[:14], 1, f"loop_address_{parity}")),
            self.loop_writes[parity].data.eq(write.data),
        ]

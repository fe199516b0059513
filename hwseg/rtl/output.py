"""The output path of one set: 8 output channels x 8 pixels become digit planes, are pooled, and wait for STORE.

    requantized row (C pixels of one channel) ─┬─> block 8 x 8 ──> planes, most significant first ──> output memory
                                               └─> 2x2 maximum ──> planes ─────────────────────────> pool memory
    requantized row ──> times its head weight, added up over the channels of all sets ──> queue (dot)
    accumulators (raw) ──> queue ──> 32-bit values ────────────────────────────────────────────────> output memory

The eight rows of a block arrive in eight consecutive cycles, one block per step of at least eight cycles, so a block
leaves (at most eight planes) while the next arrives.  The output memory is two banks, even and odd word columns: a
transposed convolution writes half of the bytes of both at once.  The loop memory is its twin: what MOVE takes to the
input banks while STORE takes the output memory's words to DDR.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hwseg.rtl.block_ram import BlockRam
from hwseg.rtl.blocks import BLOCK, MEMORY_WRITE, configuration_of
from hwseg.rtl.config import ROWS_PER_SET, EngineConfig
from hwseg.rtl.cores.pipeline import delayed
from hwseg.rtl.head import DOT_BITS, HeadSum
from hwseg.rtl.layouts import BACK_LAYOUT, TOKEN
from hwseg.rtl.packer import Packer
from hwseg.rtl.pool import Pool
from hwseg.rtl.raw import RawQueue
from hwseg.rtl.requantize import RAW_BITS
from hwseg.rtl.resets import later


class OutputSet(Component):
    """Packer, pool and memories of one set.  `read_*`: STORE's side, `loop_*`: MOVE's; data follows the address by two
    cycles.  `left`: in a split layer this set has the even word columns, else the odd ones.  `back`: the two
    configurations that tokens name.

    latency: cycles from a step's last row at the input until all of its words are written (raw: see
    `hwseg.rtl.latency`).
    """

    latency = 14

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "back": In(data.ArrayLayout(BACK_LAYOUT, 2)),
                "y": In(data.ArrayLayout(8, config.pixels)),
                "raw": In(data.ArrayLayout(RAW_BITS, config.pixels)),
                "row": In(3),
                "token": In(TOKEN),
                "dot": In(signed(8)),
                "dot_in": In(data.ArrayLayout(signed(DOT_BITS), config.pixels)),
                "dot_out": Out(data.ArrayLayout(signed(DOT_BITS), config.pixels)),
                "dot_last": In(1),
                "read_enable": In(1),
                "read_address": In(14),
                "read_parity": In(1),
                "read_pool": In(1),
                "left": In(1),
                "read_data": Out(64),
                "loop_enable": In(1),
                "loop_address": In(14),
                "loop_data": Out(data.ArrayLayout(64, 2)),
                "tap": Out(BLOCK),
                "tap_valid": Out(1),
                "tap_layer": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        row = data.ArrayLayout(8, self.config.pixels)
        masked = Signal(row)
        # In a split layer a step makes an even and an odd word column, each in a set of its own.
        token = Signal(TOKEN)
        split = configuration_of(m, self.token, self.back, "incoming").split
        m.d.comb += [token.eq(self.token), token.odd.eq(Mux(split, ~self.left, self.token.odd))]
        for pixel in range(self.config.pixels):
            position = Signal(4, name=f"position_{pixel}")
            m.d.comb += [
                position.eq(token.substep * self.config.pixels + pixel),
                masked[pixel].eq(Mux(position < token.tail, self.y[pixel], 0)),
            ]
        self._parts(m, later(m, token, "token_in"), data.View(row, delayed(m, masked.as_value(), 1, "masked_in")))
        return m

    def _parts(self, m: Module, token: Any, values: data.View) -> None:
        """Everything that takes rows, and what it writes."""
        row = delayed(m, self.row, 1, "row_in")
        # A bit for every part of the block, decided a register before its 8 C flip-flops look at it.
        place, into = Cat(self.row, self.token.substep), Signal(ROWS_PER_SET * self.config.substeps, name="into")
        m.d.sync += into.eq(Cat(self.token.valid & (place == part) for part in range(len(into))))
        m.submodules.packer = packer = Packer(self.config)
        m.submodules.pooling = pool = Pool(self.config)
        m.submodules.head = head = HeadSum(self.config)
        m.submodules.raw_queue = raw = RawQueue(self.config)
        for part in (packer, pool, head, raw):
            m.d.comb += [part.back.eq(self.back), part.token.eq(token), part.row.eq(row)]
        for part in (packer, pool, head):
            m.d.comb += part.values.eq(values)
        m.d.comb += [
            packer.into.eq(into),
            self.tap.eq(packer.tap),
            self.tap_valid.eq(packer.tap_valid),
            self.tap_layer.eq(packer.tap_layer),
            head.weight.eq(self.dot),
            head.sums_before.eq(self.dot_in),
            head.last.eq(self.dot_last),
            self.dot_out.eq(head.sums),
            raw.raw.eq(self.raw),
            raw.sums.eq(head.sums),
            raw.request.eq(head.request),
        ]
        self._loop_memory(m, packer.loop_writes)
        self._memories(m, packer.writes, raw.writes, pool.write)

    def _loop_memory(self, m: Module, writes: data.View) -> None:
        """Written with the words that the output memory gets."""
        for parity in range(2):
            m.submodules[f"loop_{parity}"] = memory = BlockRam(64, self.config.loop_words, parts=8)
            m.d.comb += [
                memory.read_address.eq(self.loop_address),
                memory.read_enable.eq(self.loop_enable),
                memory.write_enable.eq(writes[parity].enable),
                memory.write_address.eq(writes[parity].address),
                memory.write_data.eq(writes[parity].data),
                self.loop_data[parity].eq(memory.read_data),
            ]

    def _memories(self, m: Module, writes: data.View, raw_writes: data.View, pool_write: data.View) -> None:
        depth = self.config.out_words
        outputs = []
        for parity in range(2):
            full, raw = writes[parity], raw_writes[parity]
            m.submodules[f"out_{parity}"] = memory = BlockRam(64, depth, parts=8)
            # Never both: a CONFIG after a raw one drains.
            chosen = Mux(raw.enable[0], raw.as_value(), full.as_value())
            port = data.View(MEMORY_WRITE, chosen)
            m.d.comb += [
                memory.read_address.eq(self.read_address),
                memory.read_enable.eq(self.read_enable & ~self.read_pool),
                memory.write_address.eq(port.address),
                memory.write_data.eq(port.data),
                memory.write_enable.eq(port.enable),
            ]
            outputs.append(memory.read_data)
        m.submodules.pool = memory = BlockRam(64, self.config.pool_words)
        select = delayed(m, Cat(self.read_parity, self.read_pool), BlockRam.latency, "select")
        m.d.comb += [
            memory.read_address.eq(self.read_address),
            memory.read_enable.eq(self.read_enable & self.read_pool),
            memory.write_address.eq(pool_write.address),
            memory.write_data.eq(pool_write.data),
            memory.write_enable.eq(pool_write.enable[0]),
            self.read_data.eq(Mux(select[1], memory.read_data, Mux(select[0], outputs[1], outputs[0]))),
        ]

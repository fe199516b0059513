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

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import Component, In, Out
from amaranth.utils import exact_log2

from hwseg.rtl.block_ram import BlockRam
from hwseg.rtl.config import ROWS_PER_SET, WORD_PIXELS, EngineConfig
from hwseg.rtl.cores.pipeline import delayed
from hwseg.rtl.isa import Scatter
from hwseg.rtl.layouts import BACK_LAYOUT, TOKEN
from hwseg.rtl.requantize import RAW_BITS
from hwseg.rtl.resets import later, leaves

BLOCK = data.ArrayLayout(data.ArrayLayout(8, WORD_PIXELS), ROWS_PER_SET)
DOT_BITS = 24
"""A head's sum over at most 64 channels of 8 x 8 bits."""
DOT_REQUEST = data.StructLayout({"valid": 1, "index": 15})
MEMORY_WRITE = data.StructLayout({"enable": 8, "address": 14, "data": 64})


def plane(block: data.View, number: Signal) -> Value:
    """The 64-bit word of bit `number` of every value: bit 8 * pixel + channel."""
    planes = [Cat(*(block[c][p][b] for p in range(WORD_PIXELS) for c in range(ROWS_PER_SET))) for b in range(8)]
    return Array(planes)[number]


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
        split = self._configuration(m, self.token, "incoming").split
        m.d.comb += [token.eq(self.token), token.odd.eq(Mux(split, ~self.left, self.token.odd))]
        for pixel in range(self.config.pixels):
            position = Signal(4, name=f"position_{pixel}")
            m.d.comb += [
                position.eq(token.substep * self.config.pixels + pixel),
                masked[pixel].eq(Mux(position < token.tail, self.y[pixel], 0)),
            ]
        self._token: Any = later(m, token, "token_in")
        self._row = delayed(m, self.row, 1, "row_in")
        values = data.View(row, delayed(m, masked.as_value(), 1, "masked_in"))
        writes = self._full(m, values)
        pool_write = self._pool(m, values)
        raw_writes = self._raw(m, self._dot(m, values))
        self._memories(m, writes, raw_writes, pool_write)
        return m

    def _configuration(self, m: Module, token: data.View, name: str) -> data.View:
        """The configuration under which the token's step was computed."""
        found = Signal(BACK_LAYOUT, name=f"{name}_configuration")
        m.d.comb += found.eq(Mux(token.half, self.back[1].as_value(), self.back[0].as_value()))
        return found

    @property
    def _last_substep(self) -> int:
        return self.config.substeps - 1

    def _full(self, m: Module, values: data.View) -> list[data.View]:
        """Collect a block, then emit its planes into one bank, or scattered into both."""
        token = self._token
        block, leaving = Signal(BLOCK, reset_less=True), Signal(BLOCK, reset_less=True)
        held = Signal(TOKEN, reset_less=True)
        now, cfg = self._configuration(m, token, "arriving"), self._configuration(m, held, "complete")
        complete, busy, number, offset = Signal(), Signal(), Signal(4), Signal(4)
        width = 8 * self.config.pixels
        with m.If(token.valid), m.Switch(Cat(self._row, token.substep)):
            for s in range(self.config.substeps):
                for r in range(ROWS_PER_SET):
                    with m.Case(s * ROWS_PER_SET + r):
                        m.d.sync += block[r].as_value()[s * width : (s + 1) * width].eq(values)
        finished = token.valid & (self._row == ROWS_PER_SET - 1) & (token.substep == self._last_substep)
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
        scattered = emitted.scatter != Scatter.NONE
        phase = emitted.scatter == Scatter.ODD
        writes = []
        for parity in range(2):
            write = Signal(MEMORY_WRITE, name=f"write_{parity}", reset_less=True)
            # Word 2x + parity of the wide row: source pixels 4 * parity + i at positions 2i and 2i + 1, one of them
            # enabled.
            wide = Cat(*(word[8 * (4 * parity + i // 2) :][:8] for i in range(WORD_PIXELS)))
            enable = Mux(scattered, Mux(phase, 0xAA, 0x55), Mux(emitted.odd == parity, 0xFF, 0))
            m.d.sync += [
                write.enable.eq(Mux(busy & keep, enable, 0)),
                write.address.eq(emitted.out + offset),
                write.data.eq(Mux(scattered, wide, word)),
            ]
            writes.append(write)
            self._loop(m, parity, write, Mux(busy & loop, enable, 0), emitted.loop + offset)
        return writes

    def _loop(self, m: Module, parity: int, write: data.View, enable: Value, address: Value) -> None:
        """One parity bank of the loop memory, written with the words that the output memory gets."""
        m.submodules[f"loop_{parity}"] = memory = BlockRam(64, self.config.loop_words, parts=8)
        m.d.comb += [
            memory.read_address.eq(self.loop_address),
            memory.read_enable.eq(self.loop_enable),
            memory.write_data.eq(write.data),
        ]
        late = Signal(8, name=f"loop_enable_{parity}")
        m.d.sync += late.eq(enable)
        m.d.comb += [
            memory.write_enable.eq(late),
            memory.write_address.eq(delayed(m, Value.cast(address)[:14], 1, f"loop_address_{parity}")),
            self.loop_data[parity].eq(memory.read_data),
        ]

    def _pool(self, m: Module, values: data.View) -> data.View:
        """Running 2x2 maximum; two word columns of the map make one pooled word.

        First of each two neighbours, with everything else a register later, then with what there was.
        """
        token: Any = later(m, self._token, "token_pooling")
        row = delayed(m, self._row, 1, "row_pooling")
        now = self._configuration(m, token, "pooling")
        is_signed = now.low[8]
        sign_early = self._configuration(m, self._token, "pooling_early").low[8]
        best, leaving = Signal(BLOCK, reset_less=True), Signal(BLOCK, reset_less=True)
        held = Signal(TOKEN, name="pool_held", reset_less=True)
        complete, busy, number, address = Signal(), Signal(), Signal(4), Signal(14)

        def larger(a: Value, b: Value, sign: Value) -> Value:
            flip = sign << 7
            return Mux((a ^ flip) > (b ^ flip), a, b)

        # The row's eight pooled pixels so far, and with this step's values: pixel 4 * odd + column.
        current, updated = Signal(BLOCK.elem_shape), Signal(BLOCK.elem_shape)
        m.d.comb += [current.eq(Array(best[r] for r in range(ROWS_PER_SET))[row]), updated.eq(current)]
        with m.If(~token.odd & ~token.second):
            for column in range(4):
                m.d.comb += updated[4 + column].eq(0)
        with m.If(now.split & token.odd & ~token.second):
            for column in range(4):
                m.d.comb += updated[column].eq(0)
        pixels = self.config.pixels
        # The larger of two neighbours, or the one pixel that a step has.
        pairs = [larger(values[2 * i], values[2 * i + 1], sign_early) for i in range(pixels // 2)] or [values[0]]
        tops = [delayed(m, pair, 1, f"top_{i}") for i, pair in enumerate(pairs)]
        with m.Switch(token.substep):
            for s in range(self.config.substeps):
                with m.Case(s):
                    for i, top in enumerate(tops):
                        column = s * pixels // 2 + i
                        fresh = ~token.second & (s * pixels % 2 == 0)
                        for half in range(2):
                            cell = current[4 * half + column]
                            with m.If(token.odd == half):
                                m.d.comb += updated[4 * half + column].eq(Mux(fresh, top, larger(cell, top, is_signed)))
        with m.If(token.valid), m.Switch(row):
            for r in range(ROWS_PER_SET):
                with m.Case(r):
                    m.d.sync += best[r].eq(updated)
        finished = token.valid & (row == ROWS_PER_SET - 1) & (token.substep == self._last_substep) & token.second
        ends = finished & (token.odd | token.end_of_row | now.split) & now.pool
        m.d.sync += complete.eq(ends)
        for pair, leaf in enumerate(leaves(m, ends, ROWS_PER_SET // 2, "pooled")):
            with m.If(leaf):
                m.d.sync += [leaving[r].eq(best[r]) for r in (2 * pair, 2 * pair + 1)]
        with m.If(finished):
            m.d.sync += held.eq(token)
        cfg = self._configuration(m, held, "pooled")
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
        return write

    def _dot(self, m: Module, values: data.View) -> data.View:
        """A 1x1 head of one class: y times its channel's weight, added up row by row through all sets.

        The rows of the next set follow those of this one by a cycle, so its sum begins where this one ends.
        """
        token = self._token
        now = self._configuration(m, token, "dot")
        weight = delayed(m, self.dot, 1, "weight_in")
        products = Signal(data.ArrayLayout(signed(17), self.config.pixels))
        for pixel in range(self.config.pixels):
            y = values[pixel]
            wide = Cat(y, y[7] & now.low[8]).as_signed()
            m.d.sync += products[pixel].eq(wide * weight)
        held, late = (Signal(TOKEN, name=f"dot_{name}", reset_less=True) for name in ("held", "late"))
        row = Signal(3, name="dot_row")
        active, active_late, row_late = (
            Signal(name="dot_active"),
            Signal(name="dot_done"),
            Signal(3, name="dot_row_late"),
        )
        m.d.sync += [
            held.eq(token),
            late.eq(held),
            row.eq(self._row),
            row_late.eq(row),
            active.eq(token.valid & now.dot),
            active_late.eq(active),
        ]
        with m.If(active):
            for pixel in range(self.config.pixels):
                before = Mux(row == 0, self.dot_in[pixel], self.dot_out[pixel])
                m.d.sync += self.dot_out[pixel].eq(before + products[pixel])
        request = Signal(DOT_REQUEST)
        m.d.comb += [
            request.valid.eq(active_late & (row_late == ROWS_PER_SET - 1) & self.dot_last),
            request.index.eq(late.out),
        ]
        return request

    def _raw(self, m: Module, dot: data.View) -> list[data.View]:
        """Accumulators, or the head's sums, queue up by rows and leave as words of two."""
        token = self._token
        cfg = self._configuration(m, token, "raw")
        words = max(1, self.config.pixels // 2)
        width = self.config.pixels * RAW_BITS
        m.submodules.queue = queue = SyncFIFO(width=width + 15, depth=8)
        index, raw = Signal(15), delayed(m, self.raw.as_value(), 1, "raw_in")
        sums = Signal(data.ArrayLayout(signed(RAW_BITS), self.config.pixels), name="dot_sums")
        m.d.comb += [sums[pixel].eq(self.dot_out[pixel]) for pixel in range(self.config.pixels)]
        m.d.comb += [
            index.eq(token.out + (self._row << exact_log2(words))),
            queue.w_data.eq(
                Mux(
                    dot.valid,
                    Cat(sums, dot.index),
                    Cat(raw, index),
                )
            ),
            queue.w_en.eq(dot.valid | (token.valid & cfg.raw & (self._row < cfg.raw_rows))),
        ]
        count = Signal(range(max(2, words)))
        values = Signal(64 * words)
        m.d.comb += values.eq(queue.r_data[:width])
        number = Signal(15)
        m.d.comb += [number.eq(queue.r_data[width:] + count), queue.r_en.eq(queue.r_rdy & (count == words - 1))]
        with m.If(queue.r_rdy):
            m.d.sync += count.eq(Mux(queue.r_en, 0, count + 1))
        writes = []
        for parity in range(2):
            write = Signal(MEMORY_WRITE, name=f"raw_{parity}", reset_less=True)
            m.d.sync += [
                write.enable.eq(Mux(queue.r_rdy & (number[0] == parity), 0xFF, 0)),
                write.address.eq(number[1:]),
                write.data.eq(values.word_select(count, 64)),
            ]
            writes.append(write)
        return writes

    def _memories(self, m: Module, writes: list[data.View], raw_writes: list[data.View], pool_write: data.View) -> None:
        depth = self.config.out_words
        outputs = []
        sources = list(zip(writes, raw_writes, strict=True))
        for parity, (full, raw) in enumerate(sources):
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

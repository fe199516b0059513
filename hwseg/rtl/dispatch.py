"""The dispatcher: reads the program page by page and hands instructions to the three queues, in order.

On `start` it sends the reader a transfer of the first page of its own making; every later page is brought by a
LOAD of the program.  Page k stands at half k & 1 of the instruction memory.  Addresses of the memory become absolute
here: `base` is added while the rest of the instruction is read.  An instruction takes `INTERVAL` cycles
when its queue has room.  HALT waits until all units are idle; `abort` ends the run at once.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from hwseg.rtl.block_ram import BlockRam
from hwseg.rtl.compute import COUNTER_BITS
from hwseg.rtl.config import INSTRUCTION_WORDS, PAGE_INSTRUCTIONS, PAGE_WORDS
from hwseg.rtl.cores.pipeline import unreset
from hwseg.rtl.isa import Opcode, Target
from hwseg.rtl.landing import WORD_WRITE
from hwseg.rtl.layouts import LOAD_LAYOUT, STORE_LAYOUT


class Dispatcher(Component):
    """`start`: one-cycle pulse.  `read`, `store`, `compute`: instruction streams.  `done`: after HALT."""

    INTERVAL = 6
    """Cycles from one dispatched instruction to the next: four reads, the first while the instruction before is handed
    over, two cycles of memory latency, one to hand over.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "base": In(32),
                "program_start": In(32),
                "program_words": In(24),
                "write": In(WORD_WRITE),
                "pages": In(COUNTER_BITS),
                "units_idle": In(1),
                "abort": In(1),
                "read": Out(stream.Signature(unsigned(256))),
                "store": Out(stream.Signature(unsigned(256))),
                "compute": Out(stream.Signature(unsigned(256))),
                "busy": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.instructions = memory = BlockRam(64, 2 * PAGE_WORDS)
        number = Signal(COUNTER_BITS + 7)
        word = Signal(range(INSTRUCTION_WORDS + 1))
        instruction = Signal(256, reset_less=True)
        page_bits = (PAGE_INSTRUCTIONS - 1).bit_length()
        page = number[page_bits:]
        # Where the next word is read: an instruction's first one while the one before is sent, or its page waited for.
        at = Signal(page_bits + 3)
        m.d.comb += [
            memory.write_address.eq(self.write.address),
            memory.write_data.eq(self.write.data),
            memory.write_enable.eq(self.write.enable),
            memory.read_address.eq(at),
            memory.read_enable.eq(1),
        ]
        load_at, store_at = unreset(load_at=32, store_at=32)
        # An instruction's first word, a cycle after it was read.
        begun = instruction[-64:]
        load, store = (
            data.View(layout, Cat(begun, Const(0, 256))[: layout.size]) for layout in (LOAD_LAYOUT, STORE_LAYOUT)
        )
        with m.If(word == 2):
            m.d.sync += [load_at.eq(load.ddr + self.base), store_at.eq(store.ddr + self.base)]
        first_page = Signal(LOAD_LAYOUT)
        m.d.comb += [
            first_page.opcode.eq(Opcode.LOAD),
            first_page.target.eq(Target.PROGRAM),
            first_page.ddr.eq(load_at),
            first_page.run_words.eq(Mux(self.program_words < PAGE_WORDS, self.program_words, PAGE_WORDS)),
            first_page.runs.eq(1),
            first_page.cost.eq(first_page.run_words),
        ]
        opcode = instruction[:4]
        is_compute = (opcode == Opcode.CONFIG) | (opcode == Opcode.RUN)
        is_store = opcode == Opcode.STORE
        m.d.comb += [
            self.read.payload.eq(instruction),
            self.store.payload.eq(instruction),
            self.compute.payload.eq(instruction),
            data.View(STORE_LAYOUT, self.store.payload[: STORE_LAYOUT.size]).ddr.eq(store_at),
        ]
        with m.If(opcode == Opcode.LOAD):
            m.d.comb += data.View(LOAD_LAYOUT, self.read.payload[: LOAD_LAYOUT.size]).ddr.eq(load_at)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [number.eq(0), word.eq(0), at.eq(0), load_at.eq(self.program_start + self.base)]
                with m.If(self.start):
                    m.next = "FIRST_PAGE"
            with m.State("FIRST_PAGE"):
                m.d.comb += [self.busy.eq(1), self.read.payload.eq(first_page), self.read.valid.eq(1)]
                with m.If(self.read.ready):
                    m.next = "PAGE"
            with m.State("PAGE"):
                # The page is complete: its number is smaller than the count of pages that have landed.
                m.d.comb += self.busy.eq(1)
                with m.If(~(self.pages - page - 1)[COUNTER_BITS - 1]):
                    m.d.sync += at.eq(at + 1)
                    m.next = "READ"
                with m.If(self.abort):
                    m.next = "STOP"
            with m.State("READ"):
                m.d.comb += self.busy.eq(1)
                m.d.sync += word.eq(word + 1)
                with m.If(word < INSTRUCTION_WORDS - 1):
                    m.d.sync += at.eq(at + 1)
                with m.If(word != 0):
                    m.d.sync += instruction.eq(Cat(instruction[64:], memory.read_data))
                with m.If(word == INSTRUCTION_WORDS):
                    m.d.sync += word.eq(0)
                    m.next = "SEND"
                with m.If(self.abort):
                    m.next = "STOP"
            with m.State("SEND"):
                m.d.comb += self.busy.eq(1)
                sent = Mux(is_compute, self.compute.ready, Mux(is_store, self.store.ready, self.read.ready))
                with m.If(opcode == Opcode.HALT):
                    with m.If(self.units_idle):
                        m.d.comb += self.done.eq(1)
                        m.next = "IDLE"
                with m.Else():
                    m.d.comb += [
                        self.compute.valid.eq(is_compute),
                        self.store.valid.eq(is_store),
                        self.read.valid.eq(~is_compute & ~is_store),
                    ]
                    with m.If(sent):
                        m.d.sync += number.eq(number + 1)
                        with m.If(number[:page_bits] == PAGE_INSTRUCTIONS - 1):
                            m.next = "PAGE"
                        with m.Else():
                            m.d.sync += at.eq(at + 1)
                            m.next = "READ"
                with m.If(self.abort):
                    m.next = "STOP"
            with m.State("STOP"):
                m.d.comb += [self.busy.eq(1), self.done.eq(1)]
                m.next = "IDLE"
        return m

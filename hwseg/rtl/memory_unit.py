"""The memory unit: reader and writer on one 64-bit AXI port (AXI4, or AXI3: at most 16 beats a burst), and the pacer
between them.

    pacer    a LOAD or STORE that starts keeps the memory for `cost` cycles (the compiler's figure, from the board's DDR
             rate); no other may start in them.  If both could start in one cycle, the one that did not go last does.

The reader's and the writer's channels run at the same time: together they ask for what the DDR gives, no more.

A fault (error response, address outside the grant) or a stop halts the unit: it takes no further instruction and issues
no further burst, and when every burst on the bus has ended `quiet` says so.
"""

from __future__ import annotations

from amaranth.hdl import Module, ResetSignal, Signal, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from hwseg.rtl.bank_writes import LOOP_READ
from hwseg.rtl.bus import AXI, FAULT, GRANT, READ_CHANNEL, Outlet
from hwseg.rtl.compute import COUNTER_BITS
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.cores.pipeline import unreset
from hwseg.rtl.emit import Library
from hwseg.rtl.landing import WORD_WRITE, WORDS_OUT
from hwseg.rtl.reader import Reader
from hwseg.rtl.registers import CAUSE_OUTSIDE, CAUSE_READ, CAUSE_STOPPED, CAUSE_WRITE
from hwseg.rtl.requantize import PARAMETER_WRITE
from hwseg.rtl.resets import reset_apart
from hwseg.rtl.weights import WEIGHT
from hwseg.rtl.window import BANK_WRITE
from hwseg.rtl.writer import OUTPUT_READ, Writer


class MemoryUnit(Component):
    """LOAD, MOVE and STORE.  `runs`: completed RUNs; `loads`, `stores`: completed counts modulo 2**16 (see
    `hwseg.rtl.isa`).  `cause`, `address`: of the first fault; `error` while there is one.
    """

    def __init__(self, config: EngineConfig, library: Library | None = None) -> None:
        self.config, self.library = config, library or Library()
        super().__init__(
            {
                "read_instruction": In(stream.Signature(unsigned(256))),
                "write_instruction": In(stream.Signature(unsigned(256))),
                "runs": In(COUNTER_BITS),
                "grant": In(GRANT),
                "stop": In(1),
                "clear": In(1),
                "axi": Out(AXI),
                "bank_write": Out(BANK_WRITE),
                "weight": Out(WEIGHT),
                "parameter_write": Out(PARAMETER_WRITE),
                "parameter_set": Out(3),
                "program_write": Out(WORD_WRITE),
                "pages": Out(COUNTER_BITS),
                "loop_read": Out(LOOP_READ),
                "loop_data": In(data.ArrayLayout(64, 2)),
                "output_read": Out(OUTPUT_READ),
                "output_data": In(64),
                "loads": Out(COUNTER_BITS),
                "stores": Out(COUNTER_BITS),
                "idle": Out(1),
                "error": Out(1),
                "cause": Out(3),
                "address": Out(32),
                "quiet": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.reader = reader = Reader(self.config)
        writer = Writer()
        reset_apart(m, self.library, "writer", writer, ResetSignal())
        for unit, instruction in ((reader, self.read_instruction), (writer, self.write_instruction)):
            m.d.comb += [
                unit.instruction.payload.eq(instruction.payload),
                unit.instruction.valid.eq(instruction.valid),
                instruction.ready.eq(unit.instruction.ready),
                unit.runs.eq(self.runs),
                unit.grant.eq(self.grant),
                unit.halt.eq(self.error),
            ]
        for name, unit in (("ar", reader), ("aw", writer), ("w", writer)):
            ours, theirs = getattr(self.axi, name), getattr(unit, name)
            m.d.comb += [ours.payload.eq(theirs.payload), ours.valid.eq(theirs.valid), theirs.ready.eq(ours.ready)]
        m.submodules.r_inlet = inlet = Outlet(READ_CHANNEL)
        # From the port's side of the part to the reader's.
        word, there = Signal(READ_CHANNEL, name="word", reset_less=True), Signal(name="word_there")
        with m.If(inlet.channel.ready):
            m.d.sync += [word.eq(inlet.channel.payload), there.eq(inlet.channel.valid)]
        m.d.comb += [
            inlet.channel.ready.eq(~there | reader.r.ready),
            reader.r.valid.eq(there),
            reader.r.payload.eq(word),
            inlet.put.eq(self.axi.r.valid),
            inlet.payload.eq(self.axi.r.payload),
            self.axi.r.ready.eq(inlet.room),
            writer.b.payload.eq(self.axi.b.payload),
            writer.b.valid.eq(self.axi.b.valid),
            self.axi.b.ready.eq(writer.b.ready),
        ]
        for name in WORDS_OUT:
            m.d.comb += getattr(self, name).eq(getattr(reader, name))
        m.d.comb += [
            reader.acknowledged.eq(writer.acknowledged),
            reader.clear.eq(self.clear),
            reader.loop_data.eq(self.loop_data),
            self.output_read.eq(writer.output_read),
            writer.output_data.eq(self.output_data),
            self.stores.eq(writer.stores),
            self.idle.eq(reader.idle & writer.idle),
            self.quiet.eq(reader.quiet & writer.quiet),
        ]
        self._pace(m, reader, writer)
        self._keep_fault(m, reader, writer)
        return m

    def _keep_fault(self, m: Module, reader: Reader, writer: Writer) -> None:
        """Cause and address of the first fault, two registers behind it: what halts the units also stops words on their
        way into them, so it is not decided in the cycle in which they come.
        """
        first_fault, writes, reads = unreset(first_fault=32, write_fault=FAULT, read_fault=FAULT)
        wrote, read = Signal(name="write_faulty"), Signal(name="read_faulty")
        m.d.comb += self.address.eq(first_fault)
        m.d.sync += [
            writes.eq(writer.fault),
            reads.eq(reader.fault),
            wrote.eq(writer.fault.valid),
            read.eq(reader.fault.valid),
        ]
        with m.If(~self.error):
            for happened, cause, fault in (
                (self.stop, CAUSE_STOPPED, None),
                (wrote, CAUSE_WRITE, writes),
                (read, CAUSE_READ, reads),
            ):
                with m.If(happened):
                    m.d.sync += [self.error.eq(1), self.cause.eq(cause), first_fault.eq(0)]
                    if fault is not None:
                        m.d.sync += first_fault.eq(fault.address)
                        with m.If(fault.outside):
                            m.d.sync += self.cause.eq(CAUSE_OUTSIDE)

    @staticmethod
    def _pace(m: Module, reader: Reader, writer: Writer) -> None:
        rest, free, writer_went = Signal(20), Signal(init=1), Signal(init=1)
        m.d.comb += [
            reader.granted.eq(free & reader.request & (~writer.request | writer_went)),
            writer.granted.eq(free & writer.request & ~(reader.request & writer_went)),
        ]
        # `rest` counts from the cost down to 1; `free` is known a cycle before it is needed.
        with m.If(rest != 0):
            m.d.sync += rest.eq(rest - 1)
        m.d.sync += free.eq(rest <= 2)
        for unit in (reader, writer):
            with m.If(unit.granted):
                m.d.sync += [rest.eq(unit.cost), free.eq(unit.cost <= 1), writer_went.eq(unit is writer)]

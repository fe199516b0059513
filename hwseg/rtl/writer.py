"""The writer: executes STORE in order.

output memory -> queue -> write data channel; a STORE is acknowledged when the memory has answered all its bursts
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream
from amaranth.lib.fifo import SyncFIFO, SyncFIFOBuffered
from amaranth.lib.wiring import Component, In, Out

from hwseg.rtl.bus import ADDRESS_CHANNEL, FAULT, GRANT, WRITE_CHANNEL, Bursts
from hwseg.rtl.compute import COUNTER_BITS
from hwseg.rtl.config import BURST_BEATS
from hwseg.rtl.layouts import STORE_LAYOUT
from hwseg.rtl.window import ADDRESS_BITS

WRITE_QUEUE = 64
WRITE_INSTRUCTIONS = 16
"""STOREs that may wait for the memory's answers."""
READ_DELAY = 3
"""Cycles from an output memory's address to the word at the write queue."""
BURST_COUNT_BITS = 20

OUTPUT_READ = data.StructLayout({"enable": 1, "set": 3, "split": 1, "pool": 1, "parity": 1, "address": ADDRESS_BITS})
OPEN_STORE = data.StructLayout({"bursts": BURST_COUNT_BITS, "address": 32})


class Writer(Component):
    """`stores`: STOREs whose words have left the output memory; `acknowledged`: STOREs that the memory has answered,
    both modulo 2**16.  `request` and `granted` share the memory with the reader.  `idle`: nothing is open and nothing
    waits; `quiet`: nothing is open on the bus.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "instruction": In(stream.Signature(unsigned(256))),
                "runs": In(COUNTER_BITS),
                "base": In(32),
                "grant": In(GRANT),
                "halt": In(1),
                "request": Out(1),
                "granted": In(1),
                "cost": Out(20),
                "aw": Out(stream.Signature(ADDRESS_CHANNEL)),
                "w": Out(stream.Signature(WRITE_CHANNEL)),
                "b": In(stream.Signature(unsigned(2))),
                "output_read": Out(OUTPUT_READ),
                "output_data": In(64),
                "stores": Out(COUNTER_BITS),
                "acknowledged": Out(COUNTER_BITS),
                "idle": Out(1),
                "quiet": Out(1),
                "fault": Out(FAULT),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.bursts = bursts = Bursts()
        m.submodules.open = unanswered = SyncFIFO(width=OPEN_STORE.size, depth=WRITE_INSTRUCTIONS)
        held = Signal(STORE_LAYOUT, reset_less=True)
        start, count, began = Signal(32), Signal(BURST_COUNT_BITS), Signal()
        waiting, bursts_open = Signal(range(WRITE_INSTRUCTIONS + 1)), Signal(16)
        view = data.View(STORE_LAYOUT, self.instruction.payload[: STORE_LAYOUT.size])
        m.d.comb += [
            self.cost.eq(held.cost),
            self.quiet.eq((bursts_open == 0) & ~bursts.busy),
            bursts.grant.eq(self.grant),
            bursts.halt.eq(self.halt),
            bursts.transfer.address.eq(start),
            bursts.transfer.run_words.eq(held.run_words),
            bursts.transfer.runs.eq(held.runs),
            bursts.transfer.stride.eq(held.ddr_stride),
            bursts.begin.eq(self.granted),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [
                    self.instruction.ready.eq(~self.halt),
                    self.idle.eq(~self.instruction.valid & (waiting == 0) & (bursts_open == 0)),
                ]
                with m.If(self.instruction.valid & ~self.halt):
                    m.d.sync += [held.eq(view), start.eq(view.ddr + self.base), count.eq(0)]
                    m.next = "WAIT"
            with m.State("WAIT"):
                reached = ~(self.runs - held.wait_runs)[COUNTER_BITS - 1]
                m.d.comb += self.request.eq(reached & (waiting != WRITE_INSTRUCTIONS) & ~self.halt)
                with m.If(self.halt):
                    m.next = "IDLE"
                with m.Elif(self.granted):
                    m.d.comb += began.eq(1)
                    m.next = "BURSTS"
            with m.State("BURSTS"):
                with m.If(bursts.end | ~bursts.busy | bursts.outside):
                    m.next = "IDLE"

        with m.If(self.aw.ready):
            m.d.sync += self.aw.valid.eq(0)
        with m.If(bursts.go):
            m.d.sync += [
                self.aw.valid.eq(1),
                self.aw.payload.address.eq(bursts.address),
                self.aw.payload.length.eq(bursts.beats - 1),
                count.eq(count + 1),
            ]
        self._walk(m, held, began, bursts)
        self._leave(m, bursts)
        self._answers(m, bursts, unanswered, count, start, began, waiting, bursts_open)
        return m

    def _walk(self, m: Module, store: data.View, began: Signal, bursts: Bursts) -> None:
        """Source address of this cycle's beat: `planes` words per parity bank, runs `pitch` apart."""
        row, column, number, parity, words = Signal(14), Signal(14), Signal(4), Signal(), Signal(16)
        m.d.comb += [
            self.output_read.enable.eq(bursts.beat),
            self.output_read.set.eq(store.set),
            self.output_read.split.eq(store.split),
            self.output_read.pool.eq(store.pool),
            self.output_read.parity.eq(parity),
            self.output_read.address.eq(row + column + number),
        ]
        with m.If(bursts.beat):
            m.d.sync += [number.eq(number + 1), words.eq(words - 1)]
            with m.If(store.pool):
                m.d.sync += [number.eq(0), column.eq(column + 1)]
            with m.Elif(number == store.planes - 1):
                m.d.sync += [number.eq(0), parity.eq(~parity)]
                with m.If(parity):
                    m.d.sync += column.eq(column + store.planes)
            with m.If(words == 1):
                m.d.sync += [
                    row.eq(row + store.pitch),
                    column.eq(0),
                    number.eq(0),
                    parity.eq(0),
                    words.eq(store.run_words),
                ]
        with m.If(began):
            m.d.sync += [row.eq(store.address), column.eq(0), number.eq(0), parity.eq(0), words.eq(store.run_words)]

    def _leave(self, m: Module, bursts: Bursts) -> None:
        m.submodules.queue = queue = SyncFIFOBuffered(width=65, depth=WRITE_QUEUE)
        delayed: Any = Signal(data.StructLayout({"valid": 1, "last": 1, "end": 1}), name="beat")
        m.d.comb += [delayed.valid.eq(bursts.beat), delayed.last.eq(bursts.burst_end), delayed.end.eq(bursts.end)]
        for stage in range(READ_DELAY):
            later = Signal(delayed.shape(), name=f"beat_{stage}")
            m.d.sync += later.eq(delayed)
            delayed = later
        reserved = Signal(range(WRITE_QUEUE + 1))
        taken = self.w.valid & self.w.ready
        m.d.sync += reserved.eq(reserved + bursts.beat - taken)
        m.d.comb += [
            bursts.ready.eq((~self.aw.valid | self.aw.ready) & (reserved <= WRITE_QUEUE - BURST_BEATS)),
            queue.w_en.eq(delayed.valid),
            queue.w_data.eq(Cat(self.output_data, delayed.last)),
            self.w.valid.eq(queue.r_rdy),
            self.w.payload.data.eq(queue.r_data[:64]),
            self.w.payload.last.eq(queue.r_data[64]),
            queue.r_en.eq(self.w.ready),
        ]
        with m.If(delayed.valid & delayed.end):
            m.d.sync += self.stores.eq(self.stores + 1)

    def _answers(
        self,
        m: Module,
        bursts: Bursts,
        unanswered: SyncFIFO,
        count: Signal,
        start: Signal,
        began: Signal,
        waiting: Signal,
        bursts_open: Signal,
    ) -> None:
        """Responses come in order: each STORE's number of bursts stands in a queue."""
        pushed, oldest = Signal(OPEN_STORE), data.View(OPEN_STORE, unanswered.r_data)
        answers, answered, complete = Signal(BURST_COUNT_BITS), Signal(), Signal()
        finished = Signal()
        m.d.sync += finished.eq(bursts.end)
        m.d.comb += [
            pushed.bursts.eq(count),
            pushed.address.eq(start),
            unanswered.w_data.eq(pushed),
            unanswered.w_en.eq(finished),
            self.b.ready.eq(1),
            answered.eq(self.b.valid),
            complete.eq(unanswered.r_rdy & (answers == oldest.bursts)),
            unanswered.r_en.eq(complete),
        ]
        m.d.sync += [
            bursts_open.eq(bursts_open + bursts.go - answered),
            waiting.eq(waiting + began - complete),
            answers.eq(Mux(complete, answered, answers + answered)),
        ]
        with m.If(complete):
            m.d.sync += self.acknowledged.eq(self.acknowledged + 1)
        m.d.comb += [
            self.fault.valid.eq((self.b.valid & self.b.payload[1]) | bursts.outside),
            self.fault.outside.eq(bursts.outside),
            self.fault.address.eq(Mux(bursts.outside, bursts.address, Mux(unanswered.r_rdy, oldest.address, start))),
        ]

"""The writer: executes STORE in order.

output memory -> queue -> write data channel; a STORE is acknowledged when the memory has answered all its bursts
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hwseg.rtl.bus import ADDRESS_CHANNEL, FAULT, GRANT, WRITE_CHANNEL, Bursts, Outlet
from hwseg.rtl.compute import COUNTER_BITS
from hwseg.rtl.config import BURST_BEATS
from hwseg.rtl.cores.pipeline import delayed, unreset
from hwseg.rtl.layouts import STORE_LAYOUT
from hwseg.rtl.window import ADDRESS_BITS

WRITE_QUEUE = 64
WRITE_INSTRUCTIONS = 16
"""STOREs that may wait for the memory's answers."""
ADDRESS_DELAY = 2
"""Cycles from a beat to its address at the output memories."""
READ_DELAY = 3
"""Cycles from an output memory's address to the word at the write queue."""
IN_FLIGHT = 2
"""Beats that the queue's room is not told of yet when the next burst asks for it."""
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
        held = Signal(STORE_LAYOUT, reset_less=True)
        began, pushed, complete = Signal(), Signal(), Signal()
        waiting, may_store = Signal(range(WRITE_INSTRUCTIONS + 1)), Signal()
        start = Signal(32, reset_less=True)
        view = data.View(STORE_LAYOUT, self.instruction.payload[: STORE_LAYOUT.size])
        m.d.comb += [
            self.cost.eq(held.cost),
            bursts.grant.eq(self.grant),
            bursts.halt.eq(self.halt),
            bursts.transfer.address.eq(view.ddr),
            bursts.transfer.run_words.eq(view.run_words),
            bursts.transfer.runs.eq(view.runs),
            bursts.transfer.stride.eq(view.ddr_stride),
            bursts.allow.eq(self.granted),
        ]
        # Known a cycle before it is looked at: `WAIT` begins when that is of the instruction held.
        reached = ~(self.runs - held.wait_runs)[COUNTER_BITS - 1]
        m.d.sync += may_store.eq(reached & (waiting != WRITE_INSTRUCTIONS))
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [
                    self.instruction.ready.eq(~self.halt),
                    self.idle.eq(~self.instruction.valid & (waiting == 0)),
                ]
                with m.If(self.instruction.valid & ~self.halt):
                    m.d.comb += bursts.load.eq(1)
                    m.d.sync += [held.eq(view), start.eq(view.ddr)]
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                m.next = "WAIT"
            with m.State("WAIT"):
                # A transfer that is granted as the unit halts issues nothing.
                m.d.comb += self.request.eq(may_store & bursts.prepared)
                with m.If(self.halt):
                    m.next = "IDLE"
                with m.Elif(self.granted):
                    m.d.comb += began.eq(1)
                    m.next = "BURSTS"
            with m.State("BURSTS"):
                with m.If(bursts.end | ~bursts.busy | bursts.outside):
                    m.next = "IDLE"

        # Told a cycle late, before the next STORE can be there.
        m.d.sync += [pushed.eq(began), waiting.eq(waiting + pushed - complete)]
        self._walk(m, held, began, bursts)
        self._leave(m, bursts)
        self._count_bursts(m, bursts)
        self._answers(m, bursts, start, complete)
        return m

    def _walk(self, m: Module, store: data.View, began: Signal, bursts: Bursts) -> None:
        """Source address of each beat: `planes` words per parity bank, runs `pitch` apart; added up in two cycles."""
        row, column, number, parity, words = unreset(row=14, column=14, number=4, parity=1, words=16)
        base, offset, early, read = unreset(base=14, offset=4, early=3, read=OUTPUT_READ)
        enable = delayed(m, bursts.beat, ADDRESS_DELAY, "read_enable", reset_less=False)
        m.d.comb += [self.output_read.eq(read), self.output_read.enable.eq(enable)]
        m.d.sync += [
            base.eq(row + column),
            offset.eq(number),
            early.eq(Cat(store.split, store.pool, parity)),
            read.set.eq(store.set),
            Cat(read.split, read.pool, read.parity).eq(early),
            read.address.eq(base + offset),
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
        m.submodules.aw_outlet = addresses = Outlet(ADDRESS_CHANNEL, early=True)
        m.submodules.w_outlet = words = Outlet(WRITE_CHANNEL)
        m.submodules.queue = queue = SyncFIFO(width=65, depth=WRITE_QUEUE)
        connect(m, addresses.channel, flipped(self.aw))
        connect(m, words.channel, flipped(self.w))
        beat = Signal(data.StructLayout({"valid": 1, "last": 1, "end": 1}), name="beat")
        m.d.comb += [beat.valid.eq(bursts.beat), beat.last.eq(bursts.burst_end), beat.end.eq(bursts.end)]
        beats = [beat]
        for stage in range(ADDRESS_DELAY + READ_DELAY):
            beats.append(Signal(beat.shape(), name=f"beat_{stage}"))
            m.d.sync += beats[-1].eq(beats[-2])
        read, delayed_beat = beats[ADDRESS_DELAY + 1], beats[-1]
        reserved, room, taken = Signal(range(WRITE_QUEUE + 1)), Signal(), Signal()
        m.d.sync += [
            taken.eq(words.put),
            reserved.eq(reserved + beats[1].valid - taken),
            room.eq(reserved <= WRITE_QUEUE - BURST_BEATS - IN_FLIGHT),
        ]
        m.d.comb += [
            bursts.ready.eq(addresses.room & room),
            addresses.put.eq(bursts.go),
            addresses.payload.address.eq(bursts.address),
            addresses.payload.length.eq(bursts.length),
            queue.w_en.eq(delayed_beat.valid),
            queue.w_data.eq(Cat(self.output_data, delayed_beat.last)),
            words.payload.eq(queue.r_data),
            words.put.eq(queue.r_rdy & words.room),
            queue.r_en.eq(words.room),
        ]
        with m.If(read.valid & read.end):
            m.d.sync += self.stores.eq(self.stores + 1)

    def _count_bursts(self, m: Module, bursts: Bursts) -> None:
        """Bursts on the bus: what happens to them is counted a cycle later, and `quiet` says so another one later."""
        went, answered, bursts_open = Signal(), Signal(), Signal(16)
        m.d.sync += [
            went.eq(bursts.go),
            answered.eq(self.b.valid),
            bursts_open.eq(bursts_open + went - answered),
            self.quiet.eq((bursts_open == 0) & ~went & ~bursts.busy),
        ]

    def _answers(self, m: Module, bursts: Bursts, start: Signal, complete: Signal) -> None:
        """Responses come in order.  Bursts and answers are counted modulo 2**20, which is far more than can be on the
        bus; a STORE's last one stands in a queue, and when as many are answered the STORE is complete.
        """
        m.submodules.open = unanswered = SyncFIFO(width=OPEN_STORE.size, depth=WRITE_INSTRUCTIONS)
        pushed, oldest = Signal(OPEN_STORE), data.View(OPEN_STORE, unanswered.r_data)
        count, answers, finished, faulty = Signal(BURST_COUNT_BITS), Signal(BURST_COUNT_BITS), Signal(), Signal()
        with m.If(bursts.go):
            m.d.sync += count.eq(count + 1)
        with m.If(self.b.valid):
            m.d.sync += answers.eq(answers + 1)
        m.d.sync += [
            finished.eq(bursts.end),
            complete.eq(unanswered.r_en),
            faulty.eq(self.b.valid & self.b.payload[1]),
        ]
        m.d.comb += [
            pushed.bursts.eq(count),
            pushed.address.eq(start),
            unanswered.w_data.eq(pushed),
            unanswered.w_en.eq(finished),
            self.b.ready.eq(1),
            unanswered.r_en.eq(unanswered.r_rdy & ~(answers - oldest.bursts)[BURST_COUNT_BITS - 1]),
        ]
        with m.If(complete):
            m.d.sync += self.acknowledged.eq(self.acknowledged + 1)
        # A cycle behind its response an error meets the STORE that it belongs to at the queue's head.
        m.d.comb += [
            self.fault.valid.eq(faulty | bursts.outside),
            self.fault.outside.eq(bursts.outside),
            self.fault.address.eq(Mux(bursts.outside, bursts.address, Mux(unanswered.r_rdy, oldest.address, start))),
        ]

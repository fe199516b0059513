"""The memory unit: executes LOAD and STORE in order on one 64-bit AXI port (AXI4, or AXI3: at most 16 beats a burst).

    issue    one instruction after the other; a transfer's runs are cut at 128-byte boundaries into bursts, and each
             burst keeps the unit for exactly its number of beats: reads and writes together never ask for more than
             one beat a cycle, and data of a read arrive while the next instruction is already being issued; at most
             `READ_INSTRUCTIONS` LOADs wait for data
    arrive   words in order of the addresses; each LOAD's descriptor says where they go
    leave    output memory -> queue -> write data channel; responses are counted for `fence`

An error response stops the unit: it takes no further instruction, and when every burst on the bus has ended `quiet`
says so; `error` stays set until `clear`.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream
from amaranth.lib.fifo import SyncFIFO, SyncFIFOBuffered
from amaranth.lib.wiring import Component, In, Out, Signature

from hwseg.rtl.compute import COUNTER_BITS
from hwseg.rtl.config import BURST_BEATS, EngineConfig
from hwseg.rtl.isa import PARAMETER, Opcode, Target
from hwseg.rtl.layouts import LOAD_LAYOUT, STORE_LAYOUT
from hwseg.rtl.requantize import PARAMETER_WRITE, TRIPLE
from hwseg.rtl.window import ADDRESS_BITS, BANK_WRITE

READ_INSTRUCTIONS = 16
WRITE_QUEUE = 64
READ_DELAY = 3
"""Cycles from an output memory's address to the word at the write queue."""

ADDRESS_CHANNEL = data.StructLayout({"address": 32, "length": 4})
READ_CHANNEL = data.StructLayout({"data": 64, "response": 2, "last": 1})
WRITE_CHANNEL = data.StructLayout({"data": 64, "last": 1})

AXI = Signature(
    {
        "ar": Out(stream.Signature(ADDRESS_CHANNEL)),
        "r": In(stream.Signature(READ_CHANNEL)),
        "aw": Out(stream.Signature(ADDRESS_CHANNEL)),
        "w": Out(stream.Signature(WRITE_CHANNEL)),
        "b": In(stream.Signature(unsigned(2))),
    }
)
"""The five channels; addresses in bytes, `length` is beats - 1.  Size 8 bytes, incrementing bursts, one ID."""

WORD_WRITE = data.StructLayout({"enable": 1, "address": 10, "data": 64})
OUTPUT_READ = data.StructLayout({"set": 3, "pool": 1, "parity": 1, "address": ADDRESS_BITS})


class MemoryUnit(Component):
    """LOAD and STORE.  `runs`: completed RUNs; `loads`, `stores`: completed counts modulo 2**16 (see
    `hwseg.rtl.isa`).
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "instruction": In(stream.Signature(unsigned(256))),
                "runs": In(COUNTER_BITS),
                "base": In(32),
                "clear": In(1),
                "axi": Out(AXI),
                "bank_write": Out(BANK_WRITE),
                "weight": Out(data.StructLayout({"enable": 1, "data": 64})),
                "parameter_write": Out(PARAMETER_WRITE),
                "parameter_set": Out(3),
                "program_write": Out(WORD_WRITE),
                "pages": Out(COUNTER_BITS),
                "output_read": Out(OUTPUT_READ),
                "output_data": In(64),
                "loads": Out(COUNTER_BITS),
                "stores": Out(COUNTER_BITS),
                "idle": Out(1),
                "error": Out(1),
                "quiet": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.descriptors = descriptors = SyncFIFO(width=LOAD_LAYOUT.size, depth=READ_INSTRUCTIONS)
        writes_open, loads_open = Signal(16), Signal(16)
        beat = self._issue(m, descriptors, writes_open, loads_open)
        self._leave(m, beat, writes_open)
        self._arrive(m, descriptors, loads_open)
        with m.If(
            (self.axi.r.valid & self.axi.r.ready & self.axi.r.payload.response[1])
            | (self.axi.b.valid & self.axi.b.payload[1])
        ):
            m.d.sync += self.error.eq(1)
        with m.If(self.clear):
            # The hardware's own transfer of the first page is a LOAD before number 0.
            m.d.sync += [self.loads.eq(0xFFFF), self.stores.eq(0), self.pages.eq(0), self.error.eq(0)]
        return m

    def _issue(self, m: Module, descriptors: SyncFIFO, writes_open: Signal, loads_open: Signal) -> data.View:
        """Walk runs and bursts.  Returns the STORE beat of this cycle."""
        held = Signal(256)
        load = data.View(LOAD_LAYOUT, held[: LOAD_LAYOUT.size])
        store = data.View(STORE_LAYOUT, held[: STORE_LAYOUT.size])
        storing = Signal()
        m.d.comb += storing.eq(load.opcode == Opcode.STORE)
        address, run_start, stride = Signal(32), Signal(32), Signal(24)
        left, runs_left, run_words = Signal(16), Signal(12), Signal(16)
        beats, rest, burst_go, step_end = Signal(5), Signal(5), Signal(), Signal()
        to_boundary = Signal(5)
        m.d.comb += [
            to_boundary.eq(BURST_BEATS - address[3:7]),
            beats.eq(Mux(left < to_boundary, left, to_boundary)),
        ]
        queue_room = Signal()
        self._queue_room = queue_room
        channel_free = Mux(
            storing,
            (~self.axi.aw.valid | self.axi.aw.ready) & queue_room,
            ~self.axi.ar.valid | self.axi.ar.ready,
        )
        last_burst = Signal()
        m.d.comb += last_burst.eq((beats == left) & (runs_left == 1))
        ending = Signal()
        with m.If(self.axi.ar.ready):
            m.d.sync += self.axi.ar.valid.eq(0)
        with m.If(self.axi.aw.ready):
            m.d.sync += self.axi.aw.valid.eq(0)

        view = data.View(LOAD_LAYOUT, self.instruction.payload[: LOAD_LAYOUT.size])
        store_view = data.View(STORE_LAYOUT, self.instruction.payload[: STORE_LAYOUT.size])
        is_store = view.opcode == Opcode.STORE
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.instruction.ready.eq(~self.error)
                m.d.comb += [
                    self.quiet.eq((writes_open == 0) & (loads_open == 0)),
                    self.idle.eq(~self.instruction.valid & self.quiet),
                ]
                start = Mux(is_store, store_view.ddr, view.ddr) + self.base
                m.d.sync += [
                    held.eq(self.instruction.payload),
                    address.eq(start),
                    run_start.eq(start),
                    stride.eq(Mux(is_store, store_view.ddr_stride, view.ddr_stride)),
                    left.eq(Mux(is_store, store_view.run_words, view.run_words)),
                    run_words.eq(Mux(is_store, store_view.run_words, view.run_words)),
                    runs_left.eq(Mux(is_store, store_view.runs, view.runs)),
                ]
                with m.If(self.instruction.valid & ~self.error):
                    m.next = "WAIT"
            with m.State("WAIT"):
                wait = Mux(storing, store.wait_runs, load.wait_runs)
                ready = ~(self.runs - wait)[COUNTER_BITS - 1]
                fence = ~storing & load.fence & (writes_open != 0)
                with m.If(self.error):
                    m.next = "IDLE"
                with m.Elif(ready & ~fence & (storing | descriptors.w_rdy)):
                    m.d.comb += descriptors.w_en.eq(~storing)
                    m.next = "BURST"
            with m.State("BURST"):
                with m.If(channel_free):
                    m.d.comb += [burst_go.eq(1), step_end.eq(beats == 1)]
                    m.d.sync += [rest.eq(beats - 1), ending.eq(last_burst)]
                    with m.If(beats != 1):
                        m.next = "BEATS"
                    with m.Elif(last_burst):
                        m.next = "IDLE"
            with m.State("BEATS"):
                m.d.sync += rest.eq(rest - 1)
                with m.If(rest == 1):
                    m.d.comb += step_end.eq(1)
                    m.next = "BURST"
                    with m.If(ending):
                        m.next = "IDLE"

        m.d.comb += descriptors.w_data.eq(load)
        with m.If(burst_go):
            with m.If(storing):
                m.d.sync += [
                    self.axi.aw.valid.eq(1),
                    self.axi.aw.payload.address.eq(address),
                    self.axi.aw.payload.length.eq(beats - 1),
                ]
            with m.Else():
                m.d.sync += [
                    self.axi.ar.valid.eq(1),
                    self.axi.ar.payload.address.eq(address),
                    self.axi.ar.payload.length.eq(beats - 1),
                ]
            m.d.sync += [address.eq(address + (beats << 3)), left.eq(left - beats)]
            with m.If(beats == left):
                m.d.sync += [
                    left.eq(run_words),
                    address.eq(run_start + stride),
                    run_start.eq(run_start + stride),
                    runs_left.eq(runs_left - 1),
                ]
        m.d.sync += [
            writes_open.eq(writes_open + (burst_go & storing) - (self.axi.b.valid & self.axi.b.ready)),
        ]
        m.d.comb += self.axi.b.ready.eq(1)
        self._load_started = descriptors.w_en & descriptors.w_rdy
        beating = Signal()
        active = Signal()
        m.d.comb += [active.eq((burst_go | (rest != 0)) & storing), beating.eq(active)]
        return self._store_walk(m, store, active, burst_go, step_end, ending, last_burst)

    def _store_walk(
        self,
        m: Module,
        store: data.View,
        active: Signal,
        burst_go: Signal,
        burst_end: Signal,
        ending: Signal,
        last_burst: Signal,
    ) -> data.View:
        """Source address of this cycle's beat: `planes` words per parity bank, runs `pitch` apart."""
        first = Signal()
        row, column, number, parity, words = Signal(14), Signal(14), Signal(4), Signal(), Signal(16)
        with m.If(self.instruction.valid & self.instruction.ready):
            view = data.View(STORE_LAYOUT, self.instruction.payload[: STORE_LAYOUT.size])
            m.d.sync += [row.eq(view.address), column.eq(0), number.eq(0), parity.eq(0), words.eq(view.run_words)]
        m.d.comb += [
            first.eq(burst_go),
            self.output_read.set.eq(store.set),
            self.output_read.pool.eq(store.pool),
            self.output_read.parity.eq(parity),
            self.output_read.address.eq(row + column + number),
        ]
        with m.If(active):
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
        beat = Signal(data.StructLayout({"valid": 1, "last": 1, "end": 1}))
        final_now = Mux(burst_go, last_burst, ending)
        m.d.comb += [beat.valid.eq(active), beat.last.eq(burst_end), beat.end.eq(burst_end & final_now)]
        return beat

    def _leave(self, m: Module, beat: data.View, writes_open: Signal) -> None:
        m.submodules.queue = queue = SyncFIFOBuffered(width=65, depth=WRITE_QUEUE)
        delayed = beat
        for stage in range(READ_DELAY):
            later = Signal.like(beat, name=f"beat_{stage}")
            m.d.sync += later.eq(delayed)
            delayed = later
        reserved = Signal(range(WRITE_QUEUE + 1))
        taken = self.axi.w.valid & self.axi.w.ready
        m.d.sync += reserved.eq(reserved + beat.valid - taken)
        m.d.comb += [
            self._queue_room.eq(reserved <= WRITE_QUEUE - BURST_BEATS),
            queue.w_en.eq(delayed.valid),
            queue.w_data.eq(Cat(self.output_data, delayed.last)),
            self.axi.w.valid.eq(queue.r_rdy),
            self.axi.w.payload.data.eq(queue.r_data[:64]),
            self.axi.w.payload.last.eq(queue.r_data[64]),
            queue.r_en.eq(self.axi.w.ready),
        ]
        with m.If(delayed.valid & delayed.end):
            m.d.sync += self.stores.eq(self.stores + 1)

    def _arrive(self, m: Module, descriptors: SyncFIFO, loads_open: Signal) -> None:
        """Put each word where its LOAD says."""
        load = Signal(LOAD_LAYOUT)
        active = Signal()
        next_load = data.View(LOAD_LAYOUT, descriptors.r_data)
        row, column, number, row_phase, column_phase = Signal(14), Signal(14), Signal(4), Signal(2), Signal(2)
        words, runs = Signal(16), Signal(12)
        channel, low_word = Signal(6), Signal(64)
        take, last_word, last = Signal(), Signal(), Signal()
        m.d.comb += [
            self.axi.r.ready.eq(active),
            take.eq(active & self.axi.r.valid),
            last_word.eq(words == 1),
            last.eq(take & last_word & (runs == 1)),
            descriptors.r_en.eq(~active | last),
        ]
        word = self.axi.r.payload.data
        bank = Signal(4)
        window = load.target == Target.WINDOW
        m.d.comb += bank.eq(Mux(window, (row_phase << 1) + row_phase + column_phase, load.bank))
        m.d.sync += [
            self.bank_write.enable.eq(0),
            self.bank_write.address.eq(row + column + number),
            self.bank_write.data.eq(word),
            self.weight.enable.eq(take & (load.target == Target.WEIGHTS)),
            self.weight.data.eq(word),
            self.program_write.enable.eq(take & (load.target == Target.PROGRAM)),
            self.program_write.address.eq(row + column + number),
            self.program_write.data.eq(word),
            self.parameter_write.enable.eq(0),
            self.parameter_write.address.eq(Cat(channel[:3], row[:8])),
            self.parameter_write.data.eq(self._triple(low_word, word)),
            self.parameter_set.eq(channel[3:]),
        ]
        with m.If(take):
            m.d.sync += words.eq(words - 1)
            with m.If(window | (load.target == Target.POINT)):
                m.d.sync += self.bank_write.enable.eq(1 << bank)
            with m.If(window):
                m.d.sync += number.eq(number + 1)
                with m.If(number == load.planes - 1):
                    m.d.sync += [number.eq(0), column_phase.eq(column_phase + 1)]
                    with m.If(column_phase == 2):
                        m.d.sync += [column_phase.eq(0), column.eq(column + load.planes)]
            with m.Elif(load.target == Target.PARAMETERS):
                # Two words per output channel; `row` counts slots.
                m.d.sync += number.eq(~number[0])
                with m.If(number[0]):
                    m.d.sync += [self.parameter_write.enable.eq(1), channel.eq(channel + 1)]
                    with m.If(channel == self.config.rows - 1):
                        m.d.sync += [channel.eq(0), row.eq(row + 1)]
                with m.Else():
                    m.d.sync += low_word.eq(word)
            with m.Else():
                m.d.sync += column.eq(column + 1)
            with m.If(last_word & (load.target != Target.PARAMETERS)):
                m.d.sync += [words.eq(load.run_words), runs.eq(runs - 1), number.eq(0)]
                m.d.sync += [column.eq(Mux(window, load.column_address, 0)), column_phase.eq(load.column_phase)]
                with m.If(window):
                    m.d.sync += row_phase.eq(row_phase + 1)
                    with m.If(row_phase == 2):
                        m.d.sync += [row_phase.eq(0), row.eq(row + load.pitch)]
                with m.Else():
                    m.d.sync += row.eq(row + load.pitch)
        with m.If(last):
            m.d.sync += [active.eq(0), self.loads.eq(self.loads + 1)]
            with m.If(load.target == Target.PROGRAM):
                m.d.sync += self.pages.eq(self.pages + 1)
        with m.If(descriptors.r_rdy & descriptors.r_en):
            m.d.sync += [
                active.eq(1),
                load.eq(next_load),
                row.eq(next_load.address),
                column.eq(Mux(next_load.target == Target.WINDOW, next_load.column_address, 0)),
                number.eq(0),
                row_phase.eq(next_load.row_phase),
                column_phase.eq(next_load.column_phase),
                words.eq(next_load.run_words),
                runs.eq(next_load.runs),
                channel.eq(0),
            ]
        m.d.sync += loads_open.eq(loads_open + self._load_started - last)

    @staticmethod
    def _triple(low: Signal, high: Signal) -> data.View:
        """Parameter words as `hwseg.rtl.isa.PARAMETER` lays them out, without the unused bits."""
        fields, offsets = PARAMETER.fields, PARAMETER.offsets
        used = offsets["reserved"]
        return data.View(TRIPLE, Cat(low[:used], high[: fields["multiplier"]]))

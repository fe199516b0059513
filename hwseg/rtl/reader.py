"""The reader: executes LOAD and MOVE in order.

    issue    one instruction after the other.  A LOAD keeps it for one cycle per beat, a MOVE for its `cost`, in which
             no read data is asked for: so the bank's write port is free when the MOVE's words go through it
    arrive   in the same order: words from memory, or from the loop memory, go where the instruction says

At most `READ_INSTRUCTIONS` instructions stand between the two.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import Component, In, Out

from hwseg.rtl.bus import ADDRESS_CHANNEL, FAULT, GRANT, READ_CHANNEL, Bursts
from hwseg.rtl.compute import COUNTER_BITS
from hwseg.rtl.config import BANKS, EngineConfig
from hwseg.rtl.isa import LOAD, PARAMETER, Opcode, Target
from hwseg.rtl.layouts import LOAD_LAYOUT, MOVE_LAYOUT
from hwseg.rtl.requantize import PARAMETER_WRITE, TRIPLE
from hwseg.rtl.weights import WEIGHT
from hwseg.rtl.window import ADDRESS_BITS, BANK_WRITE

READ_INSTRUCTIONS = 16
LOOP_DELAY = 3
"""Cycles from the loop memory's address to its words."""

WORD_WRITE = data.StructLayout({"enable": 1, "address": 10, "data": 64})
LOOP_READ = data.StructLayout({"enable": 1, "set": 3, "split": 1, "address": ADDRESS_BITS})

PLACE = data.StructLayout({"enable": BANKS, "column": 2, "near": ADDRESS_BITS, "far": ADDRESS_BITS, "parity": 1})
"""Where a step's words go: word column `column` (modulo 3) at address `near`, every other column at `far`."""


KIND = LOAD.offsets["layer"]
PLACING = slice(LOAD.offsets["ddr"], LOAD.offsets["wait_stores"])
"""Bits of LOAD and MOVE: what it is, and where words come from and go; the rest only says when."""


def placing(instruction: data.View) -> Value:
    """What must be known of an instruction when its words arrive."""
    bits = instruction.as_value()
    return Cat(bits[:KIND], bits[PLACING])


def whole(kept: Value) -> Value:
    """An instruction with what `placing` keeps of it, each field in its place."""
    missing = PLACING.start - KIND
    return Cat(kept[:KIND], Const(0, missing), kept[KIND:], Const(0, LOAD_LAYOUT.size - missing - len(kept)))


class Reader(Component):
    """`runs`, `acknowledged`: counts to wait for; `loads`: LOADs and MOVEs that have landed, modulo 2**16.
    `request` and `granted` share the memory with the writer.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "instruction": In(stream.Signature(unsigned(256))),
                "runs": In(COUNTER_BITS),
                "acknowledged": In(COUNTER_BITS),
                "base": In(32),
                "grant": In(GRANT),
                "halt": In(1),
                "clear": In(1),
                "request": Out(1),
                "granted": In(1),
                "cost": Out(20),
                "ar": Out(stream.Signature(ADDRESS_CHANNEL)),
                "r": In(stream.Signature(READ_CHANNEL)),
                "bank_write": Out(BANK_WRITE),
                "weight": Out(WEIGHT),
                "parameter_write": Out(PARAMETER_WRITE),
                "parameter_set": Out(3),
                "program_write": Out(WORD_WRITE),
                "pages": Out(COUNTER_BITS),
                "loop_read": Out(LOOP_READ),
                "loop_data": In(data.ArrayLayout(64, 2)),
                "loads": Out(COUNTER_BITS),
                "idle": Out(1),
                "quiet": Out(1),
                "fault": Out(FAULT),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.bursts = bursts = Bursts()
        m.submodules.descriptors = descriptors = SyncFIFO(
            width=len(placing(Signal(LOAD_LAYOUT))), depth=READ_INSTRUCTIONS
        )
        loads_open, bursts_open = Signal(16), Signal(16)
        self._issue(m, bursts, descriptors, loads_open, bursts_open)
        landed = self._arrive(m, descriptors)
        taken = self.r.valid & self.r.ready
        m.d.sync += [
            loads_open.eq(loads_open + (descriptors.w_en & descriptors.w_rdy) - landed),
            bursts_open.eq(bursts_open + bursts.go - (taken & self.r.payload.last)),
        ]
        self._faults(m, bursts)
        with m.If(self.clear):
            # The hardware's own transfer of the first page is a LOAD before number 0.
            m.d.sync += [self.loads.eq(0xFFFF), self.pages.eq(0)]
        return m

    def _issue(self, m: Module, bursts: Bursts, descriptors: SyncFIFO, loads_open: Signal, bursts_open: Signal) -> None:
        held, start, rest = Signal(LOAD_LAYOUT, reset_less=True), Signal(32, reset_less=True), Signal(20)
        view = data.View(LOAD_LAYOUT, self.instruction.payload[: LOAD_LAYOUT.size])
        moving = Signal()
        m.d.comb += [
            moving.eq(held.opcode == Opcode.MOVE),
            self.cost.eq(held.cost),
            self.quiet.eq((bursts_open == 0) & ~bursts.busy),
            bursts.grant.eq(self.grant),
            bursts.halt.eq(self.halt),
            bursts.ready.eq(~self.ar.valid | self.ar.ready),
            bursts.transfer.address.eq(start),
            bursts.transfer.run_words.eq(held.run_words),
            bursts.transfer.runs.eq(held.runs),
            bursts.transfer.stride.eq(held.ddr_stride),
            bursts.begin.eq(self.granted),
            descriptors.w_data.eq(placing(held)),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [
                    self.instruction.ready.eq(~self.halt),
                    self.idle.eq(~self.instruction.valid & (loads_open == 0)),
                ]
                with m.If(self.instruction.valid & ~self.halt):
                    m.d.sync += [held.eq(view), start.eq(view.ddr + self.base)]
                    m.next = "WAIT"
            with m.State("WAIT"):
                computed = ~(self.runs - held.wait_runs)[COUNTER_BITS - 1]
                written = ~(self.acknowledged - held.wait_stores)[COUNTER_BITS - 1]
                ready = computed & descriptors.w_rdy & ~self.halt
                m.d.comb += self.request.eq(ready & written & ~moving)
                with m.If(self.halt):
                    m.next = "IDLE"
                with m.Elif(ready & moving):
                    m.d.comb += descriptors.w_en.eq(1)
                    m.d.sync += rest.eq(held.cost)
                    m.next = "MOVING"
                with m.Elif(self.granted):
                    m.d.comb += descriptors.w_en.eq(1)
                    m.next = "BURSTS"
            with m.State("BURSTS"):
                with m.If(bursts.end | ~bursts.busy | bursts.outside):
                    m.next = "IDLE"
            with m.State("MOVING"):
                m.d.sync += rest.eq(rest - 1)
                with m.If(rest == 1):
                    m.next = "IDLE"
        with m.If(self.ar.ready):
            m.d.sync += self.ar.valid.eq(0)
        with m.If(bursts.go):
            m.d.sync += [
                self.ar.valid.eq(1),
                self.ar.payload.address.eq(bursts.address),
                self.ar.payload.length.eq(bursts.beats - 1),
            ]

    def _arrive(self, m: Module, descriptors: SyncFIFO) -> Signal:
        """Walk the words of the oldest instruction.  Returns the cycle in which it has landed."""
        load, active, draining = Signal(LOAD_LAYOUT, reset_less=True), Signal(), Signal(LOOP_DELAY + 1)
        moving, window = Signal(), Signal()
        self._load, self._active, self._moving = load, active, moving
        source_row, source_column, parity = Signal(14), Signal(14), Signal()
        row, column, number, row_phase, column_phase = Signal(14), Signal(14), Signal(4), Signal(2), Signal(2)
        words, runs = Signal(16), Signal(12)
        step, last_word, last, landed = Signal(), Signal(), Signal(), Signal()
        move = data.View(MOVE_LAYOUT, load.as_value())
        m.d.comb += [
            moving.eq(load.opcode == Opcode.MOVE),
            window.eq(load.target == Target.WINDOW),
            self.r.ready.eq((active & ~moving) | self.halt),
            step.eq(active & Mux(moving, 1, self.r.valid)),
            last_word.eq(words == 1),
            last.eq(step & last_word & (runs == 1)),
            landed.eq(Mux(moving, draining[-1], last)),
            self.loop_read.enable.eq(step & moving),
            self.loop_read.set.eq(move.set),
            self.loop_read.split.eq(move.split),
            self.loop_read.address.eq(source_row + source_column + number),
        ]
        m.d.sync += draining.eq(Cat(last & moving, draining[:-1]))
        busy = active | draining.any()
        m.d.comb += descriptors.r_en.eq(~busy | landed)

        next_row, next_phase = Signal(14), Signal(3)
        m.d.comb += [next_row.eq(row + load.pitch), next_phase.eq(row_phase + 1 + load.every_other)]
        wrapped = Mux(next_row == load.wrap_at, load.wrap_to, next_row)
        two = window & moving
        with m.If(step):
            m.d.sync += words.eq(words - 1)
            with m.If(load.target == Target.PARAMETERS):
                # Two words per output channel; `row` counts slots.
                m.d.sync += number.eq(~number[0])
            with m.Else():
                m.d.sync += number.eq(number + 1)
                with m.If(number == load.planes - 1):
                    m.d.sync += [number.eq(0), parity.eq(~parity)]
                    phase = column_phase + Mux(two, 2, 1)
                    with m.If(phase >= 3):
                        m.d.sync += [column_phase.eq(phase - 3), column.eq(column + load.planes)]
                    with m.Else():
                        m.d.sync += column_phase.eq(phase)
                    with m.If(two | parity):
                        m.d.sync += source_column.eq(source_column + load.planes)
                with m.If(~window):
                    m.d.sync += [column.eq(column + 1), column_phase.eq(0)]
            with m.If(last_word & (load.target != Target.PARAMETERS)):
                m.d.sync += [words.eq(load.run_words), runs.eq(runs - 1), number.eq(0), parity.eq(0)]
                m.d.sync += [column.eq(Mux(window, load.column_address, 0)), column_phase.eq(load.column_phase)]
                m.d.sync += [source_column.eq(0), source_row.eq(source_row + move.source_pitch)]
                with m.If(window):
                    m.d.sync += row_phase.eq(next_phase)
                    with m.If(next_phase >= 3):
                        m.d.sync += [row_phase.eq(next_phase - 3), row.eq(wrapped)]
                with m.Else():
                    m.d.sync += row.eq(wrapped)
        self._write_others(m, load, step & ~moving, row, column, number, last)
        self._locate(m, load, step & ~moving, last_word)
        with m.If(last):
            m.d.sync += active.eq(0)
        with m.If(landed):
            m.d.sync += self.loads.eq(self.loads + 1)
            with m.If(load.target == Target.PROGRAM):
                m.d.sync += self.pages.eq(self.pages + 1)
        with m.If(descriptors.r_rdy & descriptors.r_en):
            taken = whole(descriptors.r_data)
            new = data.View(LOAD_LAYOUT, taken)
            m.d.sync += [
                active.eq(1),
                load.eq(new),
                row.eq(new.address),
                column.eq(Mux(new.target == Target.WINDOW, new.column_address, 0)),
                number.eq(0),
                row_phase.eq(new.row_phase),
                column_phase.eq(new.column_phase),
                words.eq(new.run_words),
                runs.eq(new.runs),
                source_row.eq(data.View(MOVE_LAYOUT, taken).source),
                source_column.eq(0),
                parity.eq(0),
                self._word_at.eq(new.ddr + self.base),
                self._run_at.eq(new.ddr + self.base),
            ]

        bank = Signal(4)
        place = Signal(PLACE)
        second = Mux(column_phase == 2, 0, column_phase + 1)
        point_column = Signal(2)
        m.d.comb += [
            bank.eq(Mux(window, (row_phase << 1) + row_phase + column_phase, load.bank)),
            point_column.eq(bank % 3),
            place.column.eq(Mux(window, column_phase, point_column)),
            place.near.eq(row + column + Mux(window, number, 0)),
            place.far.eq(row + column + number + Mux(column_phase == 2, load.planes, 0)),
            place.parity.eq(parity),
        ]
        with m.If(step & (window | (load.target == Target.POINT))):
            other = (row_phase << 1) + row_phase + second
            m.d.comb += place.enable.eq((1 << bank) | Mux(two, 1 << other, 0))
        self._write_banks(m, place)
        return landed

    def _write_banks(self, m: Module, place: data.View) -> None:
        """Words from memory go at once, words from the loop memory when they come out of it.

        Each word column (modulo 3) of banks has an address and a word of its own: the two columns of a MOVE's step
        differ.
        """
        late: Any = place
        for stage in range(LOOP_DELAY):
            later = Signal(PLACE, name=f"place_{stage}")
            m.d.sync += later.eq(late)
            if stage == 0:
                with m.If(~self._moving):
                    m.d.sync += later.enable.eq(0)
            late = later
        loop = Signal()
        m.d.comb += loop.eq(late.enable.any())
        chosen = Signal(PLACE)
        m.d.comb += chosen.eq(Mux(loop, late.as_value(), place.as_value()))
        window = Signal()
        m.d.comb += window.eq(self._load.target == Target.WINDOW)
        m.d.sync += self.bank_write.enable.eq(Mux(loop, late.enable, Mux(self._moving, 0, place.enable)))
        for residue in range(3):
            near = Signal(name=f"near_{residue}")
            m.d.comb += near.eq(chosen.column == residue)
            word = Mux(near ^ (~window & late.parity), self.loop_data[0], self.loop_data[1])
            m.d.sync += [
                self.bank_write.address[residue].eq(Mux(near, chosen.near, chosen.far)),
                self.bank_write.data[residue].eq(Mux(loop, word, self.r.payload.data)),
            ]

    def _write_others(
        self, m: Module, load: data.View, take: Signal, row: Signal, column: Signal, number: Signal, last: Signal
    ) -> None:
        """Weights, program, parameters."""
        word = self.r.payload.data
        channel, low_word = Signal(6), Signal(64)
        m.d.sync += [
            self.weight.enable.eq(take & (load.target == Target.WEIGHTS)),
            self.weight.data.eq(word),
            self.weight.packed.eq(load.every_other),
            self.program_write.enable.eq(take & (load.target == Target.PROGRAM)),
            self.program_write.address.eq(row + column),
            self.program_write.data.eq(word),
            self.parameter_write.enable.eq(0),
            self.parameter_write.address.eq(Cat(channel[:3], row[:8])),
            self.parameter_write.data.eq(self._triple(low_word, word)),
            self.parameter_set.eq(channel[3:]),
        ]
        with m.If(take & (load.target == Target.PARAMETERS)):
            with m.If(number[0]):
                m.d.sync += [self.parameter_write.enable.eq(1), channel.eq(channel + 1)]
                with m.If(channel == self.config.rows - 1):
                    m.d.sync += [channel.eq(0), row.eq(row + 1)]
            with m.Else():
                m.d.sync += low_word.eq(word)
        with m.If(last):
            m.d.sync += channel.eq(0)

    def _locate(self, m: Module, load: data.View, take: Signal, last_word: Signal) -> None:
        """Address of the word that comes next: what a fault reports."""
        self._word_at, self._run_at = Signal(32, reset_less=True), Signal(32, reset_less=True)
        with m.If(take):
            m.d.sync += self._word_at.eq(self._word_at + 8)
            with m.If(last_word):
                start = self._run_at + load.ddr_stride
                m.d.sync += [self._word_at.eq(start), self._run_at.eq(start)]

    def _faults(self, m: Module, bursts: Bursts) -> None:
        m.d.comb += [
            self.fault.valid.eq((self.r.valid & self.r.ready & self.r.payload.response[1]) | bursts.outside),
            self.fault.outside.eq(bursts.outside),
            self.fault.address.eq(Mux(bursts.outside, bursts.address, self._word_at)),
        ]

    @staticmethod
    def _triple(low: Signal, high: Signal) -> data.View:
        """Parameter words as `hwseg.rtl.isa.PARAMETER` lays them out, without the unused bits."""
        fields, offsets = PARAMETER.fields, PARAMETER.offsets
        used = offsets["reserved"]
        return data.View(TRIPLE, Cat(low[:used], high[: fields["multiplier"] + fields["dot"]]))

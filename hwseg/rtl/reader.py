"""The reader: executes LOAD and MOVE in order.

    issue    one instruction after the other.  A LOAD keeps it for one cycle per beat, a MOVE for its `cost`, in which
             no read data is asked for: so the bank's write port is free when the MOVE's words go through it
    arrive   in the same order: words from memory, or from the loop memory, go where the instruction says

At most `READ_INSTRUCTIONS` instructions stand between the two.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hwseg.rtl.bus import ADDRESS_CHANNEL, FAULT, GRANT, READ_CHANNEL, Bursts, Outlet
from hwseg.rtl.compute import COUNTER_BITS
from hwseg.rtl.config import BANKS, EngineConfig
from hwseg.rtl.cores.pipeline import adds_up, delayed, unreset
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

STEP = data.StructLayout(
    {
        "column": 2,
        "base": ADDRESS_BITS,
        "near": 4,
        "far": 5,
        "parity": 1,
        "moving": 1,
        "window": 1,
        "source": ADDRESS_BITS,
        "number": 4,
        "set": 3,
        "split": 1,
    }
)
"""A word's step before its addresses are added up: `base` and `near` or `far`; `source` and `number`, of a MOVE."""
PLACE = data.StructLayout({"column": 2, "near": ADDRESS_BITS, "far": ADDRESS_BITS, "parity": 1, "window": 1})
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
        loads_open = Signal(range(READ_INSTRUCTIONS + 3))
        self._issue(m, bursts, descriptors, loads_open)
        landed = self._arrive(m, descriptors)
        m.d.sync += loads_open.eq(loads_open + (descriptors.w_en & descriptors.w_rdy) - landed)
        self._count_bursts(m, bursts)
        self._faults(m, bursts)
        with m.If(self.clear):
            # The hardware's own transfer of the first page is a LOAD before number 0.
            m.d.sync += [self.loads.eq(0xFFFF), self.pages.eq(0)]
        return m

    def _count_bursts(self, m: Module, bursts: Bursts) -> None:
        """Bursts on the bus: what happens to them is counted a cycle later, and `quiet` says so another one later."""
        went, ended, bursts_open = Signal(), Signal(), Signal(16)
        m.d.sync += [
            went.eq(bursts.go),
            ended.eq(self.r.valid & self.r.ready & self.r.payload.last),
            bursts_open.eq(bursts_open + went - ended),
            self.quiet.eq((bursts_open == 0) & ~went & ~bursts.busy),
        ]

    def _issue(self, m: Module, bursts: Bursts, descriptors: SyncFIFO, loads_open: Signal) -> None:
        m.submodules.ar_outlet = outlet = Outlet(ADDRESS_CHANNEL)
        connect(m, outlet.channel, flipped(self.ar))
        held, rest = Signal(LOAD_LAYOUT, reset_less=True), Signal(20, reset_less=True)
        view = data.View(LOAD_LAYOUT, self.instruction.payload[: LOAD_LAYOUT.size])
        moving, computed, written, room = Signal(reset_less=True), Signal(), Signal(), Signal()
        m.d.comb += [
            self.cost.eq(held.cost),
            bursts.grant.eq(self.grant),
            bursts.halt.eq(self.halt),
            bursts.ready.eq(outlet.room),
            outlet.put.eq(bursts.go),
            outlet.payload.address.eq(bursts.address),
            outlet.payload.length.eq(bursts.length),
            bursts.transfer.address.eq(view.ddr + self.base),
            bursts.transfer.run_words.eq(view.run_words),
            bursts.transfer.runs.eq(view.runs),
            bursts.transfer.stride.eq(view.ddr_stride),
            bursts.allow.eq(self.granted),
            descriptors.w_data.eq(placing(held)),
        ]
        # Compared a cycle before they are looked at: `WAIT` begins when that is of the instruction held.
        m.d.sync += [
            computed.eq(~(self.runs - held.wait_runs)[COUNTER_BITS - 1]),
            written.eq(~(self.acknowledged - held.wait_stores)[COUNTER_BITS - 1]),
            room.eq(descriptors.w_rdy),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [
                    self.instruction.ready.eq(~self.halt),
                    self.idle.eq(~self.instruction.valid & (loads_open == 0)),
                ]
                with m.If(self.instruction.valid & ~self.halt):
                    m.d.comb += bursts.load.eq(view.opcode != Opcode.MOVE)
                    m.d.sync += [held.eq(view), moving.eq(view.opcode == Opcode.MOVE)]
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                m.next = "WAIT"
            with m.State("WAIT"):
                ready = computed & room & ~self.halt
                m.d.comb += self.request.eq(ready & written & ~moving & bursts.prepared)
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

    def _arrive(self, m: Module, descriptors: SyncFIFO) -> Signal:
        """Walk the words of the oldest instruction.  Returns the cycle in which it has landed.

        An instruction leaves the queue when nothing is under way, the walk begins from its fields a cycle later, and
        its first word may come in the cycle behind that.
        """
        load, active, draining = Signal(LOAD_LAYOUT, reset_less=True), Signal(), Signal(LOOP_DELAY + 1)
        fresh = self._fresh = Signal(name="fresh")
        moving, window, point, parameters = unreset(moving=1, window=1, point=1, parameters=1)
        row, column, number, last_number = unreset(row=14, column=14, number=4, last_number=4)
        row_phase, column_phase, parity = unreset(row_phase=2, column_phase=2, parity=1)
        source_row, source_column = unreset(source_row=14, source_column=14)
        words, last_word, runs, last_run = unreset(words=16, last_word=1, runs=12, last_run=1)
        step, last, landed = Signal(), Signal(), Signal()
        move = data.View(MOVE_LAYOUT, load.as_value())
        m.d.comb += [
            self.r.ready.eq((active & ~moving) | self.halt),
            step.eq(active & Mux(moving, 1, self.r.valid)),
            last.eq(step & last_word & last_run),
            landed.eq(Mux(moving, draining[-1], last)),
        ]
        m.d.sync += draining.eq(Cat(last & moving, draining[:-1]))
        taken = descriptors.r_rdy & descriptors.r_en
        m.d.comb += descriptors.r_en.eq(~(fresh | active | draining.any()))
        m.d.sync += [
            fresh.eq(taken),
            # What the walk asks of the instruction, which stands still from its first step on.
            last_number.eq(load.planes - 1),
            moving.eq(load.opcode == Opcode.MOVE),
            window.eq(load.target == Target.WINDOW),
            point.eq(load.target == Target.POINT),
            parameters.eq(load.target == Target.PARAMETERS),
        ]
        with m.If(taken):
            m.d.sync += load.eq(whole(descriptors.r_data))

        next_phase = Signal(3)
        m.d.comb += next_phase.eq(row_phase + 1 + load.every_other)
        wrapped = Mux(adds_up(row, load.pitch, load.wrap_at), load.wrap_to, (row + load.pitch)[:14])
        two = window & moving
        with m.If(step):
            m.d.sync += [words.eq(words - 1), last_word.eq(words == 2)]
            with m.If(parameters):
                # Two words per output channel; `row` counts slots.
                m.d.sync += number.eq(~number[0])
            with m.Else():
                m.d.sync += number.eq(number + 1)
                with m.If(number == last_number):
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
            with m.If(last_word & ~parameters):
                m.d.sync += [words.eq(load.run_words), last_word.eq(load.run_words == 1), number.eq(0), parity.eq(0)]
                m.d.sync += [runs.eq(runs - 1), last_run.eq(runs == 2)]
                m.d.sync += [column.eq(Mux(window, load.column_address, 0)), column_phase.eq(load.column_phase)]
                m.d.sync += [source_column.eq(0), source_row.eq(source_row + move.source_pitch)]
                with m.If(window):
                    m.d.sync += row_phase.eq(next_phase)
                    with m.If(next_phase >= 3):
                        m.d.sync += [row_phase.eq(next_phase - 3), row.eq(wrapped)]
                with m.Else():
                    m.d.sync += row.eq(wrapped)
        self._write_others(m, load, parameters, step & ~moving, row, column, number, last)
        self._locate(m, load, step & ~moving, last_word)
        with m.If(last):
            m.d.sync += active.eq(0)
        with m.If(landed):
            m.d.sync += self.loads.eq(self.loads + 1)
            with m.If(load.target == Target.PROGRAM):
                m.d.sync += self.pages.eq(self.pages + 1)
        with m.If(fresh):
            m.d.sync += [
                active.eq(1),
                row.eq(load.address),
                column.eq(Mux(load.target == Target.WINDOW, load.column_address, 0)),
                number.eq(0),
                row_phase.eq(load.row_phase),
                column_phase.eq(load.column_phase),
                words.eq(load.run_words),
                last_word.eq(load.run_words == 1),
                runs.eq(load.runs),
                last_run.eq(load.runs == 1),
                source_row.eq(move.source),
                source_column.eq(0),
                parity.eq(0),
            ]

        bank, second, point_column = Signal(4), Signal(2), Signal(2)
        place = Signal(STEP, reset_less=True)
        m.d.comb += [
            bank.eq(Mux(window, (row_phase << 1) + row_phase + column_phase, load.bank)),
            point_column.eq(load.bank % 3),
            second.eq(Mux(column_phase == 2, 0, column_phase + 1)),
        ]
        other = (row_phase << 1) + row_phase + second
        enable, moves = Signal(BANKS), Signal()
        with m.If(step & (window | point)):
            m.d.comb += enable.eq((1 << bank) | Mux(two, 1 << other, 0))
        m.d.comb += moves.eq(step & moving)
        m.d.sync += [
            place.column.eq(Mux(window, column_phase, point_column)),
            place.base.eq(row + column),
            place.near.eq(Mux(window, number, 0)),
            place.far.eq(number + Mux(column_phase == 2, load.planes, 0)),
            place.parity.eq(parity),
            place.moving.eq(moving),
            place.window.eq(window),
            place.source.eq(source_row + source_column),
            place.number.eq(number),
            place.set.eq(move.set),
            place.split.eq(move.split),
        ]
        # What a start leaves of them is written to the banks before there is anything in these.
        self._write_banks(m, place, delayed(m, enable, 1, "enable"), delayed(m, moves, 1, "moves"))
        return landed

    def _write_banks(self, m: Module, step: data.View, enable: Value, moves: Value) -> None:
        """A step, a register behind the walk, becomes a place in another: address of the loop memory, and of the banks.

        Words from memory go there at once, words from the loop memory when they come out of it.  Each word column
        (modulo 3) of banks has an address and a word of its own: the two columns of a MOVE's step differ.
        """
        place = Signal(PLACE, reset_less=True)
        word = delayed(m, self.r.payload.data, 2, "word")
        loads, moved = unreset(loads_enable=BANKS, moves_enable=BANKS)
        read = Signal(LOOP_READ, name="loop_at", reset_less=True)
        m.d.sync += [
            place.column.eq(step.column),
            place.near.eq(step.base + step.near),
            place.far.eq(step.base + step.far),
            place.parity.eq(step.parity),
            place.window.eq(step.window),
            loads.eq(Mux(step.moving, 0, enable)),
            moved.eq(Mux(step.moving, enable, 0)),
            read.enable.eq(moves),
            read.address.eq(step.source + step.number),
            read.set.eq(step.set),
            read.split.eq(step.split),
        ]
        m.d.comb += self.loop_read.eq(read)
        late = data.View(PLACE, delayed(m, place.as_value(), LOOP_DELAY, "place"))
        late_enable = delayed(m, moved, LOOP_DELAY, "moves_enable")
        loop, chosen = Signal(), Signal(PLACE)
        m.d.comb += [loop.eq(late_enable.any()), chosen.eq(Mux(loop, late.as_value(), place.as_value()))]
        write = Signal(BANK_WRITE, name="bank_at", reset_less=True)
        written = Signal(BANKS, name="bank_enable")
        m.d.comb += [self.bank_write.eq(write), self.bank_write.enable.eq(written)]
        m.d.sync += written.eq(late_enable | loads)
        for residue in range(3):
            near = Signal(name=f"near_{residue}")
            m.d.comb += near.eq(chosen.column == residue)
            from_loop = Mux(near ^ (~late.window & late.parity), self.loop_data[0], self.loop_data[1])
            m.d.sync += [
                write.address[residue].eq(Mux(near, chosen.near, chosen.far)),
                write.data[residue].eq(Mux(loop, from_loop, word)),
            ]

    def _write_others(
        self,
        m: Module,
        load: data.View,
        parameters: Signal,
        take: Value,
        row: Signal,
        column: Signal,
        number: Signal,
        last: Signal,
    ) -> None:
        """Weights, program, parameters."""
        word = self.r.payload.data
        channel, low_word = Signal(6), Signal(64, reset_less=True)
        weight = Signal(WEIGHT, name="weight_at", reset_less=True)
        program = Signal(WORD_WRITE, name="program_at", reset_less=True)
        parameter, parameter_set = Signal(PARAMETER_WRITE, name="parameter_at", reset_less=True), Signal(3)
        weight_enable, program_enable, parameter_enable = Signal(), Signal(), Signal()
        m.d.comb += [
            self.weight.eq(weight),
            self.weight.enable.eq(weight_enable),
            self.program_write.eq(program),
            self.program_write.enable.eq(program_enable),
            self.parameter_write.eq(parameter),
            self.parameter_write.enable.eq(parameter_enable),
            self.parameter_set.eq(parameter_set),
        ]
        m.d.sync += [
            weight_enable.eq(take & (load.target == Target.WEIGHTS)),
            weight.data.eq(word),
            weight.packed.eq(load.every_other),
            program_enable.eq(take & (load.target == Target.PROGRAM)),
            program.address.eq(row + column),
            program.data.eq(word),
            parameter_enable.eq(0),
            parameter.address.eq(Cat(channel[:3], row[:8])),
            parameter.data.eq(self._triple(low_word, word)),
            parameter_set.eq(channel[3:]),
        ]
        with m.If(take & parameters):
            with m.If(number[0]):
                m.d.sync += [parameter_enable.eq(1), channel.eq(channel + 1)]
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
        with m.If(self._fresh):
            start = load.ddr + self.base
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

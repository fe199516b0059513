"""Words of LOAD and MOVE on their way: the walk that says where each one goes, from the first of an instruction to its
last.

    descriptor queue -> instruction -> walk: row, word column, number, phases -> input banks (`hwseg.rtl.bank_writes`)
                                         '-----------------------------------> weights, parameters, program

    for run: for word of the run: for word column, plane of the column      a word a cycle, or as they come from memory
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from hwseg.rtl.bank_writes import LOOP_DELAY, LOOP_READ, STEP, BankWrites
from hwseg.rtl.bus import READ_CHANNEL
from hwseg.rtl.compute import COUNTER_BITS
from hwseg.rtl.config import BANKS, EngineConfig
from hwseg.rtl.cores.pipeline import delayed, unreset
from hwseg.rtl.emit import Part
from hwseg.rtl.isa import LOAD, PARAMETER, Opcode, Target
from hwseg.rtl.layouts import LOAD_LAYOUT, MOVE_LAYOUT
from hwseg.rtl.requantize import PARAMETER_WRITE, TRIPLE
from hwseg.rtl.weights import WEIGHT
from hwseg.rtl.window import BANK_WRITE

WORD_WRITE = data.StructLayout({"enable": 1, "address": 10, "data": 64})

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


def triple(low: Signal, high: Signal) -> data.View:
    """Parameter words as `hwseg.rtl.isa.PARAMETER` lays them out, without the unused bits."""
    fields, offsets = PARAMETER.fields, PARAMETER.offsets
    used = offsets["reserved"]
    return data.View(TRIPLE, Cat(low[:used], high[: fields["multiplier"] + fields["dot"]]))


class WordWalk:
    """The walk through an instruction: where the next word goes, where it comes from, and what is left.

    row, column: block addresses along the axes of the input buffer; of parameters, `row` counts slots.  row_phase,
    column_phase: positions modulo 3.  number: of the plane in its block; of parameters, of the word in its pair.
    parity: of the word column.  source_row, source_column: addresses in the loop memory.  words, runs: left, this one
    included; last_word, last_run: whether it is the last.

    moving, window, point, parameters, last_number, last_block: what the walk asks of the instruction, which stands
    still from its first step on, a register behind it.
    """

    def __init__(self, load: data.View) -> None:
        self.load, self.move = load, data.View(MOVE_LAYOUT, load.as_value())
        self.row, self.column, self.number = unreset(row=14, column=14, number=4)
        self.row_phase, self.column_phase, self.parity = unreset(row_phase=2, column_phase=2, parity=1)
        self.source_row, self.source_column = unreset(source_row=14, source_column=14)
        self.words, self.last_word, self.runs, self.last_run = unreset(words=16, last_word=1, runs=12, last_run=1)
        self.moving, self.window, self.point, self.parameters = unreset(moving=1, window=1, point=1, parameters=1)
        self.last_number, self.last_block = unreset(last_number=4, last_block=14)

    def ask(self, m: Module) -> None:
        """Keep what is asked of the instruction."""
        load = self.load
        m.d.sync += [
            self.last_number.eq(load.planes - 1),
            self.last_block.eq(load.wrap_at - load.pitch),
            self.moving.eq(load.opcode == Opcode.MOVE),
            self.window.eq(load.target == Target.WINDOW),
            self.point.eq(load.target == Target.POINT),
            self.parameters.eq(load.target == Target.PARAMETERS),
        ]

    @property
    def two(self) -> Value:
        """A step is two word columns: the loop memory gives both."""
        return Value.cast(self.window & self.moving)

    def begin(self, m: Module) -> None:
        """The walk at an instruction's first word."""
        load = self.load
        m.d.sync += [
            self.row.eq(load.address),
            self.column.eq(Mux(load.target == Target.WINDOW, load.column_address, 0)),
            self.number.eq(0),
            self.row_phase.eq(load.row_phase),
            self.column_phase.eq(load.column_phase),
            self.words.eq(load.run_words),
            self.last_word.eq(load.run_words == 1),
            self.runs.eq(load.runs),
            self.last_run.eq(load.runs == 1),
            self.source_row.eq(self.move.source),
            self.source_column.eq(0),
            self.parity.eq(0),
        ]

    def advance(self, m: Module) -> None:
        """The walk a word further."""
        load = self.load
        m.d.sync += [self.words.eq(self.words - 1), self.last_word.eq(self.words == 2)]
        with m.If(self.parameters):
            # Two words per output channel.
            m.d.sync += self.number.eq(~self.number[0])
        with m.Else():
            m.d.sync += self.number.eq(self.number + 1)
            with m.If(self.number == self.last_number):
                m.d.sync += [self.number.eq(0), self.parity.eq(~self.parity)]
                phase = self.column_phase + Mux(self.two, 2, 1)
                with m.If(phase >= 3):
                    m.d.sync += [self.column_phase.eq(phase - 3), self.column.eq(self.column + load.planes)]
                with m.Else():
                    m.d.sync += self.column_phase.eq(phase)
                with m.If(self.two | self.parity):
                    m.d.sync += self.source_column.eq(self.source_column + load.planes)
            with m.If(~self.window):
                m.d.sync += [self.column.eq(self.column + 1), self.column_phase.eq(0)]
        with m.If(self.last_word & ~self.parameters):
            self._next_run(m)

    def _next_run(self, m: Module) -> None:
        """The walk at the first word of the next run, a row further."""
        load = self.load
        next_phase = (self.row_phase + 1 + load.every_other)[:3]
        wrapped = Mux(self.row == self.last_block, load.wrap_to, (self.row + load.pitch)[:14])
        m.d.sync += [
            self.words.eq(load.run_words),
            self.last_word.eq(load.run_words == 1),
            self.number.eq(0),
            self.parity.eq(0),
            self.runs.eq(self.runs - 1),
            self.last_run.eq(self.runs == 2),
            self.column.eq(Mux(self.window, load.column_address, 0)),
            self.column_phase.eq(load.column_phase),
            self.source_column.eq(0),
            self.source_row.eq(self.source_row + self.move.source_pitch),
        ]
        with m.If(self.window):
            m.d.sync += self.row_phase.eq(next_phase)
            with m.If(next_phase >= 3):
                m.d.sync += [self.row_phase.eq(next_phase - 3), self.row.eq(wrapped)]
        with m.Else():
            m.d.sync += self.row.eq(wrapped)


WORDS_OUT = (
    *("bank_write", "weight", "parameter_write", "parameter_set", "program_write"),
    *("pages", "loop_read", "loads"),
)
"""Ports that tell where words go and what has landed; reader and memory unit pass them on."""


class Landing(Part):
    """`descriptor`: instructions, oldest first, as `placing` keeps them.  `r`: words from memory; `loop_read`,
    `loop_data`: words from the loop memory.  `landed`: an instruction's last word is where it belongs; `loads` counts
    them modulo 2**16, `pages` those of the program.  `word_at`: address of the next word from memory.  `halt`: what
    comes from memory is thrown away.

    An instruction leaves the queue when nothing is under way, the walk begins from its fields a cycle later, and its
    first word may come in the cycle behind that.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "descriptor": In(stream.Signature(unsigned(len(placing(Signal(LOAD_LAYOUT)))))),
                "halt": In(1),
                "clear": In(1),
                "r": In(stream.Signature(READ_CHANNEL)),
                "loop_read": Out(LOOP_READ),
                "loop_data": In(data.ArrayLayout(64, 2)),
                "bank_write": Out(BANK_WRITE),
                "weight": Out(WEIGHT),
                "parameter_write": Out(PARAMETER_WRITE),
                "parameter_set": Out(3),
                "program_write": Out(WORD_WRITE),
                "pages": Out(COUNTER_BITS),
                "loads": Out(COUNTER_BITS),
                "landed": Out(1),
                "word_at": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._load = Signal(LOAD_LAYOUT, name="load", reset_less=True)
        self._walk = walk = WordWalk(self._load)
        active, draining, fresh = Signal(), Signal(LOOP_DELAY + 1), Signal()
        step, last = Signal(), Signal()
        m.d.comb += [
            self.r.ready.eq((active & ~walk.moving) | self.halt),
            step.eq(active & Mux(walk.moving, 1, self.r.valid)),
            last.eq(step & walk.last_word & walk.last_run),
            self.landed.eq(Mux(walk.moving, draining[-1], last)),
            self.descriptor.ready.eq(~(fresh | active | draining.any())),
        ]
        m.d.sync += draining.eq(Cat(last & walk.moving, draining[:-1]))
        self._take(m, fresh)
        with m.If(step):
            walk.advance(m)
        take = step & ~walk.moving
        self._write_words(m, take)
        self._write_parameters(m, take & walk.parameters, last)
        self._locate(m, take, fresh)
        with m.If(last):
            m.d.sync += active.eq(0)
        with m.If(fresh):
            m.d.sync += active.eq(1)
            walk.begin(m)
        self._write_banks(m, step)
        self._count(m)
        return m

    def _take(self, m: Module, fresh: Signal) -> None:
        """The oldest instruction, once there is one; `fresh` a cycle later."""
        self._walk.ask(m)
        taken = self.descriptor.valid & self.descriptor.ready
        m.d.sync += fresh.eq(taken)
        with m.If(taken):
            m.d.sync += self._load.eq(whole(self.descriptor.payload))

    def _write_banks(self, m: Module, step: Signal) -> None:
        """The walk's position, a register behind it, and the banks that this step writes."""
        load, walk = self._load, self._walk
        bank, second = Signal(4), Signal(2)
        (point_column,) = unreset(point_column=2)
        # Of an instruction, which stands still from its first step on.
        m.d.sync += point_column.eq(Array([number % 3 for number in range(BANKS)])[load.bank])
        m.d.comb += [
            bank.eq(Mux(walk.window, (walk.row_phase << 1) + walk.row_phase + walk.column_phase, load.bank)),
            second.eq(Mux(walk.column_phase == 2, 0, walk.column_phase + 1)),
        ]
        other = (walk.row_phase << 1) + walk.row_phase + second
        enable, moves = Signal(BANKS), Signal()
        with m.If(step & (walk.window | walk.point)):
            m.d.comb += enable.eq((1 << bank) | Mux(walk.two, 1 << other, 0))
        m.d.comb += moves.eq(step & walk.moving)
        place = Signal(STEP, reset_less=True)
        m.d.sync += [
            place.column.eq(Mux(walk.window, walk.column_phase, point_column)),
            place.base.eq(walk.row + walk.column),
            place.near.eq(Mux(walk.window, walk.number, 0)),
            place.far.eq(walk.number + Mux(walk.column_phase == 2, load.planes, 0)),
            place.parity.eq(walk.parity),
            place.moving.eq(walk.moving),
            place.window.eq(walk.window),
            place.source.eq(walk.source_row + walk.source_column),
            place.number.eq(walk.number),
            place.set.eq(walk.move.set),
            place.split.eq(walk.move.split),
        ]
        m.submodules.bank_writes = banks = BankWrites()
        m.d.comb += [
            banks.step.eq(place),
            # What a start leaves of them is written to the banks before there is anything in these.
            banks.enable.eq(delayed(m, enable, 1, "enable")),
            banks.moves.eq(delayed(m, moves, 1, "moves")),
            banks.word.eq(self.r.payload.data),
            banks.loop_data.eq(self.loop_data),
            self.loop_read.eq(banks.loop_read),
            self.bank_write.eq(banks.bank_write),
        ]

    def _write_words(self, m: Module, take: Value) -> None:
        """Weights and program, a register behind the walk."""
        load, walk, word = self._load, self._walk, self.r.payload.data
        weight = Signal(WEIGHT, name="weight_at", reset_less=True)
        program = Signal(WORD_WRITE, name="program_at", reset_less=True)
        weight_enable, program_enable = Signal(), Signal()
        m.d.comb += [
            self.weight.eq(weight),
            self.weight.enable.eq(weight_enable),
            self.program_write.eq(program),
            self.program_write.enable.eq(program_enable),
        ]
        m.d.sync += [
            weight_enable.eq(take & (load.target == Target.WEIGHTS)),
            weight.data.eq(word),
            weight.packed.eq(load.every_other),
            program_enable.eq(take & (load.target == Target.PROGRAM)),
            program.address.eq(walk.row + walk.column),
            program.data.eq(word),
        ]

    def _write_parameters(self, m: Module, take: Value, last: Signal) -> None:
        """A triple from two words, with the second: channel by channel, slot by slot."""
        walk, word = self._walk, self.r.payload.data
        channel, low_word = Signal(6), Signal(64, reset_less=True)
        parameter = Signal(PARAMETER_WRITE, name="parameter_at", reset_less=True)
        parameter_set, parameter_enable = Signal(3), Signal()
        m.d.comb += [
            self.parameter_write.eq(parameter),
            self.parameter_write.enable.eq(parameter_enable),
            self.parameter_set.eq(parameter_set),
        ]
        m.d.sync += [
            parameter_enable.eq(0),
            parameter.address.eq(Cat(channel[:3], walk.row[:8])),
            parameter.data.eq(triple(low_word, word)),
            parameter_set.eq(channel[3:]),
        ]
        with m.If(take):
            with m.If(walk.number[0]):
                m.d.sync += [parameter_enable.eq(1), channel.eq(channel + 1)]
                with m.If(channel == self.config.rows - 1):
                    m.d.sync += [channel.eq(0), walk.row.eq(walk.row + 1)]
            with m.Else():
                m.d.sync += low_word.eq(word)
        with m.If(last):
            m.d.sync += channel.eq(0)

    def _locate(self, m: Module, take: Value, fresh: Signal) -> None:
        """Address of the word that comes next: what a fault reports."""
        load = self._load
        word_at, run_at = unreset(next_word_at=32, run_at=32)
        m.d.comb += self.word_at.eq(word_at)
        with m.If(take):
            m.d.sync += word_at.eq(word_at + 8)
            with m.If(self._walk.last_word):
                start = run_at + load.ddr_stride
                m.d.sync += [word_at.eq(start), run_at.eq(start)]
        with m.If(fresh):
            m.d.sync += [word_at.eq(load.ddr), run_at.eq(load.ddr)]

    def _count(self, m: Module) -> None:
        """What has landed, for those who wait for it."""
        with m.If(self.landed):
            m.d.sync += self.loads.eq(self.loads + 1)
            with m.If(self._load.target == Target.PROGRAM):
                m.d.sync += self.pages.eq(self.pages + 1)
        with m.If(self.clear):
            # The hardware's own transfer of the first page is a LOAD before number 0.
            m.d.sync += [self.loads.eq(0xFFFF), self.pages.eq(0)]

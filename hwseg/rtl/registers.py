"""The registers a driver sees, on an AXI4-Lite port: one table, from which the gates, the driver and the documents
come.
"""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out, Signature

from hwseg.rtl.cores.pipeline import delayed


@dataclass(frozen=True)
class Register:
    """offset in bytes; access: "rw", "ro", "wo" (write pulses) or "w1c" (write one to clear)."""

    offset: int
    name: str
    access: str
    meaning: str


IDENTITY = 0x48575347
"""ASCII "HWSG"."""

REGISTERS = (
    Register(0x00, "identity", "ro", "0x48575347, ASCII HWSG"),
    Register(
        0x04,
        "array",
        "ro",
        "output channels | pixels << 8 | input channels << 16 | core << 24 (0 table, 1 merged, 2 table_dsp)",
    ),
    Register(0x08, "control", "wo", "bit 0: start, bit 1: stop (bursts on the bus end first)"),
    Register(0x0C, "status", "ro", "bit 0 busy, bit 1 done, bit 2 ended by a fault or stop, bit 3 started while busy"),
    Register(
        0x10,
        "base",
        "rw",
        "byte address where memory map and granted window begin, a multiple of 128; fixed during a run",
    ),
    Register(0x14, "program", "rw", "byte offset of the program in the memory map"),
    Register(0x18, "program_words", "rw", "64-bit words of the program"),
    Register(0x1C, "interrupt_enable", "rw", "bit 0: interrupt when a run ends"),
    Register(0x20, "interrupt", "w1c", "bit 0: a run has ended"),
    Register(0x24, "cycles", "ro", "clock cycles of the last run, low word"),
    Register(0x28, "cycles_high", "ro", "high word"),
    Register(0x2C, "walking", "ro", "cycles in which the array's front was walking over pixels"),
    Register(0x30, "read_beats", "ro", "64-bit words read"),
    Register(0x34, "write_beats", "ro", "64-bit words written"),
    Register(0x38, "layer", "ro", "number of the layer in work"),
    Register(
        0x3C,
        "limit",
        "rw",
        "byte address behind the granted window, a multiple of 128; no burst leaves the window; fixed during a run",
    ),
    Register(0x40, "error_cause", "ro", "0 none, else why the run ended early: see the causes"),
    Register(0x44, "error_address", "ro", "byte address of the fault (write error: of the transfer's first byte)"),
    Register(0x48, "skip", "rw", "bit 0: leave out leading zero planes where the program allows it"),
    Register(0x4C, "skipped", "ro", "digit planes of windows that were left out"),
)
OFFSETS = {register.name: register.offset for register in REGISTERS}
CAUSE_READ, CAUSE_WRITE, CAUSE_OUTSIDE, CAUSE_STOPPED = 1, 2, 3, 4
CAUSES = {
    CAUSE_READ: "the memory answered a read with an error",
    CAUSE_WRITE: "the memory answered a write with an error",
    CAUSE_OUTSIDE: "an address outside the granted window",
    CAUSE_STOPPED: "stopped by the driver",
}
PART = 16
"""Bits of a counter that are added in a cycle."""
STATUS_BUSY, STATUS_DONE, STATUS_ERROR, STATUS_OVERRUN = 1, 2, 4, 8

LITE = Signature(
    {
        "aw": In(stream.Signature(unsigned(8))),
        "w": In(stream.Signature(data.StructLayout({"data": 32, "strobe": 4}))),
        "b": Out(stream.Signature(unsigned(2))),
        "ar": In(stream.Signature(unsigned(8))),
        "r": Out(stream.Signature(data.StructLayout({"data": 32, "response": 2}))),
    }
)
"""AXI4-Lite, as the subordinate sees it."""


class Registers(Component):
    """AXI4-Lite to wires.  Each access takes two cycles; unknown offsets read zero and ignore writes.

    starting: cycles from `start` to the units' beginning, in which they are active though not `busy` yet.
    """

    def __init__(self, array: int, starting: int = 1) -> None:
        self.array, self.starting = array, starting
        super().__init__(
            {
                "bus": Out(LITE),
                "start": Out(1),
                "stop": Out(1),
                "base": Out(32),
                "limit": Out(32),
                "program_start": Out(32),
                "program_words": Out(24),
                "interrupt": Out(1),
                "busy": In(1),
                "done": In(1),
                "error": In(1),
                "error_cause": In(3),
                "error_address": In(32),
                "walking": In(1),
                "skip": Out(1),
                "skipped": In(4),
                "read_beat": In(1),
                "write_beat": In(1),
                "layer": In(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus = self.bus
        counting, happened = Signal(), Signal(data.StructLayout({"walking": 1, "skipped": 4, "read": 1, "write": 1}))
        m.d.sync += counting.eq(self.busy)
        for member, event in (
            (happened.walking, self.walking),
            (happened.skipped, self.skipped),
            (happened.read, self.read_beat),
            (happened.write, self.write_beat),
        ):
            m.d.sync += member.eq(event)
        cycles = self._counter(m, "cycle_count", 64, counting, 1)
        walking = self._counter(m, "walking_count", 32, counting, happened.walking)
        skipped = self._counter(m, "skipped_count", 32, counting, happened.skipped)
        read_beats = self._counter(m, "read_beats", 32, counting, happened.read)
        write_beats = self._counter(m, "write_beats", 32, counting, happened.write)
        done, overrun, enable, pending, error = Signal(), Signal(), Signal(), Signal(), Signal()

        # The units are reset behind `start`, and begin some cycles later.
        starting, active = Signal(self.starting), Signal()
        m.d.sync += starting.eq(Cat(self.start, starting[:-1]))
        # Done when the counters have counted everything.
        ending = Signal(64 // PART + 1)
        m.d.sync += ending.eq(Cat(self.done, ending[:-1]))
        m.d.comb += active.eq(self.busy | self.start | starting.any() | ending.any())
        with m.If(self.start):
            m.d.sync += [done.eq(0), error.eq(0)]
        with m.Elif(self.busy):
            m.d.sync += error.eq(error | self.error)
        with m.If(ending[-1]):
            m.d.sync += [done.eq(1), pending.eq(1)]
        m.d.comb += self.interrupt.eq(pending & enable)

        write = bus.aw.valid & bus.w.valid & ~bus.b.valid
        m.d.comb += [bus.aw.ready.eq(write), bus.w.ready.eq(write)]
        with m.If(bus.b.ready):
            m.d.sync += bus.b.valid.eq(0)
        m.d.sync += [self.start.eq(0), self.stop.eq(0)]
        with m.If(write):
            m.d.sync += bus.b.valid.eq(1)
            value = bus.w.payload.data
            with m.Switch(bus.aw.payload):
                with m.Case(OFFSETS["control"]):
                    with m.If(active):
                        m.d.sync += [overrun.eq(overrun | value[0]), self.stop.eq(value[1])]
                    with m.Else():
                        m.d.sync += [self.start.eq(value[0]), overrun.eq(0)]
                # Bursts are compared with the window before they go, so it stays as it is while units are active.
                with m.Case(OFFSETS["base"]), m.If(~active):
                    m.d.sync += self.base.eq(value)
                with m.Case(OFFSETS["limit"]), m.If(~active):
                    m.d.sync += self.limit.eq(value)
                with m.Case(OFFSETS["program"]):
                    m.d.sync += self.program_start.eq(value)
                with m.Case(OFFSETS["program_words"]):
                    m.d.sync += self.program_words.eq(value)
                with m.Case(OFFSETS["skip"]):
                    m.d.sync += self.skip.eq(value[0])
                with m.Case(OFFSETS["interrupt_enable"]):
                    m.d.sync += enable.eq(value[0])
                with m.Case(OFFSETS["interrupt"]):
                    with m.If(value[0]):
                        m.d.sync += pending.eq(0)

        read = bus.ar.valid & (~bus.r.valid | bus.r.ready)
        m.d.comb += bus.ar.ready.eq(read)
        with m.If(bus.r.ready):
            m.d.sync += bus.r.valid.eq(0)
        with m.If(read):
            m.d.sync += [bus.r.valid.eq(1), bus.r.payload.data.eq(0)]
            values = {
                "identity": IDENTITY,
                "array": self.array,
                "status": active | (done << 1) | (error << 2) | (overrun << 3),
                "base": self.base,
                "program": self.program_start,
                "program_words": self.program_words,
                "interrupt_enable": enable,
                "interrupt": pending,
                "cycles": cycles[:32],
                "cycles_high": cycles[32:],
                "walking": walking,
                "skip": self.skip,
                "skipped": skipped,
                "read_beats": read_beats,
                "write_beats": write_beats,
                "layer": self.layer,
                "limit": self.limit,
                "error_cause": self.error_cause,
                "error_address": self.error_address,
            }
            with m.Switch(bus.ar.payload):
                for name, source in values.items():
                    with m.Case(OFFSETS[name]):
                        m.d.sync += bus.r.payload.data.eq(source)
        return m

    def _counter(self, m: Module, name: str, bits: int, counting: Value, by: Value | int) -> Value:
        """What is added up while `counting`, since the last `start`: a carry a cycle for every `PART` bits, and what is
        read waits for the last of them.  A start clears it, so that a reset need not reach it.
        """
        parts, carry = [], Value.cast(Mux(counting, by, 0))
        for low in range(0, bits, PART):
            part = Signal(PART, name=f"{name}_{low}", reset_less=True)
            carried = Signal(name=f"{name}_{low}_carry", reset_less=True)
            m.d.sync += Cat(part, carried).eq(part + carry)
            with m.If(self.start):
                m.d.sync += [part.eq(0), carried.eq(0)]
            parts.append(delayed(m, part, bits // PART - 1 - len(parts), f"{name}_{low}_read"))
            carry = carried
        return Cat(*parts)

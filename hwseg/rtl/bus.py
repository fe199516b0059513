"""What reader and writer share: the memory port's channels, and transfers cut into bursts.

transfer   runs of consecutive words, each `stride` bytes after the one before
burst      at most 16 beats, never across a 128-byte boundary (so never across 4 KB), inside the granted window

A transfer of no words, or of no runs, would be a burst without a length: none is issued, it counts as outside.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out, Signature

from hwseg.rtl.config import BURST_BEATS
from hwseg.rtl.cores.pipeline import unreset

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

TRANSFER = data.StructLayout({"address": 32, "run_words": 16, "runs": 12, "stride": 24})
WINDOW_SHIFT = 7
"""The granted window is told in units of 128 bytes, which no burst crosses."""
GRANT = data.StructLayout({"base": 32 - WINDOW_SHIFT, "limit": 32 - WINDOW_SHIFT})
"""Bursts may touch addresses from base * 128 to limit * 128 - 1."""
PREPARATION = 2
"""Cycles from taking a transfer to `allow`, at the least."""
FAULT = data.StructLayout({"valid": 1, "outside": 1, "address": 32})
"""`outside`: a burst was not issued because it lies outside the grant or is empty; else a response was an error."""


class Outlet(Component):
    """Two registers before a channel of the port, or behind one: neither side's `ready` depends on the other's.

    What is `put` when there is room is offered from the next cycle on; one payload a cycle.

        put -> third -> second -> first -> channel     each is skipped while those before it are empty

    early: `room` is a register that may stand far from the port.  It is told a cycle late, and counts what is put in
    the meantime, but not what leaves; the third register is for the cycle in which the channel stops.
    """

    def __init__(self, shape: Any, *, early: bool = False) -> None:
        self.shape, self.early = shape, early
        super().__init__({"put": In(1), "payload": In(shape), "room": Out(1), "channel": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        first, second = (Signal(self.shape, name=name, reset_less=True) for name in ("first", "second"))
        valid, two, put = Signal(name="valid"), Signal(name="two"), Signal()
        m.d.comb += [
            put.eq(self.put & self.room),
            self.channel.valid.eq(valid),
            self.channel.payload.eq(first),
        ]
        with m.If(self.channel.ready | ~valid):
            m.d.sync += [first.eq(Mux(two, second, self.payload)), valid.eq(two | put), two.eq(0)]
        with m.Elif(put):
            m.d.sync += two.eq(1)
        with m.If(~two):
            m.d.sync += second.eq(self.payload)
        if self.early:
            self._tell_early(m, valid, second, two, put)
        else:
            m.d.comb += self.room.eq(~two)
        return m

    def _tell_early(self, m: Module, valid: Signal, second: Any, two: Signal, put: Signal) -> None:
        """The third register, and `room` for a payload that comes a cycle later."""
        third, three = Signal(self.shape, name="third", reset_less=True), Signal(name="three")
        room = Signal(name="has_room", init=1)
        m.d.comb += self.room.eq(room)
        m.d.sync += room.eq(~three & ~(two & put))
        with m.If(~three):
            m.d.sync += third.eq(self.payload)
        with m.If(two):
            with m.If(self.channel.ready | ~valid):
                m.d.sync += [second.eq(Mux(three, third, self.payload)), two.eq(three | put), three.eq(0)]
            with m.Elif(put):
                m.d.sync += three.eq(1)


class Bursts(Component):
    """Walks one transfer, one beat a cycle; bursts of one beat follow each other in every cycle.

    What is next to go is worked out beforehand, in three steps of a cycle each, every one of which keeps what it has
    until the next takes it:

        load   ->   run: first address, words   ->   block of 128 bytes in the run   ->   burst, inside or not   ->   go

    `load`: `transfer` is taken, when none is under way.  `prepared`: `allow` may come, which lets the first burst go in
    the next cycle; `PREPARATION` cycles after `load`.  `ready`: the address channel and the queue behind it take a
    burst.  `go`: a burst is issued in this cycle, with `address` and `length`, its beats less 1.  `beat`: this cycle
    belongs to a beat, `burst_end`: to a burst's last, `end`: to the transfer's last.  `halt`: no further burst is
    issued.  `grant` must not change while a transfer is under way.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "load": In(1),
                "transfer": In(TRANSFER),
                "prepared": Out(1),
                "allow": In(1),
                "grant": In(GRANT),
                "ready": In(1),
                "halt": In(1),
                "go": Out(1),
                "address": Out(32),
                "length": Out(4),
                "beat": Out(1),
                "burst_end": Out(1),
                "end": Out(1),
                "outside": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        next_valid = Signal(name="next_valid")
        address, length, next_ending, inside = unreset(next_address=32, next_length=4, next_ending=1, next_inside=1)
        rest, ending = unreset(rest=4, ending=1)
        m.d.comb += [self.address.eq(address), self.length.eq(length)]
        self._prepare(m, next_valid, address, length, next_ending, inside)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.allow):
                    m.next = "BURST"
            with m.State("BURST"):
                m.d.comb += self.busy.eq(1)
                m.d.sync += [rest.eq(length), ending.eq(next_ending)]
                with m.If(self.halt):
                    m.next = "IDLE"
                with m.Elif(~inside):
                    m.d.comb += self.outside.eq(1)
                    m.next = "IDLE"
                with m.Elif(self.ready):
                    m.d.comb += [
                        self.go.eq(1),
                        self.beat.eq(1),
                        self.burst_end.eq(length == 0),
                        self.end.eq(self.burst_end & next_ending),
                    ]
                    with m.If(~self.burst_end):
                        m.next = "BEATS"
                    with m.Elif(next_ending):
                        m.next = "IDLE"
            with m.State("BEATS"):
                m.d.comb += [self.busy.eq(1), self.beat.eq(1)]
                m.d.sync += rest.eq(rest - 1)
                with m.If(rest == 1):
                    m.d.comb += [self.burst_end.eq(1), self.end.eq(ending)]
                    m.next = "BURST"
                    with m.If(ending):
                        m.next = "IDLE"
        return m

    def _prepare(
        self, m: Module, next_valid: Signal, address: Signal, length: Signal, next_ending: Signal, inside: Signal
    ) -> None:
        """The three steps before `go`."""
        run_valid = Signal(name="run_valid")
        run_start, stride, words_less, runs_left = unreset(run_start=32, stride=24, words_less=16, runs_left=12)
        (empty,) = unreset(empty=1)
        run_taken, last_run = Signal(), Signal()
        m.d.comb += last_run.eq(runs_left == 1)
        with m.If(self.load):
            m.d.sync += [
                run_valid.eq(1),
                run_start.eq(self.transfer.address),
                stride.eq(self.transfer.stride),
                words_less.eq(self.transfer.run_words - 1),
                runs_left.eq(self.transfer.runs),
                empty.eq(~(self.transfer.run_words.any() & self.transfer.runs.any())),
            ]
        with m.Elif(run_taken):
            m.d.sync += [run_start.eq(run_start + stride), runs_left.eq(runs_left - 1)]
            with m.If(last_run):
                m.d.sync += run_valid.eq(0)

        # Words of a run counted from its first block's beginning: from `word` to `last`, `blocks` blocks further on.
        valid, reach, next_taken, taken = Signal(name="block_valid"), Signal(17), Signal(), Signal()
        here, blocks, last = unreset(block_address=32, blocks=13, last_word=4)
        final, single = unreset(final_run=1, single=1)
        word = here[3:WINDOW_SHIFT]
        m.d.comb += [
            reach.eq(run_start[3:WINDOW_SHIFT] + words_less),
            next_taken.eq(~next_valid | self.go),
            taken.eq(~valid | (next_taken & single)),
            run_taken.eq(run_valid & taken),
            self.prepared.eq(valid | next_valid),
        ]
        with m.If(taken):
            m.d.sync += [
                valid.eq(run_valid),
                here.eq(run_start),
                blocks.eq(reach[4:]),
                single.eq(reach[4:] == 0),
                last.eq(reach[:4]),
                final.eq(last_run),
            ]
        with m.Elif(next_taken):
            m.d.sync += [
                here.eq(Cat(here[:3], Const(0, 4), here[WINDOW_SHIFT:] + 1)),
                blocks.eq(blocks - 1),
                single.eq(blocks == 1),
            ]

        block = here[WINDOW_SHIFT:]
        with m.If(next_taken):
            m.d.sync += [
                next_valid.eq(valid),
                address.eq(here),
                length.eq(Mux(single, last, BURST_BEATS - 1) - word),
                next_ending.eq(single & final),
                inside.eq((block >= self.grant.base) & (block < self.grant.limit) & ~empty),
            ]

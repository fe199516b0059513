"""What reader and writer share: the memory port's channels, and transfers cut into bursts.

transfer   runs of consecutive words, each `stride` bytes after the one before
burst      at most 16 beats, never across a 128-byte boundary (so never across 4 KB), inside the granted window

A transfer of no words, or of no runs, would be a burst without a length: none is issued, it counts as outside.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out, Signature

from hwseg.rtl.config import BURST_BEATS

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
FAULT = data.StructLayout({"valid": 1, "outside": 1, "address": 32})
"""`outside`: a burst was not issued because it lies outside the grant or is empty; else a response was an error."""


class Bursts(Component):
    """Walks one transfer, one beat a cycle.

    `begin`: the transfer's first burst may go in the next cycle.  `ready`: the address channel and the queue behind it
    take a burst.  `go`: a burst is issued in this cycle, with `address` and `beats`.  `beat`: this cycle belongs to a
    beat, `burst_end`: to a burst's last, `end`: to the transfer's last.  `halt`: no further burst is issued.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "begin": In(1),
                "transfer": In(TRANSFER),
                "grant": In(GRANT),
                "ready": In(1),
                "halt": In(1),
                "go": Out(1),
                "address": Out(32),
                "beats": Out(5),
                "beat": Out(1),
                "burst_end": Out(1),
                "end": Out(1),
                "outside": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        run_start, stride = Signal(32, name="run_start", reset_less=True), Signal(24, name="stride", reset_less=True)
        run_words = Signal(16, name="run_words", reset_less=True)
        left, runs_left = Signal(16, name="left"), Signal(12, name="runs_left")
        rest, ending = Signal(5, name="rest"), Signal(name="ending")
        to_boundary, last_burst, within_grant, empty = Signal(5), Signal(), Signal(), Signal(name="empty")
        block = self.address[WINDOW_SHIFT:]
        m.d.comb += [
            to_boundary.eq(BURST_BEATS - self.address[3:WINDOW_SHIFT]),
            self.beats.eq(Mux(left < to_boundary, left, to_boundary)),
            last_burst.eq((self.beats == left) & (runs_left == 1)),
            within_grant.eq((block >= self.grant.base) & (block < self.grant.limit)),
        ]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.begin):
                    m.d.sync += [
                        self.address.eq(self.transfer.address),
                        run_start.eq(self.transfer.address),
                        stride.eq(self.transfer.stride),
                        left.eq(self.transfer.run_words),
                        run_words.eq(self.transfer.run_words),
                        runs_left.eq(self.transfer.runs),
                        empty.eq(~(self.transfer.run_words.any() & self.transfer.runs.any())),
                    ]
                    m.next = "BURST"
            with m.State("BURST"):
                m.d.comb += self.busy.eq(1)
                with m.If(self.halt):
                    m.next = "IDLE"
                with m.Elif(~within_grant | empty):
                    m.d.comb += self.outside.eq(1)
                    m.next = "IDLE"
                with m.Elif(self.ready):
                    m.d.comb += [
                        self.go.eq(1),
                        self.beat.eq(1),
                        self.burst_end.eq(self.beats == 1),
                        self.end.eq(self.burst_end & last_burst),
                    ]
                    m.d.sync += [rest.eq(self.beats - 1), ending.eq(last_burst)]
                    with m.If(~self.burst_end):
                        m.next = "BEATS"
                    with m.Elif(last_burst):
                        m.next = "IDLE"
            with m.State("BEATS"):
                m.d.comb += [self.busy.eq(1), self.beat.eq(1)]
                m.d.sync += rest.eq(rest - 1)
                with m.If(rest == 1):
                    m.d.comb += [self.burst_end.eq(1), self.end.eq(ending)]
                    m.next = "BURST"
                    with m.If(ending):
                        m.next = "IDLE"
        with m.If(self.go):
            m.d.sync += [self.address.eq(self.address + (self.beats << 3)), left.eq(left - self.beats)]
            with m.If(self.beats == left):
                m.d.sync += [
                    left.eq(run_words),
                    self.address.eq(run_start + stride),
                    run_start.eq(run_start + stride),
                    runs_left.eq(runs_left - 1),
                ]
        return m

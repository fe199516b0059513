"""The reader: executes LOAD and MOVE in order.

    issue    one instruction after the other.  A LOAD keeps it for one cycle per beat, a MOVE for its `cost`, in which
             no read data is asked for: so the bank's write port is free when the MOVE's words go through it
    land     in the same order: words from memory, or from the loop memory, go where the instruction says
             (`hwseg.rtl.landing`)

At most `READ_INSTRUCTIONS` instructions stand between the two.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hwseg.rtl.bank_writes import LOOP_READ
from hwseg.rtl.bus import ADDRESS_CHANNEL, FAULT, GRANT, READ_CHANNEL, Bursts, Outlet
from hwseg.rtl.compute import COUNTER_BITS
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.isa import Opcode
from hwseg.rtl.landing import WORD_WRITE, WORDS_OUT, Landing, placing
from hwseg.rtl.layouts import LOAD_LAYOUT
from hwseg.rtl.requantize import PARAMETER_WRITE
from hwseg.rtl.weights import WEIGHT
from hwseg.rtl.window import BANK_WRITE

READ_INSTRUCTIONS = 16


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
        m.submodules.landing = landing = Landing(self.config)
        m.submodules.descriptors = descriptors = SyncFIFO(
            width=len(landing.descriptor.payload), depth=READ_INSTRUCTIONS
        )
        loads_open = Signal(range(READ_INSTRUCTIONS + 3))
        self._issue(m, bursts, descriptors, loads_open)
        self._land(m, landing, descriptors)
        # That one has landed is known late in its cycle.
        pushed = descriptors.w_en & descriptors.w_rdy
        with m.If(pushed ^ landing.landed):
            m.d.sync += loads_open.eq(Mux(landing.landed, loads_open - 1, loads_open + 1))
        self._count_bursts(m, bursts)
        self._faults(m, bursts, landing.word_at)
        return m

    def _land(self, m: Module, landing: Landing, descriptors: SyncFIFO) -> None:
        """Words of the oldest instruction go where it says."""
        connect(m, flipped(self.r), landing.r)
        m.d.comb += [
            landing.descriptor.payload.eq(descriptors.r_data),
            landing.descriptor.valid.eq(descriptors.r_rdy),
            descriptors.r_en.eq(landing.descriptor.ready),
            landing.halt.eq(self.halt),
            landing.clear.eq(self.clear),
            landing.loop_data.eq(self.loop_data),
        ]
        for name in WORDS_OUT:
            m.d.comb += getattr(self, name).eq(getattr(landing, name))

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
        m.submodules.ar_outlet = outlet = Outlet(ADDRESS_CHANNEL, early=True)
        connect(m, outlet.channel, flipped(self.ar))
        held, rest = Signal(LOAD_LAYOUT, reset_less=True), Signal(20, reset_less=True)
        view = data.View(LOAD_LAYOUT, self.instruction.payload[: LOAD_LAYOUT.size])
        moving, computed, written = Signal(reset_less=True), Signal(), Signal()
        may_move, may_load = Signal(), Signal()
        m.d.comb += [
            self.cost.eq(held.cost),
            bursts.grant.eq(self.grant),
            bursts.halt.eq(self.halt),
            bursts.ready.eq(outlet.room),
            outlet.put.eq(bursts.go),
            outlet.payload.address.eq(bursts.address),
            outlet.payload.length.eq(bursts.length),
            bursts.transfer.address.eq(view.ddr),
            bursts.transfer.run_words.eq(view.run_words),
            bursts.transfer.runs.eq(view.runs),
            bursts.transfer.stride.eq(view.ddr_stride),
            bursts.allow.eq(self.granted),
            descriptors.w_data.eq(placing(held)),
            computed.eq(~(self.runs - held.wait_runs)[COUNTER_BITS - 1]),
            written.eq(~(self.acknowledged - held.wait_stores)[COUNTER_BITS - 1]),
        ]
        # Known a cycle before they are looked at: `WAIT` begins when that is of the instruction held.
        m.d.sync += [
            may_move.eq(moving & computed & descriptors.w_rdy),
            may_load.eq(~moving & computed & written & descriptors.w_rdy),
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
                # Transfers that are granted as the unit halts issue nothing.
                m.d.comb += self.request.eq(may_load & bursts.prepared)
                with m.If(self.halt):
                    m.next = "IDLE"
                with m.Elif(may_move):
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

    def _faults(self, m: Module, bursts: Bursts, word_at: Signal) -> None:
        m.d.comb += [
            self.fault.valid.eq((self.r.valid & self.r.ready & self.r.payload.response[1]) | bursts.outside),
            self.fault.outside.eq(bursts.outside),
            self.fault.address.eq(Mux(bursts.outside, bursts.address, word_at)),
        ]

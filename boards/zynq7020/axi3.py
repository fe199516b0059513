"""From the processing system's general-purpose port to registers: AXI3 with 12-bit IDs to AXI4-Lite.

Read and write bursts of 1 to 16 beats, fixed, incrementing or wrapping, of any size up to 32 bits, one burst per
direction at a time; each beat becomes one access of AXI4-Lite.  IDs come back with their responses.

What a register cannot do is refused and reaches no register: an address outside the registers gets DECERR, a write of
some bytes of a register only gets SLVERR.  A beat that writes no byte is answered and does nothing.  A write burst's
response is the worst of its beats.  Exclusive accesses are answered OKAY, hence not as exclusive.

Latency: a read beat takes the register's latency and two cycles more, a write beat too.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

OKAY, SLVERR, DECERR = 0, 2, 3
FIXED, INCREMENT, WRAP = 0, 1, 2

ID_BITS = 12
ADDRESS_BITS = 30
"""The port's window is a gigabyte; the highest two address bits are the same for all of it."""


def axi3_ports() -> dict[str, Any]:
    """A subordinate's AXI3 ports, as PS7 names them without its prefix, in lower case."""
    address = {"addr": In(32), "id": In(ID_BITS), "len": In(4), "size": In(2), "burst": In(2), "valid": In(1)}
    ports: dict[str, Any] = {}
    for channel in ("ar", "aw"):
        ports |= {f"{channel}{name}": member for name, member in address.items()}
        ports[f"{channel}ready"] = Out(1)
    ports |= {"wdata": In(32), "wstrb": In(4), "wlast": In(1), "wvalid": In(1), "wready": Out(1)}
    ports |= {"bid": Out(ID_BITS), "bresp": Out(2), "bvalid": Out(1), "bready": In(1)}
    ports |= {"rid": Out(ID_BITS), "rdata": Out(32), "rresp": Out(2), "rlast": Out(1)}
    return ports | {"rvalid": Out(1), "rready": In(1)}


def lite_ports(address_bits: int) -> dict[str, Any]:
    """A manager's AXI4-Lite ports, with the prefix `lite_`."""
    ports: dict[str, Any] = {}
    for channel in ("ar", "aw"):
        ports |= {f"{channel}addr": Out(address_bits), f"{channel}valid": Out(1), f"{channel}ready": In(1)}
    ports |= {"wdata": Out(32), "wstrb": Out(4), "wvalid": Out(1), "wready": In(1)}
    ports |= {"bresp": In(2), "bvalid": In(1), "bready": Out(1)}
    ports |= {"rdata": In(32), "rresp": In(2), "rvalid": In(1), "rready": Out(1)}
    return {f"lite_{name}": member for name, member in ports.items()}


class Burst(Component):
    """The address of each beat of a burst: `load` takes the first, each `step` the next, two cycles later at the
    earliest; `left` follow it.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "load": In(1),
                "step": In(1),
                "start": In(ADDRESS_BITS),
                "length": In(4),
                "size": In(2),
                "burst": In(2),
                "address": Out(ADDRESS_BITS),
                "left": Out(4),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # None of them needs a reset: a burst begins with a `load`.
        address, following, left, length, size, burst, wrap = (
            Signal(bits, name=name, reset_less=True)
            for name, bits in (
                *(("at", ADDRESS_BITS), ("following", ADDRESS_BITS), ("more", 4), ("beats", 4)),
                *(("width", 2), ("kind", 2), ("wrap", 6)),
            )
        )
        m.d.comb += [self.address.eq(address), self.left.eq(left), self.last.eq(left == 0)]
        # The address if nothing wraps, and the bits that change while a wrapping burst of 2, 4, 8 or 16 beats goes
        # round: out of registers because the port's wires are long, and there before the next step can come.
        m.d.sync += [
            following.eq(((address >> size) + 1) << size),
            wrap.eq((((length + 1) << size) - 1)[:6]),
        ]
        with m.If(self.load):
            m.d.sync += [
                address.eq(self.start),
                left.eq(self.length),
                length.eq(self.length),
                size.eq(self.size),
                burst.eq(self.burst),
            ]
        with m.Elif(self.step):
            m.d.sync += left.eq(left - 1)
            with m.If(burst == WRAP):
                m.d.sync += address.eq((address & ~wrap) | (following & wrap))
            with m.Elif(burst != FIXED):
                m.d.sync += address.eq(following)
        return m


class Axi3ToLite(Component):
    """The bridge; registers have addresses of `address_bits` bits, the rest of the window is DECERR.

    `stop` holds back new bursts; `idle` says that none is open.
    """

    def __init__(self, address_bits: int = 8) -> None:
        self.address_bits = address_bits
        super().__init__(axi3_ports() | lite_ports(address_bits) | {"stop": In(1), "idle": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # 1 but where a state machine says otherwise.
        reading, writing = Signal(init=1, name="reading"), Signal(init=1, name="writing")
        self._reads(m, reading)
        self._writes(m, writing)
        m.d.comb += self.idle.eq(~reading & ~writing & ~self.arready & ~self.awready)
        return m

    def _burst(self, m: Module, channel: str) -> Any:
        burst = m.submodules[f"{channel}_burst"] = Burst()
        left = Signal(4, name=f"{channel}_left")
        m.d.comb += [
            left.eq(burst.left),
            burst.start.eq(getattr(self, f"{channel}addr")),
            burst.length.eq(getattr(self, f"{channel}len")),
            burst.size.eq(getattr(self, f"{channel}size")),
            burst.burst.eq(getattr(self, f"{channel}burst")),
            burst.load.eq(getattr(self, f"{channel}valid") & getattr(self, f"{channel}ready")),
            getattr(self, f"lite_{channel}addr").eq(Cat(0, 0, burst.address[2 : self.address_bits])),
        ]
        return burst

    def _reads(self, m: Module, open_: Signal) -> None:
        burst = self._burst(m, "ar")
        outside = Signal(name="ar_outside")
        found, name = Signal(32, name="read_data", reset_less=True), Signal(ID_BITS, name="read_id", reset_less=True)
        m.d.comb += [
            outside.eq(burst.address[self.address_bits :].any()),
            self.rlast.eq(burst.last),
            self.rdata.eq(found),
            self.rid.eq(name),
        ]
        with m.FSM(name="read"):
            with m.State("IDLE"):
                m.d.comb += [open_.eq(0), self.arready.eq(~self.stop)]
                with m.If(self.arvalid & self.arready):
                    m.d.sync += name.eq(self.arid)
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += self.lite_arvalid.eq(~outside)
                with m.If(outside):
                    m.d.sync += [found.eq(0), self.rresp.eq(DECERR)]
                    m.next = "ANSWER"
                with m.Elif(self.lite_arready):
                    m.next = "TAKE"
            with m.State("TAKE"):
                m.d.comb += self.lite_rready.eq(1)
                with m.If(self.lite_rvalid):
                    m.d.sync += [found.eq(self.lite_rdata), self.rresp.eq(self.lite_rresp)]
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += self.rvalid.eq(1)
                with m.If(self.rready):
                    m.d.comb += burst.step.eq(1)
                    with m.If(burst.last):
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "ASK"

    def _writes(self, m: Module, open_: Signal) -> None:
        burst = self._burst(m, "aw")
        outside = Signal(name="aw_outside")
        m.d.comb += outside.eq(burst.address[self.address_bits :].any())
        strobe, final = Signal(4, name="strobe"), Signal(name="final_beat")
        address_sent, data_sent = Signal(name="address_sent"), Signal(name="data_sent")
        word, name = Signal(32, name="write_data", reset_less=True), Signal(ID_BITS, name="write_id", reset_less=True)
        m.d.comb += [self.lite_wstrb.eq(0xF), self.lite_wdata.eq(word), self.bid.eq(name)]

        def answer(response: Any) -> None:
            m.d.sync += self.bresp.eq(Mux(response > self.bresp, response, self.bresp))
            with m.If(final):
                m.next = "ANSWER"
            with m.Else():
                m.d.comb += burst.step.eq(1)
                m.next = "DATA"

        with m.FSM(name="write"):
            with m.State("IDLE"):
                m.d.comb += [open_.eq(0), self.awready.eq(~self.stop)]
                with m.If(self.awvalid & self.awready):
                    m.d.sync += [name.eq(self.awid), self.bresp.eq(OKAY)]
                    m.next = "DATA"
            with m.State("DATA"):
                m.d.comb += self.wready.eq(1)
                m.d.sync += [address_sent.eq(0), data_sent.eq(0)]
                with m.If(self.wvalid):
                    # The burst's own count ends it, so a manager whose wlast is wrong cannot hang the port.
                    m.d.sync += [word.eq(self.wdata), strobe.eq(self.wstrb), final.eq(burst.last)]
                    m.next = "CHECK"
            with m.State("CHECK"):
                with m.If(outside):
                    answer(DECERR)
                with m.Elif(strobe == 0):
                    answer(OKAY)
                with m.Elif(strobe != 0xF):
                    answer(SLVERR)
                with m.Else():
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += [self.lite_awvalid.eq(~address_sent), self.lite_wvalid.eq(~data_sent)]
                m.d.sync += [
                    address_sent.eq(address_sent | self.lite_awready),
                    data_sent.eq(data_sent | self.lite_wready),
                ]
                with m.If(address_sent & data_sent):
                    m.next = "TAKE"
            with m.State("TAKE"):
                m.d.comb += self.lite_bready.eq(1)
                with m.If(self.lite_bvalid):
                    answer(self.lite_bresp)
            with m.State("ANSWER"):
                m.d.comb += self.bvalid.eq(1)
                with m.If(self.bready):
                    m.next = "IDLE"

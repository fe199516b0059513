"""The top level of a Zynq-7000: `hwseg_zynq` instantiates processing system, bridge to the registers and engine.

    PS7 general-purpose port 0 --AXI3, 32 bits--> Axi3ToLite --AXI4-Lite--> hwseg
    PS7 high-performance ports <--AXI3, 64 bits-- hwseg's manager ports: reads at one, writes at another
    PS7 FCLKCLK[0] -> BUFG -> clk;  FCLKRESETN[0] -> two flip-flops -> request, granted when all ports are idle -> rst
    interrupt -> IRQF2P[0];  busy -> LED 0

No block design, no vendor IP.  Pins of the processing system itself (DDR, MIO) are set up by its boot loader and are
not ports of the design.  The engine's ports are read from its Verilog, so this top fits the engine that it is packaged
with.

Which ports is the board's to say (`read_ports`, `write_ports`).  A direction of a port that nobody uses asks for
nothing and takes whatever comes, so that nothing can wait in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Const, Instance, Module, ResetSignal, Signal
from amaranth.lib.wiring import Component, Out

from hwseg.boards import Board, ProcessingSystem
from hwseg.boards.zynq7020.axi3 import Axi3ToLite, axi3_ports
from hwseg.boards.zynq7020.drain import ReadDrain, WriteDrain
from hwseg.errors import require
from hwseg.rtl.emit import verilog

TOP = "hwseg_zynq"
ENGINE = "hwseg"


@dataclass(frozen=True)
class EnginePorts:
    """Ports of module `hwseg`: width by name.  readers, writers: prefixes of its 64-bit AXI ports, in order."""

    inputs: dict[str, int]
    outputs: dict[str, int]
    readers: tuple[str, ...]
    writers: tuple[str, ...]

    @property
    def register_bits(self) -> int:
        return self.inputs["s_axi_araddr"]


def engine_ports(text: str) -> EnginePorts:
    """Ports of module `hwseg` in the engine's Verilog; raises HwsegError if there is no such engine in it."""
    module = re.search(rf"^module {ENGINE}\s*\((.*?)^endmodule", text, re.S | re.M)
    require(module is not None, "top.v", f"must have a module {ENGINE}", "compile the model again")
    assert module is not None
    found: dict[str, dict[str, int]] = {"input": {}, "output": {}}
    for direction, high, name in re.findall(r"^\s*(input|output)\s+(?:\[(\d+):0\]\s*)?(\w+)\s*;", module[1], re.M):
        found[direction][name] = int(high or 0) + 1
    readers, writers = (
        tuple(sorted(name.removesuffix(end) for name in found["output"] if name.endswith(end)))
        for end in ("_araddr", "_awaddr")
    )
    require("s_axi_araddr" in found["input"], "top.v", "must have registers at s_axi", "compile the model again")
    return EnginePorts(found["input"], found["output"], readers, writers)


def directions(ports: EnginePorts, ps: ProcessingSystem) -> tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]:
    """Read and write, each with the engine's ports and those of the processing system that they go to, in order."""
    return ("read", ports.readers, ps.read_ports), ("write", ports.writers, ps.write_ports)


class ZynqTop(Component):
    """`leds`: as many as the board has; the first is lit while the engine is busy."""

    def __init__(self, ports: EnginePorts, ps: ProcessingSystem, leds: int) -> None:
        self.ports, self.ps = ports, ps
        super().__init__({"leds": Out(leds)} if leds else {})
        self.lit = leds

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.sync = ClockDomain()
        clocks, resets, interrupt, busy = Signal(4), Signal(4), Signal(), Signal()
        m.submodules.clock_buffer = Instance("BUFG", ("i", "I", clocks[0]), ("o", "O", ClockSignal()))
        request = self._request(m, resets[0])
        reset, stop = Signal(init=1, reset_less=True), Signal()
        m.d.comb += [ResetSignal().eq(reset), stop.eq(request | reset)]

        wires: list[tuple[str, str, object]] = [
            ("o", "FCLKCLK", clocks),
            ("o", "FCLKRESETN", resets),
            ("i", "IRQF2P", Cat(interrupt, Const(0, 19))),
        ]
        bridge = m.submodules.bridge = Axi3ToLite(self.ports.register_bits)
        m.d.comb += bridge.stop.eq(stop)
        wires.append(("i", "MAXIGP0ACLK", ClockSignal()))
        for name, member in axi3_ports().items():
            direction = "i" if member.flow == Out else "o"
            wires.append((direction, f"MAXIGP0{name.upper()}", getattr(bridge, name)))
        engine: list[tuple[str, str, object]] = [
            ("i", "clk", ClockSignal()),
            ("i", "rst", ResetSignal()),
            ("o", "interrupt", interrupt),
            ("o", "busy", busy),
        ]
        engine += self._registers(bridge)
        drains: list[ReadDrain | WriteDrain] = []
        for what, managers, names in directions(self.ports, self.ps):
            for number, (prefix, port) in enumerate(zip(managers, names, strict=True)):
                drain = ReadDrain() if what == "read" else WriteDrain()
                m.submodules[f"{what}_drain_{number}"] = drain
                m.d.comb += drain.stop.eq(stop)
                inner, outer = self._direction(m, prefix, f"SAXI{port}", DIRECTIONS[what], drain)
                engine += inner
                wires += outer
                drains.append(drain)
        wires += self._rest({name for _, name, _ in wires})
        idle = Cat(bridge.idle, *(drain.idle for drain in drains)).all()
        m.d.sync += reset.eq(request & (reset | idle))
        m.submodules.engine = Instance(ENGINE, *engine)
        m.submodules.ps7 = Instance("PS7", *wires)
        if self.lit:
            m.d.comb += self.leds.eq(busy)
        return m

    def _request(self, m: Module, running: Signal) -> Signal:
        """The processing system's wish to reset, in step with the clock; 1 from configuration on."""
        first, second = Signal(), Signal()
        for name, value, source in (("first", first, ~running), ("second", second, first)):
            m.submodules[f"reset_{name}"] = Instance(
                "FDRE",
                ("p", "INIT", Const(1, 1)),
                ("i", "C", ClockSignal()),
                ("i", "CE", Const(1, 1)),
                ("i", "D", source),
                ("i", "R", Const(0, 1)),
                ("o", "Q", value),
                ("a", "ASYNC_REG", "TRUE"),
            )
        return second

    def _registers(self, bridge: Axi3ToLite) -> list[tuple[str, str, object]]:
        wires: list[tuple[str, str, object]] = []
        for direction, ports in (("i", self.ports.inputs), ("o", self.ports.outputs)):
            for name in ports:
                if name.startswith("s_axi_"):
                    inner = getattr(bridge, f"lite_{name.removeprefix('s_axi_')}", None)
                    if inner is not None:
                        wires.append((direction, name, inner))
                    elif direction == "i":  # protection bits, which registers do not look at
                        wires.append((direction, name, Const(0, ports[name])))
        return wires

    def _direction(
        self, m: Module, prefix: str, port: str, direction: Direction, drain: ReadDrain | WriteDrain
    ) -> tuple[list[tuple[str, str, object]], list[tuple[str, str, object]]]:
        """Wires of one direction of a manager port at the engine and at the processing system.

        AXI4's length and size lose bits that bursts of at most 16 beats of 64 bits never set.  Addresses and data to be
        written pass through the drain's gates.
        """
        inner: list[tuple[str, str, object]] = []
        outer: list[tuple[str, str, object]] = []
        for way, back, ports in (("o", "i", self.ports.outputs), ("i", "o", self.ports.inputs)):
            for name, width in ports.items():
                short = name.removeprefix(f"{prefix}_")
                if short == name or not short.startswith(direction.channels):
                    continue
                wire: Any = Signal(width, name=name)
                at_port: Any = wire
                if hasattr(drain, f"engine_{short}"):
                    wire, at_port = getattr(drain, f"engine_{short}"), getattr(drain, f"port_{short}")
                elif hasattr(drain, short):
                    m.d.comb += getattr(drain, short).eq(wire)
                elif short == "awcache":
                    # Not bufferable: nothing on the way may answer a write before the memory controller has it.
                    at_port = Cat(Const(0, 1), wire[1:])
                inner.append((way, name, wire))
                pin = short.upper()
                outer.append((back, f"{port}{pin}", at_port[: direction.inputs.get(pin, width)]))
        return inner, outer

    def _rest(self, given: set[str]) -> list[tuple[str, str, object]]:
        """Clocks of the ports in use, and what their other inputs are tied to."""
        wires: list[tuple[str, str, object]] = []
        for port in sorted({*self.ps.read_ports, *self.ps.write_ports}):
            wires.append(("i", f"SAXI{port}ACLK", ClockSignal()))
            for direction in DIRECTIONS.values():
                for pin, width in direction.inputs.items():
                    if f"SAXI{port}{pin}" not in given:
                        wires.append(("i", f"SAXI{port}{pin}", Const(pin == direction.ready, width)))
        return wires


@dataclass(frozen=True)
class Direction:
    """One direction of a high-performance port.

    channels: how the names of its pins begin.  inputs: width by name.  ready: the input that is tied high where nothing
    is connected, as all others are tied low: identifiers, too, so that everything stays in order.
    """

    channels: tuple[str, ...]
    inputs: dict[str, int]
    ready: str


ADDRESS = {"ADDR": 32, "ID": 6, "LEN": 4, "SIZE": 2, "BURST": 2, "LOCK": 2, "CACHE": 4, "PROT": 3, "QOS": 4, "VALID": 1}
DIRECTIONS = {
    "read": Direction(
        ("ar", "r"),
        {**{f"AR{name}": width for name, width in ADDRESS.items()}, "RREADY": 1, "RDISSUECAP1EN": 1},
        "RREADY",
    ),
    "write": Direction(
        ("aw", "w", "b"),
        {
            **{f"AW{name}": width for name, width in ADDRESS.items()},
            **{"WID": 6, "WDATA": 64, "WSTRB": 8, "WLAST": 1, "WVALID": 1, "BREADY": 1, "WRISSUECAP1EN": 1},
        },
        "BREADY",
    ),
}


def zynq_verilog(engine_text: str, board: Board) -> str:
    """`hwseg_zynq.v` for the engine's Verilog and a board; raises HwsegError if the engine's ports do not fit it."""
    ports = engine_ports(engine_text)
    for what, managers, names in directions(ports, board.ps):
        rule = f"must {what} at {len(names)} manager ports ({', '.join(names)}), does so at {len(managers)}"
        require(len(managers) == len(names), "top.v", rule, f"name as many in the board's ps.{what}_ports")
    text = verilog(ZynqTop(ports, board.ps, len(board.pins.leds)), TOP)
    header = "// hwseg on a Zynq-7000: the top level around the engine in top.v; generated, do not edit\n"
    return header + "\n".join(line.rstrip() for line in text.splitlines()) + "\n"

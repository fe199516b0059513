"""The top level of a Zynq-7000: `hwseg_zynq` instantiates processing system, bridge to the registers and engine.

    PS7 general-purpose port 0 --AXI3, 32 bits--> Axi3ToLite --AXI4-Lite--> hwseg
    PS7 high-performance ports <--AXI3, 64 bits-- hwseg's manager ports, the first at HP0
    PS7 FCLKCLK[0] -> BUFG -> clk;  FCLKRESETN[0] -> two flip-flops -> request, granted when all ports are idle -> rst
    interrupt -> IRQF2P[0];  busy -> LED 0

No block design, no vendor IP.  Pins of the processing system itself (DDR, MIO) are set up by its boot loader and are
not ports of the design.  The engine's ports are read from its Verilog, so this top fits the engine that it is packaged
with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Const, Instance, Module, ResetSignal, Signal
from amaranth.lib.wiring import Component, Out

from hwseg.boards.zynq7020.axi3 import Axi3ToLite, axi3_ports
from hwseg.boards.zynq7020.drain import Drain
from hwseg.errors import require
from hwseg.rtl.emit import verilog

TOP = "hwseg_zynq"
ENGINE = "hwseg"
MAX_PORTS = 4
"""High-performance ports of the processing system."""


@dataclass(frozen=True)
class EnginePorts:
    """Ports of module `hwseg`: width by name.  managers: prefixes of its 64-bit AXI ports, in order."""

    inputs: dict[str, int]
    outputs: dict[str, int]
    managers: tuple[str, ...]

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
    managers = sorted({name[: -len("_araddr")] for name in found["output"] if name.endswith("_araddr")})
    managers += sorted(
        {name[: -len("_awaddr")] for name in found["output"] if name.endswith("_awaddr")} - set(managers)
    )
    require(
        1 <= len(managers) <= MAX_PORTS and "s_axi_araddr" in found["input"],
        "top.v",
        f"must have registers at s_axi and 1 to {MAX_PORTS} manager ports, has {len(managers)}",
        "compile the model again",
    )
    return EnginePorts(found["input"], found["output"], tuple(managers))


class ZynqTop(Component):
    """`leds`: as many as the board has; the first is lit while the engine is busy."""

    def __init__(self, ports: EnginePorts, leds: int) -> None:
        self.ports = ports
        super().__init__({"leds": Out(leds)} if leds else {})
        self.lit = leds

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.sync = ClockDomain()
        clocks, resets, interrupt, busy = Signal(4), Signal(4), Signal(), Signal()
        m.submodules.clock_buffer = Instance("BUFG", ("i", "I", clocks[0]), ("o", "O", ClockSignal()))
        request, idle = self._request(m, resets[0]), Signal(len(self.ports.managers) + 1)
        reset, stop = Signal(init=1, reset_less=True), Signal()
        m.d.sync += reset.eq(request & (reset | idle.all()))
        m.d.comb += [ResetSignal().eq(reset), stop.eq(request | reset)]

        wires: list[tuple[str, str, object]] = [
            ("o", "FCLKCLK", clocks),
            ("o", "FCLKRESETN", resets),
            ("i", "IRQF2P", Cat(interrupt, Const(0, 19))),
        ]
        bridge = m.submodules.bridge = Axi3ToLite(self.ports.register_bits)
        m.d.comb += [bridge.stop.eq(stop), idle[0].eq(bridge.idle)]
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
        for number, prefix in enumerate(self.ports.managers):
            drain = m.submodules[f"drain_{number}"] = Drain()
            m.d.comb += [drain.stop.eq(stop), idle[number + 1].eq(drain.idle)]
            inner, outer = self._manager(m, prefix, f"SAXIHP{number}", drain)
            engine += inner
            wires += outer
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

    def _manager(
        self, m: Module, prefix: str, port: str, drain: Drain
    ) -> tuple[list[tuple[str, str, object]], list[tuple[str, str, object]]]:
        """Wires of one manager port at the engine and at the processing system.

        AXI4's length and size lose bits that bursts of at most 16 beats of 64 bits never set; IDs are zero, so that
        everything stays in order.  Addresses and data to be written pass through the drain's gates.
        """
        inner: list[tuple[str, str, object]] = []
        outer: list[tuple[str, str, object]] = [("i", f"{port}ACLK", ClockSignal())]
        narrow = {"len": 4, "size": 2}
        for direction, ports in (("o", self.ports.outputs), ("i", self.ports.inputs)):
            for name, width in ports.items():
                if not name.startswith(f"{prefix}_"):
                    continue
                short = name.removeprefix(f"{prefix}_")
                wire: Any = Signal(width, name=name)
                at_port: Any = wire
                if hasattr(drain, f"engine_{short}"):
                    wire, at_port = getattr(drain, f"engine_{short}"), getattr(drain, f"port_{short}")
                elif hasattr(drain, short):
                    m.d.comb += getattr(drain, short).eq(wire)
                inner.append((direction, name, wire))
                other = "i" if direction == "o" else "o"
                outer.append((other, f"{port}{short.upper()}", at_port[: narrow.get(short[2:], width)]))
        given = {name for _, name, _ in outer}
        for name, width in UNUSED_MANAGER.items():
            if f"{port}{name}" not in given:
                outer.append(("i", f"{port}{name}", Const(0, width)))
        return inner, outer


UNUSED_MANAGER = {
    **{f"{c}{n}": w for c in ("AR", "AW") for n, w in (("ID", 6), ("LOCK", 2), ("QOS", 4), ("VALID", 1))},
    **{"WID": 6, "WVALID": 1, "RREADY": 1, "BREADY": 1, "RDISSUECAP1EN": 1, "WRISSUECAP1EN": 1},
}
"""Inputs of a high-performance port that are tied to zero where the engine has no such output."""


def zynq_verilog(engine_text: str, leds: int) -> str:
    """`hwseg_zynq.v` for the engine's Verilog and a board with that many LEDs."""
    text = verilog(ZynqTop(engine_ports(engine_text), leds), TOP)
    header = "// hwseg on a Zynq-7000: the top level around the engine in top.v; generated, do not edit\n"
    return header + "\n".join(line.rstrip() for line in text.splitlines()) + "\n"

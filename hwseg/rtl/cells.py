"""Primitives that synthesis does not infer: RAM32M, 32 words x 8 bits of LUT memory in four LUTs.

Four columns of two bits share a write address. Columns A, B and C are read at addresses of their own, column D is read
where the memory is written, so that synthesis, asked for a memory with one writer and one reader, leaves it.

The component is the primitive's behaviour for the Amaranth simulator and an instance of it in Verilog; `SIMULATION` is
the same behaviour for Verilog simulators, and the tests prove both equal to the model that Yosys ships.
"""

from __future__ import annotations

from amaranth.hdl import ClockSignal, Elaboratable, Instance, Module
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

VERILOG = "verilog"
"""The platform of `elaborate` when the result becomes Verilog."""

COLUMNS = "DABC"
"""The column read at the write address first."""


class Ram32m(Component):
    """One RAM32M; `addr_d` is the write address."""

    def __init__(self) -> None:
        ports = {"we": In(1)}
        for column in COLUMNS.lower():
            ports |= {f"addr_{column}": In(5), f"di_{column}": In(2), f"do_{column}": Out(2)}
        super().__init__(ports)

    def elaborate(self, platform: object) -> Elaboratable | Instance:
        return self._instance() if platform == VERILOG else self._behaviour()

    def _instance(self) -> Instance:
        wires = [("i", "WCLK", ClockSignal()), ("i", "WE", self.we)]
        for name in COLUMNS:
            column = name.lower()
            wires.append(("i", f"ADDR{name}", getattr(self, f"addr_{column}")))
            wires.append(("i", f"DI{name}", getattr(self, f"di_{column}")))
            wires.append(("o", f"DO{name}", getattr(self, f"do_{column}")))
        return Instance("RAM32M", *wires)

    def _behaviour(self) -> Module:
        m = Module()
        for column in COLUMNS.lower():
            memory = Memory(shape=2, depth=32, init=())
            m.submodules[f"column_{column}"] = memory
            write, read = memory.write_port(), memory.read_port(domain="comb")
            m.d.comb += [
                write.en.eq(self.we),
                write.addr.eq(self.addr_d),
                write.data.eq(getattr(self, f"di_{column}")),
                read.addr.eq(getattr(self, f"addr_{column}")),
                getattr(self, f"do_{column}").eq(read.data),
            ]
        return m


SIMULATION = """\
module RAM32M(WCLK, WE, ADDRA, ADDRB, ADDRC, ADDRD, DIA, DIB, DIC, DID, DOA, DOB, DOC, DOD);
  input WCLK, WE;
  input [4:0] ADDRA, ADDRB, ADDRC, ADDRD;
  input [1:0] DIA, DIB, DIC, DID;
  output [1:0] DOA, DOB, DOC, DOD;
  reg [63:0] mem_a, mem_b, mem_c, mem_d;
  assign DOA = mem_a[2*ADDRA +: 2];
  assign DOB = mem_b[2*ADDRB +: 2];
  assign DOC = mem_c[2*ADDRC +: 2];
  assign DOD = mem_d[2*ADDRD +: 2];
  always @(posedge WCLK) if (WE) begin
    mem_a[2*ADDRD +: 2] <= DIA;
    mem_b[2*ADDRD +: 2] <= DIB;
    mem_c[2*ADDRD +: 2] <= DIC;
    mem_d[2*ADDRD +: 2] <= DID;
  end
endmodule
"""
"""What a simulator reads beside the engine; synthesis takes the device's own cell."""


def sim_cells(text: str) -> str:
    """`sim_cells.v` for a Verilog text: models of the device's cells that it instantiates, empty if there are none."""
    return f"// models of 7-series cells, for simulation only\n{SIMULATION}" if "RAM32M" in text else ""

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
`ifndef SYNTHESIS
module RAM32M(WCLK, WE, ADDRA, ADDRB, ADDRC, ADDRD, DIA, DIB, DIC, DID, DOA, DOB, DOC, DOD);
  input WCLK, WE;
  input [4:0] ADDRA, ADDRB, ADDRC, ADDRD;
  input [1:0] DIA, DIB, DIC, DID;
  output [1:0] DOA, DOB, DOC, DOD;
  reg [1:0] a [0:31], b [0:31], c [0:31], d [0:31];
  assign DOA = a[ADDRA];
  assign DOB = b[ADDRB];
  assign DOC = c[ADDRC];
  assign DOD = d[ADDRD];
  always @(posedge WCLK) if (WE) begin
    a[ADDRD] <= DIA;
    b[ADDRD] <= DIB;
    c[ADDRD] <= DIC;
    d[ADDRD] <= DID;
  end
endmodule
`endif
"""
"""What a simulator reads; synthesis, which defines SYNTHESIS, takes the device's own cell."""


def with_cells(text: str) -> str:
    """Verilog that a simulator can read alone: the cells' models follow if the text instantiates them."""
    return f"{text}\n{SIMULATION}" if "RAM32M" in text else text

"""Primitives that synthesis does not infer as wanted.

RAM32M: 32 words x 8 bits of LUT memory in four LUTs. Four columns of two bits share a write address. Columns A, B and C
are read at addresses of their own, column D is read where the memory is written, so that synthesis, asked for a memory
with one writer and one reader, leaves it.

DSP48E1: here an accumulator behind the pre-adder, whose mode inputs and feedback synthesis does not find by itself.

RAMB18E1: half a block RAM with its output register (`hwseg.rtl.block_ram`), which Yosys does not infer.

Each component is the primitive's behaviour for the Amaranth simulator and an instance of it in Verilog; `MODELS` has
the same behaviour for Verilog simulators, and the tests prove both equal to the models that Yosys ships.
"""

from __future__ import annotations

import re

from amaranth.hdl import Cat, ClockSignal, Const, Elaboratable, Instance, Module, Mux, Signal, Value, signed
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


PRE_ADDER_BITS = 25


class DspAccumulator(Component):
    """One DSP48E1 as p <- (c or 0) +- (d +- a), with the registers at d and a, behind the pre-adder and at p.

    cycle       0                                    1                        2                       3
                d, a, difference (1: d - a)          add_c, subtract          c, enable               p
    """

    def __init__(self) -> None:
        ports = {"d": In(signed(PRE_ADDER_BITS)), "a": In(signed(PRE_ADDER_BITS)), "c": In(48), "p": Out(signed(48))}
        super().__init__(ports | {name: In(1) for name in ("difference", "add_c", "subtract", "enable")})

    def elaborate(self, platform: object) -> Elaboratable | Instance:
        return self._instance() if platform == VERILOG else self._behaviour()

    def _instance(self) -> Instance:
        off, on = Const(0, 1), Const(1, 1)
        registers = {"AREG": 1, "BREG": 0, "CREG": 0, "DREG": 1, "MREG": 0, "ADREG": 1, "PREG": 1, "ACASCREG": 1}
        registers |= {"BCASCREG": 0, "CARRYINREG": 0, "CARRYINSELREG": 0}
        registers |= {"INMODEREG": 1, "OPMODEREG": 1, "ALUMODEREG": 1}
        enables = ("CEA1", "CEB1", "CEB2", "CEC", "CEM", "CECARRYIN")
        resets = ("RSTA", "RSTB", "RSTC", "RSTD", "RSTM", "RSTP", "RSTCTRL", "RSTALUMODE", "RSTINMODE")
        inputs: dict[str, Value] = dict.fromkeys(
            (*enables, *resets, "RSTALLCARRYIN", "CARRYIN", "CARRYCASCIN", "MULTSIGNIN"), off
        )
        inputs |= dict.fromkeys(("CEA2", "CED", "CEAD", "CECTRL", "CEALUMODE", "CEINMODE"), on)
        inputs |= {
            "CLK": ClockSignal(),
            "CEP": self.enable,
            "A": Cat(self.a, self.a[-1].replicate(5)),
            "B": Const(1, 18),
            "C": self.c,
            "D": self.d,
            "ACIN": Const(0, 30),
            "BCIN": Const(0, 18),
            "PCIN": Const(0, 48),
            "CARRYINSEL": Const(0, 3),
            "INMODE": Cat(Const(0, 2), on, self.difference, off),
            "OPMODE": Cat(Const(0b0101, 4), self.add_c, self.add_c, off),
            "ALUMODE": Cat(self.subtract, self.subtract, Const(0, 2)),
        }
        return Instance(
            "DSP48E1",
            *(("p", name, value) for name, value in registers.items()),
            ("p", "USE_DPORT", "TRUE"),
            ("p", "USE_MULT", "MULTIPLY"),
            *(("i", name, value) for name, value in inputs.items()),
            ("o", "P", self.p),
        )

    def _behaviour(self) -> Module:
        m = Module()
        difference, add_c, subtract = Signal(), Signal(), Signal()
        d, a, sum_of_two = (Signal(signed(PRE_ADDER_BITS)) for _ in range(3))
        start = Mux(add_c, self.c, 0)
        m.d.sync += [
            Cat(difference, add_c, subtract).eq(Cat(self.difference, self.add_c, self.subtract)),
            Cat(d, a).eq(Cat(self.d, self.a)),
            sum_of_two.eq(Mux(difference, d - a, d + a)),
        ]
        with m.If(self.enable):
            m.d.sync += self.p.eq(Mux(subtract, start - sum_of_two, start + sum_of_two))
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
"""RAM32M for simulators; synthesis takes the device's own cell."""

ACCUMULATOR_INPUTS = """\
  input CLK, CEP, CEA1, CEA2, CEB1, CEB2, CEC, CED, CEM, CECARRYIN, CEAD, CECTRL, CEALUMODE, CEINMODE;
  input RSTA, RSTB, RSTC, RSTD, RSTM, RSTP, RSTCTRL, RSTALUMODE, RSTINMODE, RSTALLCARRYIN;
  input CARRYIN, CARRYCASCIN, MULTSIGNIN;
  input [2:0] CARRYINSEL;
  input [4:0] INMODE;
  input [6:0] OPMODE;
  input [3:0] ALUMODE;
  input [29:0] A, ACIN;
  input [17:0] B, BCIN;
  input [24:0] D;
  input [47:0] C, PCIN;
"""

ACCUMULATOR = f"""\
module DSP48E1({", ".join(re.findall(r"[A-Z0-9]+(?=[,;])", ACCUMULATOR_INPUTS))}, P);
  parameter ACASCREG = 1, ADREG = 1, ALUMODEREG = 1, AREG = 1, BCASCREG = 1, BREG = 1, CARRYINREG = 1,
    CARRYINSELREG = 1, CREG = 1, DREG = 1, INMODEREG = 1, MREG = 1, OPMODEREG = 1, PREG = 1;
  parameter USE_DPORT = "FALSE", USE_MULT = "MULTIPLY";
{ACCUMULATOR_INPUTS}  output reg signed [47:0] P;
  reg difference, add_c, subtract;
  reg signed [24:0] d, a, sum_of_two;
  wire signed [47:0] term = sum_of_two;
  wire signed [47:0] start = add_c ? C : 48'd0;
  initial begin
    P = 0; difference = 0; add_c = 0; subtract = 0; d = 0; a = 0; sum_of_two = 0;
  end
  always @(posedge CLK) begin
    d <= D;
    a <= A[24:0];
    difference <= INMODE[3];
    add_c <= OPMODE[4];
    subtract <= ALUMODE[0];
    sum_of_two <= difference ? d - a : d + a;
    if (CEP) P <= subtract ? start - term : start + term;
  end
endmodule
"""
"""DSP48E1 for simulators, in the one configuration of `DspAccumulator`."""

BLOCK_INPUTS = (
    *("CLKARDCLK", "CLKBWRCLK", "ENARDEN", "ENBWREN", "REGCEAREGCE", "REGCEB"),
    *("RSTRAMARSTRAM", "RSTRAMB", "RSTREGARSTREG", "RSTREGB"),
)

BLOCK_RAM = f"""\
module RAMB18E1({", ".join(BLOCK_INPUTS)}, ADDRARDADDR, ADDRBWRADDR,
    DIADI, DIBDI, DIPADIP, DIPBDIP, WEA, WEBWE, DOADO, DOBDO, DOPADOP, DOPBDOP);
  parameter RAM_MODE = "SDP", WRITE_MODE_A = "READ_FIRST", WRITE_MODE_B = "READ_FIRST";
  parameter READ_WIDTH_A = 36, READ_WIDTH_B = 0, WRITE_WIDTH_A = 0, WRITE_WIDTH_B = 36, DOA_REG = 1, DOB_REG = 1;
  localparam WIDTH = READ_WIDTH_A;
  localparam BELOW = WIDTH == 36 ? 5 : WIDTH == 18 ? 4 : WIDTH == 9 ? 3 : WIDTH == 4 ? 2 : WIDTH == 2 ? 1 : 0;
  localparam LANE = WIDTH < 9 ? WIDTH : 9, LANES = WIDTH / LANE;
  input {", ".join(BLOCK_INPUTS)};
  input [13:0] ADDRARDADDR, ADDRBWRADDR;
  input [15:0] DIADI, DIBDI;
  input [1:0] DIPADIP, DIPBDIP, WEA;
  input [3:0] WEBWE;
  output [15:0] DOADO, DOBDO;
  output [1:0] DOPADOP, DOPBDOP;
  // Byte by byte, each with the bit beside it.
  reg [WIDTH-1:0] memory [0:(1 << (14 - BELOW)) - 1];
  reg [WIDTH-1:0] latch, kept;
  wire [13-BELOW:0] from = ADDRARDADDR[13:BELOW], to = ADDRBWRADDR[13:BELOW];
  wire [35:0] word = WIDTH == 36
    ? {{DIPBDIP[1], DIBDI[15:8], DIPBDIP[0], DIBDI[7:0], DIPADIP[1], DIADI[15:8], DIPADIP[0], DIADI[7:0]}}
    : {{18'd0, DIPBDIP[1], DIBDI[15:8], DIPBDIP[0], DIBDI[7:0]}};
  wire [35:0] out = kept;
  assign {{DOPADOP[1], DOADO[15:8], DOPADOP[0], DOADO[7:0]}} = out[17:0];
  assign {{DOPBDOP[1], DOBDO[15:8], DOPBDOP[0], DOBDO[7:0]}} = out[35:18];
  integer lane;
  initial begin latch = 0; kept = 0; end
`ifndef YOSYS
  initial if (RAM_MODE != (WIDTH == 36 ? "SDP" : "TDP") || WRITE_MODE_B != "READ_FIRST" ||
      READ_WIDTH_B != 0 || WRITE_WIDTH_A != 0 || WRITE_WIDTH_B != WIDTH || DOA_REG != 1 || DOB_REG != 1)
    $fatal(1, "RAMB18E1: no model of this configuration");
`endif
  always @(posedge CLKARDCLK) begin
    if (REGCEAREGCE) kept <= latch;
    if (ENARDEN) latch <= memory[from];
    if (ENBWREN)
      for (lane = 0; lane < LANES; lane = lane + 1)
        if (WEBWE[lane]) memory[to][LANE*lane +: LANE] <= word[LANE*lane +: LANE];
  end
endmodule
"""
"""RAMB18E1 for simulators, as `BlockRam` uses it: one clock, one port to write and one to read."""

MODELS = {"RAM32M": SIMULATION, "DSP48E1": ACCUMULATOR, "RAMB18E1": BLOCK_RAM}


def sim_cells(text: str) -> str:
    """`sim_cells.v` for a Verilog text: models of the device's cells that it instantiates, empty if there are none."""
    used = [model for name, model in MODELS.items() if re.search(rf"\b{name}\b", text)]
    return "\n".join(["// models of 7-series cells, for simulation only", *used]) if used else ""

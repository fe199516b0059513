"""Models of a 7-series part's cells for a netlist that Yosys has mapped: Yosys's own, and block RAM around
`block_ram.v`, of which Yosys has no model.
"""

from __future__ import annotations

import re
from importlib import util
from pathlib import Path

from hwseg.borders import install
from hwseg.errors import file_errors, require

INSTANCE = re.compile(r"^  ([A-Z][A-Z0-9_]*) (?:#\(|[^\s()]+ \()", re.M)
"""A cell in what `write_verilog` writes: its kind stands at the line's beginning."""
OURS = {"RAMB18E1": 18, "RAMB36E1": 36, "PS7": 0}
"""Kinds that Yosys only declares: kbit of a block RAM, and the processing system, which `ps7.v` stands in for."""


def cells_used(netlist: str) -> frozenset[str]:
    """Kinds of cells in a flat netlist in Verilog."""
    return frozenset(INSTANCE.findall(netlist))


def cell_models(netlist: str) -> str:
    """Verilog of every kind of cell that a netlist has.  Raises HwsegError for a kind of which there is no model."""
    spec = util.find_spec("pyosys")
    require(spec is not None, "yosys", "pyosys must be installed", install("synth"))
    assert spec is not None
    assert spec.origin is not None
    library = Path(spec.origin).with_name("share") / "xilinx" / "cells_sim.v"
    with file_errors(library):
        text = library.read_text()
    modules = {name: whole for whole, name in re.findall(r"^(module (\w+)\b.*?^endmodule)", text, re.S | re.M)}
    parts = ["`timescale 1ns / 1ps"]
    for kind in sorted(cells_used(netlist) - OURS.keys()):
        require(kind in modules, f"netlist cell {kind}", "has no model in Yosys's cells_sim.v", "update pyosys")
        parts.append(modules[kind])
    return "\n\n".join([*parts, block_ram(18), block_ram(36)]) + "\n"


def block_ram(kbit: int) -> str:
    """The primitive of 18 or 36 kbit: its ports and parameters around `hwseg_block_ram`.

    RAM_MODE "SDP": port A reads and port B writes, up to both ports' widths at once; "TDP": each does both.
    """
    data, parity, writes = (16, 2, 2) if kbit == 18 else (32, 4, 4)
    address = 14 if kbit == 18 else 16
    inits, parities = kbit // 18 * 64, kbit // 18 * 8
    names = [f"INIT_{n:02X}" for n in range(inits)], [f"INITP_{n:02X}" for n in range(parities)]
    values = "\n".join(f"    parameter [255:0] {name} = 256'h0," for group in names for name in group)
    inverted = ("CLKARDCLK", "CLKBWRCLK", "ENARDEN", "ENBWREN", "RSTRAMARSTRAM", "RSTRAMB", "RSTREGARSTREG", "RSTREGB")
    flags = "\n".join(f"    parameter [0:0] IS_{name}_INVERTED = 1'b0," for name in inverted)
    inputs = "\n".join(f"    input {name}," for name in (*inverted, "REGCEAREGCE", "REGCEB"))
    return f"""\
module RAMB{kbit}E1 #(
{values}
{flags}
    parameter integer DOA_REG = 0,
    parameter integer DOB_REG = 0,
    parameter [{kbit - 1}:0] INIT_A = 0,
    parameter [{kbit - 1}:0] INIT_B = 0,
    parameter [{kbit - 1}:0] SRVAL_A = 0,
    parameter [{kbit - 1}:0] SRVAL_B = 0,
    parameter RAM_MODE = "TDP",
    parameter RAM_EXTENSION_A = "NONE",
    parameter RAM_EXTENSION_B = "NONE",
    parameter integer READ_WIDTH_A = 0,
    parameter integer READ_WIDTH_B = 0,
    parameter integer WRITE_WIDTH_A = 0,
    parameter integer WRITE_WIDTH_B = 0,
    parameter WRITE_MODE_A = "WRITE_FIRST",
    parameter WRITE_MODE_B = "WRITE_FIRST"
) (
{inputs}
    input [{address - 1}:0] ADDRARDADDR,
    input [{address - 1}:0] ADDRBWRADDR,
    input [{data - 1}:0] DIADI,
    input [{data - 1}:0] DIBDI,
    input [{parity - 1}:0] DIPADIP,
    input [{parity - 1}:0] DIPBDIP,
    input [{writes - 1}:0] WEA,
    input [{2 * writes - 1}:0] WEBWE,
    output [{data - 1}:0] DOADO,
    output [{data - 1}:0] DOBDO,
    output [{parity - 1}:0] DOPADOP,
    output [{parity - 1}:0] DOPBDOP
);
  localparam integer WIDE = {2 * kbit};
  localparam SDP = RAM_MODE == "SDP";
  initial if (RAM_EXTENSION_A != "NONE" || RAM_EXTENSION_B != "NONE") $fatal(1, "RAMB{kbit}E1: no cascades");

  // Parity and data of a port of so many bits, to bytes of nine bits.
  function [71:0] joined(input [{data - 1}:0] d, input [{parity - 1}:0] p);
    integer i;
    begin
      joined = 72'b0;
      for (i = 0; i < {parity}; i = i + 1) joined[9*i+:9] = {{p[i], d[8*i+:8]}};
    end
  endfunction
  // A value of INIT_A or its like, which has its parity above its data.
  function [71:0] value(input [{kbit - 1}:0] bits, input integer width);
    integer i;
    begin
      value = width < 9 ? bits : 72'b0;
      for (i = 0; i < width / 9; i = i + 1) value[9*i+:9] = {{bits[8*(width/9)+i], bits[8*i+:8]}};
    end
  endfunction
  localparam [71:0] FIRST_A = READ_WIDTH_A == WIDE ?
    value(INIT_B, {kbit}) << {kbit} | value(INIT_A, {kbit}) : value(INIT_A, READ_WIDTH_A);
  localparam [71:0] RESET_A = READ_WIDTH_A == WIDE ?
    value(SRVAL_B, {kbit}) << {kbit} | value(SRVAL_A, {kbit}) : value(SRVAL_A, READ_WIDTH_A);

  wire [71:0] out_a, out_b;
  wire [71:0] in_a = joined(DIADI, DIPADIP);
  wire [71:0] in_b = WRITE_WIDTH_B == WIDE ? joined(DIBDI, DIPBDIP) << {kbit} | in_a : joined(DIBDI, DIPBDIP);
  hwseg_block_ram #(
      .BYTES({kbit // 9 * 1024}),
      .DATA({{{", ".join(reversed(names[0]))}}}),
      .PARITY({{{", ".join(reversed(names[1]))}}}),
      .READ_A(READ_WIDTH_A),
      .READ_B(READ_WIDTH_B),
      .WRITE_A(SDP ? 0 : WRITE_WIDTH_A),
      .WRITE_B(WRITE_WIDTH_B),
      .MODE_A(WRITE_MODE_A == "READ_FIRST" ? 0 : WRITE_MODE_A == "WRITE_FIRST" ? 1 : 2),
      .MODE_B(WRITE_MODE_B == "READ_FIRST" ? 0 : WRITE_MODE_B == "WRITE_FIRST" ? 1 : 2),
      .REGISTER_A(DOA_REG),
      .REGISTER_B(DOB_REG),
      .INIT_A(FIRST_A),
      .INIT_B(value(INIT_B, READ_WIDTH_B)),
      .RESET_A(RESET_A),
      .RESET_B(value(SRVAL_B, READ_WIDTH_B))
  ) ram (
      .clk_a(CLKARDCLK ^ IS_CLKARDCLK_INVERTED),
      .enable_a(ENARDEN ^ IS_ENARDEN_INVERTED),
      .reset_a(RSTRAMARSTRAM ^ IS_RSTRAMARSTRAM_INVERTED),
      .register_enable_a(REGCEAREGCE),
      .register_reset_a(RSTREGARSTREG ^ IS_RSTREGARSTREG_INVERTED),
      .address_a({{{"1'b0, ADDRARDADDR[13:0]" if kbit == 18 else "ADDRARDADDR[14:0]"}}}),
      .in_a(in_a),
      .write_a(8'(WEA)),
      .out_a(out_a),
      .clk_b(CLKBWRCLK ^ IS_CLKBWRCLK_INVERTED),
      .enable_b(ENBWREN ^ IS_ENBWREN_INVERTED),
      .reset_b(RSTRAMB ^ IS_RSTRAMB_INVERTED),
      .register_enable_b(REGCEB),
      .register_reset_b(RSTREGB ^ IS_RSTREGB_INVERTED),
      .address_b({{{"1'b0, ADDRBWRADDR[13:0]" if kbit == 18 else "ADDRBWRADDR[14:0]"}}}),
      .in_b(in_b),
      .write_b(8'(WEBWE)),
      .out_b(out_b)
  );
  genvar i;
  generate
    for (i = 0; i < {parity}; i = i + 1) begin : byte_of
      assign {{DOPADOP[i], DOADO[8*i+:8]}} = out_a[9*i+:9];
      // A read of both ports' width leaves by both.
      assign {{DOPBDOP[i], DOBDO[8*i+:8]}} = READ_WIDTH_A == WIDE ? out_a[{kbit}+9*i+:9] : out_b[9*i+:9];
    end
  endgenerate
endmodule"""

"""The simulated DSP slice against the model that Yosys ships, on a circuit that feeds it pseudo-random words."""

from __future__ import annotations

import re

import pytest

from hwseg.bench.netlist import Netlist
from hwseg.toolchain import yosys

pytestmark = pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")

CYCLES = 60
PLAIN = ["AREG", "BREG", "CREG", "DREG", "ADREG", "MREG", "PREG", "INMODEREG", "OPMODEREG", "ALUMODEREG"]
CONFIGURATIONS = {
    "accumulator": (["ADREG", "PREG", "INMODEREG", "OPMODEREG", "ALUMODEREG"], True, "{z, 4'b0101}"),
    "product": (["MREG", "PREG"], False, "7'b0000101"),
    "combinational": ([], False, "7'b0110101"),
    "all registers": (PLAIN, True, "{z, 4'b0101}"),
}


def slice_of(number: int, registers: list[str], pre_adder: bool, opmode: str) -> str:
    parameters = [f".{name}({int(name in registers)})" for name in PLAIN]
    parameters += [".CARRYINREG(0)", ".CARRYINSELREG(0)", ".ACASCREG(0)", ".BCASCREG(0)"]
    parameters.append(f'.USE_DPORT("{"TRUE" if pre_adder else "FALSE"}")')
    ones = ["CEA1", "CEA2", "CEB1", "CEB2", "CEC", "CED", "CEAD", "CEM", "CECTRL", "CEALUMODE", "CEINMODE", "CECARRYIN"]
    zeros = "RSTA RSTB RSTC RSTD RSTM RSTP RSTCTRL RSTALUMODE RSTINMODE RSTALLCARRYIN CARRYIN CARRYCASCIN MULTSIGNIN"
    tied = [f".{name}(1'b1)" for name in ones] + [f".{name}(1'b0)" for name in zeros.split()]
    return f"""
  DSP48E1 #({", ".join(parameters)}) slice_{number} (.CLK(clk), .A(r[29:0]), .B(r[47:30]), .C(r[95:48]), .D(r[120:96]),
    .INMODE({{1'b0, r[121], 1'b1, 2'b00}}), .OPMODE({opmode}), .ALUMODE({{2'b00, {{2{{r[122]}}}}}}), .CARRYINSEL(3'b0),
    .CEP(r[123]), {", ".join(tied)}, .ACIN(30'b0), .BCIN(18'b0), .PCIN(48'b0), .P(p{number}));"""


def circuit() -> str:
    """A shift register with feedback drives every operand; z changes between 0 and C, enables come and go."""
    slices = [slice_of(i, *one) for i, one in enumerate(CONFIGURATIONS.values())]
    return f"""
module part(input clk, {", ".join(f"output [47:0] p{i}" for i in range(len(slices)))});
  reg [162:0] r = 163'h123456789abcdef0fedcba987654321;
  always @(posedge clk) r <= {{r[161:0], r[162] ^ r[161] ^ r[150] ^ r[149]}};
  wire [2:0] z = {{1'b0, r[3], r[3]}};{"".join(slices)}
endmodule
"""


def by_yosys(folder) -> dict[str, list[int]]:
    """P of each slice in every cycle, as Yosys simulates the cell's own source."""
    commands = ["read_verilog part.v", "read_verilog +/xilinx/cells_sim.v", "hierarchy -top part", "proc", "flatten"]
    commands += ["opt_clean", "setundef -zero", f"sim -clock clk -n {CYCLES} -zinit -vcd out.vcd part"]
    yosys.run_script(commands, folder)
    text = (folder / "out.vcd").read_text()
    codes = {name: code for code, name in re.findall(r"\$var wire \d+ (\S+) (p\d|clk)\b", text)}
    values = dict.fromkeys(codes.values(), 0)
    seen: dict[str, list[int]] = {name: [] for name in codes}
    for line in text.split("$enddefinitions $end", 1)[1].splitlines():
        if line.startswith("#") and values[codes["clk"]]:
            for name, code in codes.items():
                seen[name].append(values[code] - (values[code] >> 47 << 48))
        value, _, code = line.partition(" ")
        if code in values:
            values[code] = int(value[1:].replace("x", "0"), 2)
    return seen


def test_dsp_slices_are_those_that_yosys_simulates(tmp_path):
    (tmp_path / "part.v").write_text(circuit())
    yosys.synth_xilinx([tmp_path / "part.v"], "part", extra=[f"write_json {tmp_path / 'part.json'}"])
    machine = Netlist(tmp_path / "part.json", "part", 3)
    assert len(machine.slices) == len(CONFIGURATIONS)
    ours: dict[str, list[list[int]]] = {f"p{i}": [] for i in range(len(CONFIGURATIONS))}
    for _ in range(CYCLES):
        machine.cycle(None)
        machine.settle(machine.values, machine.ones, machine.state)
        for name, words in ours.items():
            words.append(machine.read(name))
    theirs = by_yosys(tmp_path)
    for name, words in ours.items():
        assert len(set(theirs[name])) > CYCLES // 4
        assert words[: len(theirs[name])] == [[word] * 3 for word in theirs[name]], name

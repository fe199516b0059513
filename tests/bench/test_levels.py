"""The netlist rule: what it finds in circuits made for it, and that the packaged engine keeps it."""

from __future__ import annotations

import json

import pytest

from hwseg.bench import levels
from hwseg.boards.zynq7020.top import TOP
from hwseg.errors import HwsegError
from hwseg.toolchain import yosys
from tests.boards.packaged import netlist

pytestmark = pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")


def found_in(text: str, folder, top: str = "part", keep: tuple[str, ...] = ()) -> levels.Findings:
    (folder / "part.v").write_text(text)
    yosys.synth_xilinx([folder / "part.v"], top, keep, netlist=folder / "part.json")
    return levels.find(folder / "part.json", top)


def chain(steps: int) -> str:
    """Registers with `steps` LUTs between them that synthesis cannot join: each is a module of its own."""
    others = ["{5{first}}", *["r"] * (steps - 1)]
    stages = "".join(f"  step step_{i} (.a(w[{i}]), .b({b}), .y(w[{i + 1}]));\n" for i, b in enumerate(others))
    return f"""
module step(input a, input [4:0] b, output y);
  assign y = (a & b[0]) ^ (b[1] | b[2] & b[3] & b[4]);
endmodule
module part(input clk, input [5:0] d, output reg q);
  reg [4:0] r; reg first; wire [{steps}:0] w;
  always @(posedge clk) begin r <= d[4:0]; first <= d[5]; q <= w[{steps}]; end
  assign w[0] = first;
{stages}endmodule
"""


@pytest.mark.parametrize("steps", [6, 8, 11])
def test_a_deep_path_is_found_with_its_two_ends(tmp_path, steps):
    found = found_in(chain(steps), tmp_path, keep=("step",))
    assert found.deepest == steps
    assert found.beyond == (1 if steps > 7 else 0)
    assert found.holds == (steps <= 7)
    worst = found.worst[0]
    assert (worst.levels, worst.start, worst.end) == (steps, "w[0]", "q")
    assert [net for net in worst.nets if net.startswith("w[")] == [f"w[{i}]" for i in range(1, steps + 1)]


@pytest.mark.parametrize(("fan_out", "many"), [(200, False), (300, True)])
@pytest.mark.parametrize("pin", ["enable", "reset", "data"])
def test_a_net_of_many_loads_is_found_whatever_it_drives(tmp_path, fan_out, many, pin):
    text = {
        "enable": "if (go) r <= {r, d};",
        "reset": "if (go) r <= 0; else r <= {r, d};",
        "data": "r <= {r, d} ^ {W{go}};",
    }[pin].replace("W", str(fan_out))
    found = found_in(
        f"""
module part(input clk, input d, input start, output y);
  reg go; reg [{fan_out - 1}:0] r;
  always @(posedge clk) begin go <= start; {text} end
  assign y = ^(r & {{r, d}});
endmodule
""",
        tmp_path,
    )
    assert [name for name, _ in found.loads] == (["go"] if many else [])
    assert all(count >= fan_out for _, count in found.loads)


def test_a_carry_chain_counts_once_and_then_an_eighth_for_every_four_bits(tmp_path):
    found = found_in(
        """
module part(input clk, input [31:0] a, input [31:0] b, output reg [31:0] s);
  reg [31:0] x, y;
  always @(posedge clk) begin x <= a; y <= b; s <= x + y; end
endmodule
""",
        tmp_path,
    )
    # LUT, into the chain, seven CARRY4 behind the first.
    assert found.deepest == 1 + 1 + 7 / 8
    assert found.worst[0].end.startswith("s[")


BLOCK_RAM = """
module part(input clk, input [9:0] a, input [9:0] w, input [63:0] d, input e, output reg [63:0] q);
  reg [63:0] memory [0:1023]; reg [63:0] out;
  always @(posedge clk) begin if (e) memory[w] <= d; out <= memory[a]; q <= ~out; end
endmodule
"""


def test_a_block_ram_without_its_register_is_found(tmp_path):
    found = found_in(BLOCK_RAM, tmp_path)
    assert found.memories
    assert found.deepest == 2  # from the block RAM's output on, and one LUT


def test_a_block_ram_with_its_register_starts_at_0(tmp_path):
    """Yosys infers none, so the parameter is set in what it made."""
    found_in(BLOCK_RAM, tmp_path)
    netlist = json.loads((tmp_path / "part.json").read_text())
    for cell in netlist["modules"]["part"]["cells"].values():
        cell["parameters"] |= {"DOA_REG": 1, "DOB_REG": 1} if cell["type"].startswith("RAMB") else {}
    (tmp_path / "part.json").write_text(json.dumps(netlist))
    found = levels.find(tmp_path / "part.json", "part")
    assert not found.memories
    assert found.deepest == 1


def test_a_loop_is_no_path(tmp_path):
    loop = {
        "ports": {},
        "netnames": {"a": {"bits": [2]}, "b": {"bits": [3]}},
        "cells": {
            f"lut_{i}": {
                "type": "LUT1",
                "parameters": {},
                "port_directions": {"I0": "input", "O": "output"},
                "connections": {"I0": [2 + i], "O": [3 - i]},
            }
            for i in range(2)
        },
    }
    (tmp_path / "n.json").write_text(json.dumps({"modules": {"part": loop}}))
    with pytest.raises(HwsegError, match="must not depend on itself"):
        levels.find(tmp_path / "n.json", "part")


@pytest.mark.slow
def test_the_packaged_engine_keeps_the_rule():
    found = levels.find(netlist("8x4x4"), TOP)
    print(found)
    assert found.holds, str(found)

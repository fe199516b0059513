"""Registers at fixed places, and RAM32M as memories that are joined where they share addresses."""

from __future__ import annotations

import re

import pytest

from hwseg.bench import floorplan
from hwseg.bench.memories import joined
from hwseg.bench.route import harness
from hwseg.errors import HwsegError
from hwseg.rtl.cells import SIMULATION
from hwseg.rtl.cores import CORES
from hwseg.rtl.emit import verilog
from hwseg.toolchain import yosys

BITS = 12


def netlist():
    cells = {f"q{b}": {"type": "TRELLIS_FF", "connections": {"Q": [b]}, "attributes": {}} for b in range(2, 2 + BITS)}
    cells["gate"] = {"type": "LUT4", "connections": {"Z": [30]}, "attributes": {}}
    nets = {"word": {"bits": [*range(2, 2 + BITS)]}, "mixed": {"bits": [30, "0", 3]}}
    return {"cells": cells, "netnames": nets}


def places(found):
    return {name: cell["attributes"]["BEL"] for name, cell in found["cells"].items() if cell["attributes"]}


def test_registers_stand_in_order_eight_per_tile():
    found = netlist()
    floorplan.fix(found, {("word", 1, 10): [(7, 20), (9, 21)]})
    assert places(found) == {
        f"q{bit}": f"X{x}/Y{y}/SLICE{'ABCD'[n // 2]}.FF{n % 2}"
        for bit, (x, y, n) in zip(range(3, 13), [*((7, 20, n) for n in range(8)), (9, 21, 0), (9, 21, 1)], strict=True)
    }


def test_what_is_no_register_keeps_its_place_empty():
    found = netlist()
    floorplan.fix(found, {("mixed", 0, 3): [(7, 20)]})
    assert places(found) == {"q3": "X7/Y20/SLICEB.FF0"}


def test_the_register_before_a_global_net_is_placed():
    found = netlist()
    found["cells"]["buffer"] = {"type": "DCCA", "connections": {"CLKI": [4], "CLKO": [40]}, "attributes": {}}
    found["netnames"]["go"] = {"bits": [40]}
    floorplan.fix(found, {("go", 0, 1): [(67, 2)]})
    assert places(found) == {"q4": "X67/Y2/SLICEA.FF0"}


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({("none", 0, 1): [(7, 20)]}, "floorplan: none must be a net of the design"),
        ({("word", 0, 8): [(7, 22)]}, "floorplan: word must stand in free tiles of logic, not in column 7, row 22"),
        ({("word", 0, 8): [(1, 20)]}, "floorplan: word must stand in free tiles of logic, not in column 1, row 20"),
        ({("word", 0, 1): [(7, 20)], ("word", 1, 1): [(7, 20)]}, "floorplan: word must stand in free tiles of logic"),
    ],
)
def test_places_that_are_none_are_a_sentence(wanted, told):
    with pytest.raises(HwsegError, match=re.escape(told)):
        floorplan.fix(netlist(), wanted)


def test_a_group_has_a_tile_for_every_eight_registers():
    wanted = floorplan.group(4, 8)
    tiles = [tile for several in wanted.values() for tile in several]
    assert len(set(tiles)) == len(tiles)
    assert all(len(several) == -(-count // 8) for (_, _, count), several in wanted.items())
    assert sum(count for net, _, count in wanted if net.endswith((".feed", ".lanes"))) == 4 * 8 * 72
    with pytest.raises(HwsegError, match="floorplan: 5 rows of 8 cores of 72 lanes must be 4 of 8 of 72 at most"):
        floorplan.group(5, 8)


def test_an_input_takes_a_global_net():
    text = harness("module part(clk, a, go);\n  input clk;\n  input [3:0] a;\n  input go;\nendmodule\n", "part", "go")
    assert "DCCA buffer(.CLKI(chain[4:4]), .CE(1'b1), .CLKO(everywhere));" in text
    assert "part dut(.clk(clk), .a(chain[3:0]), .go(everywhere));" in text


PAIR = (
    """module part(clk, we, w, r, d, q);
  input clk, we;
  input [4:0] w, r;
  input [15:0] d;
  output [15:0] q;
"""
    + "".join(
        f"""  RAM32M m{n} (
    .ADDRA(r),
    .ADDRB({"w" if n else "r"}),
    .ADDRC(r),
    .ADDRD(w),
    .DIA(d[{8 * n + 1}:{8 * n}]),
    .DIB(d[{8 * n + 3}:{8 * n + 2}]),
    .DIC(d[{8 * n + 5}:{8 * n + 4}]),
    .DID(d[{8 * n + 7}:{8 * n + 6}]),
    .DOA(q[{8 * n + 1}:{8 * n}]),
    .DOB(q[{8 * n + 3}:{8 * n + 2}]),
    .DOC(q[{8 * n + 5}:{8 * n + 4}]),
    .DOD(q[{8 * n + 7}:{8 * n + 6}]),
    .WCLK(clk),
    .WE(we)
  );
"""
        for n in (0, 1)
    )
    + "endmodule\n"
)


@pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")
@pytest.mark.parametrize("wrong", [False, True])
def test_joined_memories_are_the_simulators(wrong, tmp_path):
    """After any write into empty memories, which shows every column at its place; and the proof sees a wrong one."""
    text = joined(PAIR)
    assert "RAM32M" not in text
    assert re.findall(r"reg \[(\d+):0\]", text) == ["9", "5"]
    text = text.replace("module part", "module gate")
    if wrong:
        text = text.replace("[r]", "[w]", 1)
    (tmp_path / "both.v").write_text(
        f"{SIMULATION}{PAIR}{text}module both(input clk, we, input [4:0] w, r, input [15:0] d);\n"
        "  wire [15:0] x, y;\n  part one(clk, we, w, r, d, x);\n  gate two(clk, we, w, r, d, y);\n"
        "  always @* assert (x == y);\nendmodule\n"
    )
    commands = ["read_verilog -formal both.v", "prep -top both -flatten", "memory_map", "async2sync"]
    commands += ["chformal -lower", "opt_clean", "sat -verify -prove-asserts -set-init-zero -seq 2 both"]
    if wrong:
        with pytest.raises(HwsegError, match="must not fail"):
            yosys.run_script(commands, tmp_path)
    else:
        yosys.run_script(commands, tmp_path)


def test_columns_of_a_core_are_joined():
    """Twelve tables of ten bits, three of them read where they are written."""
    text = joined(verilog(CORES["table"].core(72), "part"))
    bits = [int(high) + 1 for high in re.findall(r"reg \[(\d+):0\] columns_\d+ \[0:31\]", text)]
    assert "RAM32M" not in text
    assert sum(bits) == 120
    assert len(bits) < 30

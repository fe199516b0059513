"""The top level around engines of one and of several ports, and what is refused."""

from __future__ import annotations

import re

import pytest

from hwseg.boards.zynq7020.top import engine_ports, zynq_verilog
from hwseg.errors import HwsegError
from hwseg.rtl.config import parse_array
from hwseg.rtl.engine import verilog
from hwseg.toolchain import yosys

LITE = """
  input [7:0] s_axi_araddr; input s_axi_arvalid; output s_axi_arready; input [2:0] s_axi_arprot;
  input [7:0] s_axi_awaddr; input s_axi_awvalid; output s_axi_awready;
  input [31:0] s_axi_wdata; input [3:0] s_axi_wstrb; input s_axi_wvalid; output s_axi_wready;
  output [1:0] s_axi_bresp; output s_axi_bvalid; input s_axi_bready;
  output [31:0] s_axi_rdata; output [1:0] s_axi_rresp; output s_axi_rvalid; input s_axi_rready;
"""
READ = """
  output [31:0] {p}_araddr; output [7:0] {p}_arlen; output [2:0] {p}_arsize; output [1:0] {p}_arburst;
  output {p}_arvalid; input {p}_arready;
  input [63:0] {p}_rdata; input [1:0] {p}_rresp; input {p}_rlast; input {p}_rvalid; output {p}_rready;
"""
WRITE = """
  output [31:0] {p}_awaddr; output [7:0] {p}_awlen; output [2:0] {p}_awsize; output [1:0] {p}_awburst;
  output {p}_awvalid; input {p}_awready;
  output [63:0] {p}_wdata; output [7:0] {p}_wstrb; output {p}_wlast; output {p}_wvalid; input {p}_wready;
  input [1:0] {p}_bresp; input {p}_bvalid; output {p}_bready;
"""


def engine(*ports: str) -> str:
    """The header of an engine, one declaration a line as Yosys writes them."""
    wires = ["input clk;", "input rst;", "output busy;", "output interrupt;"]
    wires += re.findall(r"(?:input|output)[^;]*;", LITE + "".join(ports))
    return "module hwseg(clk);\n" + "\n".join(f"  {wire}" for wire in wires) + "\nendmodule\n"


def both(prefix: str) -> str:
    return (READ + WRITE).format(p=prefix)


def connections(text: str) -> dict[str, str]:
    instance = re.search(r"^  PS7 ps7 \((.*?)^  \);", text, re.S | re.M)
    assert instance is not None
    return dict(re.findall(r"\.(\w+)\((.*?)\),?$", instance[1], re.M))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_manager_port_has_its_high_performance_port_and_its_drain(count):
    text = zynq_verilog(engine(*(both(f"m_axi{n}") for n in range(count))), 2)
    wires = connections(text)
    for port in range(4):
        assert (f"SAXIHP{port}ACLK" in wires) == (port < count)
    for port in range(count):
        assert wires[f"SAXIHP{port}ACLK"] == "clk"
        assert wires[f"SAXIHP{port}ARLEN"].endswith("arlen[3:0]")
        assert wires[f"SAXIHP{port}WID"] == "6'h00"
    assert len(re.findall(r"hwseg_zynq__drain_\d\s+drain_\d\s+\(", text)) == count


def test_ports_that_only_read_or_only_write_are_quiet_in_the_other_direction():
    wires = connections(zynq_verilog(engine(READ.format(p="m_axi_r"), WRITE.format(p="m_axi_w")), 0))
    assert wires["SAXIHP0AWVALID"] == "1'h0"
    assert wires["SAXIHP0BREADY"] == "1'h0"
    assert wires["SAXIHP1ARVALID"] == "1'h0"
    assert "valid" in wires["SAXIHP0ARVALID"]
    assert "valid" in wires["SAXIHP1AWVALID"]


@pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")
def test_every_connection_fits_the_devices_cells_and_the_engine(tmp_path):
    """Names, widths and drivers, checked by Yosys against its library of the device's cells."""
    text = verilog(parse_array("8x1x1"))
    (tmp_path / "top.v").write_text(text)
    (tmp_path / "hwseg_zynq.v").write_text(zynq_verilog(text, 4))
    commands = ["read_verilog -lib +/xilinx/cells_sim.v +/xilinx/cells_xtra.v", "read_verilog top.v hwseg_zynq.v"]
    log = yosys.run_script([*commands, "hierarchy -check -top hwseg_zynq", "proc", "check -assert"], tmp_path)
    assert "Warning" not in log


def test_an_engine_without_ports_or_with_too_many_is_refused():
    with pytest.raises(HwsegError, match=r"must have registers at s_axi and 1 to 4 manager ports, has 0"):
        engine_ports(engine())
    with pytest.raises(HwsegError, match=r"has 5"):
        engine_ports(engine(*(both(f"m{n}") for n in range(5))))
    with pytest.raises(HwsegError, match=r"must have a module hwseg"):
        engine_ports("module other(); endmodule\n")

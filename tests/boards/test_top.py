"""The top level around engines of one and of several ports, at the ports that the board names, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from hwseg.boards import load_board
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


CACHE = "output [3:0] m_axi_awcache; output [3:0] m_axi_arcache;"


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


def board(read=("HP0",), write=("HP2",), leds=0):
    generic = load_board("zynq7020")
    pins = replace(generic.pins, leds=tuple(f"A{n}" for n in range(leds)))
    return replace(generic, pins=pins, ps=replace(generic.ps, read_ports=tuple(read), write_ports=tuple(write)))


def inputs(port: str, channels: tuple[str, ...]) -> set[str]:
    """Inputs of one direction of a port of PS7, from the library that synthesis takes it from."""
    pyosys = pytest.importorskip("pyosys")
    library = (Path(pyosys.__file__).parent / "share" / "xilinx" / "cells_xtra.v").read_text()
    cell = re.search(r"^module PS7\(.*?^endmodule", library, re.S | re.M)
    assert cell is not None
    return {
        name
        for name in re.findall(rf"input (?:\[\d+:0\] )?(SAXI{port}\w+);", cell[0])
        if name.removeprefix(f"SAXI{port}").startswith(channels)
    }


READS, WRITES = ("AR", "R"), ("AW", "W", "B")


def test_reads_go_through_one_port_and_writes_through_another():
    """The other direction of each asks for nothing, and takes whatever comes."""
    wires = connections(zynq_verilog(engine(both("m_axi")), load_board("pynq-z2")))
    used = {re.sub(r"(SAXI|MAXI)(HP|GP)(\d).*", r"\2\3", name) for name in wires if "AXI" in name}
    assert used == {"GP0", "HP0", "HP2"}
    for port, busy, quiet in (("HP0", READS, WRITES), ("HP2", WRITES, READS)):
        assert wires[f"SAXI{port}ACLK"] == "clk"
        for name in inputs(port, quiet):
            ready = name.endswith(("RREADY", "BREADY"))
            assert re.fullmatch(r"1'h1" if ready else r"\d+'[hd]0+", wires[name]), name
        assert inputs(port, busy) <= set(wires)
        outputs = {name for name in wires if name.startswith(f"SAXI{port}")} - inputs(port, ("",))
        assert all(name.removeprefix(f"SAXI{port}").startswith(busy) for name in outputs)
    assert wires["SAXIHP0ARVALID"] == "port_arvalid"
    assert (wires["SAXIHP2AWVALID"], wires["SAXIHP2WVALID"]) == ("port_awvalid", "port_wvalid")
    assert wires["SAXIHP0ARLEN"].endswith("arlen[3:0]")
    assert (wires["SAXIHP0ARID"], wires["SAXIHP2AWID"], wires["SAXIHP2WID"]) == ("6'h00",) * 3
    assert (wires["SAXIHP0ARQOS"], wires["SAXIHP2AWQOS"]) == ("4'h0",) * 2


def test_nothing_on_the_way_may_answer_a_write():
    wires = connections(zynq_verilog(engine(both("m_axi"), CACHE), board()))
    assert wires["SAXIHP2AWCACHE"] == "{ m_axi_awcache[3:1], 1'h0 }"
    assert wires["SAXIHP0ARCACHE"] == "m_axi_arcache"


def test_the_same_name_twice_is_one_port_for_both_directions():
    wires = connections(zynq_verilog(engine(both("m_axi")), board(["HP3"], ["HP3"])))
    assert inputs("HP3", ("",)) == {name for name in wires if name in inputs("HP3", ("",))}
    assert (wires["SAXIHP3ARVALID"], wires["SAXIHP3AWVALID"]) == ("port_arvalid", "port_awvalid")
    assert not [name for name in wires if "HP0" in name or "HP2" in name]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_manager_port_has_its_ports_and_drains(count):
    ports = [f"HP{n}" for n in range(count)]
    text = zynq_verilog(engine(*(both(f"m_axi{n}") for n in range(count))), board(ports, ports[::-1], leds=2))
    wires = connections(text)
    for port in range(4):
        assert (f"SAXIHP{port}ACLK" in wires) == (port < count)
    for port in range(count):
        assert wires[f"SAXIHP{port}ARADDR"] == f"m_axi{port}_araddr"
        assert wires[f"SAXIHP{port}AWADDR"] == f"m_axi{count - 1 - port}_awaddr"
    for what in ("read", "write"):
        assert len(re.findall(rf"hwseg_zynq__{what}_drain_\d\s+{what}_drain_\d\s+\(", text)) == count


def test_a_reset_waits_for_the_bridge_and_for_both_directions():
    text = zynq_verilog(engine(both("m_axi")), board())
    granted = re.search(r"assign \w+\s*= & \{([^}]*)\};", text)
    assert granted is not None
    idle = {name.strip() for name in re.findall(r"\.idle\(([^)]*)\)", text)}
    assert len(idle) == 3
    assert {name.strip() for name in granted[1].split(",")} == idle
    assert re.findall(r"\.stop\(([^)]*)\)", text) == ["stop"] * 3


@pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")
def test_every_connection_fits_the_devices_cells_and_the_engine(tmp_path):
    """Names, widths and drivers, checked by Yosys against its library of the device's cells."""
    text = verilog(parse_array("8x1x1"))
    (tmp_path / "top.v").write_text(text)
    (tmp_path / "hwseg_zynq.v").write_text(zynq_verilog(text, board(leds=4)))
    commands = ["read_verilog -lib +/xilinx/cells_sim.v +/xilinx/cells_xtra.v", "read_verilog top.v hwseg_zynq.v"]
    log = yosys.run_script([*commands, "hierarchy -check -top hwseg_zynq", "proc", "check -assert"], tmp_path)
    assert "Warning" not in log


def test_an_engine_whose_ports_are_not_as_many_as_the_boards_is_refused():
    with pytest.raises(HwsegError, match=r"must read at 1 manager ports \(HP0\), does so at 0; name as many in"):
        zynq_verilog(engine(), board())
    with pytest.raises(HwsegError, match=r"must write at 1 manager ports \(HP2\), does so at 2; .* ps.write_ports"):
        zynq_verilog(engine(both("m0"), WRITE.format(p="m1")), board())
    with pytest.raises(HwsegError, match=r"must have registers at s_axi"):
        engine_ports(engine().replace("s_axi_", "other_"))
    with pytest.raises(HwsegError, match=r"must have a module hwseg"):
        engine_ports("module other(); endmodule\n")

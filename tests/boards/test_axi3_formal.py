"""The AXI3 bridge, proven for every input by induction: handshakes, beats per burst, and what reaches a register."""

from __future__ import annotations

import pytest

from hwseg.boards.zynq7020.axi3 import Axi3ToLite
from hwseg.errors import HwsegError
from hwseg.rtl.emit import verilog
from hwseg.toolchain import yosys
from tests.rtl.cores.test_formal import induct

pytestmark = pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")

STEADY = {
    "rvalid": ("rready", "{rid, rdata, rresp, rlast}"),
    "bvalid": ("bready", "{bid, bresp}"),
    "lite_arvalid": ("lite_arready", "lite_araddr"),
    "lite_awvalid": ("lite_awready", "lite_awaddr"),
    "lite_wvalid": ("lite_wready", "{lite_wdata, lite_wstrb}"),
}
"""What a sender may not change while it waits, by its valid."""


def handshakes() -> str:
    """Valid, once up, stays up with the same payload until it is taken."""
    lines = []
    for valid, (ready, payload) in STEADY.items():
        lines.append(f"""
  reg waited_{valid} = 0; reg [63:0] was_{valid} = 0;
  always @(posedge clk) begin waited_{valid} <= {valid} && !{ready}; was_{valid} <= {payload}; end
  always @* if (waited_{valid}) assert ({valid} && was_{valid} == {payload});""")
    return "".join(lines)


BEATS = """
  // Reads: as many beats as asked for, the last one marked, with the ID of the address.
  reg [4:0] reads = 0; reg [11:0] read_id = 0;
  always @(posedge clk)
    if (arvalid && arready) begin reads <= arlen + 5'd1; read_id <= arid; end
    else if (rvalid && rready) reads <= reads - 1;
  always @* assert (arready == (reads == 0));
  always @* assert (reads == 0 || reads == ar_left + 5'd1);
  always @* if (reads != 0) assert (rid == read_id);
  always @* if (rvalid) assert (reads != 0 && rlast == (reads == 1));
  // Writes: a response only after the last beat, one per burst.
  reg [4:0] writes = 0; reg answering = 0; reg [11:0] write_id = 0;
  always @(posedge clk) begin
    if (awvalid && awready) begin writes <= awlen + 5'd1; answering <= 1; write_id <= awid; end
    else if (wvalid && wready) writes <= writes - 1;
    if (bvalid && bready) answering <= 0;
  end
  always @* assert (awready == !answering);
  always @* if (awready) assert (writes == 0);
  always @* if (wready) assert (writes != 0 && writes == aw_left + 5'd1);
  always @* if (answering && !wready && !bvalid) assert (writes == aw_left && final_beat == (writes == 0));
  always @* if (answering) assert (bid == write_id);
  always @* if (bvalid) assert (answering && writes == 0);
"""

REFUSED = """
  // Only whole registers inside the window are touched, and what is refused is told.
  reg [3:0] strobes = 0;
  always @(posedge clk) if (wvalid && wready) strobes <= wstrb;
  always @* assert (strobes == strobe);
  always @* if (lite_awvalid || lite_wvalid) assert (strobes == 4'hf && lite_wstrb == 4'hf && aw_outside == 0);
  always @* if (lite_arvalid) assert (ar_outside == 0);
  // On a burst's first beat, outside is what the port's own address says.
  reg write_outside = 0, read_outside = 0; reg [4:0] taken = 0, given = 0;
  always @(posedge clk) begin
    if (awvalid && awready) begin write_outside <= |awaddr[29:8]; taken <= 0; end
    else if (wvalid && wready) taken <= taken + 1;
    if (arvalid && arready) begin read_outside <= |araddr[29:8]; given <= 0; end
    else if (rvalid && rready) given <= given + 1;
  end
  always @* if (answering) assert (taken + writes <= 16 && (wready || taken != 0));
  always @* if (answering && taken <= !wready) assert (aw_outside == write_outside);
  always @* if (reads != 0) assert (given + reads <= 16);
  always @* if (reads != 0 && given == 0) assert (ar_outside == read_outside);
"""

ASSUMED = "\n  always @* assume (!rst);\n"


def with_assertions(text: str, added: str) -> str:
    """Added to module `core`, the first of the text."""
    return text.replace("\nendmodule", added + "\nendmodule", 1)


@pytest.fixture(scope="module")
def text() -> str:
    return verilog(Axi3ToLite(), "core")


def test_every_valid_stays_with_its_payload_until_it_is_taken(text, tmp_path):
    induct(with_assertions(text, handshakes() + BEATS + ASSUMED), tmp_path)


def test_bursts_have_their_beats_and_one_response_and_only_whole_registers_are_written(text, tmp_path):
    induct(with_assertions(text, BEATS + REFUSED + ASSUMED), tmp_path)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (".last(rlast)", ".last()"),
        ("assign lite_wstrb = 4'hf;", "assign lite_wstrb = wstrb;"),
        ("assign aw_outside = ", "assign aw_outside = 0 & "),
        ("assign ar_outside = ", "assign ar_outside = 0 & "),
    ],
)
def test_a_bridge_that_breaks_a_rule_is_not_proven(text, right, wrong, tmp_path):
    mutant = text.replace(right, wrong)
    assert mutant != text
    with pytest.raises(HwsegError, match="must not fail"):
        induct(with_assertions(mutant, handshakes() + BEATS + REFUSED + ASSUMED), tmp_path)

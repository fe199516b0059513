"""The bridge and the drains, proven for every input by induction.

Handshakes, beats per burst, what reaches a register; and that no burst is open when a reset is granted.
"""

from __future__ import annotations

import re

import pytest

from hwseg.boards.zynq7020.axi3 import Axi3ToLite
from hwseg.boards.zynq7020.drain import ReadDrain, WriteDrain
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
  always @* assert (reading == (reads != 0) && arready == (reads == 0 && !stop));
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
  always @* assert (writing == answering && awready == (!answering && !stop));
  always @* if (!answering) assert (writes == 0);
  always @* assert (idle == (stop && reads == 0 && !answering));
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


def obedient(*channels: str) -> str:
    """The engine keeps what it offers; so does the port see it, whatever `stop` does."""
    return "".join(
        f"""
  reg {c}_asked = 0, {c}_offered = 0;
  always @(posedge clk) begin
    {c}_asked <= engine_{c}valid && !engine_{c}ready;
    {c}_offered <= port_{c}valid && !port_{c}ready;
  end
  always @* if ({c}_asked) assume (engine_{c}valid);
  always @* if ({c}_offered) assert (port_{c}valid);
  always @* assert ({c}_offered == {c}_waited);
  always @* assert ((engine_{c}valid && engine_{c}ready) == (port_{c}valid && port_{c}ready));"""
        for c in channels
    )


SETTLED = """
  reg was_settled = 0;
  always @(posedge clk) was_settled <= stop && idle;
  always @* if (was_settled && stop) assert (idle);
"""

READ_SETTLED = """
  wire [9:0] open = reads + ar_went - r_ended;
  always @* if (open == 0) assume (!(rvalid && rready && rlast));
  always @* assert (!r_ended || reads != 0);
  always @* if (stop && idle) assert (!port_arvalid);
  always @* if (idle) assert (reads == 0);
"""

READ_COUNTED = """
  // Every burst, counted apart.
  reg [9:0] asked = 0, given = 0;
  always @(posedge clk) begin
    if (port_arvalid && port_arready) asked <= asked + 1;
    if (rvalid && rready && rlast) given <= given + 1;
  end
  always @* assert (reads + ar_went - r_ended == asked - given);
  always @* if (idle) assert (asked == given);
"""

WRITE_SETTLED = """
  wire [9:0] open = writes + aw_went - b_ended;
  always @* if (open == 0) assume (!bvalid);
  always @* assert (!b_ended || writes != 0);
  always @* if (stop && idle) assert (!port_awvalid && !port_wvalid);
  always @* if (idle) assert (writes == 0 && owed == 0);
"""

WRITE_COUNTED = """
  // Every beat, burst and response, counted apart.
  reg [9:0] asked = 0, sent = 0, answered = 0; reg middle = 0;
  always @(posedge clk) begin
    if (port_awvalid && port_awready) asked <= asked + 1;
    if (port_wvalid && port_wready && wlast) sent <= sent + 1;
    if (port_wvalid && port_wready) middle <= !wlast;
    if (bvalid && bready) answered <= answered + 1;
  end
  always @* assert (owed + aw_went - w_ended == asked - sent);
  always @* assert (writes + aw_went - b_ended == asked - answered);
  always @* if (idle) assert (!middle && asked == sent && asked == answered);
  // While `stop` holds, data begin only behind an address, and an address only comes to data that have begun.
  // A port holds a few bursts, so the counters never come round.
  wire signed [9:0] owes = asked - sent;
  always @* assume (owes > -500 && owes < 500);
  always @* if (stop && port_wvalid && !w_waited && !middle) assert (owes > 0);
  always @* if (stop && port_awvalid && !aw_waited) assert (owes < 0 || (owes == 0 && (middle || w_waited)));
  always @* assert (middle == partial);
"""

DRAINS = {
    ReadDrain: (obedient("ar") + SETTLED + READ_SETTLED, READ_COUNTED),
    WriteDrain: (obedient("aw", "w") + SETTLED + WRITE_SETTLED, WRITE_COUNTED),
}
"""What each keeps to, and what it counts."""


@pytest.mark.parametrize("kind", DRAINS)
def test_a_drain_keeps_every_offer_and_stays_idle_once_it_is(kind, tmp_path):
    induct(with_assertions(verilog(kind(), "core"), DRAINS[kind][0] + ASSUMED), tmp_path)


@pytest.mark.parametrize("kind", DRAINS)
def test_a_drain_counts_what_it_lets_through(kind, tmp_path):
    induct(with_assertions(verilog(kind(), "core"), "".join(DRAINS[kind]) + ASSUMED), tmp_path)


@pytest.mark.parametrize(
    ("kind", "forgotten"),
    [
        (ReadDrain, "ar_waited"),
        (ReadDrain, "reads"),
        (ReadDrain, "ar_went"),
        (ReadDrain, "r_ended"),
        (WriteDrain, "aw_waited"),
        (WriteDrain, "partial"),
        (WriteDrain, "owed"),
        (WriteDrain, "writes"),
        (WriteDrain, "aw_went"),
        (WriteDrain, "w_ended"),
        (WriteDrain, "b_ended"),
    ],
)
def test_a_drain_that_forgets_something_is_not_proven(kind, forgotten, tmp_path):
    mutant, count = re.subn(rf"(    {forgotten} <= )[^;]*;", r"\g<1>0;", verilog(kind(), "core"))
    assert count == 1
    with pytest.raises(HwsegError, match="must not fail"):
        induct(with_assertions(mutant, "".join(DRAINS[kind]) + ASSUMED), tmp_path)

"""The memory port's handshakes and bursts, proven for every input by induction; and that wrong ones are seen."""

from __future__ import annotations

import pytest

from hwseg.errors import HwsegError
from hwseg.rtl.bus import Bursts
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.emit import verilog
from hwseg.rtl.reader import Reader
from hwseg.rtl.writer import Writer
from hwseg.toolchain import yosys
from tests.rtl.cores.test_formal import induct, prove

pytestmark = pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")

ASSUMED = "\n  always @* assume (!rst);\n"

BURSTS = """
  // The window stays as it is during a run, a transfer is taken when there is none, and begins when it is prepared.
  reg [49:0] was_grant = 0; reg started = 0;
  reg was_load = 0; reg [27:0] was_size = 0;
  always @(posedge clk) begin
    was_grant <= grant; started <= 1; was_load <= load; was_size <= transfer[59:32];
  end
  always @* assume (!started || grant == was_grant);
  always @* assume (!load || (fsm_state == 0 && !run_valid && !block_valid && !next_valid));
  always @* assume (!allow || (fsm_state == 0 && prepared));
  // Whatever the transfer is: one without words or runs is `empty`, and its first burst is none.
  always @* if (started && was_load) assert (empty == (was_size[15:0] == 0 || was_size[27:16] == 0));
  // Nothing is missing between the steps that prepare a burst.
  always @* if (fsm_state == 1) assert (next_valid);
  always @* if (fsm_state == 2) assert (next_valid || ending);
  always @* if (next_valid && !next_ending) assert (block_valid);
  always @* if (block_valid && !final_run) assert (run_valid);
  always @* if (block_valid) assert (single == (blocks == 0));
  always @* if (block_valid && single) assert (last_word >= block_address[6:3]);
  // One to sixteen beats, never across 128 bytes (so never across 4 KB), only inside the granted window.
  wire [24:0] base = grant[24:0], limit = grant[49:25];
  always @* if (next_valid) assert ({1'b0, next_address[6:3]} + next_length <= 15);
  always @* if (next_valid && next_inside)
    assert (!started || (next_address[31:7] >= base && next_address[31:7] < limit && !empty));
  always @* if (go) assert (length <= 15);
  always @* if (go) assert (next_valid && next_inside && address == next_address && length == next_length);
  always @* if (go) assert (!halt && ready);
"""


def steady(channel: str) -> str:
    """Valid, once up, stays up with the same payload until it is taken."""
    return f"""
  reg waited_{channel} = 0; reg [71:0] was_{channel} = 0;
  always @(posedge clk) begin
    waited_{channel} <= {channel}__valid && !{channel}__ready;
    was_{channel} <= {channel}__payload;
  end
  always @* if (waited_{channel}) assert ({channel}__valid && was_{channel} == {channel}__payload);"""


def with_assertions(text: str, added: str) -> str:
    """Added to module `core`, the first of the text."""
    return text.replace("\nendmodule", added + ASSUMED + "\nendmodule", 1)


def one_step(text: str, folder) -> None:
    """Induction that is not tried again from two states where one does not suffice: a wrong reader fails at once."""
    prove(text, folder, "-tempinduct", "-maxsteps 1")


def reader() -> str:
    return verilog(Reader(EngineConfig(rows=8, pixels=2, channels=2)), "core")


def test_bursts_keep_the_bus_rules_and_the_granted_window(tmp_path):
    induct(with_assertions(verilog(Bursts(), "core"), BURSTS), tmp_path)


def test_a_read_address_waits_unchanged(tmp_path):
    one_step(with_assertions(reader(), steady("ar")), tmp_path)


def test_write_address_and_data_wait_unchanged(tmp_path):
    induct(with_assertions(verilog(Writer(), "core"), steady("aw") + steady("w")), tmp_path)


def changed(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, (text.count(old), old)
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("assert (length <= 15)", "assert (length <= 14)"),
        ("next_address[6:3]} + next_length <= 15", "next_address[6:3]} + next_length <= 14"),
        ("next_address[31:7] < limit", "next_address[31:7] < limit - 1"),
    ],
)
def test_a_stricter_rule_fails(old, new, tmp_path):
    with pytest.raises(HwsegError):
        induct(with_assertions(verilog(Bursts(), "core"), changed(BURSTS, old, new)), tmp_path)


def test_an_address_that_changes_while_it_waits_is_seen(tmp_path):
    text = reader()
    broken = changed(text, "    channel__payload <= ", "    channel__payload <= 1 + ")
    with pytest.raises(HwsegError):
        one_step(with_assertions(broken, steady("ar")), tmp_path)

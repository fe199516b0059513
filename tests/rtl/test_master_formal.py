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
  // Whatever the transfer is: one without words or runs is `empty`, and its first burst is none.
  wire [24:0] base = grant[24:0], limit = grant[49:25];
  wire some = left != 0 && run_words != 0 && runs_left != 0;
  always @* if (fsm_state == 1) assert (some || empty);
  always @* if (fsm_state == 2) assert (!empty && (some || ending));
  // One to sixteen beats, never across 128 bytes (so never across 4 KB), only inside the granted window.
  always @* if (go) assert (beats >= 1 && beats <= 16);
  always @* if (go) assert ({2'b0, address[6:3]} + beats <= 16);
  always @* if (go) assert (address[31:7] >= base && address[31:7] < limit);
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
        ("assert (beats >= 1 && beats <= 16)", "assert (beats >= 2)"),
        ("{2'b0, address[6:3]} + beats <= 16", "{2'b0, address[6:3]} + beats <= 15"),
        ("address[31:7] < limit", "address[31:7] < limit - 1"),
    ],
)
def test_a_stricter_rule_fails(old, new, tmp_path):
    with pytest.raises(HwsegError):
        induct(with_assertions(verilog(Bursts(), "core"), changed(BURSTS, old, new)), tmp_path)


def test_an_address_that_changes_while_it_waits_is_seen(tmp_path):
    text = reader()
    broken = text.replace("ar__payload <= ", "ar__payload <= 1 + ", 1)
    assert broken != text
    with pytest.raises(HwsegError):
        one_step(with_assertions(broken, steady("ar")), tmp_path)

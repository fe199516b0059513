"""The netlist of a packaged array, as `hwseg package --bitstream` makes it: from the cache, or in minutes."""

from __future__ import annotations

from pathlib import Path

from hwseg.boards import load_board
from hwseg.boards.zynq7020.route import NETLIST, synthesize
from hwseg.boards.zynq7020.top import zynq_verilog
from hwseg.rtl.config import parse_array
from hwseg.rtl.engine import verilog
from hwseg.toolchain.running import Limit

BOARD = load_board("zynq7020")
"""The board that builds are for by default: `tests/sim/test_netlist.py` simulates the same netlist of 8x2x2."""


def netlist(array: str) -> Path:
    """Of the flat top level, Yosys's JSON."""
    engine = verilog(parse_array(array))
    texts = {"hardware/top.v": engine, "hardware/hwseg_zynq.v": zynq_verilog(engine, BOARD)}
    return synthesize({name: text.encode() for name, text in texts.items()}, lambda *_: None, Limit(), {}) / NETLIST

"""Clock rates on the xc7z020 itself, where somebody has installed nextpnr-xilinx: not in the package index.

CHIPDB names its database of the part.  The harness is that of `hwseg.bench.route`, on four pins of a PYNQ-Z2.  The
tool's clock is of the slow corner, and pessimistic beside the vendor's.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hwseg.bench.route import harness, run_tool
from hwseg.errors import HwsegError, require
from hwseg.toolchain import yosys

TOOL, DATABASE = "nextpnr-xilinx", "CHIPDB"
PINS = {"clk": "H16", "rst": "D19", "in": "D20", "out": "R14"}


def installed() -> bool:
    """Tool on PATH and database named."""
    return shutil.which(TOOL) is not None and bool(os.environ.get(DATABASE))


def route(text: str, top: str, keep_hierarchy: Sequence[str] = (), timeout: float = 1800) -> float:
    """MHz of module `top` in its harness after place and route.

    Raises HwsegError where the tool or its database is missing, takes longer than `timeout` seconds, or finds no way.
    """
    tool, database = shutil.which(TOOL), os.environ.get(DATABASE, "")
    if tool is None:
        raise HwsegError(TOOL, "must be on PATH", "install the tools of openXC7")
    require(Path(database).is_file(), f"{DATABASE}={database}", "must name nextpnr-xilinx's database of the xc7z020")
    with tempfile.TemporaryDirectory(prefix="hwseg-route-") as scratch:
        folder = Path(scratch)
        (folder / "top.v").write_text(harness(text, top))
        (folder / "pins.xdc").write_text(constraints())
        yosys.synth_xilinx([folder / "top.v"], "harness", keep_hierarchy, netlist=folder / "top.json")
        command = [tool, "--chipdb", database, "--xdc", "pins.xdc", "--json", "top.json", "--freq", "150"]
        return fmax(run_tool(TOOL, [*command, "--timing-allow-fail", "--seed", "1"], folder, timeout))


def constraints() -> str:
    """Places and levels of the harness's pins."""
    lines = []
    for port, pin in PINS.items():
        lines.append(f"set_property LOC {pin} [get_ports {port}]")
        lines.append(f"set_property IOSTANDARD LVCMOS33 [get_ports {port}]")
    return "\n".join(lines) + "\n"


def fmax(log: str) -> float:
    """The last clock that the tool tells is the one after routing."""
    found = re.findall(r"Max frequency for clock\s+'[^']*':\s+([0-9.]+) MHz", log)
    if not found:
        errors = [line for line in log.splitlines() if line.startswith("ERROR")]
        if errors:
            raise HwsegError(TOOL, f"must not fail placing and routing: {' / '.join(errors)}")
        errors = log.splitlines()[-1:]
        raise HwsegError(TOOL, f"must tell a clock: {' / '.join(errors) or 'it printed nothing'}")
    return float(found[-1])

"""Yosys through pyosys: scripts in a process of their own, and Xilinx 7-series resource counts.

An error inside Yosys ends the process that it runs in, so that process is never the caller's.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from hwseg.borders import REPORT, finished, tool
from hwseg.errors import HwsegError, file_errors
from hwseg.toolchain.plain import plain_folder
from hwseg.toolchain.running import Heard, Limit, run_logged

CURE = "pip install 'hwseg[synth]'"

_RUNNER = """
import json, sys
from pyosys import libyosys
design = libyosys.Design()
for command in json.load(sys.stdin):
    libyosys.run_pass(command, design)
"""

LUTS_PER_RAM = {
    "RAM32X1S": 1,
    "RAM64X1S": 1,
    "RAM32X1D": 2,
    "RAM64X1D": 2,
    "RAM128X1S": 2,
    "RAM128X1D": 4,
    "RAM256X1S": 4,
    "RAM32M": 4,
    "RAM64M": 4,
    "SRL16": 1,
    "SRL16E": 1,
    "SRLC16E": 1,
    "SRLC32E": 1,
}
"""LUTs that each cell of a SLICEM occupies."""

FEWEST = 12
"""Flip-flops of a module that are worth an enable or a reset of their own."""
SPARED, SPARED_FEWEST = "hwseg_memory_unit*", 3
"""Modules whose enables come last of all, where logic behind them may be a level too many: only very few become it."""

FLIP_FLOPS = ("FDRE", "FDSE", "FDCE", "FDPE", "FDRE_1", "FDSE_1", "FDCE_1", "FDPE_1", "LDCE", "LDPE")


@dataclass(frozen=True)
class Resources:
    """What a netlist takes of a 7-series device, as `stat -tech xilinx` counts it; a RAMB18 is half a RAMB36.

    `lut` holds the logic LUTs, small ones paired in one LUT6 as Yosys estimates, and those of `lutram`; `lut_cells` is
    the same without pairing, an upper bound.
    """

    lut: int
    lutram: int
    ff: int
    carry4: int
    bram36: float
    dsp: int
    lut_cells: int


def version() -> str | None:
    """Version of pyosys; None where it is not installed."""
    return metadata.version("pyosys") if util.find_spec("pyosys") else None


def run_script(commands: Sequence[str], folder: Path | None = None, timeout: float | None = None) -> str:
    """Run Yosys commands one after the other in a process of their own, in `folder`; the log."""
    if version() is None:
        raise HwsegError("yosys", "pyosys must be installed", CURE)
    with plain_folder() as scratch, tool("yosys", "starting it", CURE):
        log = scratch / "log"
        quiet = [f"tee -q -a {log} {command}" for command in commands]
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-c", _RUNNER],
                input=json.dumps(quiet),
                capture_output=True,
                text=True,
                errors="replace",
                cwd=folder,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            cure = "allow more time or choose a smaller array"
            raise HwsegError("yosys", f"took more than {timeout:g} s", cure) from error
        text = log.read_text(errors="replace") if log.is_file() else ""
    finished("yosys", "in its script", done.returncode, text + done.stderr, REPORT)
    return text


def run_followed(commands: Sequence[str], folder: Path, log: Path, heard: Heard, limit: Limit) -> None:
    """The same for minutes: what Yosys prints is heard, and goes to `log`.  Raises `TimeOver` at the limit."""
    if version() is None:
        raise HwsegError("yosys", "pyosys must be installed", CURE)
    command = [sys.executable, "-P", "-c", _RUNNER]
    status = run_logged(command, folder, log, heard, limit, json.dumps(list(commands)))
    text = log.read_text(errors="replace")
    finished("yosys", "in its script", status, text, REPORT)


def synthesis(options: str) -> list[str]:
    """`synth_xilinx`, but an enable or a reset of few flip-flops becomes logic before them.

    Eight flip-flops of a slice share clock, enable and reset, so each such set of few loads wastes most of a slice, and
    placement suffers from many.
    """
    whole, cells = f"synth_xilinx -family xc7 -flatten {options}", ("$_DFFE_?P?P_", "$_SDFFE_?P?P_", "$_DLATCH_?P?_")
    legal = " ".join(f"-cell {cell} 01" for cell in cells)
    return [
        f"{whole} -run begin:map_ffs",
        f"dfflegalize -mince {FEWEST} -minsrst {FEWEST} {legal} * {SPARED} %d",
        f"dfflegalize -mince {SPARED_FEWEST} -minsrst {SPARED_FEWEST} {legal} {SPARED}",
        f"{whole} -run map_ffs:",
    ]


def synth_xilinx(
    verilog_files: Sequence[str | Path],
    top: str,
    keep_hierarchy: Sequence[str] = (),
    timeout: float | None = None,
    extra: Sequence[str] = (),
    netlist: Path | None = None,
) -> Resources:
    """Synthesize for Xilinx 7-series without I/O buffers and count the result.

    Modules whose names match a pattern of `keep_hierarchy` stay apart until they are mapped: otherwise equal registers
    of different rows merge, which saves nothing that matters and costs clock.  `extra` commands run on the flat
    netlist; files that they name need absolute paths.  netlist: where to write it as JSON.
    """
    with plain_folder() as folder:
        copies = [folder / f"{number}.v" for number in range(len(verilog_files))]
        for file, copy in zip(verilog_files, copies, strict=True):
            with file_errors(file):
                shutil.copyfile(file, copy)
        commands = [
            *(f"read_verilog {copy.name}" for copy in copies),
            f"hierarchy -top {top}",
            *(f"setattr -mod -set keep_hierarchy 1 {name}" for name in keep_hierarchy),
            *synthesis(f"-noiopad -noclkbuf -top {top}"),
            *(f"setattr -mod -unset keep_hierarchy {name}" for name in keep_hierarchy),
            *(["flatten", "opt_clean"] if keep_hierarchy else []),
            "delete t:$scopeinfo",
        ]
        commands += ["tee -q -o stat.json stat -tech xilinx -json", *extra]
        run_script([*commands, *(["write_json netlist.json"] if netlist else [])], folder, timeout)
        if netlist is not None:
            with file_errors(netlist):
                shutil.copyfile(folder / "netlist.json", netlist)
        with tool("yosys", "counting cells", CURE):
            return resources_of(json.loads((folder / "stat.json").read_text()))


def resources_of(stat: Mapping[str, object]) -> Resources:
    """Counts from the JSON of `stat -tech xilinx -json`."""
    design = stat["design"]
    assert isinstance(design, Mapping)
    cells: Mapping[str, int] = design["num_cells_by_type"]

    def count(*kinds: str) -> int:
        return sum(cells.get(kind, 0) for kind in kinds)

    lutram = sum(luts * count(kind) for kind, luts in LUTS_PER_RAM.items())
    single = count("INV", *(f"LUT{inputs}" for inputs in range(1, 7)))
    return Resources(
        lut=int(design.get("estimated_num_lc", single)) + lutram,
        lutram=lutram,
        ff=count(*FLIP_FLOPS),
        carry4=count("CARRY4"),
        bram36=count("RAMB36E1") + count("RAMB18E1") / 2,
        dsp=count("DSP48E1"),
        lut_cells=single + lutram,
    )

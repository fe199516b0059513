"""One archive of everything that a board project takes from a build; the same build gives the same bytes.

    design.zip   top.v, sim_cells.v             the engine, as it was simulated
                 program.bin, weights.bin       one model; others run on the same engine
                 memory.json, registers.json    where the driver finds and puts things
                 report.*, graph.json           what to expect
                 vivado.tcl                     synthesis out of context: real utilization and timing of the engine
                 manifest.json                  SHA-256 of each

The top level around the PS7, the driver and bitstreams are not built yet; a package says so in `README.txt`.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from hwseg.boards import Board
from hwseg.errors import require
from hwseg.files import file_errors, verify_manifest, write_whole
from hwseg.rtl.registers import REGISTERS

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every file in the archive, so that bytes depend on contents alone."""

FROM_BUILD = (
    "top.v",
    "program.bin",
    "weights.bin",
    "memory.json",
    "graph.json",
    "report.json",
    "report.md",
    "report.html",
)
OPTIONAL = ("sim_cells.v",)

README = """{title}

The engine's Verilog (top.v, module hwseg) with one compiled network, for {part} at {clock:g} MHz.

  s_axi_*      AXI4-Lite registers: registers.json
  m_axi_*      AXI manager, 64 bits, bursts of at most 16 beats: fits an AXI3 high-performance port of the PS7
  interrupt    level, cleared through the register `interrupt`

A driver copies weights.bin and program.bin to the addresses in memory.json, the picture as digit planes to `input`,
writes `base`, `program`, `program_words`, then 1 to `control`, and waits for the interrupt.

vivado -mode batch -source vivado.tcl    synthesizes the engine out of context and reports utilization and timing.
This version makes no bitstream: the top level around the PS7 is not part of it.
"""

VIVADO = """# Synthesis of the engine out of context; ends with an error if the clock is not met.
create_project -in_memory -part {part}
read_verilog top.v
synth_design -top hwseg -mode out_of_context -flatten_hierarchy none
create_clock -name clk -period {period:.3f} [get_ports clk]
opt_design
place_design
route_design
report_utilization -file utilization.txt
report_timing_summary -file timing.txt
if {{[get_property SLACK [get_timing_paths]] < 0}} {{ error "timing is not met at {clock:g} MHz" }}
"""


def package(build: Path, board: Board, archive: Path) -> list[str]:
    """Write `archive` from a build folder; names of its files.  Raises HwsegError for a changed or foreign build."""
    require(build.is_dir(), str(build), "must be a build folder, but there is none", "run hwseg compile first")
    verify_manifest(build)
    with file_errors(build):
        report = json.loads((build / "report.json").read_text())
        files = {name: (build / name).read_bytes() for name in (*FROM_BUILD, *OPTIONAL) if (build / name).is_file()}
    require(
        report["board"] == board.name,
        str(build),
        f"was compiled for {report['board']}, not {board.name}",
        "compile again",
    )
    clock = float(report["clock_mhz"])
    fields = {"title": board.title, "part": board.part, "clock": clock, "period": 1000 / clock}
    files["registers.json"] = (json.dumps([asdict(r) for r in REGISTERS], indent=1) + "\n").encode()
    files["README.txt"] = README.format(**fields).encode()
    files["vivado.tcl"] = VIVADO.format(**fields).encode()
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    files["manifest.json"] = (json.dumps(digests, indent=1) + "\n").encode()
    write_whole(archive, zipped(files))
    return sorted(files)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A ZIP archive that depends on names and contents alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])
    return buffer.getvalue()

"""A bitstream with open tools: yosys, nextpnr-xilinx, fasm2frames, xc7frames2bit."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from hwseg.boards import Board
from hwseg.boards.zynq7020.package import OWNER, write
from hwseg.boards.zynq7020.scripts import SOURCES, open_commands, yosys_commands
from hwseg.errors import HwsegError, require
from hwseg.files import MARKER, Sealed, build_folder, owner_of, read_regular
from hwseg.runtime.fpga import BINARY, BIT, LARGEST, bit_payload, bit_to_bin, require_part
from hwseg.runtime.package import CURE as MADE_AGAIN
from hwseg.runtime.package import read_package
from hwseg.toolchain import yosys

TOOLS = ("nextpnr-xilinx", "fasm2frames", "xc7frames2bit")
CURE = "build openXC7 (https://github.com/openXC7) and put it on PATH, or use hardware/vivado.tcl"

CONFIGURATION_BYTES = {"xc7z010": 2_083_740, "xc7z020": 4_045_564}
"""Of a whole device, Zynq-7000 Technical Reference Manual (UG585), table 6-15."""
TOLERANCE = 0.01
"""Tools differ in the commands around the frames."""

Progress = Callable[[str], None]


def require_tools(chipdb: Path | None, database: Path | None) -> None:
    """Raise HwsegError naming every program and file that is missing."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    missing += ["pyosys (pip install 'hwseg[synth]')"] if yosys.version() is None else []
    if chipdb is None or not chipdb.is_file():
        missing.append(f"--chipdb FILE, nextpnr-xilinx's database{f' ({chipdb} is no file)' if chipdb else ''}")
    if database is None or not database.is_dir():
        missing.append(f"--prjxray-db FOLDER, prjxray's zynq7{f' ({database} is no folder)' if database else ''}")
    require(not missing, "--bitstream", f"needs what is missing: {'; '.join(missing)}", CURE)


def make_bitstream(package: Path, board: Board, chipdb: Path, database: Path, progress: Progress) -> None:
    """Put hwseg.bit and hwseg.bit.bin into the package, at the package's clock; its manifest lists them then.

    Raises HwsegError with the end of the log of the tool that refused; timing that is not met is a refusal.
    """
    require(owner_of(package) == OWNER, str(package), "must be a package", "run hwseg package")
    files = Sealed.of(package, MADE_AGAIN)
    clocked = board.at(read_package(package).board.clock_mhz, str(package))
    # Nobody else writes the package meanwhile, and it stays as it was until the bitstream is there.
    with build_folder(package, OWNER) as scratch, tempfile.TemporaryDirectory(prefix="hwseg-bitstream-") as made:
        work = Path(made)
        kept = {name: files.read(name) for name in files.digests if name not in (MARKER, BIT, BINARY)}
        for name in (*SOURCES, "pins.xdc"):
            (work / name).write_bytes(kept[f"hardware/{name}"])
        progress("yosys: synthesis")
        yosys.run_script(yosys_commands(), work)
        for command, output in open_commands(clocked, str(chipdb), str(database)):
            progress(command[0])
            _run(command, work, output)
        bit = read_regular(work / "hwseg.bit", LARGEST)
        _require_length(bit, board)
        require_part(bit, board.part, "hwseg.bit")
        write(scratch, kept | {BIT: bit, BINARY: bit_to_bin(bit)})


def _run(command: list[str], work: Path, output: str) -> None:
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        lines = [line.strip() for line in (done.stdout[-4000:] + done.stderr).splitlines() if line.strip()]
        told = [line for line in lines if "ERROR" in line] or lines or [f"exit status {done.returncode}"]
        raise HwsegError(
            command[0], f"must not fail: {told[-1]}", "lower the clock, choose a smaller array, or ask there"
        )
    clocks = [line for line in (done.stdout + done.stderr).splitlines() if "Max frequency for clock" in line]
    if clocks and "FAIL at" in clocks[-1]:
        raise HwsegError(command[0], f"must meet timing: {clocks[-1].strip()}", "lower the clock, or try another seed")
    if output:
        (work / output).write_text(done.stdout)


def _require_length(bit: bytes, board: Board) -> None:
    wanted = CONFIGURATION_BYTES.get(board.device)
    found = len(bit_payload(bit))
    fits = wanted is None or abs(found - wanted) <= TOLERANCE * wanted
    rule = f"must configure all of {board.device}, about {wanted} bytes, has {found}"
    require(fits, "hwseg.bit", rule, "check that the databases are of this part")

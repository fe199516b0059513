"""A bitstream with open tools: yosys, nextpnr-xilinx, fasm2frames, xc7frames2bit.

The clock follows what was routed: where the package's clock is missed, the nearest one below that FCLK can have goes
into package, constraints, programs and the driver's PLL setting, unless the clock is demanded.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hwseg.boards import NEXTPNR, Board
from hwseg.boards.zynq7020.netlist import require_placeable
from hwseg.boards.zynq7020.package import OWNER, REPORTS, ROUTED, write
from hwseg.boards.zynq7020.route import (
    WHY,
    Logs,
    Progress,
    Routed,
    best,
    counts_of,
    keep_log,
    route,
    synthesize,
)
from hwseg.boards.zynq7020.scripts import pack_commands
from hwseg.borders import finished
from hwseg.errors import HwsegError, require
from hwseg.files import MARKER, Sealed, build_folder, owner_of, read_regular, write_whole
from hwseg.locks import in_use
from hwseg.runtime.fpga import BINARY, BIT, LARGEST, bit_payload, bit_to_bin, require_part
from hwseg.runtime.package import CURE as MADE_AGAIN
from hwseg.runtime.package import read_package
from hwseg.toolchain import yosys
from hwseg.toolchain.running import Limit, TimeOver, run_logged

TOOLS = (NEXTPNR, "fasm2frames", "xc7frames2bit")
CURE = "build openXC7 (https://github.com/openXC7) and put it on PATH, or use hardware/vivado.tcl"
UNTIMED = "slow corner; the tool as it is published does not time block RAMs, DSP slices and the PS7"

CONFIGURATION_BYTES = {"xc7z010": 2_083_740, "xc7z020": 4_045_564}
"""Of a whole device, Zynq-7000 Technical Reference Manual (UG585), table 6-15."""
PACKING = 600.0
"""Seconds that the last steps have at least, which take one or two minutes."""
TOLERANCE = 0.01
"""Tools differ in the commands around the frames."""

FAILED = "failed"
"""In the folder of the logs: those of tools that made nothing, which no manifest lists."""

Slower = Callable[[float, str], Mapping[str, bytes]]
"""Every file of the same package at another clock in MHz, by its path, each with a sentence that says why."""


@dataclass(frozen=True)
class Effort:
    """How hard to try.  seeds: of the placement, the best of which is taken.  require_clock: no other clock will do.

    fits: an array that the tool can place, for who asked for too large a one.
    """

    seeds: Sequence[int] = (1,)
    limit: Limit = field(default_factory=Limit)
    require_clock: bool = False
    fits: str = ""


@dataclass(frozen=True)
class Made:
    """A bitstream.  board: at the clock of the package now.  told: which clock, and why."""

    board: Board
    runs: tuple[Routed, ...]
    told: str


def require_tools(chipdb: Path | None, database: Path | None) -> None:
    """Raise HwsegError naming every program and file that is missing."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    missing += ["pyosys (pip install 'hwseg[synth]')"] if yosys.version() is None else []
    if chipdb is None or not chipdb.is_file():
        missing.append(f"--chipdb FILE, nextpnr-xilinx's database{f' ({chipdb} is no file)' if chipdb else ''}")
    if database is None or not database.is_dir():
        missing.append(f"--prjxray-db FOLDER, prjxray's zynq7{f' ({database} is no folder)' if database else ''}")
    require(not missing, "--bitstream", f"needs what is missing: {'; '.join(missing)}", CURE)


def make_bitstream(
    package: Path,
    board: Board,
    chipdb: Path,
    database: Path,
    progress: Progress,
    slower: Slower,
    effort: Effort | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Made:
    """Put hwseg.bit and hwseg.bit.bin into the package, with how they were made; its manifest lists them then.

    The package stays as it was until all of that is there, but for the tools' logs in `reports/failed`.  files: what it
    is to hold, for `board` at its clock, where that is not what it holds.  Raises HwsegError with what the tool said
    that refused or crashed, at the limit of time, and for a clock that is demanded and missed.
    """
    effort = effort or Effort()
    require(owner_of(package) == OWNER, str(package), "must be a package", "run hwseg package")
    with in_use(package):
        clocked, kept = board, dict(files or {})
        if files is None:
            clocked = board.at(read_package(package).board.clock_mhz, str(package))
            kept = _held(package)
        logs: Logs = {}
        try:
            runs, bit = _made(kept, clocked, chipdb, database, progress, effort, logs)
            chosen = best(runs)
            told = told_of(chosen, clocked)
            if not chosen.met:
                clocked = clocked.below(chosen.most(clocked.ps.fclk.mhz), NEXTPNR)
                progress(f"compiling for {clocked.clock_mhz:.3f} MHz", "")
                again = slower(clocked.clock_mhz, told)
                same = all(again[name] == kept[name] for name in ("hardware/top.v", "hardware/hwseg_zynq.v"))
                rule = "the builds are of another hwseg than this one: the engine is not the one that was routed"
                require(same, str(package), rule, "compile them again")
                kept = dict(again)
            report = _routed_json(runs, chosen, clocked, told, bit)
            made = {BIT: bit, BINARY: bit_to_bin(bit), ROUTED: report}
            with build_folder(package, OWNER) as scratch:
                write(scratch, kept | made | {f"{REPORTS}/{name}": log for name, log in logs.items()})
        except BaseException:
            with suppress(HwsegError):
                for name, log in logs.items():
                    write_whole(package / REPORTS / FAILED / name, log)
            raise
    return Made(clocked, tuple(runs), told)


def _held(package: Path) -> dict[str, bytes]:
    """What a package holds, but a bitstream and how that was made."""
    sealed = Sealed.of(package, MADE_AGAIN)
    names = (n for n in sealed.digests if n not in (MARKER, BIT, BINARY, ROUTED) and not n.startswith(f"{REPORTS}/"))
    return {name: sealed.read(name) for name in names}


def _made(
    files: Mapping[str, bytes],
    board: Board,
    chipdb: Path,
    database: Path,
    progress: Progress,
    effort: Effort,
    logs: Logs,
) -> tuple[list[Routed], bytes]:
    """Every seed's run, and the bitstream of the best."""
    with tempfile.TemporaryDirectory(prefix="hwseg-bitstream-") as made:
        work = Path(made)
        netlist = synthesize(files, progress, effort.limit, logs)
        require_placeable(counts_of(netlist), board, effort.fits)
        pins = files["hardware/pins.xdc"]
        runs = route(netlist, pins, board, chipdb, effort.seeds, progress, effort.limit, logs)
        chosen = best(runs)
        if effort.require_clock and not chosen.met:
            rule = f"must meet timing: {chosen.mhz:.2f} MHz of {board.ps.fclk.mhz:.3f} with seed {chosen.seed}"
            raise HwsegError(NEXTPNR, rule, "leave out --require-clock, lower the clock, or try other seeds")
        assert chosen.fasm is not None
        shutil.copyfile(chosen.fasm, work / "hwseg.fasm")
        # What is routed is worth some minutes more, whatever the seeds have left.
        limit = Limit(None if effort.limit.seconds is None else max(PACKING, effort.limit.left()))
        for command, output in pack_commands(board, str(database.resolve())):
            progress(command[0], "")
            _run(command, work, output, progress, limit, logs)
        return runs, _bit(work, board)


def _run(command: list[str], work: Path, output: str, progress: Progress, limit: Limit, logs: Logs) -> None:
    log, name = work / f"{command[0]}.log", command[0]
    doing = "packing the bitstream"
    try:
        into = work / output if output else None
        status = run_logged(command, work, log, lambda line: progress(name, line), limit, output=into)
    except TimeOver:
        raise limit.error(name, doing, "allow more time: synthesis and routing are kept") from None
    finally:
        keep_log(logs, log.name, log)
    finished(name, doing, status, log.read_text(errors="replace"), "check that the databases are of this part", WHY)


def told_of(run: Routed, board: Board) -> str:
    """Which clock a routed design gets, and why: a sentence without its end."""
    asked = f"{board.ps.fclk.mhz:.3f} MHz were asked for"
    found = f"{NEXTPNR} routed {run.mhz:.2f} MHz with seed {run.seed} ({UNTIMED})"
    if run.met:
        return f"{asked}, and {found}"
    clock = board.below(run.most(board.ps.fclk.mhz), NEXTPNR).ps.fclk
    made = f"{clock.pll.upper()} PLL / {clock.divisors[0] * clock.divisors[1]}"
    return f"{asked}, {found}, so everything is for {clock.mhz:.3f} MHz, the nearest below that FCLK0 can have ({made})"


def _routed_json(runs: Sequence[Routed], chosen: Routed, clocked: Board, told: str, bit: bytes) -> bytes:
    rows = [{"seed": run.seed, "mhz": run.mhz, "met": run.met, "failed": run.failed} for run in runs]
    content = {
        "tool": NEXTPNR,
        "clock_mhz": clocked.ps.fclk.mhz,
        "seed": chosen.seed,
        "routed_mhz": chosen.mhz,
        "why": told,
        "seeds": rows,
        "sha256": hashlib.sha256(bit).hexdigest(),
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def _bit(work: Path, board: Board) -> bytes:
    """What the last tool wrote: a bitstream of the whole part."""
    name, path, cure = TOOLS[-1], work / "hwseg.bit", "check that the databases are of this part"
    require(path.is_file() and not path.is_symlink(), name, "must write hwseg.bit, but did not", cure)
    size = path.stat().st_size
    require(size <= LARGEST, name, f"must write a bitstream of at most {LARGEST} bytes, wrote {size}", cure)
    bit, place = read_regular(path, LARGEST), f"{name}: hwseg.bit"
    wanted, found = CONFIGURATION_BYTES.get(board.device), len(bit_payload(bit, place))
    fits = wanted is None or abs(found - wanted) <= TOLERANCE * wanted
    rule = f"must configure all of {board.device}, about {wanted} bytes, has {found}"
    require(fits, place, rule, cure)
    require_part(bit, board.part, place)
    return bit

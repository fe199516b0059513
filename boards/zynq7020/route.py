"""From sources to routed designs with open tools, each step done once: what is finished is kept in the cache.

A netlist depends on the sources and on Yosys, a routed design also on pins, clock, seed, the tool and its database.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hwseg.boards import CLOCK_TOLERANCE, NEXTPNR, Board
from hwseg.boards.zynq7020.netlist import Counts, count
from hwseg.boards.zynq7020.scripts import SOURCES, route_command, yosys_commands
from hwseg.boards.zynq7020.top import TOP
from hwseg.borders import REPORT, finished, tool
from hwseg.caches import kept
from hwseg.errors import HwsegError, file_errors, require
from hwseg.files import read_file, sha256
from hwseg.toolchain import yosys
from hwseg.toolchain.running import Limit, TimeOver, run_logged

NETLISTS, ROUTES = "netlists", "routes"
"""Kinds of the cache's entries."""
NETLIST, COUNTS, PINS, FASM, LOG = "hwseg.json", "counts.json", "pins.xdc", "hwseg.fasm", "log"
ROUNDING = 0.005
"""MHz by which a clock that is told in hundredths may be less."""
MOST_LOG = 1 << 30
WHY = "this is why"
"""Before what a tool of place and route says: it may be the design."""

Progress = Callable[[str, str], None]
"""Called with the step, and what its tool says."""
Logs = dict[str, bytes]
"""What the tools printed, by the names that the logs get."""


@dataclass(frozen=True)
class Routed:
    """One seed's run.  mhz: the fastest clock, as told; None where the run failed, and `failed` says why.

    met: the tool says that the clock which was asked for is reached.
    """

    seed: int
    mhz: float | None = None
    met: bool = False
    failed: str = ""
    fasm: Path | None = None

    def most(self, asked: float) -> float:
        """MHz that a clock of the routed design may have, less than those that were asked for and missed."""
        assert self.mhz is not None
        return min(self.mhz, asked) - ROUNDING


def synthesize(sources: Mapping[str, bytes], progress: Progress, limit: Limit, logs: Logs) -> Path:
    """The folder of the netlist and of its counts, from the cache or made now."""

    def make(folder: Path) -> None:
        log = folder / LOG
        try:
            for name in SOURCES:
                (folder / name).write_bytes(sources[f"hardware/{name}"])
            yosys.run_followed(yosys_commands(), folder, log, lambda line: progress("yosys: synthesis", line), limit)
        except TimeOver:
            raise limit.error("yosys", "synthesis", "allow more time, or choose a smaller array") from None
        finally:
            keep_log(logs, "yosys.log", log)
        with tool("yosys", "counting cells", REPORT):
            counts = count(json.loads((folder / NETLIST).read_bytes()), TOP)
        (folder / COUNTS).write_text(json.dumps(asdict(counts)) + "\n")

    progress("yosys: synthesis", "")
    key = (yosys.version(), yosys_commands(), [sha256_of(sources[f"hardware/{name}"]) for name in SOURCES])
    folder = kept(NETLISTS, key, make)
    keep_log(logs, "yosys.log", folder / LOG)
    return folder


def counts_of(netlist: Path) -> Counts:
    with file_errors(netlist):
        return Counts(**json.loads((netlist / COUNTS).read_bytes()))


def route(
    netlist: Path,
    pins: bytes,
    board: Board,
    chipdb: Path,
    seeds: Sequence[int],
    progress: Progress,
    limit: Limit,
    logs: Logs,
) -> list[Routed]:
    """Each seed's run.  A seed that fails does not keep the others from running, nor does the limit take back one that
    is done; HwsegError if none of them ends well.
    """
    program = shutil.which(NEXTPNR)
    same = (sha256(netlist / NETLIST), sha256_of(pins), sha256(chipdb), sha256(program) if program else "")
    found: list[Routed] = []
    errors: list[HwsegError] = []
    for seed in seeds:
        step = f"{NEXTPNR}: seed {seed}" + (f", {len(found) + 1} of {len(seeds)}" if len(seeds) > 1 else "")
        progress(step, "")
        try:
            found.append(_one(netlist, pins, board, chipdb, seed, same, step, progress, limit, logs))
        except HwsegError as error:
            errors.append(error)
            found.append(Routed(seed, failed=f"{error.place}: {error.rule}"))
        last = found[-1]
        progress(f"{NEXTPNR}: seed {seed}: " + (last.failed if last.mhz is None else f"{last.mhz:.2f} MHz"), "")
        if limit.left() <= 0:
            break
    if not any(run.fasm for run in found):
        raise errors[0]
    return found


def _one(
    netlist: Path,
    pins: bytes,
    board: Board,
    chipdb: Path,
    seed: int,
    same: object,
    step: str,
    progress: Progress,
    limit: Limit,
    logs: Logs,
) -> Routed:
    name = f"nextpnr-seed-{seed}.log"
    command = route_command(board, str(chipdb.resolve()), seed)

    def make(folder: Path) -> None:
        log = folder / LOG
        (folder / PINS).write_bytes(pins)
        (folder / NETLIST).symlink_to(netlist.resolve() / NETLIST)
        cure = "try another --seed, choose a smaller array, or ask at https://github.com/openXC7"
        doing = f"placing and routing with seed {seed}"
        try:
            status = run_logged(command, folder, log, lambda line: progress(step, line), limit)
        except TimeOver:
            raise limit.error(NEXTPNR, doing, "allow more time, or choose a smaller array; synthesis is kept") from None
        finally:
            keep_log(logs, name, log)
        text = log.read_text(errors="replace")
        finished(NEXTPNR, doing, status, text, cure, WHY)
        clock_of(text, asked)
        fasm = folder / FASM
        if fasm.is_symlink() or not fasm.is_file():
            raise HwsegError(NEXTPNR, f"must write {FASM} {doing}, but did not", cure)
        _clear(folder)

    asked = board.ps.fclk.mhz
    folder = kept(ROUTES, (command[3:], same), make)
    keep_log(logs, name, folder / LOG)
    mhz, met = clock_of(read_file(folder / LOG, MOST_LOG).decode(errors="replace"), asked)
    return Routed(seed, mhz, met, fasm=folder / FASM)


def _clear(folder: Path) -> None:
    """Remove whatever else a tool has left."""
    for path in folder.iterdir():
        if path.name not in (FASM, LOG, PINS):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def clock_of(log: str, asked: float) -> tuple[float, bool]:
    """MHz of the slowest clock, and whether all are as fast as was asked; the last word on each is after routing."""
    pattern = r"Max frequency for clock\s+'([^']*)':\s+(\S+) MHz(?: \((PASS|FAIL) at)?"
    last = {name: (mhz, verdict) for name, mhz, verdict in re.findall(pattern, log)}
    if not last:
        said = next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "it printed nothing")
        raise HwsegError(NEXTPNR, f"must tell the clock that it routed: {said[:300]}", REPORT)
    for name, (mhz, _) in last.items():
        number = re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", mhz) is not None and float(mhz) > 0
        rule = f"must tell the clock that it routed in MHz, says {mhz[:100]!r} of {name[:100]}"
        require(number, NEXTPNR, rule, REPORT)
    slowest = min(float(mhz) for mhz, _ in last.values())
    passed = all(verdict != "FAIL" for _, verdict in last.values())
    return slowest, passed and slowest > asked - CLOCK_TOLERANCE


def best(runs: Sequence[Routed]) -> Routed:
    """The fastest; of equals the first."""
    return max((run for run in runs if run.mhz is not None), key=lambda run: (run.mhz or 0.0, -run.seed))


def keep_log(logs: Logs, name: str, path: Path) -> None:
    """Of a long log the beginning and the end."""
    if not path.is_file():
        return
    with file_errors(path):
        content = path.read_bytes()
    half = 1 << 21
    cut = b"\n... cut ...\n"
    logs[name] = content if len(content) <= 2 * half else content[:half] + cut + content[-half:]


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

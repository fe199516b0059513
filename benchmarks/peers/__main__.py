"""Other people's tools on the networks that hwseg exports: what they refuse, what they estimate, and ours beside it.

    python -m benchmarks.peers

Each tool has a virtual environment of its own (build/peers/finn, build/peers/hls4ml), installed at first use from the
list of versions beside this file; `--finn` and `--hls4ml` name interpreters that have them already.  Every network in
every tool is a process of its own with a time limit, and ends with all that it started.  No vendor's tool is run:
finn-plus goes as far as its estimates, hls4ml as far as its C++ and g++.  What is in --json is not done
again, but for what was not finished in less time than --seconds now.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmarks.measure import machine
from benchmarks.peers import environment, ours
from benchmarks.peers.finding import COMPILER, SHORT, Finding, compiler_error, is_done, known, read, report
from benchmarks.peers.networks import NETWORKS
from hwseg.boards import load_board
from hwseg.errors import HwsegError
from hwseg.files import write_whole
from hwseg.interrupts import exit_status, terminable
from hwseg.toolchain.running import Limit, TimeOver, run_logged

FOLDER = Path(__file__).parents[2] / "build" / "peers"
SECONDS = 1800


@dataclass(frozen=True)
class Tool:
    """How a tool is run.  home: the environment it lives in.  script: beside this file."""

    name: str
    home: str
    script: str
    steps: str = "default"


TOOLS = (
    Tool("finn-plus", "finn", "finn_estimate.py", "default"),
    Tool("finn-plus, U-Net steps", "finn", "finn_estimate.py", "unet"),
    Tool("hls4ml", "hls4ml", "hls4ml_convert.py", "default"),
    Tool("hls4ml, U-Net steps", "hls4ml", "hls4ml_convert.py", "unet"),
)


def request(tool: Tool) -> str:
    """What the script is told of the part."""
    board = load_board("zynq7020")
    told = {"part": board.part, "clock_ns": round(1e3 / board.clock_mhz, 3), "steps": tool.steps}
    return json.dumps(told | {name: board.resources[name] for name in ("lut", "bram36", "dsp")})


def run(tool: Tool, interpreter: Path, network: str, model: Path, folder: Path, seconds: int) -> Finding:
    """One network in one tool, in a process of its own; its output is kept in `folder`/output.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    told = folder / "told.json"
    told.unlink(missing_ok=True)
    log = folder / "output.txt"
    log.unlink(missing_ok=True)
    script = Path(__file__).parent / tool.script
    surroundings = ["env", "-u", "PYTHONPATH", f"FINN_BUILD_DIR={folder / 'work'}"]
    command = [
        *surroundings,
        str(interpreter.absolute()),
        str(script),
        str(model.resolve()),
        str(folder),
        request(tool),
    ]
    started = time.perf_counter()
    name = escape(f"{network}: {tool.name}")
    with Console(stderr=True).status(name) as status:
        try:
            ended: int | None = run_logged(
                command, folder, log, lambda line: status.update(f"{name}: {escape(line[:SHORT])}"), Limit(seconds)
            )
        except TimeOver:
            ended = None
    found = read(told, network, tool.name, ended, time.perf_counter() - started)
    if found.stage == COMPILER:
        said = compiler_error(log.read_text(errors="replace"))
        found = replace(found, said=said or found.said)
    return found


def main() -> int:
    try:
        with terminable():
            _main()
    except KeyboardInterrupt as stop:
        return exit_status(stop)
    return 0


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[network.name for network in NETWORKS])
    parser.add_argument("--tool", action="append", choices=[tool.name for tool in TOOLS])
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"for one network in one tool [{SECONDS}]")
    parser.add_argument("--json", type=Path, default=FOLDER / "findings.json")
    for home in dict.fromkeys(tool.home for tool in TOOLS):
        parser.add_argument(f"--{home}", type=Path, metavar="PYTHON", help=f"an interpreter that has {home}")
    options = parser.parse_args()
    chosen = [tool for tool in TOOLS if tool.name in (options.tool or [t.name for t in TOOLS])]
    if options.seconds < 1:
        parser.error(f"--seconds: must be at least 1, is {options.seconds}")
    try:
        findings = known(options.json, [network.name for network in NETWORKS], [tool.name for tool in TOOLS])
    except HwsegError as error:
        parser.error(str(error))
    homes = dict.fromkeys(tool.home for tool in chosen)
    interpreters = {home: getattr(options, home) or environment.python(home, FOLDER) for home in homes}
    for home in homes:
        if getattr(options, home) and not environment.has(home, interpreters[home]):
            needed = f"must be a Python interpreter that has {environment.DISTRIBUTIONS[home]}"
            parser.error(f"{interpreters[home]}: {needed}; leave --{home} out to have one installed")
    for network in NETWORKS:
        if options.only and network.name not in options.only:
            continue
        model = network.file(FOLDER / "networks")
        for tool in chosen:
            before = [f for f in findings if (f.network, f.tool) == (network.name, tool.name)]
            if any(is_done(f, options.seconds) for f in before):
                continue
            folder = FOLDER / "runs" / network.name / tool.name.replace(", ", "-").replace(" ", "-")
            found = run(tool, interpreters[tool.home], network.name, model, folder, options.seconds)
            findings = [*(f for f in findings if f not in before), found]
            print(f"{network.name}: {tool.name}: {found.outcome}, {found.seconds:.0f} s", file=sys.stderr, flush=True)
            write_whole(options.json, (json.dumps([asdict(f) for f in findings], indent=1) + "\n").encode())
    names = [network.name for network in NETWORKS if any(f.network == network.name for f in findings)]
    files = {network.name: network.file(FOLDER / "networks") for network in NETWORKS if network.name in names}
    rows = [row for name in names for row in [ours.measure(name, files[name]), *of(findings, name)]]
    versions = sorted({f"{f.tool.split(',')[0]} {f.version}" for f in findings if f.version})
    print(", ".join([machine(), *versions]))
    print()
    print(report(rows))


def of(findings: list[Finding], network: str) -> list[Finding]:
    """One network's, in the order of the tools."""
    order = [tool.name for tool in TOOLS]
    return sorted((f for f in findings if f.network == network), key=lambda f: order.index(f.tool))


if __name__ == "__main__":
    sys.exit(main())

"""Public segmentation networks by the routes that people use: what compiles, and is it exact?

    pip install 'hwseg[train,zoo]'
    python -m benchmarks.zoo --out zoo.json

Every network, with random weights at a small size, goes every route in a process of its own.  What hwseg accepts is
compared with an executor of floats, tensor by tensor (differences that float32 does not explain), and its program's
instructions are executed and compared with the golden model, map by map.  `--simulate N` simulates the Verilog of the
first N that compile.  `--only TEXT` takes networks and routes whose names contain it.  What is in --out is not done
again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import machine, table

SIZE = 32
SECONDS = 900
"""For one cell, if --seconds does not say otherwise."""


@dataclass(frozen=True)
class Cell:
    """What became of a network by a route.

    outcome: "exact", "refused" (by hwseg, in the words of `said`), "not exported" (by the route), "unfinished", or
    what is wrong.  unexplained: tensors of which float32 does not explain a difference to the executor.
    """

    network: str
    route: str
    outcome: str
    said: str = ""
    tensors: int = 0
    different: int = 0
    unexplained: int = 0
    layers: int = 0
    cycles: int = 0
    simulated: str = ""
    seconds: float = 0.0


def examine(network: str, route: str, simulate: bool) -> Cell:
    """One cell, in this process."""
    import torch

    from benchmarks.zoo_networks import CHANNELS, NETWORKS
    from benchmarks.zoo_routes import ROUTES, export, settled
    from hwseg.boards import load_board
    from hwseg.compile.program import compile_graph
    from hwseg.errors import HwsegError
    from hwseg.machine.execute import checked_sums
    from hwseg.quant.read import referee
    from hwseg.quant.read.load import load
    from hwseg.target.array import choose_array

    torch.manual_seed(0)
    shape = (1, CHANNELS, SIZE, SIZE)
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        path = Path(folder) / "model.onnx"
        try:
            export(route, settled(NETWORKS[network](), shape), shape, path)
        except Exception as error:  # a route's own failure
            return Cell(network, route, "not exported", f"{type(error).__name__}: {str(error).splitlines()[0][:200]}")
        try:
            graph = load(path)
            board = load_board("zynq7020")
            program = compile_graph(graph, choose_array("auto", "table", board), board)
        except HwsegError as error:
            return Cell(network, route, "refused", str(error))
        kind = graph.types[graph.input]
        x = np.random.default_rng(0).integers(kind.low, kind.high, kind.shape, endpoint=True)
        executor = ROUTES[route][1]
        run = referee.run_qonnx if executor == "qonnx" else referee.run_onnxruntime
        verdict = referee.compare(path, x, executor, run)
        bad = sum(row.unexplained for row in verdict.tensors)
        try:
            checked_sums(program, x)
            outcome = "exact" if verdict.agrees else f"differs from {executor}"
        except HwsegError as error:
            outcome = f"machine differs: {error}"
        simulated = _simulated(Path(folder), path, x) if simulate else ""
        return Cell(
            network, route, outcome, "", len(verdict.tensors), verdict.different, bad, len(program.plans),
            program.timing().total, simulated,
        )  # fmt: skip


def _simulated(folder: Path, path: Path, x: np.ndarray) -> str:
    from hwseg.builds.build import compile_model
    from hwseg.sim.simulate import simulate_program

    build = compile_model(path, out=folder / "build")
    found = simulate_program(build.path, build.program, x)
    return "equal" if found.passed else f"differs: {found.first_mismatch}"


def cell(network: str, route: str, simulate: bool, seconds: int = SECONDS) -> Cell:
    """The same in a process of its own."""
    started = time.perf_counter()
    arguments = [sys.executable, "-m", "benchmarks.zoo", "--cell", network, route]
    try:
        done = subprocess.run(
            [*arguments, *(["--simulate", "1"] if simulate else [])], capture_output=True, text=True, timeout=seconds,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Cell(network, route, "unfinished", f"more than {seconds} s", seconds=seconds)
    lines = done.stdout.strip().splitlines()
    try:
        found = json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError):
        said = (done.stderr.strip().splitlines() or ["no output"])[-1]
        found = asdict(Cell(network, route, "crash", said[:300]))
    return Cell(**(found | {"seconds": time.perf_counter() - started}))


def tables(cells: list[Cell], routes: list[str]) -> str:
    """Networks by routes, and the words of refusals."""
    by_name = {(c.network, c.route): c for c in cells}
    notes: dict[str, int] = {}
    rows = []
    for network in dict.fromkeys(c.network for c in cells):
        row = [network]
        for route in routes:
            found = by_name.get((network, route))
            row.append("" if found is None else _word(found, notes))
        rows.append(row)
    said = [[str(number), text] for text, number in notes.items()]
    return "\n\n".join([table(["network", *routes], rows), table(["", "in these words"], said)])


def _word(found: Cell, notes: dict[str, int]) -> str:
    if found.outcome == "exact":
        return f"exact, {found.layers} layers" + (f", simulated {found.simulated}" if found.simulated else "")
    text = found.said or found.outcome
    number = notes.setdefault(text.replace("|", "/"), len(notes) + 1)
    return f"{found.outcome.split(':')[0]} ({number})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("zoo.json"))
    parser.add_argument("--only", default="")
    parser.add_argument("--simulate", type=int, default=0, metavar="N")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for one cell")
    parser.add_argument("--cell", nargs=2, metavar=("NETWORK", "ROUTE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        print(json.dumps(asdict(examine(*options.cell, options.simulate > 0))))
        return
    from benchmarks.zoo_networks import NETWORKS
    from benchmarks.zoo_routes import ROUTES

    known: list[dict[str, Any]] = json.loads(options.out.read_text()) if options.out.exists() else []
    cells = [Cell(**row) for row in known]
    done = {(c.network, c.route) for c in cells}
    left = options.simulate
    for route in ROUTES:
        for network in NETWORKS:
            if (network, route) in done or options.only not in f"{network}, {route}":
                continue
            found = cell(network, route, left > 0, options.seconds)
            left -= found.simulated != ""
            cells.append(found)
            options.out.write_text(json.dumps([asdict(c) for c in cells], indent=1))
            print(f"{network}; {route}: {found.outcome} {found.said} ({found.seconds:.0f} s)", flush=True)
    print(machine())
    print(tables(cells, list(ROUTES)))


if __name__ == "__main__":
    main()

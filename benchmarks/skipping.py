"""What leaving out leading zero planes is worth on real pictures: planes executed, and the cycles that this saves.

    python -m benchmarks.skipping MODEL.onnx PICTURES [--count 8] [--array zynq7020] [--json OUT]

The compiled program is executed on each picture (`hwseg.machine.activity`), so cycles are exactly those of the engine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.measure import machine, table
from hwseg.boards import load_board
from hwseg.compile.program import Program, compile_graph
from hwseg.machine.activity import skipping
from hwseg.pictures.source import read_input
from hwseg.quant.read.load import load
from hwseg.rtl.config import parse_array


@dataclass(frozen=True)
class Saved:
    """One picture.  planes: how many times fewer are executed, weighted by multiply-accumulates.  cycles: a frame."""

    picture: str
    planes: float
    dense_cycles: int
    cycles: int


def measure(program: Program, name: str, image: np.ndarray) -> Saved:
    found = skipping(program, image)
    macs = {plan.index: plan.layer.macs for plan in program.plans}
    executed = sum(macs[i] * (1 - skipped / dense) for i, (dense, skipped) in found.planes.items())
    dense, sparse = program.timing(), program.timing(saved=found.saved)
    return Saved(name, sum(macs.values()) / executed, dense.total, sparse.total)


def pictures_of(folder: Path, count: int) -> list[Path]:
    """The first test pictures of a data set, or of a plain folder."""
    images = folder / "images" if (folder / "images").is_dir() else folder
    split = folder / "split.json"
    names = json.loads(split.read_text())["test"] if split.is_file() else sorted(p.name for p in images.iterdir())
    return [images / name for name in names[:count]]


def run(model: Path, pictures: Sequence[Path], array: str) -> list[Saved]:
    graph = load(model)
    program = compile_graph(graph, parse_array(array), load_board("zynq7020"))
    return [measure(program, p.name, read_input(p, graph, "resize")) for p in pictures]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--array", default="zynq7020")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = run(arguments.model, pictures_of(arguments.pictures, arguments.count), arguments.array)
    ratios = np.array([row.planes for row in found])
    dense, sparse = (sum(getattr(row, name) for row in found) for name in ("dense_cycles", "cycles"))
    print(f"{machine()}, array {arguments.array}, {arguments.model.name}, {len(found)} pictures")
    print()
    head = ["picture", "planes: fewer times", "cycles, dense", "with skipping", "fewer times"]
    rows = [
        [r.picture, f"{r.planes:.3f}", f"{r.dense_cycles:,}", f"{r.cycles:,}", f"{r.dense_cycles / r.cycles:.3f}"]
        for r in found
    ]
    mean = len(ratios) / (1 / ratios).sum()
    print(table(head, [*rows, ["all", f"{mean:.3f}", f"{dense:,}", f"{sparse:,}", f"{dense / sparse:.3f}"]]))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in found], indent=1) + "\n")


if __name__ == "__main__":
    main()

"""hwseg's own figures for the same file: the default array of the default board."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.finding import Finding
from hwseg.boards import load_board
from hwseg.compile.program import compile_graph
from hwseg.quant.read.load import load
from hwseg.target.array import choose_array
from hwseg.target.resources import estimate


def measure(network: str, path: Path) -> Finding:
    """Predicted cycles and estimated resources; one picture at a time, so latency is the time between pictures."""
    board = load_board("zynq7020")
    config = choose_array("auto", "table", board)
    cycles = compile_graph(load(path), config, board).timing().total
    needed = estimate(config)
    return Finding(
        network,
        f"hwseg {config.name}",
        "estimated",
        cycles=cycles,
        latency=cycles,
        lut=round(needed["lut"]),
        bram36=needed["bram36"],
        dsp=round(needed["dsp"]),
        fits=all(needed[name] <= available for name, available in board.resources.items()),
    )

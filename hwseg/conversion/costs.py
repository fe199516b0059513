"""What a network costs on the board's array: cycles and energy of a frame, as the compiler and the energy model say."""

from __future__ import annotations

from typing import Any

from hwseg.boards import load_board
from hwseg.compile.program import compile_graph
from hwseg.energy.frame import activity_of_program
from hwseg.ir import Graph
from hwseg.power.coefficients import load as load_coefficients
from hwseg.power.estimate import estimate
from hwseg.target.array import choose_array


def costs(graph: Graph, array: str = "auto", board: str = "zynq7020", boundary: str = "pl_ps") -> dict[str, Any]:
    """Cycles, milliseconds, frames per second and millijoules of a frame."""
    target = load_board(board)
    config = choose_array(array, "table", target)
    program = compile_graph(graph, config, target)
    total = program.timing().total
    energy = estimate(activity_of_program(program), load_coefficients(), target.clock_mhz).total.energy_mj[boundary]
    milliseconds = total / target.clock_mhz / 1000
    return {
        "board": board, "array": config.name, "clock_mhz": target.clock_mhz, "cycles": total,
        "milliseconds": milliseconds, "frames_per_second": 1000 / milliseconds, "boundary": boundary,
        "energy_mj": {"low": energy.low, "mid": energy.mid, "high": energy.high},
    }  # fmt: skip

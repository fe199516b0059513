"""A compiled graph executed by the machine and compared with the golden model, tensor by tensor."""

from __future__ import annotations

import numpy as np

from hwseg import golden
from hwseg.boards import load_board
from hwseg.compile.program import Program, compile_graph
from hwseg.ir import Graph
from hwseg.machine.execute import execute
from hwseg.rtl.config import EngineConfig

BOARD = load_board("zynq7020")


def compiled(graph: Graph, config: EngineConfig, allow_inexact: bool = False) -> Program:
    return compile_graph(graph, config, BOARD, allow_inexact)


def image_of(graph: Graph, seed: int = 0) -> np.ndarray:
    kind = graph.types[graph.input]
    image = np.random.default_rng(seed).integers(kind.low, kind.high + 1, kind.shape)
    image[0, 0], image[-1, -1] = kind.low, kind.high
    return image


def differences(program: Program, policy: str = "eager", seed: int = 0) -> dict[str, int]:
    """Wrong values by tensor; empty if the program computes the graph."""
    image = image_of(program.graph, seed)
    expected = golden.run(program.graph, image).tensors
    found = execute(program, image, policy, seed)
    wrong = {name: int((value != expected[name]).sum()) for name, value in found.items() if name in expected}
    return {name: count for name, count in wrong.items() if count}

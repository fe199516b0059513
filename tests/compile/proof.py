"""A compiled graph executed by the machine and compared with the golden model, tensor by tensor."""

from __future__ import annotations

import numpy as np

from hwseg import golden
from hwseg.boards import load_board
from hwseg.compile.api import Program, compile_graph
from hwseg.compile.layout import HeadLayout, pack_input, unpack_head, unpack_tensor
from hwseg.compile.machine import Machine
from hwseg.ir import Graph
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
    graph, memory = program.graph, program.memory
    image = image_of(graph, seed)
    ddr = np.random.default_rng(seed).integers(0, 1 << 63, memory.end(len(program.program)) // 8, np.uint64)

    def put(address: int, content: bytes) -> None:
        ddr[address // 8 :][: len(content) // 8] = np.frombuffer(content, np.uint64)

    put(memory.weights_address, program.weights)
    put(memory.program_address, program.program)
    put(memory.tensors[graph.input], pack_input(image, memory.layouts[graph.input]))
    Machine(program.config, ddr, memory.program_address, len(program.program), policy, seed).run()
    expected = golden.run(graph, image).tensors
    raw = ddr.tobytes()
    found = {name: unpack_tensor(raw[at:], memory.layouts[name]) for name, at in memory.tensors.items()}
    if isinstance(memory.head, HeadLayout):
        found[memory.head_tensor] = unpack_head(raw[memory.head_address :], memory.head)
    wrong = {name: int((value != expected[name]).sum()) for name, value in found.items()}
    return {name: count for name, count in wrong.items() if count}

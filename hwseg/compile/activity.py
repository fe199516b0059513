"""What a program does with one picture: planes that skipping leaves out, found by executing the instructions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwseg.compile.api import Program
from hwseg.compile.layout import pack_input
from hwseg.compile.machine import Machine


@dataclass(frozen=True)
class Skipping:
    """saved: cycles that each RUN takes less than a dense one, in order.  planes: by layer, digit planes of windows
    that are read when execution is dense, and those of them that are left out.
    """

    saved: tuple[int, ...]
    planes: dict[int, tuple[int, int]]

    @property
    def skipped(self) -> int:
        return sum(left_out for _, left_out in self.planes.values())


def memory_contents(program: Program, image: np.ndarray, seed: int = 0) -> np.ndarray:
    """The DDR as 64-bit words before a run: weights, program and picture, noise where nothing is."""
    memory, graph = program.memory, program.graph
    words = memory.end(len(program.program)) // 8
    ddr: np.ndarray = np.random.default_rng(seed).integers(0, 1 << 63, words, np.uint64)
    for address, content in (
        (memory.weights_address, program.weights),
        (memory.program_address, program.program),
        (memory.tensors[graph.input], pack_input(image, memory.layouts[graph.input])),
    ):
        ddr[address // 8 :][: len(content) // 8] = np.frombuffer(content, np.uint64)
    return ddr


def skipping(program: Program, image: np.ndarray) -> Skipping:
    """Leading zero planes of every window of integers [H, W, C] and of the maps that follow from them.

    Cost: about a second for each 0.1 GMAC.
    """
    ddr = memory_contents(program, image)
    machine = Machine(program.config, ddr, program.memory.program_address, len(program.program), skip=True)
    machine.run()
    return Skipping(tuple(machine.saved), dict(machine.planes))

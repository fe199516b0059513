"""A compiled program on a picture, in NumPy: what the engine computes, without gates and without a clock.

`execute` runs the instructions; `checked` compares every stored map with the golden model and gives the mask.
"""

from __future__ import annotations

import numpy as np

from hwseg import golden
from hwseg.compile.program import Program
from hwseg.errors import require
from hwseg.layout import HeadLayout, pack_input, unpack_head, unpack_tensor
from hwseg.machine.machine import Machine


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


def execute(program: Program, image: np.ndarray, policy: str = "eager", seed: int = 0) -> dict[str, np.ndarray]:
    """Every tensor that the program leaves in memory, integers [H, W, C] by name, its input and head among them.

    `image`: integers of the graph's input.  `policy`: "eager" or "lazy", see `hwseg.machine.machine`; `seed`: of what
    memories hold before.
    """
    memory = program.memory
    ddr = memory_contents(program, image, seed)
    Machine(program.config, ddr, memory.program_address, len(program.program), policy, seed).run()
    raw = ddr.tobytes()
    found = {name: unpack_tensor(raw[at:], memory.layouts[name]) for name, at in memory.tensors.items()}
    if isinstance(memory.head, HeadLayout):
        found[memory.head_tensor] = unpack_head(raw[memory.head_address :], memory.head)
    return found


def checked(program: Program, image: np.ndarray) -> np.ndarray:
    """The mask that the program computes, uint8 [H, W]; refused where any map differs from the golden model's."""
    return golden.mask(program.graph.head, checked_sums(program, image))


def checked_sums(program: Program, image: np.ndarray) -> np.ndarray:
    """The head's integers [H, W, C] that the program computes; refused as by `checked`."""
    found = execute(program, image)
    expected = golden.run(program.graph, image, taps=found).tensors
    for name in found.keys() & expected.keys():  # maps that only the engine has show in what is computed from them
        wrong = int((found[name] != expected[name]).sum())
        require(wrong == 0, name, f"differs from the golden model in {wrong} values", "report this program as a fault")
    return found[program.graph.head.tensor]

"""The engine's instruction set executed in NumPy: proof that a program computes the network, before there are gates.

It knows nothing of layers: it decodes the packed program, and banks, partial sums, output memories and parameters start
as noise.  Reader, writer and compute unit run in their own orders, interleaved by a policy that is as bad as the
counters allow: "eager" issues every LOAD, MOVE and STORE as soon as its waits hold, "lazy" as late as a RUN needs it,
"random" in any order.  Writes to memory become visible only when a LOAD waits for them.  A missing wait shows as a
wrong tensor or as a deadlock.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwseg.machine.banks import Banks
from hwseg.machine.compute import Compute
from hwseg.machine.ddr import Ddr
from hwseg.machine.dispatch import Dispatcher
from hwseg.machine.output import Output
from hwseg.machine.reader import Reader
from hwseg.machine.requantize import Requantizers
from hwseg.machine.residual import ResidualQueues
from hwseg.machine.skip import LeadingZeros
from hwseg.machine.state import Counters, Memories
from hwseg.machine.weights import WeightRing
from hwseg.machine.window import Window
from hwseg.machine.writer import Writer
from hwseg.rtl.config import PAGE_WORDS, EngineConfig


@dataclass
class Machine:
    """`memory`: the DDR as 64-bit words, changed in place.  `run` executes the program at `program` to its HALT.

    policy, seed: see above; `seed` also of what the memories hold before.  skip: the register of that name.
    `run` raises `MachineError` where the program breaks a rule of the machine.
    """

    config: EngineConfig
    memory: np.ndarray
    program: int
    program_bytes: int
    policy: str = "eager"
    seed: int = 0
    skip: bool = False

    def __post_init__(self) -> None:
        c = self.config
        self.random = np.random.default_rng(self.seed)
        held = Memories.noise(c, self.random)
        self.counters, self.dispatcher, self.ddr = Counters(), Dispatcher(), Ddr(self.memory)
        banks, weights, residual = Banks(held.banks), WeightRing(c, held.weights), ResidualQueues(c)
        output = Output(c, Requantizers(held.parameters), residual, held.out, held.loop, held.pool)
        self.zeros = LeadingZeros(c, banks, self.skip)
        self.reader = Reader(self.counters, self.dispatcher, self.ddr, banks, weights, held.parameters, held.loop)
        self.writer = Writer(c, self.counters, self.dispatcher.stores, self.ddr, held.out, held.pool)
        self.compute = Compute(
            config=c,
            counters=self.counters,
            queue=self.dispatcher.computes,
            window=Window(c, banks),
            zeros=self.zeros,
            weights=weights,
            psums=held.psums,
            residual=residual,
            output=output,
        )

    @property
    def saved(self) -> list[int]:
        """Cycles that each RUN takes less than a dense one."""
        return self.zeros.saved

    @property
    def planes(self) -> dict[int, tuple[int, int]]:
        """By layer: digit planes of windows, and those of them that were left out."""
        return self.zeros.planes

    def run(self) -> None:
        first = min(PAGE_WORDS, self.program_bytes // 8)
        self.dispatcher.load(0, self.memory[self.program // 8 :][:first])
        while self.dispatcher.step() or self._turn():
            pass
        self.dispatcher.require_halted()
        self.ddr.settle(self.counters.stores)

    def _turn(self) -> bool:
        """One instruction of the first unit, in the policy's order, that can go on; False if none can."""
        steps = [self.reader.step, self.writer.step, self.compute.step]
        if self.policy == "lazy":
            steps.reverse()
        elif self.policy == "random":
            self.random.shuffle(steps)
        return any(step() for step in steps)

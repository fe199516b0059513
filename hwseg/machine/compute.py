"""The compute unit: CONFIG, and RUN: windows times a weight tile, partial sums, and on the last tile the results."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hwseg.machine.dispatch import Queue
from hwseg.machine.instruction import Fields, Run
from hwseg.machine.output import Output
from hwseg.machine.residual import ResidualQueues
from hwseg.machine.rules import check_config, check_run, rule
from hwseg.machine.skip import LeadingZeros
from hwseg.machine.state import Counters, reached
from hwseg.machine.weights import WeightRing
from hwseg.machine.window import Window
from hwseg.rtl.config import PSUM_BITS, EngineConfig
from hwseg.rtl.isa import Opcode
from hwseg.rtl.latency import overtakes
from hwseg.rtl.requantize import ACC_BITS


@dataclass
class Compute:
    """Executes `queue` in order.  psums: int64 [step, pixel, row].  configuration: the last CONFIG's fields."""

    config: EngineConfig
    counters: Counters
    queue: Queue
    window: Window
    zeros: LeadingZeros
    weights: WeightRing
    psums: np.ndarray
    residual: ResidualQueues
    output: Output
    configuration: Fields = field(default_factory=dict)
    written_by: str = ""
    """What RUNs under the last CONFIG put into the output memory."""
    overtaking: bool = False
    """The next RUN's sums have fewer planes than those on their way, and no CONFIG waited for these to leave."""

    def step(self) -> bool:
        """The next instruction; False if there is none or it must wait."""
        if not self.queue:
            return False
        i = self.queue[0]
        if i["opcode"] == Opcode.CONFIG:
            self._configure(self.queue.popleft())
            return True
        counters = self.counters
        if not reached(counters.loads, i["wait_loads"]) or not reached(counters.stores, i["wait_stores"]):
            return False
        if i["reload"] and not self.weights.reload(i):
            return False
        self.queue.popleft()
        self.execute(Run(i, self.configuration))
        counters.runs += 1
        return True

    def _configure(self, cfg: Fields) -> None:
        """CONFIG.  RUNs under the one before may be on their way still: what both write must not meet."""
        check_config(cfg, self.config)
        writes = "sums" if cfg["raw"] or cfg["dot"] else "planes" if cfg["keep"] else ""
        mixed = "" not in (self.written_by, writes) and self.written_by != writes
        rule(cfg["drain"] or not mixed, "sums and planes meet on their way into the output memory")
        shorter = cfg["planes"] < self.configuration.get("planes", 0)
        self.overtaking = not cfg["drain"] and (self.overtaking or shorter)
        self.configuration, self.written_by = cfg, writes

    def execute(self, run: Run) -> None:
        """One RUN whose weights stand in the tables."""
        check_run(run.fields, run.config, self.config)
        i = run.fields
        waits = i["reload"] and not overtakes(self.config)
        rule(waits or not self.overtaking, "rows meet those of fewer planes as they leave")
        self.overtaking = False
        self.zeros.count(run)
        lanes, upper = self.window.lanes(run)
        sums = run.in_pairs(self._products(lanes, upper)).reshape(-1, self.config.pixels, self.config.rows)
        at = i["psum"] + np.arange(len(sums))
        if not i["first"]:
            before = self.psums[at]
            sums = sums + (before << 8 if i["shift"] else before)
        rule(np.abs(sums).max(initial=0) < 1 << PSUM_BITS - 1, "partial sum overflows")
        if i["residual"]:
            self.residual.put_by(run, lanes)
        if i["last"]:
            half = 1 << ACC_BITS - 1
            rule(-half <= sums.min() and sums.max() < half, f"an accumulator does not fit {ACC_BITS} bits")
            self.output.write(run, sums)
        else:
            self.psums[at] = sums

    def _products(self, lanes: np.ndarray, upper: np.ndarray | None) -> np.ndarray:
        """int64 [row, word column, pixel, row of the array]; of a split layer the upper rows see other windows."""
        tables, half = self.weights.tables, self.config.rows // 2
        sums = np.rint(lanes @ tables.T).astype(np.int64)
        if upper is not None:
            sums[..., half:] = np.rint(upper @ tables[half:].T).astype(np.int64)
        return sums

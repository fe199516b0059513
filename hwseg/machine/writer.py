"""The writer: STORE takes words from the output or pool memories to the DDR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwseg.machine.ddr import Ddr
from hwseg.machine.dispatch import Queue
from hwseg.machine.instruction import Fields
from hwseg.machine.rules import check_store
from hwseg.machine.state import Counters, reached
from hwseg.rtl.config import EngineConfig


@dataclass
class Writer:
    """Executes `queue` in order.  out: uint64 [set, parity, word]; pool: [set, word]."""

    config: EngineConfig
    counters: Counters
    queue: Queue
    ddr: Ddr
    out: np.ndarray
    pool: np.ndarray

    def step(self) -> bool:
        """The next instruction; False if there is none or it must wait."""
        if not self.queue or not reached(self.counters.runs, self.queue[0]["wait_runs"]):
            return False
        i = self.queue.popleft()
        self.ddr.write(i, self.counters.stores, self._words(i))
        self.counters.stores += 1
        return True

    def _words(self, i: Fields) -> np.ndarray:
        """uint64 [run, word]."""
        check_store(i, self.config)
        row, word = np.arange(i["runs"])[:, None], np.arange(i["run_words"])[None, :]
        first = i["address"] + row * i["pitch"]
        other = i["set"] + len(self.out) // 2  # of a split layer: even word columns, half of each pooled word
        if i["pool"]:
            words: np.ndarray = self.pool[i["set"], first + word]
            return words | self.pool[other, first + word] if i["split"] else words
        q = word // i["planes"]
        chosen = np.where(q & 1, i["set"], other if i["split"] else i["set"])
        words = self.out[chosen, q & 1, first + (q >> 1) * i["planes"] + word % i["planes"]]
        return words

"""The reader: LOAD brings words from the DDR, MOVE from the loop memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwseg.machine.banks import Banks
from hwseg.machine.ddr import Ddr
from hwseg.machine.dispatch import Dispatcher
from hwseg.machine.instruction import Fields
from hwseg.machine.rules import check_load, check_move
from hwseg.machine.state import Counters, reached, waited_for
from hwseg.machine.weights import WeightRing
from hwseg.rtl.isa import Opcode, Target


@dataclass
class Reader:
    """Executes `dispatcher.reads` in order.  parameters: uint64 [slot, row, half]; loop: [set, parity, word]."""

    counters: Counters
    dispatcher: Dispatcher
    ddr: Ddr
    banks: Banks
    weights: WeightRing
    parameters: np.ndarray
    loop: np.ndarray

    def step(self) -> bool:
        """The next instruction; False if there is none or it must wait."""
        if not self.dispatcher.reads:
            return False
        i = self.dispatcher.reads[0]
        if not reached(self.counters.runs, i["wait_runs"]):
            return False
        if i["opcode"] == Opcode.MOVE:
            self._move(i)
        else:
            if not reached(self.counters.stores, i["wait_stores"]):
                return False
            self._load(i)
        self.dispatcher.reads.popleft()
        self.counters.loads += 1
        return True

    def _load(self, i: Fields) -> None:
        check_load(i, self.weights.config)
        self.ddr.settle(waited_for(self.counters.stores, i["wait_stores"]))
        words = self.ddr.read(i)
        target = Target(i["target"])
        if target == Target.WEIGHTS:
            self.weights.put(words.reshape(-1), bool(i["every_other"]))
        elif target == Target.PARAMETERS:
            triples = words.reshape(-1, *self.parameters.shape[1:])
            self.parameters[i["address"] : i["address"] + len(triples)] = triples
        elif target == Target.PROGRAM:
            self.dispatcher.load(i["address"], words[0])
        else:
            self.banks.fill(i, words)

    def _move(self, i: Fields) -> None:
        check_move(i, self.weights.config)
        b, steps = i["planes"], i["run_words"]
        row, step = np.arange(i["runs"])[:, None], np.arange(steps)[None, :]
        first = i["source"] + row * i["source_pitch"]
        odd = i["set"]
        even = odd + i["split"] * len(self.loop) // 2
        if i["target"] == Target.POINT:
            q = step // b
            words = self.loop[np.where(q & 1, odd, even), q & 1, first + (q >> 1) * b + step % b]
        else:
            pairs = np.stack([self.loop[even, 0, first + step], self.loop[odd, 1, first + step]], axis=-1)
            # [row, pair of word columns * planes, parity] -> [row, word column * planes]
            split = pairs.reshape(i["runs"], steps // b, b, 2)
            words = split.transpose(0, 1, 3, 2).reshape(i["runs"], 2 * steps)
        self.banks.fill(i, words)

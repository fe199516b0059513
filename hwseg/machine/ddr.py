"""The DDR behind the engine: a STORE's words become visible only when a LOAD waits for them, or at the end."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from hwseg.machine.instruction import Fields
from hwseg.machine.rules import check_transfer, rule


@dataclass
class Ddr:
    """`words`: uint64, changed in place.  pending: number, addresses and words of every STORE still under way."""

    words: np.ndarray
    pending: deque[tuple[int, np.ndarray, np.ndarray]] = field(default_factory=deque)

    def read(self, i: Fields) -> np.ndarray:
        """uint64 [run, word] that a LOAD names."""
        found: np.ndarray = self.words[self._addresses(i)]
        return found

    def write(self, i: Fields, number: int, words: np.ndarray) -> None:
        """Words [run, word] of the STORE with that number set out."""
        self.pending.append((number, self._addresses(i), words))

    def settle(self, count: int) -> None:
        """The first `count` STOREs reach the memory."""
        while self.pending and self.pending[0][0] < count:
            _, addresses, words = self.pending.popleft()
            self.words[addresses] = words

    def _addresses(self, i: Fields) -> np.ndarray:
        """Word indices [run, word] of a LOAD or STORE."""
        check_transfer(i)
        last = i["ddr"] + (i["runs"] - 1) * i["ddr_stride"] + 8 * (i["run_words"] - 1)
        rule(last // 8 < len(self.words), "a transfer outside the memory, at which the engine stops")
        start = i["ddr"] // 8 + np.arange(i["runs"])[:, None] * (i["ddr_stride"] // 8)
        addresses: np.ndarray = start + np.arange(i["run_words"])
        return addresses

"""When does the writer store?  A STORE takes a cycle per beat; its response comes a latency after its last word."""

from __future__ import annotations

from hwseg.clock.constants import ACKNOWLEDGED, COMPARED, STORED, TAKEN, WRITES, Constants
from hwseg.clock.pacer import Pacer
from hwseg.clock.units import Counters, Unit, reached


class Writer(Unit):
    """At most `WRITES` - 1 STOREs are unanswered when one starts."""

    def __init__(self, constants: Constants, counters: Counters, pacer: Pacer) -> None:
        super().__init__()
        self.constants, self.counters, self.pacer = constants, counters, pacer

    def ready(self) -> int | None:
        """First cycle in which what it holds could start if the memory were free; None if not known yet."""
        if self.head is None:
            return None
        computed = reached(self.counters.runs, self.head[2])
        if computed is None:
            return None
        start = max(self.taken[-1] + TAKEN, computed + COMPARED)
        if len(self.counters.acknowledged) >= WRITES:
            start = max(start, self.counters.acknowledged[-WRITES] + COMPARED)
        return start

    def start(self, ready: int) -> None:
        """What it holds is carried out."""
        assert self.head is not None
        _, beats, _, _, _, cost, _ = self.head
        self.head = None
        self.free = self.pacer.start(ready, cost, writer=True) + 1 + beats
        self.counters.stores.append(self.free + STORED)
        self.counters.acknowledged.append(self.free + self.constants.latency + ACKNOWLEDGED)

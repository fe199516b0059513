"""When does the reader load and move?  A LOAD takes a cycle per beat and lands a latency later; a MOVE needs no DDR."""

from __future__ import annotations

from hwseg.clock.constants import COMPARED, COUNTED, DESCRIPTORS, ENTERED, LANDED, TAKEN, Constants
from hwseg.clock.pacer import Pacer
from hwseg.clock.units import Counters, Unit, reached
from hwseg.clock.weights import Weights
from hwseg.rtl.isa import Opcode, Target


class Reader(Unit):
    """starts: of every transfer, the first page's among them.  landed: when the last word of the last one did."""

    def __init__(self, constants: Constants, counters: Counters, pacer: Pacer, weights: Weights) -> None:
        super().__init__()
        self.constants, self.counters, self.pacer, self.weights = constants, counters, pacer, weights
        self.starts: list[int] = []
        self.popped: list[int] = []
        """When each transfer's descriptor left its queue."""
        self.landed = 0

    def boot(self, words: int) -> None:
        """The hardware's own transfer of page 0 is sent in cycle 1."""
        self.put((Opcode.LOAD, words, 0, 0, Target.PROGRAM, words, 0), 1)

    @property
    def moves(self) -> bool:
        """Does it hold a MOVE?  Such a one does not wait for the pacer."""
        return self.head is not None and self.head[0] == Opcode.MOVE

    def ready(self) -> int | None:
        """First cycle in which what it holds could start if the memory were free; None if not known yet."""
        if self.head is None:
            return None
        computed = reached(self.counters.runs, self.head[2])
        written = reached(self.counters.acknowledged, self.head[3])
        if computed is None or written is None:
            return None
        start = max(self.taken[-1] + TAKEN, computed + COMPARED, written + COMPARED)
        if len(self.popped) >= DESCRIPTORS:
            start = max(start, self.popped[-DESCRIPTORS] + 1 + COMPARED)
        return start

    def start(self, ready: int) -> None:
        """What it holds is carried out."""
        assert self.head is not None
        kind, beats, _, _, target, cost, packed = self.head
        self.head = None
        if kind == Opcode.MOVE:
            start = ready
            popped = max(start, self.landed) + 1
            self.free = start + 1 + cost
            self.landed = popped + 1 + beats + LANDED - COUNTED  # the walk begins a cycle after its fields are there
        else:
            start = self.pacer.start(ready, cost, writer=False)
            popped = max(start, self.landed) + 1
            self.free = start + 1 + beats
            self.landed = self.free + self.constants.latency + ENTERED
        self.starts.append(start)
        self.popped.append(popped)
        self._count(target, beats, packed)

    def _count(self, target: int, beats: int, packed: int) -> None:
        """Tell of what has landed."""
        counters, seen = self.counters, self.landed + COUNTED
        counters.loads.append(seen)
        if target == Target.PROGRAM:
            counters.pages.append(seen)
            if len(counters.pages) == 1:
                counters.loads.clear()  # the hardware's own transfer is not counted
        elif target == Target.WEIGHTS:
            self.weights.put(beats, bool(packed), self.landed)

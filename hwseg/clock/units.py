"""What units share: counters in which they meet, each with the cycle of every count, and a queue with its times."""

from __future__ import annotations

from dataclasses import dataclass, field

from hwseg.clock.columns import Entry

COUNTER = 0xFFFF


@dataclass(frozen=True)
class Counters:
    """Cycles in which each of them counted, in order; lists grow as the clock goes on.

    runs: RUNs complete.  loads: LOADs and MOVEs landed.  stores: sources of STOREs free.  acknowledged: STOREs whose
    words the memory has.  pages: of the program, landed.
    """

    runs: list[int] = field(default_factory=list)
    loads: list[int] = field(default_factory=list)
    stores: list[int] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)


def reached(seen: list[int], wait: int) -> int | None:
    """When a counter reaches `wait` (modulo 2**16): 0 if it has always, None if not known yet."""
    ahead = (len(seen) - wait) & COUNTER
    if ahead >= 1 << 15:
        return None
    count = len(seen) - ahead
    return seen[count - 1] if count > 0 else 0


class Unit:
    """A unit's instructions in order: those dispatched, when each was sent and taken, when the unit is free again."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.sent: list[int] = []
        self.taken: list[int] = []
        self.free = 0

    @property
    def waiting(self) -> bool:
        """Is there an instruction in its queue?"""
        return len(self.taken) < len(self.sent)

    def put(self, entry: Entry, sent: int) -> None:
        """An instruction comes into the unit's queue."""
        self.entries.append(entry)
        self.sent.append(sent)

    def take(self) -> int:
        """The next instruction leaves its queue: when."""
        taken = max(self.free, self.sent[len(self.taken)] + 1)
        self.taken.append(taken)
        return taken


class Mover(Unit):
    """Reader or writer: holds the instruction that it has taken until the pacer lets it start."""

    def __init__(self) -> None:
        super().__init__()
        self.head: Entry | None = None
        """What it holds."""

    def hold(self) -> bool:
        """Take the next instruction where none is held; False if nothing changes."""
        if self.head is not None or not self.waiting:
            return False
        self.head = self.entries[len(self.taken)]
        self.take()
        return True

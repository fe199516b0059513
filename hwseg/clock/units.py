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
    """A unit's instructions in order: those dispatched, when each was sent and taken, when the unit is free again.

    It takes the next one as soon as it is free, and holds it until it can be carried out.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.sent: list[int] = []
        self.taken: list[int] = []
        self.free = 0
        self.head: Entry | None = None
        """What it holds."""

    @property
    def waiting(self) -> bool:
        """Is there an instruction in its queue?"""
        return len(self.taken) < len(self.sent)

    @property
    def done(self) -> bool:
        """Has it carried out all that came?"""
        return not self.waiting and self.head is None

    def put(self, entry: Entry, sent: int) -> None:
        """An instruction comes into the unit's queue."""
        self.entries.append(entry)
        self.sent.append(sent)

    def hold(self) -> bool:
        """Take the next instruction where none is held; False if nothing changes."""
        if self.head is not None or not self.waiting:
            return False
        number = len(self.taken)
        self.head = self.entries[number]
        self.taken.append(max(self.free, self.sent[number] + 1))
        return True

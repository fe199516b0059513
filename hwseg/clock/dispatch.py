"""When is each instruction sent?  The dispatcher, one every `DISPATCH` cycles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hwseg.clock.columns import Entry
from hwseg.clock.constants import DISPATCH, QUEUE
from hwseg.clock.units import Unit
from hwseg.rtl.config import PAGE_INSTRUCTIONS


class Dispatcher:
    """`units`: by opcode; what has none, HALT, goes nowhere.  pages: when each page of the program landed."""

    def __init__(self, entries: Sequence[Entry], units: Mapping[int, Unit], pages: list[int]) -> None:
        self.entries, self.units, self.pages = entries, units, pages
        self.number = 0
        """Instructions sent."""
        self.sent = 1
        """When the last one was."""

    def advance(self) -> bool:
        """Send every instruction of which the cycle is known; False if there is none."""
        before = self.number
        while self.number < len(self.entries) and self._send(self.entries[self.number]):
            self.number += 1
        return self.number > before

    def _send(self, entry: Entry) -> bool:
        sent = self.sent
        if self.number % PAGE_INSTRUCTIONS == 0:
            page = self.number // PAGE_INSTRUCTIONS
            if page >= len(self.pages):
                return False
            sent = max(sent + 1, self.pages[page])
        sent += DISPATCH
        unit = self.units.get(entry[0])
        if unit is not None:
            ahead = len(unit.sent) - QUEUE
            if ahead >= 0:
                if ahead >= len(unit.taken):
                    return False
                sent = max(sent, unit.taken[ahead] + 1)
            unit.put(entry, sent)
        self.sent = sent
        return True

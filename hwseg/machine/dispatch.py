"""The dispatcher: instruction memory of two pages, and a queue in front of each unit."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from hwseg.machine.instruction import Fields, decode
from hwseg.machine.state import MachineError
from hwseg.rtl.config import INSTRUCTION_WORDS, PAGE_INSTRUCTIONS, PAGE_WORDS
from hwseg.rtl.isa import Opcode

QUEUE = 16

Queue = deque[Fields]


@dataclass
class Dispatcher:
    """`words`: the two pages.  pages: loaded since the start.  sent: instructions handed to their queues."""

    words: np.ndarray = field(default_factory=lambda: np.zeros(2 * PAGE_WORDS, np.uint64))
    pages: int = 0
    sent: int = 0
    reads: Queue = field(default_factory=deque)
    stores: Queue = field(default_factory=deque)
    computes: Queue = field(default_factory=deque)

    def load(self, address: int, words: np.ndarray) -> None:
        """A page of instructions lands at word `address`."""
        if self.sent <= (self.pages - 1) * PAGE_INSTRUCTIONS:
            raise MachineError("a page is overwritten before it was dispatched")
        self.words[address : address + len(words)] = words
        self.pages += 1

    def next(self) -> Fields:
        """The instruction whose turn it is."""
        start = self.sent % (2 * PAGE_INSTRUCTIONS) * INSTRUCTION_WORDS
        return decode(self.words[start : start + INSTRUCTION_WORDS])

    def step(self) -> bool:
        """Hand the next instruction to its queue; False if it must wait."""
        if self.sent // PAGE_INSTRUCTIONS >= self.pages:
            return False
        instruction = self.next()
        if instruction["opcode"] == Opcode.HALT:
            return False
        queue = self.reads
        if instruction["opcode"] in (Opcode.CONFIG, Opcode.RUN):
            queue = self.computes
        elif instruction["opcode"] == Opcode.STORE:
            queue = self.stores
        if len(queue) == QUEUE:
            return False
        queue.append(instruction)
        self.sent += 1
        return True

    def require_halted(self) -> None:
        """Refuse a program in which nothing more can happen before its HALT."""
        queues = (self.reads, self.stores, self.computes)
        if self.next()["opcode"] != Opcode.HALT or any(queues):
            raise MachineError(f"deadlock at instruction {self.sent}: {[list(q)[:1] for q in queues]}")

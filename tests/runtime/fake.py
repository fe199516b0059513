"""A board without gates: its memory is not coherent with the processor's cache, and its engine is the NumPy machine."""

from __future__ import annotations

import time

import numpy as np

from hwseg.machine.machine import Machine
from hwseg.rtl.config import parse_array

MEMORY = 0x1000_0000


class FakeBoard:
    """Registers by name.  hang: never finishes.  error: ends each run with a bus error.  log: what the driver did."""

    grace = 0.05
    name = "fake"

    def __init__(self, package, size=1 << 20, interrupts=True):
        self.package = package
        self.ddr = np.random.default_rng(0).integers(0, 256, size, np.uint8)
        self.free = MEMORY
        self.names = {offset: name for name, offset in package.offsets.items()}
        self.values = dict.fromkeys(package.offsets, 0)
        self.values |= {"identity": package.identity, "array": package.array_code}
        self.log = []
        self.interrupts, self.hang, self.error, self.closed = interrupts, False, False, False

    def read(self, offset):
        self.log.append(("read", self.names[offset]))
        return self.values[self.names[offset]]

    def write(self, offset, value):
        name = self.names[offset]
        self.log.append(("write", name))
        if name == "control" and value == 1:
            self._run()
        elif name == "control":
            self.values["status"] = self.package.status["done"] | self.package.status["error"]
            self.values |= {"error_cause": 4, "interrupt": 1}
        elif name == "interrupt":
            self.values["interrupt"] &= ~value
        else:
            self.values[name] = value

    def _run(self):
        bits = self.package.status
        if self.hang:
            self.values["status"] = bits["busy"]
            self.values["layer"] = 1
            return
        if self.error:
            self.values["status"] = bits["done"] | bits["error"]
            self.values |= {"error_cause": 1, "error_address": MEMORY + 128}
        else:
            words = self.ddr[self.values["base"] - MEMORY :].view(np.uint64)
            program, size = self.values["program"], 8 * self.values["program_words"]
            Machine(parse_array(self.package.array), words, program, size).run()
            self.values["status"] = bits["done"]
            self.values["cycles"] = 1234
        self.values["interrupt"] = 1

    def allocate(self, size):
        start = self.free
        self.free += -(-size // 4096) * 4096
        assert self.free - MEMORY <= len(self.ddr)
        return FakeBuffer(self, start, size)

    def now(self):
        return time.monotonic()

    def wait(self, seconds):
        return self.interrupts and bool(self.values["interrupt"])

    def close(self):
        self.closed = True


class FakeBuffer:
    """The processor's view; `flush` and `invalidate` are the only ways to and from memory."""

    def __init__(self, board, address, size):
        self.board, self.address = board, address
        self.array = np.random.default_rng(1).integers(0, 256, size, np.uint8)

    def _place(self, start, size):
        first = self.address - MEMORY + start
        return slice(first, first + size)

    def flush(self, start, size):
        self.board.log.append(("flush", size))
        self.board.ddr[self._place(start, size)] = self.array[start : start + size]

    def invalidate(self, start, size):
        self.board.log.append(("invalidate", size))
        self.array[start : start + size] = self.board.ddr[self._place(start, size)]

    def free(self):
        self.board.log.append(("free", len(self.array)))

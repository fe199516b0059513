"""A board without gates: its memory is not coherent with the processor's cache, and its engine is the NumPy machine."""

from __future__ import annotations

import time
from typing import ClassVar

import numpy as np

from hwseg.machine.machine import Machine
from hwseg.rtl.config import parse_array

MEMORY = 0x1000_0000


def zynq(root):
    """What Linux says of itself on a board, in a folder that stands for its root."""
    (root / "proc" / "device-tree").mkdir(parents=True)
    (root / "proc" / "device-tree" / "compatible").write_bytes(b"digilent,zynq-some\0xlnx,zynq-7000\0")
    return root


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


class LateBoard(FakeBoard):
    """Its engine computes when it has been waited for `waits` times: until then a picture may be overwritten.

    stops: whether it does so when it is told.  What was computed once, of the same picture, weights and program, is
    remembered.
    """

    known: ClassVar[dict[tuple[bytes, ...], np.ndarray]] = {}

    def __init__(self, package, waits=2):
        super().__init__(package)
        self.waits, self.left, self.stops = waits, 0, True
        self.models = {model.program.address: model for model in map(package.model, package.models)}
        assert len(self.models) == len(package.models)

    def write(self, offset, value):
        name = self.names[offset]
        busy = self.values["status"] & self.package.status["busy"]
        if name == "control" and value == 1 and busy:
            self.values["status"] |= self.package.status["overrun"]
        elif name == "control" and value == 1:
            self.values["status"] = self.package.status["busy"]
            self.left = self.waits
        elif name == "control" and not busy:
            self.values["status"] &= ~self.package.status["overrun"]
        elif name != "control" or self.stops:
            super().write(offset, value)

    def wait(self, seconds):
        if self.values["status"] & self.package.status["busy"]:
            self.left -= 1
            if self.left <= 0:
                overrun = self.values["status"] & self.package.status["overrun"]
                self._compute()
                self.values["status"] |= overrun
        return super().wait(seconds)

    def _compute(self):
        model, memory = self.models[self.values["program"]], self.ddr[self.values["base"] - MEMORY :]
        given = [(image.address, image.size) for image in (model.program, model.weights)]
        given.append((model.input_address, model.input.bytes))
        key = tuple(memory[start : start + size].tobytes() for start, size in given)
        head = memory[model.head_address : model.head_address + model.head_bytes]
        if key in self.known:
            head[:] = self.known[key]
            self.values |= {"status": self.package.status["done"], "interrupt": 1, "cycles": 1234}
        else:
            self._run()
            self.known[key] = head.copy()

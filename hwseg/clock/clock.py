"""When everything happens: the exact recurrence over a program, for a memory of fixed latency and dense execution.

Units, each in order, meet in counters; every equation is a path through the gates of `hwseg.rtl`, counted from the
start pulse in cycle 0:

    dispatch     sends an instruction every 6 cycles; waits for room in the queue of 16 and for its page to land
    reader       takes at t, starts at w > t + 1 when the RUNs and STOREs it waits for are complete, then one cycle per
                 beat (MOVE: `cost` cycles)
    writer       the same for STOREs
    pacer        LOADs and STOREs start `cost` cycles after each other at the least; of two in one cycle the one whose
                 unit did not start the last goes first
    compute      takes at t, starts at w > t when loads, stores and shadow weights are there; reload; steps * interval
    weights      a tile moves into the shadow registers `hold` cycles after the last reload, one word a cycle

What is visible of a transfer that ends (unit free again) in cycle e: loaded words land at e + latency, counters one
later; a store's memory is free at e + 3; its write response is counted at e + latency + 9.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwseg.clock.columns import Columns, entries
from hwseg.clock.compute import Compute
from hwseg.clock.constants import COUNTED, IDLE, Constants
from hwseg.clock.dispatch import Dispatcher
from hwseg.clock.pacer import Pacer
from hwseg.clock.reader import Reader
from hwseg.clock.units import Counters, Unit
from hwseg.clock.weights import Weights
from hwseg.clock.writer import Writer
from hwseg.rtl.config import INSTRUCTION_WORDS, PAGE_WORDS, EngineConfig
from hwseg.rtl.isa import Opcode


class Clock:
    """One frame of the engine: events in the order of time where units meet in the pacer, in the order of dependence
    everywhere else.

    opcodes, columns: the program, as `columns.unpack` gives it.  saved: cycles that each RUN takes less than a dense
    one.  After `run` the units hold the cycles of every instruction.
    """

    def __init__(
        self,
        opcodes: np.ndarray,
        columns: Columns,
        config: EngineConfig,
        constants: Constants,
        saved: Sequence[int] | None = None,
    ) -> None:
        self.opcodes, self.columns, self.config, self.constants = opcodes, columns, config, constants
        self.saved = saved
        self.counters, self.pacer, self.weights = Counters(), Pacer(), Weights(config, constants)
        self.reader = Reader(constants, self.counters, self.pacer, self.weights)
        self.writer = Writer(constants, self.counters, self.pacer)
        self.compute = Compute(constants, self.counters, self.weights, saved)
        units: dict[int, Unit] = {
            Opcode.LOAD: self.reader,
            Opcode.MOVE: self.reader,
            Opcode.STORE: self.writer,
            Opcode.CONFIG: self.compute,
            Opcode.RUN: self.compute,
        }
        self.dispatcher = Dispatcher(entries(opcodes, columns, config.substeps), units, self.counters.pages)
        self.first_page = min(len(opcodes) * INSTRUCTION_WORDS, PAGE_WORDS)
        """Words of page 0."""
        self.total = 0
        """Cycles that the engine is busy."""

    def run(self) -> Clock:
        """Go through the program; an AssertionError tells of a program that stands still before its end."""
        reader, writer, compute = self.reader, self.writer, self.compute
        reader.boot(self.first_page)
        while True:
            progress = self.dispatcher.advance()
            while compute.step():
                progress = True
            progress |= reader.hold()
            progress |= writer.hold()
            read = reader.ready()
            if read is not None and reader.moves:
                reader.start(read)
                continue
            if progress:
                continue
            write = writer.ready()
            if self.pacer.writer_first(read, write):
                if write is None:
                    break
                writer.start(write)
            else:
                assert read is not None
                reader.start(read)
        assert all(unit.done for unit in (reader, writer, compute)), "the program deadlocks"
        ends = [reader.free, writer.free, compute.free, reader.landed + COUNTED]
        ends += self.counters.acknowledged[-1:] + self.counters.runs[-1:]
        self.total = max(self.dispatcher.sent, max(ends) + IDLE)
        return self

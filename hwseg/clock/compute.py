"""When does the array work?  The compute unit's CONFIGs and RUNs, and what each of them waited for."""

from __future__ import annotations

from collections.abc import Sequence

from hwseg.clock.columns import Entry
from hwseg.clock.constants import Constants
from hwseg.clock.units import Counters, Unit, reached
from hwseg.clock.weights import Weights
from hwseg.rtl.isa import Opcode


class Compute(Unit):
    """ends: when the unit was free after each instruction.

    input_waits, output_waits, weight_waits: cycles that each instruction, once taken, waited for words to land, for
    output memory to be emptied, for its weight tile.
    saved: cycles that each RUN takes less than a dense one.
    """

    def __init__(
        self, constants: Constants, counters: Counters, weights: Weights, saved: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.constants, self.counters, self.weights, self.saved = constants, counters, weights, saved
        self.ends: list[int] = []
        self.input_waits: list[int] = []
        self.output_waits: list[int] = []
        self.weight_waits: list[int] = []
        self.interval = self.last_interval = 0
        self.configured = 0
        """RUNs before the last CONFIG."""

    def step(self) -> bool:
        """Take the next instruction, carry out what is held; False if nothing changes.

        A RUN that waits for what is not known yet has left its queue all the same: the dispatcher goes on.
        """
        took = self.hold()
        if self.head is None:
            return False
        if self.head[0] == Opcode.CONFIG:
            self._configure(self.head)
        elif not self._run(self.head):
            return took
        self.head = None
        return True

    def _configure(self, entry: Entry) -> None:
        _, interval, last_interval, drain = entry
        runs = self.counters.runs
        count = len(runs) if drain else self.configured
        complete = runs[count - 1] if count else 0
        ready = self.taken[-1] + 1
        self.interval, self.last_interval, self.configured = interval, last_interval, len(runs)
        self._done(max(ready, complete) + 1, 0, max(0, complete - ready), 0)

    def _run(self, entry: Entry) -> bool:
        """False if it is not known yet when all is there that it waits for."""
        _, steps, last, reload, wait_loads, wait_stores, jump, tile = entry
        counters = self.counters
        loaded, stored = reached(counters.loads, wait_loads), reached(counters.stores, wait_stores)
        if loaded is None or stored is None or (reload and not self.weights.there):
            return False
        ready = self.taken[-1] + 1
        start = max(ready, loaded, stored)
        waited, for_weights = start - ready, 0
        if reload:
            tables = self.weights.reload(start, jump, tile)
            for_weights = tables - start
            end = tables + self.constants.reload
        else:
            end = start + 1
        end += steps * (self.last_interval if last else self.interval)
        if self.saved is not None:
            end -= self.saved[len(counters.runs)]
        counters.runs.append(end + self.constants.completion)
        if loaded >= stored:
            self._done(end, waited, 0, for_weights)
        else:
            self._done(end, 0, waited, for_weights)
        return True

    def _done(self, end: int, for_input: int, for_output: int, for_weights: int) -> None:
        self.free = end
        self.ends.append(end)
        self.input_waits.append(for_input)
        self.output_waits.append(for_output)
        self.weight_waits.append(for_weights)

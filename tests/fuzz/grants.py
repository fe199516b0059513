"""Who gets the memory: of all transfers that could start in a cycle, the predicted one is the one that the rule gives.

The clock goes through events in the order in which they become known, gates in the order of time.  What became known
too late shows here, without a simulation.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.fuzz.checks import Finding
from tests.fuzz.under_test import Clock, Constants, Pacer, Program, unpack


@dataclass(frozen=True)
class Grant:
    """ready: when the transfer could start.  free: when the memory could take one.  turn: is it the writer's turn,
    should both be ready in one cycle?
    """

    start: int
    ready: int
    free: int
    writer: bool
    turn: bool

    def before(self, ready: int) -> bool:
        """Does this transfer go before one of the other unit that is ready in that cycle?"""
        mine, other = max(self.ready, self.free), max(ready, self.free)
        return mine < other or (mine == other and self.writer == self.turn)


class Watched(Pacer):
    """A pacer that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.grants: list[Grant] = []

    def start(self, ready: int, cost: int, writer: bool) -> int:
        free, turn = self.free, not self.writer_went
        start = super().start(ready, cost, writer)
        self.grants.append(Grant(start, ready, free, writer, turn))
        return start


def check_grants(program: Program) -> Finding | None:
    """Every transfer against the next one of the other unit, which stood there from its `ready` on."""
    opcodes, columns = unpack(program.program)
    clock = Clock(opcodes, columns, program.config, Constants.of(program.config, program.board.ddr_latency))
    clock.pacer = clock.reader.pacer = clock.writer.pacer = watched = Watched()
    clock.run()
    other: dict[bool, Grant] = {}
    for grant in reversed(watched.grants):
        rival = other.get(not grant.writer)
        if rival is not None and not grant.before(rival.ready):
            return Finding("clock", "grant", f"{grant} before {rival}; {program.config}")
        other[grant.writer] = grant
    return None

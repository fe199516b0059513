"""When everything happens: the exact recurrence over a program, for a memory of fixed latency and dense execution.

It reads decoded instructions and nothing else.  Four units, each in order, meet in counters:

    dispatcher    an instruction every `dispatch` cycles, unless its queue is full or its page has not landed
    memory        LOAD and STORE: pop, wait, then one cycle per beat
    compute       CONFIG and RUN: pop, wait, reload, then steps * interval cycles
    weights       the next tile moves from the ring to the shadow registers as soon as these are free
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwseg.rtl.config import EngineConfig


@dataclass(frozen=True)
class Constants:
    """Cycles, all properties of the gates, but `latency`: of the memory model, from read address to first datum."""

    latency: int = 40
    write_latency: int = 40
    dispatch: int = 6
    pop: int = 1
    check: int = 1
    land: int = 2
    store: int = 3
    acknowledge: int = 2
    done: int = 60
    config: int = 1
    reload: int = 34
    hold: int = 60
    move: int = 1
    queue: int = 16
    in_flight: int = 17

    @classmethod
    def of(cls, config: EngineConfig, latency: int = 40) -> Constants:
        """Those of the gates of one array."""
        return cls(latency=latency, write_latency=latency, reload=34 if config.core == "table" else 1)


def bursts(address: int, words: int) -> int:
    """Bursts of a run that starts at byte `address`."""
    first = address >> 3
    return (first + words - 1 >> 4) - (first >> 4) + 1


def beats(words: int, runs: int) -> int:
    return words * runs


Sequence_ = Sequence[int]

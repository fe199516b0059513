"""What takes how long: counts of registers on the engine's paths, and the constants of one array."""

from __future__ import annotations

from dataclasses import dataclass

from hwseg.rtl.config import EngineConfig

LATENCY = 40
"""Cycles from a read's address to its first word, and from the last word written to its response."""
QUEUE = 16
DESCRIPTORS = 16
WRITES = 16
DISPATCH = 6
TAKEN = 2
"""Cycles from a transfer being taken to its start, at the least."""
COMPARED = 1
"""Cycles from a counter to a transfer that waits for it."""
ENTERED = 2
"""Cycles from a word's arrival at the port to the reader."""
COUNTED = 1
"""Cycles from the last word's arrival to the counter that tells of it."""
MOVED = 6
"""Cycles from a weight's arrival to its place in the shadow registers."""
LANDED = 5
"""Cycles from a MOVE's last step to its counter."""
STORED = 3
ACKNOWLEDGED = 9
IDLE = 1
"""Cycles from the last unit being idle to the end."""


@dataclass(frozen=True)
class Constants:
    """Properties of one array's gates.  completion: from a RUN's last cycle to the end of everything that it wrote."""

    latency: int
    reload: int
    hold: int
    completion: int

    @classmethod
    def of(cls, config: EngineConfig, latency: int = LATENCY) -> Constants:
        from hwseg.rtl.latency import latencies

        gates = latencies(config)
        return cls(latency, gates.reload, gates.hold, gates.completion)

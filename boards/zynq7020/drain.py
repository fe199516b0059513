"""Before a reset: let a manager port finish what it has begun, and begin nothing new.

The processing system goes on with bursts that the fabric has asked for.  If the fabric were reset under them, their
data and responses would meet an engine that knows nothing of them, and a write burst without its data would block the
port for good.  So a reset is a request first: `stop` holds back new addresses, the engine runs on until every burst has
its beats and responses, and `idle` then allows the reset.

An address that is already being offered stays offered until it is taken; data that run ahead of their address get it.
"""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, Out

COUNT = 10
"""Bits of the counters of open bursts; the ports take a few."""


class Drain(Component):
    """Between one manager port's handshakes (`engine_*`) and the processing system's (`port_*`).

    No latency: valid and ready pass through a gate.
    """

    def __init__(self) -> None:
        gated = {
            f"{side}_{channel}{wire}": (In if (side == "engine") == (wire == "valid") else Out)(1)
            for channel in ("ar", "aw", "w")
            for side in ("engine", "port")
            for wire in ("valid", "ready")
        }
        seen = {name: In(1) for name in ("wlast", "rvalid", "rready", "rlast", "bvalid", "bready")}
        super().__init__({**gated, **seen, "stop": In(1), "idle": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        reads, writes = Signal(COUNT, name="reads"), Signal(COUNT, name="writes")
        # Bursts whose address is taken less bursts whose data are: negative where data run ahead.
        owed = Signal(COUNT, name="owed")
        waited = {channel: Signal(name=f"{channel}_waited") for channel in ("ar", "aw", "w")}
        partial = Signal(name="partial")
        begun = partial | waited["w"]
        ahead = owed[-1] | ((owed == 0) & begun)
        allowed = {
            "ar": waited["ar"],
            "aw": waited["aw"] | ahead,
            "w": begun | ((owed != 0) & ~owed[-1]),
        }
        taken = {}
        for channel in ("ar", "aw", "w"):
            offered, ready = getattr(self, f"port_{channel}valid"), getattr(self, f"port_{channel}ready")
            open_ = ~self.stop | allowed[channel]
            m.d.comb += [
                offered.eq(getattr(self, f"engine_{channel}valid") & open_),
                getattr(self, f"engine_{channel}ready").eq(ready & open_),
            ]
            m.d.sync += waited[channel].eq(offered & ~ready)
            taken[channel] = offered & ready
        read = self.rvalid & self.rready & self.rlast
        written = self.bvalid & self.bready
        m.d.sync += [
            reads.eq(reads + taken["ar"] - read),
            writes.eq(writes + taken["aw"] - written),
            owed.eq(owed + taken["aw"] - (taken["w"] & self.wlast)),
        ]
        with m.If(taken["w"]):
            m.d.sync += partial.eq(~self.wlast)
        open_bursts = reads.any() | writes.any() | owed.any()
        m.d.comb += self.idle.eq(~open_bursts & ~waited["ar"] & ~waited["aw"] & ~begun)
        return m

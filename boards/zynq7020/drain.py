"""Before a reset: let a manager port finish what it has begun, and begin nothing new.

The processing system goes on with bursts that the fabric has asked for.  If the fabric were reset under them, their
data and responses would meet an engine that knows nothing of them, and a write burst without its data would block the
port for good.  So a reset is a request first: `stop` holds back new addresses, the engine runs on until every burst has
its beats and responses, and `idle` then allows the reset.

The port's wires are long, so what happens there is counted a cycle later; until it is, the channel stays closed.

Reads and writes go through different ports, so each direction has its own drain.  An address that is already being
offered stays offered until it is taken; data that run ahead of their address get it.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, Out

COUNT = 10
"""Bits of the counters of open bursts; the ports take a few."""


def signature(channels: tuple[str, ...], seen: tuple[str, ...]) -> dict[str, Any]:
    """Ports of a drain that gates `channels`, so has their handshakes at both sides, and looks at the wires `seen`."""
    gated = {
        f"{side}_{channel}{wire}": (In if (side == "engine") == (wire == "valid") else Out)(1)
        for channel in channels
        for side in ("engine", "port")
        for wire in ("valid", "ready")
    }
    return gated | {name: In(1) for name in seen} | {"stop": In(1), "idle": Out(1)}


class Drain(Component):
    """Between the handshakes of one direction at the engine (`engine_*`) and at the processing system (`port_*`).

    No latency: valid and ready pass through a gate.
    """

    def _gate(self, m: Module, channel: str, waited: Signal, allowed: Any) -> Any:
        """Closed by `stop`, but for what is `allowed`; whether the channel's payload is taken in this cycle.

        waited: whether an offer was not taken.
        """
        offered, ready = getattr(self, f"port_{channel}valid"), getattr(self, f"port_{channel}ready")
        open_ = ~self.stop | allowed
        m.d.comb += [
            offered.eq(getattr(self, f"engine_{channel}valid") & open_),
            getattr(self, f"engine_{channel}ready").eq(ready & open_),
        ]
        m.d.sync += waited.eq(offered & ~ready)
        return offered & ready


class ReadDrain(Drain):
    """Of addresses to read, and the data that come back."""

    def __init__(self) -> None:
        super().__init__(signature(("ar",), ("rvalid", "rready", "rlast")))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        reads, waited = Signal(COUNT, name="reads"), Signal(name="ar_waited")
        went, ended = Signal(name="ar_went"), Signal(name="r_ended")
        m.d.sync += [
            went.eq(self._gate(m, "ar", waited, waited)),
            ended.eq(self.rvalid & self.rready & self.rlast),
            reads.eq(reads + went - ended),
        ]
        m.d.comb += self.idle.eq(~reads.any() & ~went & ~waited)
        return m


class WriteDrain(Drain):
    """Of addresses to write, their data, and the responses that come back."""

    def __init__(self) -> None:
        super().__init__(signature(("aw", "w"), ("wlast", "bvalid", "bready")))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        writes = Signal(COUNT, name="writes")
        # Bursts whose address is taken less bursts whose data are: negative where data run ahead.
        owed = Signal(COUNT, name="owed")
        address_waited, data_waited = Signal(name="aw_waited"), Signal(name="w_waited")
        partial = Signal(name="partial")
        went, filled, answered = Signal(name="aw_went"), Signal(name="w_ended"), Signal(name="b_ended")
        begun = partial | data_waited
        ahead = ~went & (owed[-1] | ((owed == 0) & begun))
        behind = ~filled & (owed != 0) & ~owed[-1]
        beat = self._gate(m, "w", data_waited, begun | behind)
        m.d.sync += [
            went.eq(self._gate(m, "aw", address_waited, address_waited | ahead)),
            filled.eq(beat & self.wlast),
            answered.eq(self.bvalid & self.bready),
            writes.eq(writes + went - answered),
            owed.eq(owed + went - filled),
        ]
        with m.If(beat):
            m.d.sync += partial.eq(~self.wlast)
        waiting = address_waited | begun | went | filled
        m.d.comb += self.idle.eq(~writes.any() & ~owed.any() & ~waiting)
        return m

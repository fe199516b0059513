"""Weights on their way to the rows: a ring of words from memory, and the mover that fills the rows' shadow registers.

    LOAD -> ring (block RAM) -> one word per cycle -> shadow chain through all rows -> loaders, on the reload marker

A tile enters the chain while the array still computes with the tile before; `full` says that it stands complete.  After
`take` the shadow stays still for `hold` cycles, until the last row's loader has read it.
"""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import data
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import Component, In, Out

from hwseg.rtl.config import EngineConfig


class WeightMover(Component):
    """Ring and mover.  `hold`: cycles from `take` until the shadow may move again."""

    def __init__(self, config: EngineConfig, hold: int) -> None:
        self.config, self.hold = config, hold
        super().__init__(
            {
                "write": In(data.StructLayout({"enable": 1, "data": 64})),
                "take": In(1),
                "full": Out(1),
                "chain": Out(64),
                "chain_enable": Out(1),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.ring = ring = SyncFIFOBuffered(width=64, depth=self.config.weight_words)
        moved = Signal(range(self.config.tile_words + 1))
        hold = Signal(range(self.hold + 1))
        moving = Signal()
        m.d.comb += [
            ring.w_data.eq(self.write.data),
            ring.w_en.eq(self.write.enable),
            moving.eq((hold == 0) & (moved != self.config.tile_words) & ring.r_rdy),
            ring.r_en.eq(moving),
            self.full.eq((moved == self.config.tile_words) & (hold == 0)),
            self.empty.eq(~ring.r_rdy & (ring.level == 0) & (moved == 0)),
        ]
        m.d.sync += [self.chain.eq(ring.r_data), self.chain_enable.eq(moving)]
        with m.If(moving):
            m.d.sync += moved.eq(moved + 1)
        with m.If(hold != 0):
            m.d.sync += hold.eq(hold - 1)
        with m.If(self.take):
            m.d.sync += [moved.eq(0), hold.eq(self.hold)]
        return m

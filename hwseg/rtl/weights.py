"""Weights on their way to the rows: a ring of words from memory, and the mover that fills the rows' shadow registers.

    LOAD -> ring (block RAM) -> one word per cycle -> shadow chain through all rows -> loaders, on the reload marker

Weights of at most four bits lie packed, two in a byte: such a word fills two places of the chain, in two cycles.

A tile enters the chain while the array still computes with the tile before; `full` says that it stands complete.  After
`take` the shadow stays still for `hold` cycles, until the last row's loader has read it.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import Component, In, Out

from hwseg.rtl.config import EngineConfig

WEIGHT = data.StructLayout({"enable": 1, "packed": 1, "data": 64})
"""A word for the ring; `packed`: sixteen weights of four bits instead of eight of eight."""


def unpacked(half: Value) -> Value:
    """Eight bytes of 32 bits: every four bits with their sign."""
    return Cat(*(Cat(half[4 * i : 4 * i + 4], half[4 * i + 3].replicate(4)) for i in range(8)))


class WeightMover(Component):
    """Ring and mover.  `hold`: cycles from `take` until the shadow may move again."""

    def __init__(self, config: EngineConfig, hold: int) -> None:
        self.config, self.hold = config, hold
        super().__init__(
            {
                "write": In(WEIGHT),
                "take": In(1),
                "full": Out(1),
                "chain": Out(64),
                "chain_enable": Out(1),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.ring = ring = SyncFIFOBuffered(width=65, depth=self.config.weight_words)
        moved = Signal(range(self.config.tile_words + 1))
        hold = Signal(range(self.hold + 1))
        moving, second = Signal(), Signal()
        word, packed = ring.r_data[:64], ring.r_data[64]
        m.d.comb += [
            ring.w_data.eq(Cat(self.write.data, self.write.packed)),
            ring.w_en.eq(self.write.enable),
            moving.eq((hold == 0) & (moved != self.config.tile_words) & ring.r_rdy),
            ring.r_en.eq(moving & (second | ~packed)),
            self.full.eq((moved == self.config.tile_words) & (hold == 0)),
            self.empty.eq(~ring.r_rdy & (ring.level == 0) & (moved == 0)),
        ]
        halves = Mux(second, unpacked(word[32:]), unpacked(word[:32]))
        m.d.sync += [self.chain.eq(Mux(packed, halves, word)), self.chain_enable.eq(moving)]
        with m.If(moving):
            m.d.sync += [moved.eq(moved + 1), second.eq(packed & ~second)]
        with m.If(hold != 0):
            m.d.sync += hold.eq(hold - 1)
        with m.If(self.take):
            m.d.sync += [moved.eq(0), hold.eq(self.hold)]
        return m

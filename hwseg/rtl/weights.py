"""Weights on their way to the rows: a ring of words from memory, and the mover that fills the rows' shadow registers.

    LOAD -> ring (block RAM) -> one word per cycle -> shadow chain through all rows -> loaders, on the reload marker

Weights of at most four bits lie packed, two in a byte: such a word fills two places of the chain, in two cycles.

A tile enters the chain while the array still computes with the tile before; `full` says that it stands complete.  After
`take` the shadow stays still for `hold` cycles, until the last row's loader has read it.  Tiles follow each other in
the ring, unless a RUN says where the next one lies: so tiles that many strips need are loaded once.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out
from amaranth.utils import exact_log2

from hwseg.rtl.block_ram import BlockRam
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.cores.pipeline import unreset
from hwseg.rtl.shadow import CHAIN

WEIGHT = data.StructLayout({"enable": 1, "packed": 1, "data": 64})
"""A word for the ring; `packed`: sixteen weights of four bits instead of eight of eight."""

JUMP = data.StructLayout({"enable": 1, "to": 14})
"""With `take`: where in the ring the next tile begins, modulo twice its words."""


def unpacked(half: Value) -> Value:
    """Eight bytes of 32 bits: every four bits with their sign."""
    return Cat(*(Cat(half[4 * i : 4 * i + 4], half[4 * i + 3].replicate(4)) for i in range(8)))


class WeightRing(Component):
    """Words in the order of writing; `jump` takes the reader to any place of which the words are still there.

    Positions count modulo twice the words, so that a full ring differs from an empty one.  Four cycles from a write to
    `r_rdy`, as from a jump; the compiler sees to it that no word is written over one that will be read.

        block RAM: latch -> register -> word     each moves on when there is room
    """

    def __init__(self, words: int) -> None:
        self.words = words
        super().__init__(
            {
                "write": In(WEIGHT),
                "jump": In(JUMP),
                "word": Out(64),
                "packed": Out(1),
                "r_rdy": Out(1),
                "r_en": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.words = memory = BlockRam(WEIGHT.size - 1, self.words)
        bits = exact_log2(self.words)
        written, here, latched, found = Signal(bits + 1), Signal(bits + 1), Signal(), Signal()
        more, taken, leaves, follows = Signal(), Signal(), Signal(), Signal()
        (word,) = unreset(out=WEIGHT.size - 1)
        m.d.comb += [
            more.eq(here != written),
            taken.eq(~self.r_rdy | self.r_en),
            leaves.eq(~found | taken),
            follows.eq(~latched | leaves),
            memory.write_address.eq(written[:bits]),
            memory.write_data.eq(Cat(self.write.data, self.write.packed)),
            memory.write_enable.eq(self.write.enable),
            memory.read_address.eq(here[:bits]),
            memory.read_enable.eq(follows & more),
            memory.advance.eq(leaves),
            self.word.eq(word[:64]),
            self.packed.eq(word[64]),
        ]
        m.d.sync += written.eq(written + self.write.enable)
        with m.If(taken):
            m.d.sync += [self.r_rdy.eq(found), word.eq(memory.read_data)]
        with m.If(leaves):
            m.d.sync += found.eq(latched)
        with m.If(follows):
            m.d.sync += [latched.eq(more), here.eq(here + more)]
        with m.If(self.jump.enable):
            m.d.sync += [here.eq(self.jump.to), latched.eq(0), found.eq(0), self.r_rdy.eq(0)]
        return m


class WeightMover(Component):
    """Ring and mover.  `hold`: cycles from `take` until the shadow may move again."""

    def __init__(self, config: EngineConfig, hold: int) -> None:
        self.config, self.hold = config, hold
        super().__init__(
            {
                "write": In(WEIGHT),
                "take": In(1),
                "jump": In(JUMP),
                "full": Out(1),
                "chain": Out(CHAIN),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.ring = ring = WeightRing(self.config.weight_words)
        place = Signal(CHAIN)
        hold, held = Signal(range(self.hold + 1)), Signal()  # cycles that are left, and whether there are any
        moving, second, taken, complete, jump = Signal(), Signal(), Signal(), Signal(), Signal(JUMP)
        # What decides on `take` is long enough a path: the mover follows a cycle later, and then holds one less.
        m.d.sync += [taken.eq(self.take), jump.eq(self.jump), jump.enable.eq(self.jump.enable & self.take)]
        m.d.comb += [
            ring.write.eq(self.write),
            ring.jump.eq(jump),
            moving.eq(~held & ~complete & ring.r_rdy),
            ring.r_en.eq(moving & (second | ~ring.packed)),
            self.full.eq(complete & ~taken),
        ]
        halves = Mux(second, unpacked(ring.word[32:]), unpacked(ring.word[:32]))
        chain, enable = Signal(CHAIN, reset_less=True), Signal()
        m.d.sync += [chain.eq(place), chain.data.eq(Mux(ring.packed, halves, ring.word)), enable.eq(moving)]
        m.d.comb += [self.chain.eq(chain), self.chain.enable.eq(enable)]
        row_ends = place.word == self.config.row_words - 1
        with m.If(moving):
            m.d.sync += [
                place.word.eq(Mux(row_ends, 0, place.word + 1)),
                place.row.eq(place.row + row_ends),
                complete.eq(row_ends & (place.row == self.config.rows - 1)),
                second.eq(ring.packed & ~second),
            ]
        with m.If(held):
            m.d.sync += [hold.eq(hold - 1), held.eq(hold != 1)]
        with m.If(taken):
            m.d.sync += [place.eq(0), complete.eq(0), hold.eq(self.hold - 1), held.eq(self.hold > 1)]
        return m

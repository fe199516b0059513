"""Residual additions on the way out: a layer's own input, kept until the requantized sums come.

The centre words of a tile's windows are the input of one channel group.  If a pass of two sets ends with the tiles that
read the groups it makes, what a residual addition needs has just gone by: the first of the two waits in block RAM for
the sums that come a RUN later, the second is there in time for its own.

    plane by plane     [64 pixel and channel bits] -> 64 shift registers of 8 bits
    block complete     -> held for eight cycles -> row by row (8 pixels of a channel) -> the set's queue -> requantizers

A queue gives its rows in the order in which they came, one for each that the requantizers take.  A block takes eight
cycles to leave, so no step of a RUN that puts words by may be shorter: the program sees to it (interval, no skipping).
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out
from amaranth.utils import exact_log2

from hwseg.rtl.block_ram import BlockRam
from hwseg.rtl.config import ROWS_PER_SET, WORD_CHANNELS, WORD_PIXELS
from hwseg.rtl.resets import leaves

WAITING = 64
"""Blocks that the first set's queue holds: steps of a RUN whose input is wanted a RUN later."""
PASSING = 4
"""Blocks between a window and its requantized sums, at most."""
COPIES = 8
"""Registers of one bit that share the word's lanes."""
ADDEND = data.ArrayLayout(8, WORD_PIXELS)
"""One channel's eight pixels."""


class RowQueue(Component):
    """`take` takes the oldest of `depth` rows, two cycles after it was put in at the earliest: `row` a cycle later."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        super().__init__({"put": In(1), "value": In(ADDEND), "row": Out(ADDEND), "take": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.rows = memory = BlockRam(ADDEND.size, self.depth)
        bits = exact_log2(self.depth)
        written, taken, following = Signal(bits + 1), Signal(bits + 1), Signal(bits + 1)
        # A set that has no channels takes rows that were never put in.
        m.d.comb += [
            following.eq(taken + (self.take & (taken != written))),
            memory.write_address.eq(written[:bits]),
            memory.write_data.eq(self.value.as_value()),
            memory.write_enable.eq(self.put),
            memory.read_address.eq(following[:bits]),
            memory.read_enable.eq(following != written),
            self.row.eq(memory.read_data),
        ]
        m.d.sync += [written.eq(written + self.put), taken.eq(following)]
        return m


class ResidualQueues(Component):
    """`word`: a plane of 8 pixels x 8 channels (bit 8 * pixel + channel) with `first` and `last` of its step, for set
    number `set`, and with `valid` of every eighth lane.  `take[set]` takes its oldest channel's pixels, which are
    `rows[set]` a cycle later.
    """

    latency = 2
    """Cycles from a block's last word to its first row in the queue."""

    def __init__(self) -> None:
        super().__init__(
            {
                "word": In(64),
                "valid": In(COPIES),
                "first": In(1),
                "last": In(1),
                "set": In(1),
                "rows": Out(data.ArrayLayout(ADDEND, 2)),
                "take": In(2),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        values = [Signal(8, name=f"value_{lane}", reset_less=True) for lane in range(64)]
        held = [Signal(8, name=f"held_{lane}", reset_less=True) for lane in range(64)]
        complete, leaving = Signal(), Signal()
        number, following = Signal(range(ROWS_PER_SET)), Signal(range(ROWS_PER_SET))
        numbers = leaves(m, following, WORD_PIXELS, "number")
        completes = leaves(m, self.valid[0] & self.last, COPIES, "complete")
        arriving, chosen = Signal(), Signal()
        for lane, (value, whole) in enumerate(zip(values, held, strict=True)):
            copy = lane % COPIES
            with m.If(self.valid[copy]):
                m.d.sync += [value[0].eq(self.word[lane]), value[1:].eq(Mux(self.first, 0, value[:-1]))]
            with m.If(completes[copy]):
                m.d.sync += whole.eq(value)
        m.d.sync += [complete.eq(self.valid[0] & self.last), arriving.eq(self.set)]
        m.d.comb += following.eq(Mux(complete, 0, number + leaving))
        m.d.sync += number.eq(following)
        with m.If(leaving):
            with m.If(number == ROWS_PER_SET - 1):
                m.d.sync += leaving.eq(0)
        with m.If(complete):
            m.d.sync += [leaving.eq(1), chosen.eq(arriving)]
        row = [Array(held[WORD_CHANNELS * p + c] for c in range(ROWS_PER_SET))[n] for p, n in enumerate(numbers)]
        for index, blocks in enumerate((WAITING, PASSING)):
            queue = RowQueue(ROWS_PER_SET * blocks)
            m.submodules[f"queue_{index}"] = queue
            m.d.comb += [
                queue.value.eq(Cat(row)),
                queue.put.eq(leaving & (chosen == index)),
                queue.take.eq(self.take[index]),
                self.rows[index].eq(queue.row),
            ]
        return m

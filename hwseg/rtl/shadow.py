"""Shadow weights: the next tile's, which wait beside each row until its loader takes them.

Two forms.  Registers are one chain of words through all rows, the first word ends furthest down:

    words -> [row R-1: word W-1 ... word 0] -> ... -> [row 0: word W-1 ... word 0]

Table cores of eight channels have them in LUT memory instead, one RAM32M a table, which the loader reads lane by lane.
A word is then one tap of eight channels, and goes to its place: a register for every four rows, and the row's number
beside it.  Two channels, a and b, of nine taps each, share three tables of six lanes:

    table 3d      a0 a1 a2 a3 a4 a5       3d + 1    a6 a7 a8 b0 b1 b2       3d + 2    b3 b4 b5 b6 b7 b8

so a word has at most one lane for each table, at one address for each third of them.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hwseg.arith.table import LANES
from hwseg.rtl.cells import COLUMNS, Ram32m
from hwseg.rtl.config import TAPS, WORD_CHANNELS, EngineConfig
from hwseg.rtl.cores import FAMILIES
from hwseg.rtl.cores.table import lane_code
from hwseg.rtl.emit import Library

CHAIN = data.StructLayout({"enable": 1, "row": 6, "word": 4, "data": 64})
"""A word of weights for a row, of which it is number `word`."""

THIRDS = 3
TABLES = TAPS * WORD_CHANNELS // LANES
PLACED = data.StructLayout(
    {
        "enable": THIRDS,
        "at": data.ArrayLayout(3, THIRDS),
        "bytes": data.ArrayLayout(8, TABLES),
    }
)
"""A word on its way to LUT memories: which thirds of the tables have a lane in it, where, and each table's weight."""

ROWS_PER_STAGE = 4


def in_memory(config: EngineConfig) -> bool:
    """Whether shadow weights are LUT memory."""
    return FAMILIES[config.core].reader is not None and config.channels == WORD_CHANNELS


def places(tap: int) -> list[tuple[int, int, int]]:
    """Of the lanes of a pair's channels at that tap: third, lane, and which channel of the pair."""
    return [(place // LANES, place % LANES, channel) for channel in range(2) for place in [TAPS * channel + tap]]


class ShadowWord(Component):
    """One word of the chain: takes `word` in the cycle after `enable`.

    The enable has a register in each word, and the word is a module of its own, because synthesis would join such
    registers to one net through the whole array.
    """

    def __init__(self) -> None:
        super().__init__({"enable": In(1), "word": In(64), "kept": Out(64)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        enable, kept = Signal(reset_less=True), Signal(64, name="shadow", reset_less=True)
        m.d.sync += enable.eq(self.enable)
        with m.If(enable):
            m.d.sync += kept.eq(self.word)
        m.d.comb += self.kept.eq(kept)
        return m


class ShadowMemory(Component):
    """A row's weights in LUT memory.  `weights`: of each table the lane coded `lane`, while nothing is written."""

    def __init__(self) -> None:
        super().__init__({"write": In(PLACED), "lane": In(3), "weights": Out(data.ArrayLayout(8, TABLES))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # The column that is read where the memory is written.
        there = [Signal(3, name=f"there_{third}") for third in range(THIRDS)]
        for third, address in enumerate(there):
            m.d.comb += address.eq(Mux(self.write.enable[third], self.write.at[third], self.lane))
        for table in range(TABLES):
            third = table % THIRDS
            m.submodules[f"table_{table}"] = ram = Ram32m()
            m.d.comb += ram.we.eq(self.write.enable[third])
            for number, letter in enumerate(COLUMNS.lower()):
                bits = slice(2 * number, 2 * number + 2)
                m.d.comb += [
                    getattr(ram, f"addr_{letter}").eq(there[third] if letter == "d" else self.lane),
                    getattr(ram, f"di_{letter}").eq(self.write.bytes[table][bits]),
                    self.weights[table][bits].eq(getattr(ram, f"do_{letter}")),
                ]
        return m


def place_words(m: Module, rows: int, chain: Any) -> list[Any]:
    """A `PLACED` for each row, of the words of `chain`: a register for every four rows, from row 0 on."""
    number, here = Value.cast(chain.row), Signal(PLACED, name="placed")
    m.d.comb += [
        here.bytes[table].eq(chain.data.word_select(2 * (table // THIRDS) + (table % THIRDS == 2), 8))
        for table in range(TABLES)
        if table % THIRDS != 1
    ]
    for pair in range(WORD_CHANNELS // 2):
        a, b = (chain.data.word_select(2 * pair + channel, 8) for channel in range(2))
        m.d.comb += here.bytes[THIRDS * pair + 1].eq(Mux(chain.word < LANES, b, a))
    with m.Switch(chain.word):
        for tap in range(TAPS):
            with m.Case(tap):
                for third, lane, _ in places(tap):
                    m.d.comb += [here.enable[third].eq(1), here.at[third].eq(lane_code(lane))]
    enable = here.enable & Value.cast(chain.enable).replicate(THIRDS)
    following: Any = data.View(PLACED, Cat(enable, here.as_value()[THIRDS:]))
    found = []
    for first in range(0, rows, ROWS_PER_STAGE):
        before, row_before = following, number
        following, number = Signal(PLACED, name=f"placed_{first}", reset_less=True), Signal(6, reset_less=True)
        m.d.sync += [following.eq(before), number.eq(row_before)]
        for row in range(first, min(first + ROWS_PER_STAGE, rows)):
            own = Signal(THIRDS, name=f"enable_{row}", reset_less=True)
            m.d.sync += own.eq(before.enable & (row_before == row).replicate(THIRDS))
            found.append(data.View(PLACED, Cat(own, following.as_value()[THIRDS:])))
    return found


def chained(m: Module, library: Library, words: int, chain: Value, enable: Value) -> list[Value]:
    """Of a row the registers of the chain, its words from number 0 on; the last one passes on number 0."""
    shadow: list[Value] = []
    word: Value = chain
    for number in reversed(range(words)):
        kept = ShadowWord()
        m.submodules[f"shadow_{number}"] = library.instance(kept, "hwseg_shadow")
        m.d.comb += [kept.enable.eq(enable), kept.word.eq(word)]
        word = kept.kept
        shadow.insert(0, word)
    return shadow

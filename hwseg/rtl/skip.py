"""Leading planes that are zero in a whole window: known before the window is read, so that they take no cycles.

    writes   a block (8 pixels x 8 channels, 8 planes at 8 consecutive addresses) reaches its bank most significant
             plane first; how many of its planes were zero up to now is written beside every plane, so after the last
             one the count stands there, at most 7
    reads    the blocks of the next step's window, while this step's planes pass; the smallest count of those inside
             the map is how many planes the next step leaves out

    pipeline   0 positions in   1 row and column blocks   2 nine addresses   3 counts   4 smallest count

A step with skipping takes `SHORTEST` cycles at the least, so that the count is there in time.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hwseg.rtl.config import BANKS, EngineConfig
from hwseg.rtl.window import ADDRESS_BITS, BANK_WRITE

PLANES = 8
"""Tensors of so many planes are skipped in; blocks of others do not lie at multiples of their planes."""
SHORTEST = 5
"""Cycles of a step with skipping, at the least."""
MOST = PLANES - SHORTEST
"""Cycles that a step can save."""
COUNT_BITS = 3
BLOCK_BITS = ADDRESS_BITS - COUNT_BITS

POSITION = data.StructLayout(
    {
        "rows": data.ArrayLayout(BLOCK_BITS, 3),  # block addresses of buffer rows 0, 1, 2 modulo 3
        "columns": data.ArrayLayout(BLOCK_BITS, 3),  # offsets of word columns 0, 1, 2 modulo 3
        "dark_rows": 3,
        "dark_columns": 3,
    }
)
"""A window's blocks; dark ones are outside the map, or not read."""


def first_of(bits: Value) -> Value:
    """Position of the first bit that is 1, or how many bits there are."""
    found: Any = len(bits)
    for position in reversed(range(len(bits))):
        found = Mux(bits[position], position, found)
    return Value.cast(found)


class LeadingZeros(Component):
    """`write`: as for the banks.  `count`: leading zero planes of the window at `position`, three cycles later.
    `saved`: the cycles that they save.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "write": In(BANK_WRITE),
                "position": In(POSITION),
                "count": Out(COUNT_BITS),
                "saved": Out(range(MOST + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        counts = self._counts(m)
        dark = Signal(BANKS)
        m.d.sync += dark.eq(
            Cat(self.position.dark_rows[b // 3] | self.position.dark_columns[b % 3] for b in range(BANKS))
        )
        # One bit for each plane from which on a block may have ones: their union over the window.
        needed: Any = 0
        rows: list[Any] = [0, 0, 0]
        for bank in range(BANKS):
            memory = Memory(shape=COUNT_BITS, depth=max(2, self.config.bank_words // PLANES), init=[])
            m.submodules[f"bank_{bank}"] = memory
            read, write = memory.read_port(domain="comb"), memory.write_port()
            address = Signal(BLOCK_BITS, name=f"address_{bank}")
            m.d.sync += address.eq(self.position.rows[bank // 3] + self.position.columns[bank % 3])
            m.d.comb += [
                read.addr.eq(address),
                write.en.eq(self._enable[bank]),
                write.addr.eq(self._address[bank % 3]),
                write.data.eq(counts[bank % 3]),
            ]
            rows[bank // 3] |= Cat(~dark[bank] & (read.data <= k) for k in range(PLANES - 1))
        for number, row in enumerate(rows):
            found = Signal(PLANES - 1, name=f"needed_{number}")
            m.d.sync += found.eq(row)
            needed |= found
        needed_from = Signal(PLANES - 1)
        m.d.comb += [
            needed_from.eq(needed),
            self.count.eq(first_of(needed_from)),
            # Not the smaller of the count and MOST: the count comes late.
            self.saved.eq(first_of(needed_from[:MOST])),
        ]
        return m

    def _counts(self, m: Module) -> list[Signal]:
        """For each word column (modulo 3) the zero planes at the head of the block that is being written."""
        self._enable, self._address = Signal(BANKS), []
        m.d.sync += self._enable.eq(self.write.enable)
        found = []
        for residue in range(3):
            number = self.write.address[residue][:COUNT_BITS]
            address, first = Signal(BLOCK_BITS, name=f"write_{residue}"), Signal(name=f"first_{residue}")
            zero, active = Signal(name=f"zero_{residue}"), Signal(name=f"active_{residue}")
            count, ended = Signal(COUNT_BITS, name=f"head_{residue}"), Signal(name=f"ended_{residue}")
            m.d.sync += [
                address.eq(self.write.address[residue][COUNT_BITS:]),
                first.eq(number == 0),
                zero.eq(self.write.data[residue] == 0),
                active.eq(Cat(self.write.enable[b] for b in range(residue, BANKS, 3)).any()),
            ]
            before, open_ = Signal(COUNT_BITS, name=f"before_{residue}"), Signal(name=f"open_{residue}")
            now = Signal(COUNT_BITS, name=f"now_{residue}")
            m.d.comb += [
                before.eq(Mux(first, 0, count)),
                open_.eq((first | ~ended) & zero),
                now.eq(before + (open_ & (before != PLANES - 1))),
            ]
            with m.If(active):
                m.d.sync += [count.eq(now), ended.eq(~open_)]
            self._address.append(address)
            found.append(now)
        return found

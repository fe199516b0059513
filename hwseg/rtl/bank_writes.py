"""Words into the input banks: a step of a LOAD's or MOVE's walk becomes addresses, and its words are written there.

from memory            step -> place, word at the same time ---------------> addresses and words of the banks
from the loop memory   step -> place, loop memory's address -> `LOOP_DELAY` registers -> the same
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hwseg.rtl.config import BANKS
from hwseg.rtl.cores.pipeline import delayed, unreset
from hwseg.rtl.emit import Part
from hwseg.rtl.window import ADDRESS_BITS, BANK_WRITE

LOOP_DELAY = 3
"""Cycles from the loop memory's address to its words."""

LOOP_READ = data.StructLayout({"enable": 1, "set": 3, "split": 1, "address": ADDRESS_BITS})

STEP = data.StructLayout(
    {
        "column": 2,
        "base": ADDRESS_BITS,
        "near": 4,
        "far": 5,
        "parity": 1,
        "moving": 1,
        "window": 1,
        "source": ADDRESS_BITS,
        "number": 4,
        "set": 3,
        "split": 1,
    }
)
"""A word's step before its addresses are added up: `base` and `near` or `far`; `source` and `number`, of a MOVE."""
PLACE = data.StructLayout({"column": 2, "near": ADDRESS_BITS, "far": ADDRESS_BITS, "parity": 1, "window": 1})
"""Where a step's words go: word column `column` (modulo 3) at address `near`, every other column at `far`."""


class BankWrites(Part):
    """`step` with `enable`, the banks that it writes, and `moves`, whether it reads the loop memory: `bank_write` two
    cycles later with the word that memory gave a cycle before the step; of a MOVE `loop_read` a cycle later, and
    `bank_write` `LOOP_DELAY` + 2 cycles later with `loop_data`.

    Each word column (modulo 3) of banks has an address and a word of its own: the two columns of a MOVE's step differ.
    """

    latency = 2

    def __init__(self) -> None:
        super().__init__(
            {
                "step": In(STEP),
                "enable": In(BANKS),
                "moves": In(1),
                "word": In(64),
                "loop_read": Out(LOOP_READ),
                "loop_data": In(data.ArrayLayout(64, 2)),
                "bank_write": Out(BANK_WRITE),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        place, loads, moved = self._place(m)
        late = data.View(PLACE, delayed(m, place.as_value(), LOOP_DELAY, "place"))
        late_enable = delayed(m, moved, LOOP_DELAY, "moves_enable")
        word = delayed(m, self.word, 2, "word")
        loop, chosen = Signal(), Signal(PLACE)
        m.d.comb += [loop.eq(late_enable.any()), chosen.eq(Mux(loop, late.as_value(), place.as_value()))]
        write = Signal(BANK_WRITE, name="bank_at", reset_less=True)
        written = Signal(BANKS, name="bank_enable")
        m.d.comb += [self.bank_write.eq(write), self.bank_write.enable.eq(written)]
        m.d.sync += written.eq(late_enable | loads)
        for residue in range(3):
            near = Signal(name=f"near_{residue}")
            m.d.comb += near.eq(chosen.column == residue)
            from_loop = Mux(near ^ (~late.window & late.parity), self.loop_data[0], self.loop_data[1])
            m.d.sync += [
                write.address[residue].eq(Mux(near, chosen.near, chosen.far)),
                write.data[residue].eq(Mux(loop, from_loop, word)),
            ]
        return m

    def _place(self, m: Module) -> tuple[data.View, Value, Value]:
        """Addresses of a step, in the banks and in the loop memory; the banks that it writes at once, and later."""
        step = self.step
        place = Signal(PLACE, reset_less=True)
        loads, moved = unreset(loads_enable=BANKS, moves_enable=BANKS)
        read = Signal(LOOP_READ, name="loop_at", reset_less=True)
        m.d.sync += [
            place.column.eq(step.column),
            place.near.eq(step.base + step.near),
            place.far.eq(step.base + step.far),
            place.parity.eq(step.parity),
            place.window.eq(step.window),
            loads.eq(Mux(step.moving, 0, self.enable)),
            moved.eq(Mux(step.moving, self.enable, 0)),
            read.enable.eq(self.moves),
            read.address.eq(step.source + step.number),
            read.set.eq(step.set),
            read.split.eq(step.split),
        ]
        m.d.comb += self.loop_read.eq(read)
        return place, loads, moved

"""What the parts of an output set share: a block of values, its planes, and writes into the set's memories."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data

from hwseg.rtl.config import ROWS_PER_SET, WORD_PIXELS
from hwseg.rtl.layouts import BACK_LAYOUT

BLOCK = data.ArrayLayout(data.ArrayLayout(8, WORD_PIXELS), ROWS_PER_SET)
MEMORY_WRITE = data.StructLayout({"enable": 8, "address": 14, "data": 64})
"""A word into a memory of the set; an enable for each byte."""


def plane(block: data.View, number: Value) -> Value:
    """The 64-bit word of bit `number` of every value: bit 8 * pixel + channel."""
    planes = [Cat(*(block[c][p][b] for p in range(WORD_PIXELS) for c in range(ROWS_PER_SET))) for b in range(8)]
    return Array(planes)[number]


def configuration_of(m: Module, token: data.View, back: data.View, name: str) -> data.View:
    """The one of two configurations under which the token's step was computed."""
    found = Signal(BACK_LAYOUT, name=f"{name}_configuration")
    m.d.comb += found.eq(Mux(token.half, back[1].as_value(), back[0].as_value()))
    return found

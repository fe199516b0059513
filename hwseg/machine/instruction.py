"""An instruction's fields, and a RUN with the CONFIG that it stands under."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwseg.rtl.isa import FORMATS, Mode, Opcode

Fields = dict[str, int]
"""By name, as `hwseg.rtl.isa` defines them."""


def decode(words: np.ndarray) -> Fields:
    """The fields of one instruction of four 64-bit words."""
    value = int.from_bytes(np.ascontiguousarray(words, "<u8").tobytes(), "little")
    opcode = Opcode(value & 15)
    return FORMATS[opcode].unpack(value) if opcode in FORMATS else {"opcode": int(opcode)}


def signed(value: int, bits: int) -> int:
    """The two's complement reading of a field."""
    return value - (value >> bits - 1 << bits)


@dataclass(frozen=True)
class Run:
    """A RUN's `fields`, and those of the CONFIG before it: a rectangle of output rows and word columns."""

    fields: Fields
    config: Fields

    @property
    def mode(self) -> Mode:
        return Mode(self.config["mode"])

    @property
    def depth(self) -> int:
        """Rows that a step's inner loop visits: 2 where rows come in pairs."""
        return 2 if self.fields["pair"] else 1

    @property
    def rows(self) -> int:
        return self.fields["rows"] * self.depth

    @property
    def columns(self) -> int:
        return self.fields["columns"]

    def in_pairs(self, values: np.ndarray) -> np.ndarray:
        """[row, word column, ...] in the order of steps: [row or pair, word column, row of the pair, ...]."""
        return values.reshape(self.fields["rows"], self.depth, *values.shape[1:]).swapaxes(1, 2)

    def in_rows(self, values: np.ndarray) -> np.ndarray:
        """The inverse of `in_pairs`."""
        return values.swapaxes(1, 2).reshape(self.rows, self.columns, *values.shape[3:])

"""Which values every field of the instruction set is to have, and which it has had.

Fields of up to 10 bits have every legal value; wider ones their bounds and random values between.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from hwseg.machine.rules import ADDRESSES
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.isa import FORMATS, PARAMETER

EVERY = 10
"""Bits of a field that has every legal value; of a wider one some are enough."""
SAMPLES = 6
"""Of a wide field, beside its bounds."""

Name = tuple[str, str]
"""Format and field."""

SIGNED = {(f, name) for f, names in (("CONFIG", ("low", "high", "first_low", "first_high")),) for name in names}
SIGNED |= {("PARAMETER", name) for name in ("offset", "multiplier", "dot")}
"""Fields that are read as two's complement; their values here are signed."""

COUNTED = {"opcode", "wait_runs", "wait_stores", "wait_loads"}
"""Fields that follow from the order of a program."""

WIDTHS = {
    (form, name): width
    for form, layout in [*((opcode.name, form) for opcode, form in FORMATS.items()), ("PARAMETER", PARAMETER)]
    for name, width in layout.fields.items()
    if name not in COUNTED
}
"""Bits of every field that a program may choose."""


def encoded(form: str, name: str, value: int, bits: int) -> int:
    return value & (1 << bits) - 1 if (form, name) in SIGNED else value


def legal(engine: EngineConfig, words: int) -> dict[Name, range]:
    """The values that each field can have in a program for a memory of so many words, whatever the other fields are.

    Where a field means nothing it may hold anything; here stands what it may hold where it means something.  LOADs of
    the program itself come by themselves, with every page.
    """
    c, any_address = engine, range(ADDRESSES)
    place = {
        "layer": range(256), "run_words": range(1, 1 << 16), "runs": range(1, 1 << 12), "address": any_address,
        "pitch": any_address, "row_phase": range(3), "column_phase": range(3), "column_address": any_address,
        "planes": range(1, 16), "bank": range(8), "wrap_at": any_address, "wrap_to": any_address,
        "every_other": range(2), "cost": range(1 << 20),
    }  # fmt: skip
    found: dict[str, dict[str, range]] = {
        "LOAD": place | {"target": range(4), "ddr": range(0, 8 * words, 8), "ddr_stride": range(0, 1 << 24, 8)},
        "MOVE": place
        | {
            "target": range(2), "source": range(c.loop_words), "set": range(c.sets), "split": range(1 + c.splits),
            "run_words": range(1, 2 * c.loop_words + 1), "source_pitch": any_address, "unused_ddr": range(1 << 14),
            "unused_stride": range(1 << 10), "unused_stores": range(1 << 16), "cost": range(7, 1 << 20),
        },
        "STORE": {
            "pool": range(2), "layer": range(256), "ddr": range(0, 8 * words, 8),
            "run_words": range(1, 2 * c.out_words + 1), "runs": range(1, 1 << 12), "ddr_stride": range(0, 1 << 24, 8),
            "set": range(c.sets), "address": range(c.out_words), "pitch": any_address, "planes": range(1, 16),
            "split": range(1 + c.splits), "cost": range(1 << 20),
        },
        "CONFIG": {
            "layer": range(256), "planes": range(1, 9), "signed_in": range(2), "mode": range(4), "pitch": any_address,
            "out_planes": range(1, 9), "low": range(-128, 256), "high": range(-128, 256), "residual": range(1 + c.adds),
            "double": range(1 + c.adds), "halve": range(1 + c.adds),
            "first_low": range(-256, 256) if c.adds else range(-128, 256),
            "first_high": range(-256, 256) if c.adds else range(-128, 256),
            "keep": range(2), "loop": range(2), "pool": range(2), "raw": range(2), "dot": range(2),
            "raw_rows": range(16), "out_pitch": any_address, "pool_pitch": any_address, "interval": range(4, 64),
            "last_interval": range(8, 64), "drain": range(2), "skip": range(2), "split": range(1 + c.splits),
        },
        "RUN": {
            "layer": range(256), "reload": range(2), "first": range(2), "last": range(2), "shift": range(2),
            "scatter": range(3), "pair": range(2), "top": range(2), "bottom": range(2), "left": range(2),
            "right": range(2), "odd_row": range(2), "odd_column": range(2), "slice": range(c.slices),
            "tail": range(1, 9), "rows": range(1, 1 << 12), "columns": range(1, 1 << 10), "row_address": any_address,
            "row_phase": range(3), "column_address": any_address, "column_phase": range(3), "psum": range(1 << 10),
            "out_address": range(c.out_words), "loop_address": range(c.loop_words), "pool_address": range(c.pool_words),
            "slot": range(256), "wrap_at": any_address, "wrap_to": any_address, "jump": range(2),
            "tile": range(1 << 14), "residual": range(1 + c.adds), "residual_set": range(2),
        },
        "PARAMETER": {
            "offset": range(-(1 << 55), 1 << 55), "shift": range(64), "reserved": range(4),
            "multiplier": range(-(1 << 29), 1 << 29), "dot": range(-128, 128),
        },
    }  # fmt: skip
    return {(form, name): values for form, fields in found.items() for name, values in fields.items()}


class Wanted:
    """What is still to be drawn.  thorough: every word column count too, and the longest waits."""

    def __init__(self, engine: EngineConfig, words: int, rng: random.Random, thorough: bool = False) -> None:
        self.engine, self.random = engine, rng
        self.left: dict[Name, list[int]] = {}
        for name, values in legal(engine, words).items():
            few = (not thorough and name == ("RUN", "columns")) or name[1].startswith("unused")
            every = WIDTHS[name] <= EVERY and not few
            chosen = list(values) if every else self._some(name, values, thorough)
            rng.shuffle(chosen)
            self.left[name] = chosen

    def _some(self, name: Name, values: range, thorough: bool) -> list[int]:
        if name == ("STORE", "ddr"):
            return []  # every STORE has a place of its own
        if name == ("LOAD", "ddr"):
            return [values[0], values[-1], *(8 * self.random.randrange(1 << 16) for _ in range(SAMPLES))]
        if name == ("RUN", "columns"):
            return sorted({*range(1, 33), 63, 64, 65, 128, 256, 511, 512, 1022, 1023})
        if name[1] == "cost" and not thorough:
            values = range(values[0], 4096)
        if name == ("PARAMETER", "offset"):  # as long as they are, most of them leave nothing of a sum
            return [values[0], values[-1], 0, *(self.random.choice(values) >> k for k in range(0, 50, 5))]
        return [values[0], values[-1], *(self.random.choice(values) for _ in range(SAMPLES))]

    def pick(self, form: str, name: str, allowed: Sequence[int], usual: Sequence[int] | None = None) -> int:
        """One of the allowed values, if possible one that is wanted; else a usual one."""
        left = self.left.get((form, name), ())
        if left and self.random.random() < 0.8:
            found = [value for value in self.random.sample(left, min(len(left), 40)) if value in allowed]
            if found:
                return found[0]
        return self.random.choice(allowed if usual is None else usual)

    def drawn(self, form: str, values: Iterable[tuple[str, int]]) -> None:
        """An instruction with these fields stands in a program."""
        for name, value in values:
            left = self.left.get((form, name), [])
            if value in left:
                left.remove(value)

    @property
    def counts(self) -> dict[str, int]:
        """How many values are missing, by format."""
        found: dict[str, int] = {}
        for (form, _), left in self.left.items():
            if left:
                found[form] = found.get(form, 0) + len(left)
        return found

    @property
    def missing(self) -> dict[Name, list[int]]:
        return {name: sorted(left) for name, left in self.left.items() if left}

"""The energies per event and the powers that the estimate multiplies with: one file, frozen before it was used.

The file is `coefficients.toml` beside this module.  Each entry has `low`, `mid`, `high`, `unit`, `source` and `date`;
entries of unit "pJ" are energies per event, of unit "W" powers, of unit "factor" numbers.  `static_pl_*` are powers at
the junction temperature in their name.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwseg.borders import given
from hwseg.errors import require
from hwseg.files import read_file
from hwseg.power.band import Band

FILE = Path(__file__).with_name("coefficients.toml")
LARGEST = 1 << 20
"""Bytes of a coefficient file."""
HIGHEST = 1e9
UNITS = ("pJ", "W", "factor")
TEMPERATURES = (25, 50, 85)
"""Junction temperatures, in degrees Celsius, with an entry `static_pl_25` and so on."""


@dataclass(frozen=True)
class Coefficient:
    """One entry.  unit: "pJ" per event, "W" or "factor".  source, date: where the value is from, and of when."""

    name: str
    band: Band
    unit: str
    source: str
    date: str


@dataclass(frozen=True)
class Coefficients:
    """All entries by name, and the SHA-256 of the file that they were read from."""

    entries: Mapping[str, Coefficient]
    sha256: str

    def band(self, name: str) -> Band:
        """The entry's band; raises HwsegError where the file has none of that name."""
        require(name in self.entries, f"coefficient {name}", "is not in the file", "add it, with source and date")
        return self.entries[name].band

    def of_unit(self, unit: str) -> dict[str, Band]:
        """Bands of all entries of a unit."""
        return {name: entry.band for name, entry in self.entries.items() if entry.unit == unit}

    def static(self, temperature: float) -> Band:
        """Static power of the programmable logic in W at a junction temperature in degrees Celsius.

        Between the file's temperatures the logarithm is interpolated: leakage grows exponentially.
        """
        low, high = TEMPERATURES[0], TEMPERATURES[-1]
        rule = f"must be from {low} to {high} degrees Celsius, is {temperature:g}"
        require(low <= temperature <= high, "junction temperature", rule, "use 50")
        after = next(i for i, t in enumerate(TEMPERATURES) if temperature <= t) or 1
        cold, hot = TEMPERATURES[after - 1], TEMPERATURES[after]
        share = (temperature - cold) / (hot - cold)
        a, b = (self.band(f"static_pl_{t}") for t in (cold, hot))
        return Band(*(x ** (1 - share) * y**share for x, y in ((a.low, b.low), (a.mid, b.mid), (a.high, b.high))))


def load(path: Path = FILE) -> Coefficients:
    """The entries of a coefficient file; raises HwsegError naming the entry and what is wrong with it."""
    require(os.path.isfile(path), str(path), "must be a coefficient file", "give a TOML file like hwseg/power's own")
    content = read_file(path, LARGEST)
    with given(path.name, "TOML", "correct it"):
        tables = tomllib.loads(content.decode())
    entries = {name: _entry(path.name, name, table) for name, table in tables.items()}
    require(bool(entries), path.name, "must have entries, has none", "start from hwseg/power/coefficients.toml")
    return Coefficients(entries, hashlib.sha256(content).hexdigest())


def _entry(file: str, name: str, table: Any) -> Coefficient:
    place = f"{file}: {name}"
    cure = "write a table with low, mid, high, unit, source and date"
    require(isinstance(table, dict), place, "must be a table", cure)
    for key in ("low", "mid", "high"):
        value = table.get(key)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = number and 0 <= value <= HIGHEST
        require(fits, place, f"{key} must be a number from 0 to {HIGHEST:g}, is {value!r}", cure)
    for key in ("unit", "source", "date"):
        value = table.get(key)
        require(isinstance(value, str) and bool(value), place, f"{key} must be a text, is {value!r}", cure)
    require(table["unit"] in UNITS, place, f"unit must be one of {', '.join(UNITS)}, is {table['unit']}", cure)
    low, mid, high = (float(table[key]) for key in ("low", "mid", "high"))
    text = f"low {low:g}, mid {mid:g}, high {high:g}"
    require(low <= mid <= high, place, f"must have low <= mid <= high, has {text}", "put the three values in order")
    return Coefficient(name, Band(low, mid, high), table["unit"], table["source"], table["date"])

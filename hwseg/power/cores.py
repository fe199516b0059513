"""What a core's gates do per plane cycle, reload and clock cycle: measured on its netlist, kept in cores.toml.

Events per plane cycle are lines through what real layers showed: constant + feed * (share of the feed's bits that
toggle) + ones * (share of lanes that are 1).  `hwseg bench energy --calibrate` measures again (needs yosys).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hwseg.errors import require

FILE = Path(__file__).with_name("cores.toml")

SCALED_ERROR = 0.25
"""Relative error of a core's events where they are scaled from another number of lanes: cores of 9, 72 and 144 lanes
toggle 34, 33 and 32 nets per multiply-accumulate with a DSP slice, 72, 39 and 35 without (docs/benchmarks.md)."""


@dataclass(frozen=True)
class CoreActivity:
    """One core of `lanes` lanes.

    lut, ff: of the netlist.  fit: (constant, by feed toggles, by ones) of each event per plane cycle.  per_reload: of a
    whole reload.  per_cycle: of every clock cycle, idle or not.  fit_error: of the energy per plane cycle, relative,
    the root mean square over layers that were left out of the fit.
    """

    core: str
    lanes: int
    lut: float
    ff: float
    fit: Mapping[str, tuple[float, float, float]]
    per_reload: Mapping[str, float]
    per_cycle: Mapping[str, float]
    fit_error: float
    source: str

    def per_plane(self, feed: float, ones: float) -> dict[str, float]:
        """Events of a plane cycle."""
        return {name: max(0.0, a + b * feed + c * ones) for name, (a, b, c) in self.fit.items()}

    def scaled(self, lanes: int) -> CoreActivity:
        """The same core with other lanes: every count in proportion, which is an estimate of its own error."""
        share = lanes / self.lanes
        return CoreActivity(
            self.core,
            lanes,
            self.lut * share,
            self.ff * share,
            {name: (a * share, b * share, c * share) for name, (a, b, c) in self.fit.items()},
            {name: share * value for name, value in self.per_reload.items()},
            {name: share * value for name, value in self.per_cycle.items()},
            max(self.fit_error, SCALED_ERROR),
            self.source,
        )


def core_activity(core: str, lanes: int) -> CoreActivity:
    """Of a core and its lanes; what was measured at 72 lanes is scaled to others."""
    found = measured()
    require(core in found, f"core {core}", f"must be one of {', '.join(found)}", "run hwseg bench energy --calibrate")
    return found[core] if found[core].lanes == lanes else found[core].scaled(lanes)


@cache
def measured(path: Path = FILE) -> dict[str, CoreActivity]:
    """The file's cores by name."""
    tables = tomllib.loads(path.read_text())
    found = {}
    for name, table in tables.items():
        fit = {event: (float(a), float(b), float(c)) for event, (a, b, c) in table["fit"].items()}
        rest = {key: table[key] for key in ("lanes", "lut", "ff", "per_reload", "per_cycle", "fit_error", "source")}
        found[name] = CoreActivity(core=name, fit=fit, **rest)
    return found


def toml_text(cores: Mapping[str, CoreActivity]) -> str:
    """The file's content."""
    lines = ["# Written by `hwseg bench energy --calibrate`; see hwseg/power/cores.py.", ""]
    for name, core in cores.items():
        lines += [f"[{name}]", f"lanes = {core.lanes}", f"lut = {core.lut:g}", f"ff = {core.ff:g}"]
        lines += [f"fit_error = {core.fit_error:g}", f'source = "{core.source}"', "", f"[{name}.fit]"]
        lines += [f"{event} = [{a:g}, {b:g}, {c:g}]" for event, (a, b, c) in core.fit.items()]
        for key, counts in (("per_reload", core.per_reload), ("per_cycle", core.per_cycle)):
            lines += ["", f"[{name}.{key}]", *(f"{event} = {value:g}" for event, value in counts.items())]
        lines.append("")
    return "\n".join(lines)

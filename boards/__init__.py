"""Boards: what a part offers, how fast its memory is, where the processing system puts things.

One folder per part: `board.toml` is any board with that part, `NAME.toml` beside it one board that you can buy, which
says only what it does differently.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from hwseg.borders import given
from hwseg.errors import HwsegError, require
from hwseg.files import read_file
from hwseg.runtime.package import DIVISOR, PLLS, PORTS

HERE = Path(__file__).parent
GENERIC = "board.toml"
LARGEST = 1 << 20
"""Bytes of a board file."""
HIGHEST = 1e15
"""Of every number in it."""

CLOCK_TOLERANCE = 0.01
"""MHz by which FCLK0 may miss the clock that was asked for."""

PART = re.compile(r"(xc7z\d{3}s?)([a-z]{2,3}\d{3,4})(-[123])")
"""Device, package, speed grade."""


@dataclass(frozen=True)
class Clock:
    """FCLK0 of the processing system: `pll` over both divisors (6 bits each)."""

    pll: str
    pll_mhz: float
    divisors: tuple[int, int]

    @property
    def mhz(self) -> float:
        return self.pll_mhz / (self.divisors[0] * self.divisors[1])


@dataclass(frozen=True)
class ProcessingSystem:
    """What the top level and the driver know of it.  registers: first address of general-purpose port 0.

    interrupt: number of IRQF2P[0] at the interrupt controller.  ddr_first, ddr_last: byte addresses that the
    high-performance ports reach.  read_ports, write_ports: which of them each manager port of the engine reads and
    writes through, in the order of the engine's.  plls: MHz of each PLL that FCLK0 may come from.
    """

    registers: int
    interrupt: int
    ddr_first: int
    ddr_last: int
    read_ports: tuple[str, ...]
    write_ports: tuple[str, ...]
    crystal_mhz: float
    plls: Mapping[str, float]
    fclk: Clock


@dataclass(frozen=True)
class Pins:
    """LEDs, the first of which shows that the engine is busy."""

    standard: str
    leds: tuple[str, ...]


@dataclass(frozen=True)
class Board:
    """ddr_bytes_per_second: sustained.  ddr_bytes: reserved for the accelerator.

    ddr_latency: cycles of the memory model.  lutram: LUTs that can be memory.
    """

    name: str
    title: str
    part: str
    clock_mhz: float
    lut: int
    lutram: int
    ff: int
    bram36: int
    dsp: int
    ddr_bits: int
    ddr_bytes_per_second: float
    ddr_bytes: int
    ddr_latency: int
    ps: ProcessingSystem
    pins: Pins

    @property
    def resources(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("lut", "lutram", "ff", "bram36", "dsp")}

    @property
    def device(self) -> str:
        """The part without package and speed grade."""
        match = PART.fullmatch(self.part)
        assert match is not None
        return match[1]

    def at(self, clock_mhz: float, place: str) -> Board:
        """The same board with this clock; HwsegError about `place` names the nearest ones where no PLL gives it."""
        if abs(self.ps.fclk.mhz - clock_mhz) < CLOCK_TOLERANCE:
            return self
        clocks = [Clock(pll, mhz, pair) for pll, mhz in self.ps.plls.items() for pair in divisor_pairs()]
        below = max((c for c in clocks if c.mhz <= clock_mhz), key=lambda c: c.mhz, default=None)
        above = min((c for c in clocks if c.mhz >= clock_mhz), key=lambda c: c.mhz, default=None)
        near = [clock for clock in (below, above) if clock is not None]
        clock = min(near, key=lambda clock: abs(clock.mhz - clock_mhz))
        told = " or ".join(f"{clock.mhz:.6g}" for clock in near)
        rule = f"the clock of {self.name} cannot be {clock_mhz:g} MHz: its PLLs are divided by integers"
        cure = f"compile again with --clock-mhz {told}"
        require(abs(clock.mhz - clock_mhz) < CLOCK_TOLERANCE, place, rule, cure)
        return replace(self, clock_mhz=clock.mhz, ps=replace(self.ps, fclk=clock))


@cache
def divisor_pairs() -> tuple[tuple[int, int], ...]:
    """Both divisors of FCLK0, once for each product, the second as small as it can be."""
    found: dict[int, tuple[int, int]] = {}
    for second in range(1, DIVISOR + 1):
        for first in range(1, DIVISOR + 1):
            found.setdefault(first * second, (first, second))
    return tuple(found.values())


def board_names() -> tuple[str, ...]:
    """Every board there is, parts before the boards that carry them."""
    parts = sorted(path.parent.name for path in HERE.glob(f"*/{GENERIC}"))
    return (
        *parts,
        *sorted(path.stem for part in parts for path in (HERE / part).glob("*.toml") if path.name != GENERIC),
    )


@cache
def load_board(name: str) -> Board:
    """The board of that name, or `HwsegError` listing those there are."""
    if name not in board_names():
        raise HwsegError("--board", f"{name!r} is not a board", f"use {', '.join(board_names())}")
    own = next((path for path in HERE.glob(f"*/{name}.toml")), HERE / name / GENERIC)
    return read_board(own, own.with_name(GENERIC))


def read_board(own: Path, generic: Path) -> Board:
    """A board from its file and that of its part; raises HwsegError naming the file and the entry that is wrong."""
    content = _merged(_parsed(generic), _parsed(own))
    place = str(own)
    cure = f"compare it with {generic.name} of a board that works"

    def entry(kind: type, *keys: str) -> Any:
        value: Any = content
        for key in keys:
            require(isinstance(value, Mapping) and key in value, place, f"must have the entry {'.'.join(keys)}", cure)
            value = value[key]
        fits = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
        require(fits, place, f"{'.'.join(keys)} must be of type {kind.__name__}, is {value!r}", cure)
        if kind in (int, float):
            require(abs(value) <= HIGHEST, place, f"{'.'.join(keys)} must be at most {HIGHEST:g}, is {value!r}", cure)
        return kind(value)

    def positive(kind: type, *keys: str) -> Any:
        value = entry(kind, *keys)
        require(value > 0, place, f"{'.'.join(keys)} must be positive, is {value!r}", cure)
        return value

    part = entry(str, "part")
    require(PART.fullmatch(part) is not None, place, f"part must read like xc7z020clg400-1, is {part!r}", cure)
    pll = entry(str, "ps", "fclk", "pll")
    require(pll in PLLS, place, f"ps.fclk.pll must be one of {', '.join(PLLS)}, is {pll!r}", cure)
    divisors = entry(list, "ps", "fclk", "divisors")
    require(
        len(divisors) == 2 and all(isinstance(d, int) and 1 <= d <= DIVISOR for d in divisors),
        place,
        f"ps.fclk.divisors must be two integers from 1 to {DIVISOR}, are {divisors!r}",
        cure,
    )
    fclk = Clock(pll, positive(float, "ps", f"{pll}_pll_mhz"), (divisors[0], divisors[1]))
    clock = positive(float, "clock_mhz")
    require(
        abs(clock - fclk.mhz) < CLOCK_TOLERANCE,
        place,
        f"clock_mhz must be what ps.fclk gives, {fclk.mhz:.3f}, is {clock:g}",
        "choose other divisors or another PLL",
    )
    bits = entry(int, "ddr", "bits")
    require(bits in (16, 32), place, f"ddr.bits must be 16 or 32, is {bits}", cure)
    first, last = entry(int, "ps", "ddr_first"), positive(int, "ps", "ddr_last")
    granted = positive(int, "ddr", "accelerator_bytes")
    require(
        first >= 0 and granted <= last - first + 1 <= 1 << 30,
        place,
        f"ddr.accelerator_bytes must fit between ps.ddr_first and ps.ddr_last, is {granted}",
        cure,
    )
    ports = {key: entry(list, "ps", key) for key in ("read_ports", "write_ports")}
    for key, names in ports.items():
        fits = bool(names) and all(names.count(name) == 1 and name in PORTS for name in names)
        require(fits, place, f"ps.{key} must be different ones of {', '.join(PORTS)}, are {names!r}", cure)
    leds = entry(list, "pins", "leds")
    require(all(isinstance(pin, str) for pin in leds), place, f"pins.leds must be package pins, are {leds!r}", cure)
    return Board(
        name=entry(str, "name"),
        title=entry(str, "title"),
        part=part,
        clock_mhz=clock,
        **{key: positive(int, "resources", key) for key in ("lut", "lutram", "ff", "bram36", "dsp")},
        ddr_bits=bits,
        ddr_bytes_per_second=positive(float, "ddr", "bytes_per_second"),
        ddr_bytes=granted,
        ddr_latency=positive(int, "ddr", "latency_cycles"),
        ps=ProcessingSystem(
            positive(int, "ps", "registers"),
            positive(int, "ps", "interrupt"),
            first,
            last,
            tuple(ports["read_ports"]),
            tuple(ports["write_ports"]),
            positive(float, "ps", "crystal_mhz"),
            {pll: positive(float, "ps", f"{pll}_pll_mhz") for pll in PLLS if f"{pll}_pll_mhz" in content["ps"]},
            fclk,
        ),
        pins=Pins(entry(str, "pins", "standard"), tuple(leds)),
    )


def _parsed(path: Path) -> dict[str, Any]:
    require(os.path.isfile(path), str(path), "must be a board file that can be read", "check the path")
    with given(path, "TOML", "correct it"):
        return tomllib.loads(read_file(path, LARGEST).decode())


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` over `base`, table by table."""
    result = dict(base)
    for key, value in own.items():
        before = result.get(key)
        result[key] = _merged(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return result

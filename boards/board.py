"""What a board is: its part's resources, its memory, its processing system, its pins, and the tools that it is for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from hwseg.errors import HwsegError, require
from hwseg.runtime.package import DIVISOR

VIVADO, NEXTPNR = "vivado", "nextpnr-xilinx"
TOOLS = (VIVADO, NEXTPNR)
"""For place and route."""

SLOWEST, FASTEST = 1, 1000
"""MHz of the engine's clock."""
CLOCK_TOLERANCE = 0.01
"""MHz by which FCLK0 may miss the clock that was asked for."""

PART = re.compile(r"(xc7z\d{3}s?)([a-z]{2,3}\d{3,4})(-[123])", re.ASCII)
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
class Tool:
    """What is known of a tool for place and route on a part.

    routed: the largest share of each resource that it has routed, as far as that was told.  source: with what.  carry4:
    how many CARRY4 it can place, 0 for all of the part's.
    """

    routed: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    carry4: int = 0


@dataclass(frozen=True)
class Board:
    """ddr_bytes_per_second: sustained.  ddr_bytes: reserved for the accelerator.

    ddr_latency: cycles of the memory model.  lutram: LUTs that can be memory.  tool: which one places and routes where
    nobody says another, of `tools`.  file: the user's own board file, empty for hwseg's boards.
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
    tool: str = VIVADO
    tools: Mapping[str, Tool] = field(default_factory=dict)
    file: bytes = b""

    @property
    def resources(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("lut", "lutram", "ff", "bram36", "dsp")}

    @property
    def choice(self) -> str:
        """The option that chooses it."""
        return "the same --board file" if self.file else f"--board {self.name}"

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
        clocks = self._clocks()
        below = max((c for c in clocks if c.mhz <= clock_mhz), key=lambda c: c.mhz, default=None)
        above = min((c for c in clocks if c.mhz >= clock_mhz), key=lambda c: c.mhz, default=None)
        near = [clock for clock in (below, above) if clock is not None]
        clock = min(near, key=lambda clock: abs(clock.mhz - clock_mhz))
        told = " or ".join(f"{clock.mhz:.6g}" for clock in near)
        rule = f"the clock of {self.name} cannot be {clock_mhz:g} MHz: its PLLs are divided by integers"
        cure = f"compile again with --clock-mhz {told}"
        require(abs(clock.mhz - clock_mhz) < CLOCK_TOLERANCE, place, rule, cure)
        return replace(self, clock_mhz=clock.mhz, ps=replace(self.ps, fclk=clock))

    def below(self, clock_mhz: float, place: str) -> Board:
        """The same board with the fastest clock of an engine that its PLLs give and that is not above this one."""
        clocks = (clock for clock in self._clocks() if SLOWEST <= clock.mhz <= min(clock_mhz, FASTEST))
        for clock in sorted(clocks, key=lambda clock: -clock.mhz):
            # The board's own clock stands for all that are hardly different, and must not be above either.
            if (found := self.at(clock.mhz, place)).ps.fclk.mhz <= clock_mhz:
                return found
        rule = f"no clock of {self.name}, all from {SLOWEST} MHz on, is as slow as {clock_mhz:g} MHz"
        raise HwsegError(place, rule, "choose a smaller array")

    def _clocks(self) -> list[Clock]:
        return [Clock(pll, mhz, pair) for pll, mhz in self.ps.plls.items() for pair in divisor_pairs()]


@cache
def divisor_pairs() -> tuple[tuple[int, int], ...]:
    """Both divisors of FCLK0, once for each product, the second as small as it can be."""
    found: dict[int, tuple[int, int]] = {}
    for second in range(1, DIVISOR + 1):
        for first in range(1, DIVISOR + 1):
            found.setdefault(first * second, (first, second))
    return tuple(found.values())

"""A board file: TOML of anybody's, which must say what a board can be and nothing that a script would run.

Names and pins go into constraints, Tcl, a device tree and a notebook, numbers into registers; so each is checked here.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwseg.boards.board import (
    CLOCK_TOLERANCE,
    FASTEST,
    PART,
    SLOWEST,
    TOOLS,
    VIVADO,
    Board,
    Clock,
    Pins,
    ProcessingSystem,
    Tool,
)
from hwseg.borders import given
from hwseg.errors import require
from hwseg.files import read_file
from hwseg.runtime.package import DIVISOR, PAGE, PLLS, PORTS

LARGEST = 1 << 16
"""Bytes of a board file."""
HIGHEST = 1e15
"""Of every number in it."""
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
TITLE = re.compile(r"[\w .,:()/+&'-]{1,80}")
PIN = re.compile(r"[A-Z]{1,2}[0-9]{1,2}")
STANDARD = re.compile(r"[A-Z][A-Z0-9_]{0,19}")
MOST_LEDS = 64
GP0 = range(0x4000_0000, 0x8000_0000, PAGE)
"""Where registers may be: general-purpose port 0."""
DDR_END = 1 << 30
INTERRUPTS = range(32, 1024)
MOST_LATENCY = 10_000
SLOWEST_DDR = 1e6
"""Bytes per second."""
RESOURCES = ("lut", "lutram", "ff", "bram36", "dsp")
SOURCE = re.compile(r"[^\n\r\x00-\x1f]{1,200}")


@dataclass(frozen=True)
class Entries:
    """The content of a board file over that of its part, and where it is from.  asked: every entry that was read."""

    content: Mapping[str, Any]
    place: str
    cure: str
    asked: set[tuple[str, ...]] = field(default_factory=set)

    def entry(self, kind: type, *keys: str) -> Any:
        """The value at nested `keys`; HwsegError if there is none of that type."""
        value: Any = self.content
        self.asked.add(keys)
        for key in keys:
            self.require(isinstance(value, Mapping) and key in value, f"must have the entry {'.'.join(keys)}")
            value = value[key]
        fits = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
        self.require(fits, f"{'.'.join(keys)} must be of type {kind.__name__}, is {value!r}")
        if kind in (int, float):
            self.require(abs(value) <= HIGHEST, f"{'.'.join(keys)} must be at most {HIGHEST:g}, is {value!r}")
        return kind(value)

    def positive(self, kind: type, *keys: str) -> Any:
        value = self.entry(kind, *keys)
        self.require(value > 0, f"{'.'.join(keys)} must be positive, is {value!r}")
        return value

    def text(self, form: re.Pattern[str], example: str, *keys: str) -> str:
        value = str(self.entry(str, *keys))
        fits = form.fullmatch(value) is not None and value.isprintable()
        self.require(fits, f"{'.'.join(keys)} must read like {example}, is {value!r}")
        return value

    def listed(self, fits: Callable[[Any], bool], most: int, what: str, *keys: str) -> list[Any]:
        """At most so many values, each once."""
        values: list[Any] = self.entry(list, *keys)
        right = len(values) <= most and all(map(fits, values))
        unlike = right and all(values.index(value) == number for number, value in enumerate(values))
        self.require(unlike, f"{'.'.join(keys)} must be {what}, are {values!r}")
        return values

    def require_all_read(self) -> None:
        """Refuse an entry that nobody asked for: misspelt, it would be passed over."""
        unknown = next((keys for keys in _ends(self.content) if keys not in self.asked), ())
        self.require(not unknown, f"must not have the entry {'.'.join(unknown)}, which no board has")

    def require(self, condition: bool, rule: str, cure: str = "") -> None:
        require(condition, self.place, rule, cure or self.cure)


def _ends(content: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The keys of everything that is no table with entries of its own."""
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _ends(value, (*above, key))
        else:
            yield (*above, key)


def read_board(own: Path, generic: Path) -> Board:
    """A board from its file and that of its part; raises HwsegError naming the file and the entry that is wrong."""
    return board_from(merged(parsed_file(generic), parsed_file(own)), str(own), generic.name)


def board_from(content: Mapping[str, Any], place: str, like: str, file: bytes = b"") -> Board:
    """A board from all its entries.  place, like: what an error names, and what it tells to compare with."""
    e = Entries(content, place, f"compare it with {like} of a board that works")
    part = e.text(PART, "xc7z020clg400-1", "part")
    bits = e.entry(int, "ddr", "bits")
    e.require(bits in (16, 32), f"ddr.bits must be 16 or 32, is {bits}")
    ps = _processing_system(e)
    granted, reached = e.positive(int, "ddr", "accelerator_bytes"), ps.ddr_last - ps.ddr_first + 1
    e.require(granted <= reached, f"ddr.accelerator_bytes must fit between ps.ddr_first and ps.ddr_last, is {granted}")
    clock = e.positive(float, "clock_mhz")
    e.require(
        abs(clock - ps.fclk.mhz) < CLOCK_TOLERANCE,
        f"clock_mhz must be what ps.fclk gives, {ps.fclk.mhz:.3f}, is {clock:g}",
        "choose other divisors or another PLL",
    )
    e.require(SLOWEST <= clock <= FASTEST, f"clock_mhz must be from {SLOWEST} to {FASTEST}, is {clock:g}")
    latency = e.positive(int, "ddr", "latency_cycles")
    e.require(latency <= MOST_LATENCY, f"ddr.latency_cycles must be at most {MOST_LATENCY}, is {latency}")
    rate = e.positive(float, "ddr", "bytes_per_second")
    e.require(rate >= SLOWEST_DDR, f"ddr.bytes_per_second must be at least {SLOWEST_DDR:g}, is {rate:g}")
    leds = e.listed(_is_pin, MOST_LEDS, f"package pins, at most {MOST_LEDS}, each once", "pins", "leds")
    tool, tools = _tools(e)
    board = Board(
        name=e.text(NAME, "pynq-z2: small letters, digits and ._-", "name"),
        title=e.text(TITLE, "PYNQ-Z2, on one line", "title"),
        part=part,
        clock_mhz=clock,
        **{key: e.positive(int, "resources", key) for key in RESOURCES},
        ddr_bits=bits,
        ddr_bytes_per_second=rate,
        ddr_bytes=granted,
        ddr_latency=latency,
        ps=ps,
        pins=Pins(e.text(STANDARD, "LVCMOS33", "pins", "standard"), tuple(leds)),
        tool=tool,
        tools=tools,
        file=file,
    )
    e.require_all_read()
    return board


def _is_pin(value: Any) -> bool:
    return isinstance(value, str) and PIN.fullmatch(value) is not None


def _processing_system(e: Entries) -> ProcessingSystem:
    pll = e.entry(str, "ps", "fclk", "pll")
    e.require(pll in PLLS, f"ps.fclk.pll must be one of {', '.join(PLLS)}, is {pll!r}")
    divisors = e.entry(list, "ps", "fclk", "divisors")
    e.require(
        len(divisors) == 2 and all(type(d) is int and 1 <= d <= DIVISOR for d in divisors),
        f"ps.fclk.divisors must be two integers from 1 to {DIVISOR}, are {divisors!r}",
    )
    fclk = Clock(pll, e.positive(float, "ps", f"{pll}_pll_mhz"), (divisors[0], divisors[1]))
    registers, interrupt = e.positive(int, "ps", "registers"), e.positive(int, "ps", "interrupt")
    e.require(registers in GP0, f"ps.registers must be a page of general-purpose port 0, is {registers:#x}")
    e.require(interrupt in INTERRUPTS, f"ps.interrupt must be from {INTERRUPTS[0]} to {INTERRUPTS[-1]}, is {interrupt}")
    first, last = e.entry(int, "ps", "ddr_first"), e.positive(int, "ps", "ddr_last")
    e.require(
        0 <= first < last < DDR_END and first % PAGE == 0,
        f"ps.ddr_first, a page, to ps.ddr_last must lie below {DDR_END:#x}, are {first:#x} and {last:#x}",
    )
    names = f"different ones of {', '.join(PORTS)}"
    ports = {
        key: e.listed(lambda port: port in PORTS, len(PORTS), names, "ps", key) for key in ("read_ports", "write_ports")
    }
    for key, found in ports.items():
        e.require(bool(found), f"ps.{key} must be {names}, are []")
    plls = {pll: e.positive(float, "ps", f"{pll}_pll_mhz") for pll in PLLS if f"{pll}_pll_mhz" in e.content["ps"]}
    crystal = e.positive(float, "ps", "crystal_mhz")
    return ProcessingSystem(
        registers, interrupt, first, last, tuple(ports["read_ports"]), tuple(ports["write_ports"]), crystal, plls, fclk
    )


def _tools(e: Entries) -> tuple[str, dict[str, Tool]]:
    """The tool that is meant where none is named, and what is known of each."""
    if "tools" not in e.content:
        return VIVADO, {}
    tool = e.entry(str, "tools", "default")
    e.require(tool in TOOLS, f"tools.default must be one of {', '.join(TOOLS)}, is {tool!r}")
    found = {}
    for name in TOOLS:
        if name not in e.content["tools"]:
            continue
        known, carry4 = e.entry(dict, "tools", name), 0
        if "carry4" in known:
            carry4 = e.positive(int, "tools", name, "carry4")
        shares: dict[str, float] = {}
        for key in e.entry(dict, "tools", name, "routed") if "routed" in known else ():
            e.require(key in RESOURCES, f"tools.{name}.routed must be of {', '.join(RESOURCES)}, has {key!r}")
            shares[key] = e.positive(float, "tools", name, "routed", key)
            e.require(shares[key] <= 1, f"tools.{name}.routed.{key} must be a share, is {shares[key]:g}")
        told = shares or "source" in known
        source = e.text(SOURCE, "8x4x4: 50.65 MHz, on one line", "tools", name, "source") if told else ""
        found[name] = Tool(shares, source, carry4)
    return tool, found


def parsed_file(path: Path) -> dict[str, Any]:
    """The entries of a board file."""
    require(os.path.isfile(path), str(path), "must be a board file that can be read", "check the path")
    return parsed(read_file(path, LARGEST), str(path))


def parsed(content: bytes, place: str) -> dict[str, Any]:
    """The same of its bytes."""
    with given(place, "TOML", "correct it"):
        found = tomllib.loads(content.decode())
        repr(found)  # tables as deep or hexadecimal numbers as long as no sentence could quote them
        return found


def merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` over `base`, table by table."""
    result = dict(base)
    for key, value in own.items():
        before = result.get(key)
        result[key] = merged(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return result

"""Levels of logic between registers of a netlist mapped to 7-series cells, and loads of its nets.

    a LUT, or an inverter                1      a flip-flop starts at    0
    entering a carry chain               1      a LUT memory             1
    every further CARRY4 passed        1/8      a block RAM              1, with its output register 0
    MUXF7, MUXF8                       1/2      a DSP slice              2, with PREG 0
    reading a LUT memory                 1      the processing system    2

A path ends at every input of what is clocked, resets and enables among them, at the processing system and at the ports.
Every connection from an input to an output counts, whether a value can take it or not: no false path hides a level.
It is a measure of what was written, not of what is routed: no wire has a length.  Same netlist, same words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hwseg.errors import HwsegError, file_errors, require

LEVEL = 8
"""Levels are counted in eighths."""
LIMIT = 7 * LEVEL
"""Of a path at 150 MHz on the slowest part."""
MOST_LOADS = 256

FLIP_FLOPS = {"FDRE", "FDSE", "FDCE", "FDPE"}
SHIFTERS = {"SRL16E": "A", "SRLC32E": "A"}
LUT_MEMORIES = {"RAM32M", "RAM64M", "RAM32X1D", "RAM64X1D", "RAM128X1D", "RAM32X1S", "RAM64X1S"}
BLOCK_RAMS = {"RAMB18E1", "RAMB36E1"}
CLOCK_PINS = {"C", "CLK", "WCLK", "CLKARDCLK", "CLKBWRCLK"}
BUFFERS = {"BUFG", "IBUF", "OBUF"}
REQUANTIZER = "requantizers"
"""In the path of the slices that multiply for a requantizer."""

Pin = tuple[int, str, int]
"""Cell's number, port, bit."""
PORT = -1
"""In place of a cell's number: a port of the design."""


@dataclass(frozen=True)
class Longest:
    """The longest path to a register input or other end.  eighths: its levels times eight.  nets: by name, in order."""

    eighths: int
    start: str
    end: str
    nets: tuple[str, ...]

    @property
    def levels(self) -> float:
        return self.eighths / LEVEL

    def __str__(self) -> str:
        through = " > ".join(self.nets)
        return f"{self.levels:g}: {self.start} to {self.end}" + (f" through {through}" if through else "")


@dataclass(frozen=True)
class Findings:
    """What the rule says of a netlist.

    deepest: in levels.  beyond: how many ends lie beyond the limit.  worst: the longest path to each of ten signals.
    multipliers, memories: requantizers' slices without MREG or PREG, block RAMs with an unregistered output that is
    read.  loads: nets of more than `MOST_LOADS`, the clock aside, with their number, most first.
    """

    deepest: float
    beyond: int
    worst: tuple[Longest, ...]
    multipliers: tuple[str, ...]
    memories: tuple[str, ...]
    loads: tuple[tuple[str, int], ...]

    @property
    def holds(self) -> bool:
        return not (self.beyond or self.multipliers or self.memories or self.loads)

    def __str__(self) -> str:
        lines = [f"deepest path: {self.deepest:g} levels; register inputs beyond {LIMIT // LEVEL}: {self.beyond}"]
        lines += [f"  {path}" for path in self.worst]
        lines.append(f"requantizers' multipliers without MREG or PREG: {len(self.multipliers)}")
        lines.append(f"block RAMs without output register: {len(self.memories)}")
        lines.append(f"nets of more than {MOST_LOADS} loads: {len(self.loads)}")
        return "\n".join([*lines, *(f"  {count}: {name}" for name, count in self.loads)])


def find(netlist: Path, top: str) -> Findings:
    """Of the flat netlist that Yosys has written as JSON; raises HwsegError for a cell of no known kind, or a loop."""
    with file_errors(netlist):
        module = json.loads(netlist.read_text())["modules"][top]
    return Levels(module).findings()


class Levels:
    """A flat module of Yosys's JSON: the latest arrival at each net, in eighths of a level, and where it came from."""

    def __init__(self, module: Mapping[str, Any]) -> None:
        self.cells = sorted(module["cells"].items())
        self.module = module
        self.driver: dict[int, Pin] = {}
        self.ends: list[Pin] = []
        self.loads: dict[int, int] = {}
        for number, (name, cell) in enumerate(self.cells):
            kind = cell["type"]
            rule = f"must be of a known kind, is {kind}"
            require(known(kind), f"netlist cell {plain(name)}", rule, "synthesize for the family xc7")
            for port, bits in cell["connections"].items():
                inward = cell["port_directions"][port] == "input"
                for index, bit in enumerate(bits):
                    if not isinstance(bit, int):
                        continue
                    if not inward:
                        self.driver[bit] = number, port, index
                    elif port not in CLOCK_PINS and not (kind == "PS7" and port.endswith("ACLK")):
                        self.loads[bit] = self.loads.get(bit, 0) + (kind not in BUFFERS)
                        if ends_at(cell, port):
                            self.ends.append((number, port, index))
        for name, port in sorted(module["ports"].items()):
            for index, bit in enumerate(port["bits"]):
                if isinstance(bit, int) and port["direction"] == "output":
                    self.ends.append((PORT, name, index))
        self.arrival: dict[int, int] = {}
        self.before: dict[int, int | None] = {}
        self._arrive()

    @cached_property
    def names(self) -> dict[int, str]:
        """Names of nets in the source: of several the one with the fewest modules around it, then the shortest."""
        found: dict[int, str] = {}
        named = ((n, v) for n, v in self.module["netnames"].items() if not v.get("hide_name"))
        for name, net in sorted(named, key=lambda item: (item[0].count("."), len(item[0]), item[0])):
            for index, bit in enumerate(net["bits"]):
                if isinstance(bit, int):
                    found.setdefault(bit, f"{name}[{index}]" if len(net["bits"]) > 1 else name)
        return found

    def _bit(self, pin: Pin) -> int:
        number, port, index = pin
        where = self.module["ports"][port]["bits"] if number == PORT else self.cells[number][1]["connections"][port]
        found: int = where[index]
        return found

    def _arrive(self) -> None:
        """Depth first from the ends and from whatever else is driven, without recursion: chains are long."""
        open_: set[int] = set()
        for first in sorted(self.driver):
            stack = [first]
            while stack:
                net = stack[-1]
                if net in self.arrival:
                    stack.pop()
                    continue
                feeds = list(self._into(net))
                waiting = [source for source, _ in feeds if source not in self.arrival and source in self.driver]
                if waiting:
                    if net in open_:
                        rule = "must not depend on itself without a register"
                        raise HwsegError(self._name(net), rule, "put a register into the loop")
                    open_.add(net)
                    stack += waiting
                    continue
                open_.discard(net)
                stack.pop()
                start = self._starts(net)
                came: int | None = None
                for source, cost in feeds:
                    at = self.arrival.get(source, 0) + cost
                    if at > start:
                        start, came = at, source
                self.arrival[net], self.before[net] = start, came

    def _starts(self, net: int) -> int:
        """At what level a net begins by itself."""
        number, port, _ = self.driver[net]
        cell = self.cells[number][1]
        kind = cell["type"]
        if kind in BLOCK_RAMS:
            return 0 if registered(cell, port) else LEVEL
        if kind == "DSP48E1":
            return 0 if parameter(cell, "PREG") else 2 * LEVEL
        if kind == "PS7":
            return 2 * LEVEL
        return LEVEL if kind in SHIFTERS or kind in LUT_MEMORIES else 0

    def _into(self, net: int) -> Iterator[tuple[int, int]]:
        """Nets from which a signal reaches this one without a clock, each with what the way costs."""
        number, port, index = self.driver[net]
        cell = self.cells[number][1]
        for name, bits in cell["connections"].items():
            if cell["port_directions"][name] != "input" or name in CLOCK_PINS:
                continue
            for i, bit in enumerate(bits):
                if isinstance(bit, int) and (cost := crossing(cell, (name, i), (port, index))) is not None:
                    yield bit, cost

    def _name(self, net: int) -> str:
        if net in self.names:
            return self.names[net]
        number, port, index = self.driver[net]
        return f"{plain(self.cells[number][0])}/{port}[{index}]"

    def _end(self, pin: Pin) -> str:
        """A flip-flop is called by what it drives."""
        number, port, index = pin
        if number == PORT:
            return f"port {port}[{index}]"
        name, cell = self.cells[number]
        if cell["type"] in FLIP_FLOPS:
            (out,) = cell["connections"]["Q"]
            return self._name(out) if port == "D" else f"{self._name(out)} ({port})"
        return f"{plain(name)}/{port}[{index}]"

    def path(self, pin: Pin) -> Longest:
        """The longest path to an end; of its nets those that have a name of their own."""
        net: int | None = self._bit(pin)
        nets = []
        while net is not None:
            nets.append(net)
            net = self.before.get(net)
        first, *rest = reversed(nets)
        through = tuple(dict.fromkeys(self.names[n] for n in rest if n in self.names))
        start = self._name(first) if first in self.driver else "a port"
        return Longest(self.arrival.get(self._bit(pin), 0), start, self._end(pin), through)

    def worst(self, count: int = 10) -> tuple[Longest, ...]:
        """The longest path to each of the `count` signals that are reached last."""
        ranked = sorted((-self.arrival.get(self._bit(pin), 0), self._end(pin), pin) for pin in self.ends)
        found: dict[str, Longest] = {}
        for _, end, pin in ranked:
            found.setdefault(re.sub(r"\[\d+\]", "", end), self.path(pin))
            if len(found) == count:
                break
        return tuple(found.values())

    def findings(self) -> Findings:
        """All that the rule looks at."""
        depths = [self.arrival.get(self._bit(pin), 0) for pin in self.ends]
        slices, memories = [], []
        for name, cell in self.cells:
            if cell["type"] == "DSP48E1" and REQUANTIZER in name:
                if not (parameter(cell, "MREG") and parameter(cell, "PREG")):
                    slices.append(plain(name))
            elif cell["type"] in BLOCK_RAMS:
                read = [p for p in ("DOADO", "DOBDO") if any(self.loads.get(b) for b in cell["connections"].get(p, []))]
                if not all(registered(cell, port) for port in read):
                    memories.append(plain(name))
        many = sorted((-count, self._name(net)) for net, count in self.loads.items() if count > MOST_LOADS)
        deepest = max(depths, default=0)
        return Findings(
            deepest / LEVEL,
            sum(depth > LIMIT for depth in depths),
            self.worst(),
            tuple(sorted(slices)),
            tuple(sorted(memories)),
            tuple((name, -count) for count, name in many),
        )


def known(kind: str) -> bool:
    """Is it a cell that the rule can count?"""
    combinational = re.fullmatch(r"LUT[1-6]|INV|MUXF[78]|CARRY4", kind) is not None
    clocked = FLIP_FLOPS | SHIFTERS.keys() | LUT_MEMORIES | BLOCK_RAMS | {"DSP48E1", "PS7"}
    return combinational or kind in clocked or kind in BUFFERS


def plain(name: str) -> str:
    """A cell's path through the modules, without what Yosys names by itself, by numbers that change."""
    path = name.replace("$flatten", "").replace("\\", "")
    return re.sub(r"\.?\$.*", "", path) or "made by synthesis"


def parameter(cell: Mapping[str, Any], name: str) -> int:
    text = cell["parameters"].get(name, "1")
    return text if isinstance(text, int) else int(text.replace("x", "0"), 2)


def registered(cell: Mapping[str, Any], port: str) -> bool:
    """Has this output of a block RAM its register?"""
    side = "A" if port in ("DOADO", "DOPADOP") else "B"
    # As one wide port (simple dual port) both halves are read at side A.
    wide = parameter(cell, "READ_WIDTH_A") > (18 if cell["type"] == "RAMB18E1" else 36)
    return bool(parameter(cell, "DOA_REG" if wide or side == "A" else "DOB_REG"))


def ends_at(cell: Mapping[str, Any], port: str) -> bool:
    """Does a path end at this input?"""
    kind = cell["type"]
    if kind in SHIFTERS:
        return not port.startswith("A")
    if kind in LUT_MEMORIES:
        # Where a memory is written is where its address D, or A, points.
        return port in ("WE", "ADDRD", "D") or port.startswith("DI") or re.fullmatch(r"A\d?", port) is not None
    return kind in FLIP_FLOPS or kind in BLOCK_RAMS or kind in ("PS7", "DSP48E1")


def crossing(cell: Mapping[str, Any], inward: tuple[str, int], outward: tuple[str, int]) -> int | None:
    """What the way through a cell costs; None where a clock stands between."""
    kind = cell["type"]
    if kind.startswith("LUT") or kind == "INV":
        return LEVEL
    if kind.startswith("MUXF"):
        return LEVEL // 2
    if kind == "CARRY4":
        return carried(inward, outward)
    if kind in BUFFERS:
        return 0
    if kind in SHIFTERS:
        return LEVEL if inward[0].startswith("A") else None
    if kind in LUT_MEMORIES:
        return LEVEL if reads(inward[0], outward[0]) else None
    return 2 * LEVEL if kind == "DSP48E1" and combinational(cell, inward[0]) else None


def carried(inward: tuple[str, int], outward: tuple[str, int]) -> int | None:
    """Through a CARRY4: a bit reaches those above it; its DI does not reach its own sum."""
    port, index = inward
    if port == "CI":
        return 1
    if port == "CYINIT":
        return LEVEL
    reached = index < outward[1] or (index == outward[1] and not (port == "DI" and outward[0] == "O"))
    return LEVEL if reached else None


def reads(address: str, data: str) -> bool:
    """Does this address of a LUT memory choose what comes out there?"""
    if address.startswith("ADDR"):
        return data == f"DO{address[-1]}"
    if address.startswith("DPRA"):
        return data == "DPO"
    return re.fullmatch(r"A\d?", address) is not None and data in ("SPO", "O")


PASSED = {
    "A": ("AREG", "ADREG", "MREG"),
    "B": ("BREG", "MREG"),
    "C": ("CREG",),
    "D": ("DREG", "ADREG", "MREG"),
    "PCIN": (),
}
"""Registers of a DSP slice between an operand and P."""


def combinational(cell: Mapping[str, Any], port: str) -> bool:
    """Does an operand of a DSP slice reach its outputs without a clock?"""
    if parameter(cell, "PREG") or port not in PASSED:
        return False
    pre_adder = cell["parameters"].get("USE_DPORT", "FALSE").strip() == "TRUE"
    return not any(parameter(cell, name) for name in PASSED[port] if name != "ADREG" or pre_adder)

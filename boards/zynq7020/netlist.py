"""What a netlist asks of the part that no placer can give: known before hours are spent on it.

nextpnr-xilinx pins every carry chain to one of a tile's two slices, and puts a LUT in front of each input of a chain
that no LUT of its own drives (`pack_carry_xc7.cc`).  All flip-flops of a slice share clock, enable and reset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hwseg.boards import NEXTPNR, Board, Tool
from hwseg.errors import require
from hwseg.toolchain.yosys import LUTS_PER_RAM

PER_SLICE = 8
"""Flip-flops of a slice, which has four LUTs and one CARRY4."""
LUTS = tuple(f"LUT{inputs}" for inputs in range(1, 7))
FLIP_FLOPS = {
    **{f"FD{kind}E{edge}": ("R" if kind == "R" else "S", "synchronous") for kind in "RS" for edge in ("", "_1")},
    **{f"FD{kind}E{edge}": (pin, "asynchronous") for kind, pin in (("C", "CLR"), ("P", "PRE")) for edge in ("", "_1")},
}
"""Which pin of a flip-flop sets or resets it, and whether it waits for the clock."""


@dataclass(frozen=True)
class Counts:
    """Of a netlist.  luts: LUT cells, each of which takes a place of its own at least, and those that are memory.

    feeds: inputs of carry chains that get a LUT of their own.  slices: that the flip-flops need at least.
    """

    luts: int
    carry4: int
    feeds: int
    flip_flops: int
    control_sets: int
    slices: int


def count(netlist: Mapping[str, Any], top: str) -> Counts:
    """Counts of Yosys's JSON of a flat design."""
    cells = netlist["modules"][top]["cells"].values()
    kinds = Counter(cell["type"] for cell in cells)
    users, driver = Counter[int](), {}
    for cell in cells:
        for port, bits in cell["connections"].items():
            outputs = cell.get("port_directions", {}).get(port) == "output"
            for bit in bits:
                if outputs:
                    driver[bit] = cell["type"]
                else:
                    users[bit] += 1
    own = {bit for bit, kind in driver.items() if kind in LUTS[:5] and users[bit] == 1}
    feeds = sum(
        bit not in own
        for cell in cells
        if cell["type"] == "CARRY4"
        for port in ("S", "DI")
        for bit in cell["connections"].get(port, ())
        if bit != "x"
    )
    sets = Counter(_control_set(cell) for cell in cells if cell["type"] in FLIP_FLOPS)
    return Counts(
        luts=sum(kinds[kind] for kind in (*LUTS, "INV")) + sum(n * kinds[kind] for kind, n in LUTS_PER_RAM.items()),
        carry4=kinds["CARRY4"],
        feeds=feeds,
        flip_flops=sum(sets.values()),
        control_sets=len(sets),
        slices=sum(-(-number // PER_SLICE) for number in sets.values()),
    )


def _control_set(cell: Mapping[str, Any]) -> tuple[object, ...]:
    reset, kind = FLIP_FLOPS[cell["type"]]
    nets = (tuple(cell["connections"].get(pin, ())) for pin in ("C", "CE", reset))
    return (*nets, kind, cell["type"].endswith("_1"))


def require_placeable(counts: Counts, board: Board, fits: str) -> None:
    """Raise HwsegError for a design that nextpnr-xilinx can never place.  fits: an array that is smaller."""
    cure = f"compile with --array {fits}" if fits else "compile with a smaller array"
    slices = board.lut // 4
    most = board.tools.get(NEXTPNR, Tool()).carry4 or slices
    rule = f"can place {most:,} of the {board.device}'s {slices:,} CARRY4, the design has {counts.carry4:,}"
    require(counts.carry4 <= most, NEXTPNR, rule, cure)
    rule = (
        f"can place {slices:,} slices of the {board.device}, the {counts.flip_flops:,} flip-flops of "
        f"{counts.control_sets} control sets need {counts.slices:,} at least"
    )
    require(counts.slices <= slices, NEXTPNR, rule, cure)
    places, needed = 2 * board.lut, counts.luts + counts.feeds
    rule = (
        f"can place {places:,} LUTs of five inputs on the {board.device}, the design has {counts.luts:,} LUTs and "
        f"{counts.feeds:,} inputs of carry chains that get one each"
    )
    require(needed <= places, NEXTPNR, rule, cure)

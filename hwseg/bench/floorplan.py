"""Registers at fixed places of an ECP5-85F, which give a placer of everything at once the shape of an array.

A placer that minimizes wire length alone lays each row of a group as a stripe across the chip, and the loader's nets
cross it.  Here the operand registers of each core stand where the core shall, and a row's control amid its cores; the
rest follows its wires.  The netlist is the same with and without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice, product
from typing import Any

from hwseg.errors import HwsegError, require

Bits = tuple[str, int, int]
"""Net of the design, first bit, number of bits."""
Tile = tuple[int, int]
"""Column and row."""

REGISTERS = tuple(f"SLICE{letter}.FF{number}" for letter, number in product("ABCD", (0, 1)))
"""Of a tile."""
COLUMNS = range(2, 125)
ROWS = tuple(y for y in range(2, 94) if y % 12 != 10)
"""Tiles of logic; every twelfth row has memories or multipliers instead."""

CELL = (10, 16)
"""Columns and rows of tiles of a core."""
CELLS = 3
"""Cells of a square, each way; the one in the middle is the loader's."""
ORIGIN = (4, 8)
"""First column, and rows of logic before the first."""


def fix(netlist: dict[str, Any], places: Mapping[Bits, Sequence[Tile]]) -> None:
    """Set the place of registers in a module of Yosys's JSON: those that drive the bits of nets, eight per tile.

    Of a global net it is the register before its buffer.  A bit that no register drives leaves its place empty.
    Raises HwsegError where a net is missing, or a tile is none of logic or taken.
    """
    drivers = {c["connections"]["Q"][0]: c for c in netlist["cells"].values() if c["type"] == "TRELLIS_FF"}
    for buffer in (c["connections"] for c in netlist["cells"].values() if c["type"] == "DCCA"):
        drivers[buffer["CLKO"][0]] = drivers[buffer["CLKI"][0]]
    taken: set[Tile] = set()
    for (net, low, count), tiles in places.items():
        require(net in netlist["netnames"], "floorplan", f"{net} must be a net of the design")
        for x, y in tiles:
            free = x in COLUMNS and y in ROWS and (x, y) not in taken
            require(free, "floorplan", f"{net} must stand in free tiles of logic, not in column {x}, row {y}")
            taken.add((x, y))
        bels = [f"X{x}/Y{y}/{register}" for x, y in tiles for register in REGISTERS]
        for bit, bel in zip(netlist["netnames"][net]["bits"][low : low + count], bels, strict=False):
            if bit in drivers:
                drivers[bit]["attributes"]["BEL"] = bel


def group(rows: int, pixels: int, lanes: int = 72) -> dict[Bits, list[Tile]]:
    """Places for `hwseg.rtl.group.Group` in its harness: rows side by side, each a square of cores round its loader."""
    if rows > (COLUMNS.stop - ORIGIN[0]) // (CELLS * CELL[0]) or pixels > CELLS**2 - 1 or lanes > 72:
        raise HwsegError("floorplan", f"{rows} rows of {pixels} cores of {lanes} lanes must be 4 of 8 of 72 at most")
    places: dict[Bits, list[Tile]] = {}
    middle = CELLS**2 // 2
    for row in range(rows):
        for pixel in range(pixels):
            operands = f"dut.row_{row}.feed" if row else "dut.lanes"
            places[operands, lanes * pixel, lanes] = _tiles(row, pixel + (pixel >= middle), 1, lanes // 8)
        places[f"dut.row_{row}.plane", 0, 4] = _tiles(row, middle, CELL[0], 1)[-1:]
    return places


def _tiles(row: int, cell: int, columns: int, height: int) -> list[Tile]:
    """Tiles amid a cell of a row's square, column by column."""
    x = ORIGIN[0] + (CELLS * row + cell % CELLS) * CELL[0] + (CELL[0] - columns) // 2
    before = ORIGIN[1] + cell // CELLS * CELL[1] + (CELL[1] - height) // 2
    return [(x + i, y) for i in range(columns) for y in islice(ROWS, before, before + height)]

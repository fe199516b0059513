"""A packed program as columns: every field of every instruction of a format, in one NumPy array each."""

from __future__ import annotations

import numpy as np

from hwseg.rtl.config import INSTRUCTION_WORDS
from hwseg.rtl.isa import FORMATS, Format, Opcode

Columns = dict[Opcode, tuple[np.ndarray, dict[str, np.ndarray]]]
"""By format: the instructions' numbers in the program, and their fields."""

Entry = tuple[int, ...]
"""What the recurrence needs of an instruction, its opcode first; see `entries`."""


def unpack(program: bytes) -> tuple[np.ndarray, Columns]:
    """Opcode of every instruction, and for each format the instructions' numbers and fields."""
    words = np.frombuffer(program, "<u8").reshape(-1, INSTRUCTION_WORDS)
    opcodes = (words[:, 0] & np.uint64(15)).astype(np.int64)
    found = {}
    for opcode, instruction in FORMATS.items():
        rows = np.flatnonzero(opcodes == opcode)
        found[opcode] = rows, fields_of(words[rows], instruction)
    return opcodes, found


def fields_of(words: np.ndarray, instruction: Format) -> dict[str, np.ndarray]:
    """int64 columns of one format's instructions."""
    columns = {}
    for name, offset in instruction.offsets.items():
        width = instruction.fields[name]
        word, bit = divmod(offset, 64)
        value = words[:, word] >> np.uint64(bit)
        if bit + width > 64:
            value = value | words[:, word + 1] << np.uint64(64 - bit)
        columns[name] = (value & np.uint64((1 << width) - 1)).astype(np.int64)
    return columns


def steps_of(columns: Columns, substeps: int) -> np.ndarray:
    """int64 [RUN]: steps of the array, `substeps` for each word of eight pixels."""
    f = columns[Opcode.RUN][1]
    steps: np.ndarray = f["rows"] * (1 + f["pair"]) * f["columns"] * substeps
    return steps


def layers_of(opcodes: np.ndarray, columns: Columns, *kinds: Opcode) -> np.ndarray:
    """int64 [n]: the layer of every instruction of these kinds, in the program's order."""
    layer = np.zeros(len(opcodes), np.int64)
    for kind in kinds:
        rows, f = columns[kind]
        layer[rows] = f["layer"]
    return layer[np.isin(opcodes, kinds)]


def entries(opcodes: np.ndarray, columns: Columns, substeps: int) -> list[Entry]:
    """Every instruction in order, as a tuple after its opcode:

    LOAD, MOVE, STORE   beats, wait_runs, wait_stores, target, cost, every_other; 0 where there is no such field
    CONFIG              interval, last_interval, drain
    RUN                 steps, last, reload, wait_loads, wait_stores, jump, tile
    """
    found: list[Entry] = [(Opcode.HALT,)] * len(opcodes)

    def put(opcode: Opcode, *values: np.ndarray) -> None:
        rows = columns[opcode][0].tolist()
        code = int(opcode)
        for row, *item in zip(rows, *(v.tolist() for v in values), strict=True):
            found[row] = (code, *item)

    for opcode in (Opcode.LOAD, Opcode.MOVE, Opcode.STORE):
        f = columns[opcode][1]
        zero = np.zeros_like(f["layer"])
        stores = f["wait_stores"] if opcode == Opcode.LOAD else zero
        target = f.get("target", zero)
        packed = f.get("every_other", zero)
        put(opcode, f["run_words"] * f["runs"], f["wait_runs"], stores, target, f["cost"], packed)
    f = columns[Opcode.CONFIG][1]
    put(Opcode.CONFIG, f["interval"], f["last_interval"], f["drain"])
    f = columns[Opcode.RUN][1]
    waits = f["wait_loads"], f["wait_stores"]
    put(Opcode.RUN, steps_of(columns, substeps), f["last"], f["reload"], *waits, f["jump"], f["tile"])
    return found

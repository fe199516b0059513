"""The engine's instructions: one definition of every field, for the compiler, the timing model and the decoder in
gates.

An instruction is four 64-bit words, little-endian.  The dispatcher reads them in order and hands LOAD and MOVE to the
reader, STORE to the writer, CONFIG and RUN to the compute unit; each executes in order, and they meet only through
counters: an instruction waits until the others have completed `wait_*` instructions since the start (modulo 2**16).

    LOAD    DDR -> input banks, weight ring, parameters or program       counted in loads
    MOVE    loop memory -> input banks, without DDR                      counted in loads
    STORE   output or pool memory -> DDR                                 counted in stores, and in acknowledged
    CONFIG  what stays the same over many RUNs
    RUN     one weight tile against a rectangle of pixels                counted in runs (CONFIG is not counted)
    HALT    everything before it finishes, then the interrupt
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from itertools import accumulate

from hwseg.errors import HwsegError


class Opcode(IntEnum):
    HALT = 0
    LOAD = 1
    STORE = 2
    CONFIG = 3
    RUN = 4
    MOVE = 5


class Target(IntEnum):
    """Where a LOAD puts its words."""

    WINDOW = 0
    """Banks in 3x3 order: bank = 3 * row phase + column phase; a word column's planes lie at consecutive addresses."""
    POINT = 1
    """One bank, consecutive addresses (1x1 and transposed convolution: bank = channel group of the tile)."""
    WEIGHTS = 2
    """Next words of the weight ring (address ignored); `every_other`: two weights of four bits in a byte."""
    PARAMETERS = 3
    """Parameter slot `address`: two words per output channel, all rows of the array, slot after slot."""
    PROGRAM = 4
    """Instruction memory from word `address` on (a page of 512 words, 0 or 512)."""


class Mode(IntEnum):
    """How a RUN reads its window."""

    SAME = 0
    """3x3, stride 1."""
    STRIDE2 = 1
    """3x3, stride 2."""
    NEAREST = 2
    """3x3, stride 1 on the source enlarged twice by nearest neighbour."""
    POINT = 3
    """1x1: tap t reads bank t, t = 0..7 (8 channel groups at once); tap 8 is zero."""


class Scatter(IntEnum):
    """Where a last-tile RUN writes in the row: everywhere, or only the even or odd pixels of a row twice as wide."""

    NONE = 0
    EVEN = 1
    ODD = 2


@dataclass(frozen=True)
class Format:
    """Named bit fields from bit 0 up; packing checks every value against its width."""

    name: str
    fields: Mapping[str, int]

    @cached_property
    def offsets(self) -> dict[str, int]:
        return dict(zip(self.fields, accumulate(self.fields.values(), initial=0), strict=False))

    def pack(self, **values: int) -> int:
        word = 0
        offsets = self.offsets
        if unknown := values.keys() - self.fields.keys():
            raise TypeError(f"{self.name} has no fields {sorted(unknown)}")
        for name, value in values.items():
            width = self.fields[name]
            if not 0 <= value < 1 << width:
                raise HwsegError(f"{self.name}.{name}", f"must fit {width} bits, is {value}", "use a smaller tile")
            word |= int(value) << offsets[name]
        return word

    def unpack(self, word: int) -> dict[str, int]:
        offsets = self.offsets
        return {name: word >> offsets[name] & (1 << width) - 1 for name, width in self.fields.items()}


NO_WRAP = (1 << 14) - 1
"""`wrap_at` of a region that is no ring."""

DESTINATION = {
    "address": 14,  # WINDOW: address of the first row's block; POINT: first address; PARAMETERS: slot
    "pitch": 14,  # WINDOW: addresses from one block of three rows to the next; POINT: from row to row
    "row_phase": 2,  # WINDOW: first row modulo 3
    "column_phase": 2,  # WINDOW: first word column modulo 3
    "column_address": 14,  # WINDOW: offset of the first word column in its row, (column // 3) * planes
    "planes": 4,  # planes per word column
    "bank": 4,  # POINT: bank 0..7
    "wrap_at": 14,  # a row that would start here
    "wrap_to": 14,  # starts here instead: rows go round in a ring
    "every_other": 1,  # WINDOW: rows go to every other row (a row phase of a transposed convolution); WEIGHTS: packed
}
"""Where LOAD and MOVE put words in the banks."""

LOAD = Format(
    "LOAD",
    {
        "opcode": 4,
        "target": 3,
        "layer": 8,
        "wait_runs": 16,
        "ddr": 32,  # byte address, a multiple of 8
        "run_words": 16,  # consecutive words of one run (a row)
        "runs": 12,  # number of runs, at least 1
        "ddr_stride": 24,  # bytes from one run's start to the next's
        **DESTINATION,
        "wait_stores": 16,  # STOREs that the memory must have acknowledged
        "cost": 20,  # cycles for which no other LOAD or STORE may start: the memory's share
    },
)

MOVE = Format(
    "MOVE",
    {
        "opcode": 4,
        "target": 3,  # WINDOW or POINT
        "layer": 8,
        "wait_runs": 16,
        "source": 14,  # first address in the loop memory
        "set": 3,
        "split": 1,  # even word columns come from the set half the sets further on
        "unused_ddr": 14,
        "run_words": 16,  # steps of a row.  WINDOW: two word columns a step; POINT: one word
        "runs": 12,
        "source_pitch": 14,  # addresses from one row to the next in the loop memory
        "unused_stride": 10,
        **DESTINATION,
        "unused_stores": 16,
        "cost": 20,  # cycles of the reader: run_words * runs + MOVE_TAIL
    },
)
MOVE_TAIL = 6
"""Cycles of a MOVE after its last step, until the words lie in the banks and the next LOAD's may come."""

STORE = Format(
    "STORE",
    {
        "opcode": 4,
        "pool": 1,  # source: 0 output memory, 1 pool memory
        "layer": 8,
        "wait_runs": 16,
        "ddr": 32,
        "run_words": 16,
        "runs": 12,
        "ddr_stride": 24,
        "set": 3,  # requantizer set, 0..rows/8-1
        "address": 14,  # first address in the source memory
        "pitch": 14,  # addresses from one run to the next in the source memory
        "planes": 4,  # output memory: words before the parity bank changes (raw: 1)
        "split": 1,  # as in MOVE; pool memory: the words of both sets, one half each
        "cost": 20,  # as in LOAD
    },
)

CONFIG = Format(
    "CONFIG",
    {
        "opcode": 4,
        "layer": 8,
        "planes": 4,  # B, digit planes of the input
        "signed_in": 1,  # plane 0 counts negative
        "mode": 2,
        "pitch": 14,  # addresses from one block of three rows (POINT: one row) to the next
        "out_planes": 4,  # planes written, 1..8
        "low": 9,  # clamp, two's complement
        "high": 9,
        "residual": 1,  # centre words that RUNs have put by are added to the requantized sums
        "double": 1,  # twice the requantized sums are added
        "halve": 1,  # half of that sum is meant, rounded to the nearest, ties to even
        "first_low": 9,  # clamp before the addition; without one the same as `low` and `high`
        "first_high": 9,
        "keep": 1,  # write the full-resolution map to the output memory
        "loop": 1,  # write the full-resolution map to the loop memory
        "pool": 1,  # write the 2x2 maximum to the pool memory
        "raw": 1,  # write 32-bit accumulators instead
        "dot": 1,  # write the scalar product of all output channels with their `PARAMETER.dot` instead, 32 bits
        "raw_rows": 4,  # raw: channels per set that are written, 1..8; dot: 1
        "out_pitch": 14,  # addresses from one output row to the next, in each parity bank
        "pool_pitch": 14,
        "interval": 6,  # cycles of a step of a RUN that is not last, at least max(planes, 4); with `residual` 8
        "last_interval": 6,  # of a last one: max(planes, 8), raw: max(planes, 8, raw_rows * max(1, pixels / 2))
        "drain": 1,  # first wait until every RUN is complete; else until those before the last CONFIG are
        "skip": 1,  # leading planes that are zero in a whole window may be left out; the register `skip` decides
        "split": 1,  # SAME: a step makes two word columns, the even one on the upper half of the rows
    },
)

RUN = Format(
    "RUN",
    {
        "opcode": 4,
        "layer": 8,
        "reload": 1,  # take the next weight tile
        "first": 1,  # partial sums start at zero
        "last": 1,  # sums go to the requantizers, else to the partial-sum memory
        "shift": 1,  # partial sums are multiplied by 256 before the addition
        "scatter": 2,
        "pair": 1,  # rows are visited in pairs (inner loop over 2 rows): pooling needs it
        "top": 1,  # first row is the image's first: the row above is zero
        "bottom": 1,  # below the last row is zero
        "left": 1,  # first column is the image's first: the word to the left is zero
        "right": 1,  # the third word of the last column's window is zero
        "odd_row": 1,  # NEAREST: first row is odd
        "odd_column": 1,  # NEAREST: first word column is odd (second half of its source word)
        "slice": 3,  # channels [slice * N, (slice + 1) * N) of the group
        "tail": 4,  # valid pixels in the last word of a row, 1..8
        "wait_loads": 16,
        "wait_stores": 16,
        "rows": 12,  # output rows (pair: pairs of rows)
        "columns": 10,  # output word columns
        "row_address": 14,  # block of the first centre row: base + (row // 3) * pitch (POINT: the row's address)
        "row_phase": 2,  # centre row modulo 3
        "column_address": 14,  # (column // 3) * planes (POINT: column * planes)
        "column_phase": 2,
        "psum": 10,  # first partial sum
        "out_address": 14,
        "loop_address": 14,
        "pool_address": 14,
        "slot": 8,  # parameter slot
        "wrap_at": 14,  # as in LOAD
        "wrap_to": 14,
        "jump": 1,  # reload: the tile that follows lies at `tile` of the weight ring, not behind this one
        "tile": 14,  # modulo twice the ring's words
        "residual": 1,  # put the windows' unsigned centre words by for the requantizers; steps of 8 cycles, no skipping
        "residual_set": 1,  # of this set
    },
)

FORMATS = {Opcode.LOAD: LOAD, Opcode.MOVE: MOVE, Opcode.STORE: STORE, Opcode.CONFIG: CONFIG, Opcode.RUN: RUN}

PARAMETER = Format("PARAMETER", {"offset": 56, "shift": 6, "reserved": 2, "multiplier": 30, "dot": 8})
"""One output channel's requantizer: y = clamp(round_half_even((acc * multiplier + offset) / 2**shift)); `dot`: its
weight in a 1x1 head that is computed from y.
"""

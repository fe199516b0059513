"""Bundles of wires that several parts of the engine share, each named once.

A *beat* is what the compute unit sends into the array's front every cycle; a *token* follows the last plane of a step
and carries everything that the partial-sum store and the output path need to know about it.
"""

from __future__ import annotations

from amaranth.lib import data

from hwseg.rtl.isa import CONFIG, LOAD, MOVE, RUN, STORE, Format


def layout(instruction: Format) -> data.StructLayout:
    """The instruction's fields as wires, in the order of `hwseg.rtl.isa`."""
    return data.StructLayout(dict(instruction.fields))


LOAD_LAYOUT = layout(LOAD)
MOVE_LAYOUT = layout(MOVE)
STORE_LAYOUT = layout(STORE)
CONFIG_LAYOUT = layout(CONFIG)
RUN_LAYOUT = layout(RUN)

BACK_FIELDS = (
    "layer",
    "out_planes",
    "low",
    "high",
    "residual",
    "double",
    "halve",
    "first_low",
    "first_high",
    "keep",
    "loop",
    "pool",
    "raw",
    "dot",
    "raw_rows",
    "split",
)
BACK_LAYOUT = data.StructLayout({name: CONFIG.fields[name] for name in BACK_FIELDS})
"""What requantizers and output sets need of a CONFIG.  There are two, so that a new one need not wait for old RUNs."""

PLANE = data.StructLayout({"valid": 1, "first": 1, "last": 1, "negate": 1})
"""Control that travels with one digit plane."""

WINDOW = data.StructLayout(
    {
        "point": 1,
        "stride2": 1,
        "nearest": 1,
        "row_phase": 2,
        "column_phase": 2,
        "odd_row": 1,
        "odd_column": 1,
        "no_top": 1,
        "no_bottom": 1,
        "no_left": 1,
        "no_right": 1,
        "slice": 3,
        "substep": 3,
        "plane": 3,
        "second": 1,
        "split": 1,  # the upper rows take the left word, whose left neighbour is the step before's last pixel
        "edge": 1,  # there is no step before in this row
        "residual": 1,  # the centre word is wanted behind the requantizers
        "residual_set": 1,
    }
)
"""How the nine words of a window become lanes."""

BEAT = data.StructLayout({"plane": PLANE, "window": WINDOW, "reload": 1})

TOKEN = data.StructLayout(
    {
        "valid": 1,
        "half": 1,  # which of the two back-end configurations
        "psum": 10,
        "first": 1,
        "last": 1,
        "shift": 1,
        "slot": 8,
        "substep": 3,
        "second": 1,  # second row of a pair
        "odd": 1,  # odd word column, counted from the RUN's first
        "end_of_row": 1,
        "tail": 4,
        "scatter": 2,
        "out": 15,  # address in a parity bank; raw: index of the step's first word
        "loop": 14,
        "pool": 14,
    }
)

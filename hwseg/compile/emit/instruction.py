"""An instruction before it is packed: its values, in the order of its format (`hwseg.rtl.isa`).

They stand in a list because there are very many, and `schedule` packs all of one format at a time, field by field.
"""

from __future__ import annotations

from hwseg.rtl.isa import FORMATS, NO_WRAP, Opcode, Target

BLANK = {opcode: dict.fromkeys(form.fields, 0) | {"opcode": opcode} for opcode, form in FORMATS.items()}


def instruction(opcode: Opcode, **fields: int) -> list[int]:
    """Values by name; a field that is not named is 0.  TypeError for a name that the format lacks."""
    blank = BLANK[opcode]
    values = blank | fields
    if len(values) != len(blank):
        raise TypeError(f"{opcode.name} has no fields {sorted(fields.keys() - blank.keys())}")
    return list(values.values())


def place(opcode: Opcode, field: str) -> int:
    """A field's position among an instruction's values."""
    return list(BLANK[opcode]).index(field)


def load_fields(
    target: Target, layer: int, ddr: int, words: int, runs: int = 1, stride: int = 0, **fields: int
) -> list[int]:
    """A LOAD, around no ring unless `fields` say so; what it waits for and costs is filled in by the schedule."""
    where = {"wrap_at": NO_WRAP, "wrap_to": NO_WRAP} | fields
    return instruction(
        Opcode.LOAD, target=target, layer=layer, ddr=ddr, run_words=words, runs=runs, ddr_stride=stride, **where
    )

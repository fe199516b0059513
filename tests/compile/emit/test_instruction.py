"""Instructions are made of named fields: each lands where `hwseg.rtl.isa` says, and no other name is taken."""

from __future__ import annotations

import numpy as np
import pytest

from hwseg.compile.emit.instruction import instruction, load_fields, place
from hwseg.compile.emit.schedule import pack
from hwseg.errors import HwsegError
from hwseg.rtl.isa import FORMATS, LOAD, NO_WRAP, Opcode, Target

WORDS = 4


def number(program: bytes) -> int:
    """An instruction as one number of 256 bits."""
    assert len(program) == 8 * WORDS
    return int.from_bytes(program, "little")


@pytest.mark.parametrize("opcode", list(FORMATS))
def test_every_field_alone_lies_where_the_format_says(opcode: Opcode) -> None:
    """All ones in one field, in every format: MOVE has other fields than LOAD in the same place."""
    form = FORMATS[opcode]
    for name, width in form.fields.items():
        if name != "opcode":
            ones = {name: (1 << width) - 1}
            assert number(pack([instruction(opcode, **ones)])) == form.pack(opcode=opcode, **ones)


@pytest.mark.parametrize("opcode", list(FORMATS))
def test_all_fields_together(opcode: Opcode) -> None:
    rng, form = np.random.default_rng(opcode), FORMATS[opcode]
    for _ in range(50):
        values = {name: int(rng.integers(1 << width)) for name, width in form.fields.items()} | {"opcode": opcode}
        fields = {name: values[name] for name in rng.permutation(list(values)) if name != "opcode"}
        made = instruction(opcode, **fields)
        assert made == list(values.values())
        assert [made[place(opcode, name)] for name in values] == list(values.values())
        assert form.unpack(number(pack([made]))) == values


@pytest.mark.parametrize("opcode", list(FORMATS))
def test_a_name_that_the_format_lacks_is_refused(opcode: Opcode) -> None:
    with pytest.raises(TypeError, match=rf"{opcode.name} has no fields \['address_of_all'\]"):
        instruction(opcode, layer=1, address_of_all=2)


def test_a_value_that_does_not_fit_its_field_is_refused() -> None:
    """A loop memory's address would run into the set."""
    with pytest.raises(HwsegError, match=r"MOVE\.source: must fit 14 bits, is 16384"):
        pack([instruction(Opcode.MOVE, source=1 << 14)])


def test_a_load_goes_round_in_no_ring_unless_told() -> None:
    made = LOAD.unpack(number(pack([load_fields(Target.POINT, 3, 64, 5, address=7)])))
    assert {name: value for name, value in made.items() if value} == {
        "opcode": Opcode.LOAD,
        "target": Target.POINT,
        "layer": 3,
        "ddr": 64,
        "run_words": 5,
        "runs": 1,
        "address": 7,
        "wrap_at": NO_WRAP,
        "wrap_to": NO_WRAP,
    }
    assert load_fields(Target.POINT, 0, 0, 1, wrap_at=9)[place(Opcode.LOAD, "wrap_at")] == 9

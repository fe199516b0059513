"""Concatenations of signed and unsigned maps, which eight planes hold only apart: whatever reads or stores them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.compile.plan.chain import plans_of
from hwseg.machine.execute import checked
from hwseg.rtl.config import parse_array
from tests.compile.proof import compiled, differences, image_of


def mixed(b: GraphBuilder) -> str:
    """Three signed maps among unsigned ones, the picture among them."""
    maps = [
        b.conv("image", n, bits=bits, signed=signed) for n, bits, signed in ((3, 8, True), (11, 8, False), (2, 4, True))
    ]
    return b.concat(*maps, "image", maps[0], b.conv("image", 5, signed=True))


def sixteenths(b: GraphBuilder, x: str) -> str:
    return b.requantize(b.sixteenths(x), Fraction(1, 32), -128, 127)


READERS: dict[str, Callable[[GraphBuilder, str], str]] = {
    "3x3": lambda b, x: b.conv(x, 9),
    "1x1": lambda b, x: b.conv(x, 9, 1),
    "requantizer": lambda b, x: b.requantize(x, Fraction(3, 7), -128, 127),
    "maximum, twice, and the map kept": lambda b, x: b.conv(b.concat(b.up(b.pool(x)), b.up(b.pool(x)), x), 4),
    "maximum of the maximum": lambda b, x: b.conv(b.pool(b.pool(x)), 4),
    "maximum of the enlarged map": lambda b, x: b.conv(b.pool(b.up(x)), 4),
    "enlarged twice": lambda b, x: b.conv(b.up(b.up(b.pool(x))), 3),
    "enlarged and transposed": lambda b, x: b.conv(b.up(x), 3, 2),
    "enlarged, stride 2, twice": lambda b, x: b.concat(b.conv(b.up(x), 3, 3, 2), b.conv(b.up(x), 4, 3, 2)),
    "bilinear": lambda b, x: b.conv(sixteenths(b, x), 3),
    "bilinear of the maximum": lambda b, x: b.conv(sixteenths(b, b.pool(x)), 3),
    "addition": lambda b, x: b.add(x, x, Fraction(1, 4), Fraction(1, 4), -128, 127),
    "head": lambda b, x: x,
    "enlarged head": lambda b, x: b.up(x),
    "head of maxima": lambda b, x: b.pool(x),
}


@pytest.mark.parametrize("name", READERS)
def test_signed_and_unsigned_maps_side_by_side(name: str) -> None:
    for array, width in (("8x4x4", 20), ("16x8x8", 16)):
        b = GraphBuilder(4, width, 3, seed=width)
        program = compiled(b.graph(READERS[name](b, mixed(b))), parse_array(array))
        assert differences(program, "random") == {}
        assert all(plan.out_planes <= 8 for plan in plans_of(program.chains))
        assert all(layout.planes <= 8 for layout in program.memory.layouts.values())


def test_what_only_the_engine_has_is_not_missed_by_the_check_of_every_map() -> None:
    b = GraphBuilder(4, 20, 3)
    program = compiled(b.graph(READERS["bilinear of the maximum"](b, mixed(b))), parse_array("8x4x4"))
    assert checked(program, image_of(program.graph)).shape == (4, 20)

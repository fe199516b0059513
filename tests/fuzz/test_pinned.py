"""Graphs that were once computed wrongly, or refused without a reason: right in every way, on several arrays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fuzz.checks import Loaded, check_golden, loaded
from tests.fuzz.engine import POLICIES, Way, check_dial, check_machine, compiled
from tests.fuzz.grants import check_grants
from tests.fuzz.steps import (
    Affine,
    ArgMax,
    Average,
    Bend,
    Bias,
    Clipped,
    Conv,
    Enlarge,
    Formed,
    Gate,
    Interpolate,
    Join,
    Leaky,
    Picture,
    Pool,
    Quantize,
    Recipe,
    Relu,
    Shuffle,
    Sum,
    Transposed,
    Weights,
    Zeros,
    build,
)
from tests.fuzz.under_test import Program, parse_array
from tests.fuzz.waiting import WAITING

ARRAYS = ("sim", "8x2x2", "16x4x4-dsp")
TWO_BY_TWO = Picture(rows=2, columns=2)

VIEWS_STORED_TWICE = {
    "two strided convolutions of one enlarged map": Recipe(
        TWO_BY_TWO,
        (
            Enlarge((0,)), Conv((1,), kernel=3, stride=2), Conv((1,), kernel=3, stride=2, outs=2), Quantize((2,)),
            Quantize((3,)), Join((4, 5)), Conv((6,)),
        ),
    ),
    "two quantizers behind one transposed convolution of an enlarged map": Recipe(
        TWO_BY_TWO,
        (
            Enlarge((0,)), Transposed((1,)), Quantize((2,)), Quantize((2,), scale=2.0), Join((3, 4)), Quantize((5,)),
            Conv((6,)),
        ),
    ),
    "two quantizers behind one bilinear enlarging of a concatenation": Recipe(
        Picture(),
        (
            Join((0, 0)), Interpolate((1,)), Quantize((2,)), Join((2, 3, 3)), Quantize((4,), bits=7), Conv((5,)),
        ),
    ),
    "two transposed convolutions of one enlarged map": Recipe(
        TWO_BY_TWO,
        (
            Enlarge((0,)), Transposed((1,)), Transposed((1,), outs=2), Quantize((2,)), Quantize((3,)), Join((4, 5)),
            Conv((6,)),
        ),
    ),
}  # fmt: skip
"""A reader that needs a view stored made the layer again, from what the first one had stored: from itself."""

SUMS_AT_THE_END = {
    "a transposed convolution": Recipe(Picture(), (Transposed((0,)),)),
    "of many channels and odd sizes": Recipe(
        Picture(rows=3, columns=11, channels=3), (Transposed((0,), outs=11, bias=Bias("float", (1.5, -2.0, 0.0))),)
    ),
    "behind an enlarged map": Recipe(TWO_BY_TWO, (Enlarge((0,)), Transposed((1,), outs=3))),
}
"""Raw sums of a transposed convolution were taken for channels of the map that it reads."""

SUMS_OF_FEW_BITS = {
    "a convolution of a map of one bit": Recipe(Picture(bits=1), (Conv((0,)), Conv((1,)))),
    "weights that are all zero, then an enlarging": Recipe(
        Picture(rows=2, columns=2, bits=1), (Conv((0,), weights=Weights(fill="zeros")), Enlarge((1,)), Conv((2,)))
    ),
    "pooled, concatenated and enlarged": Recipe(
        Picture(rows=4, columns=4, bits=1), (Conv((0,)), Pool((1,)), Enlarge((2,)), Join((1, 3)), Conv((4,), kernel=3))
    ),
    "a transposed convolution's": Recipe(Picture(bits=1), (Transposed((0,)), Conv((1,), kernel=3))),
}
"""Sums of at most 8 bits are activations for loader and golden model; the compiler refused them."""

FACTORS = {
    f"{name}, factor 2**{exponent}": Recipe(
        Picture(rows=2, columns=9, channels=2),
        (
            Conv((0,), kernel=3, outs=3, weights=Weights(fill="random", seed=1)),
            Affine((1,), values=(between * 2.0**-8, -3 * 2.0**-8, 0.0)),
            Quantize((2,), scale=2.0 ** (-8 - exponent), signed=signed),
            Conv((3,), kernel=1),
        ),
    )
    for exponent in (8, 29, 31, 40, 90)
    for name, between, signed in (("steps at sums", 77.0, False), ("steps between sums", -1000.5, True))
}
"""Factors that no multiplier of 29 bits holds: nearly every sum gives the smallest or the largest value."""

ONE_VALUE = {
    "a quantizer whose range is 0": Recipe(
        TWO_BY_TWO, (Conv((0,)), Quantize((1,), bits=1, narrow=True), Enlarge((2,)), Conv((3,), kernel=3))
    ),
    "a picture of it": Recipe(Picture(bits=1, narrow=True), (Conv((0,)), Quantize((1,)), Conv((2,)))),
}
"""Requantizers to one value were refused, without a place."""

AS_PUBLIC_TOOLS_EXPORT = {
    "two 3x3 transposed convolutions of one enlarged map, in a QDQ file": Recipe(
        TWO_BY_TWO,
        (
            Enlarge((0,)), Transposed((1,), kernel=3, padding=1, more=1, weights=Weights(fill="random")),
            Transposed((1,), outs=2, kernel=3, padding=1, more=1), Quantize((2,), signed=True, style=1),
            Quantize((3,), bits=5, style=5), Join((4, 4)), Conv((6,)), Join((5, 5)), Conv((8,), kernel=3),
        ),
        qdq=True,
    ),
    "a 4x4 transposed convolution at the end": Recipe(
        Picture(rows=3, columns=11, channels=3),
        (Transposed((0,), outs=11, kernel=4, padding=1, weights=Weights(fill="random")),),
    ),
    "averages of maps joined with an enlarged one": Recipe(
        Picture(rows=4, columns=12),
        (
            Average((0,)), Quantize((1,), scale=2.0**-9), Enlarge((2,)), Average((3,)), Quantize((4,), scale=2.0**-9),
            Join((2, 5)), Conv((6,), kernel=3, weights=Weights(fill="random")),
        ),
    ),
}  # fmt: skip
"""What was refused: averages, kernels beyond 2x2, and quantizers in two or three nodes."""

SUMS = Conv((0,), outs=3, weights=Weights(fill="random"))
MAP = Picture(rows=4, columns=8, channels=3)
SMALL = replace(MAP, rows=2)

RANGES_WITHOUT_ZERO = {
    "above 0": Recipe(
        MAP, (SUMS, Clipped((1,), 0.6, 3.0), Quantize((2,), 2.0**-4), Pool((3,), kernel=3), Join((4, 4)),
              Conv((5,), kernel=3)),
    ),
    "above 0, of few bits": Recipe(
        Picture(), (Conv((0,)), Clipped((1,), 2.0, 2.2), Quantize((2,), 2.0**-6), Conv((3,), kernel=3))
    ),
    "below 0, enlarged and pooled": Recipe(
        MAP, (SUMS, Clipped((1,), -3.0, -0.6), Quantize((2,), 2.0**-4, signed=True), Interpolate((3,)),
              Quantize((4,), signed=True), Pool((5,), kernel=3), Conv((6,), kernel=3)),
    ),
    "below 0 behind a ReLU": Recipe(
        MAP, (SUMS, Relu((1,)), Clipped((2,), -3.0, -0.5), Quantize((3,), 2.0**-4, signed=True), Conv((4,), kernel=3)),
    ),
    **{
        f"{side} 0 behind slopes of {slopes}": Recipe(
            MAP, (SUMS, Leaky((1,), slopes, False), Clipped((2,), *ends), Quantize((3,), 2.0**-4, signed=True),
                  Conv((4,), kernel=3)),
        )
        for side, ends in (("above", (0.5, 3.0)), ("below", (-3.0, -0.5)))
        for slopes in ((0.5,), (-0.5,), (0.5, -0.25, 0.0))
    },
    "below 0 behind a sum with a slope": Recipe(
        MAP, (SUMS, Quantize((1,), 0.5, signed=True), Sum((2, 2)), Leaky((3,), (-0.5,)), Clipped((4,), -30.0, -0.5),
              Quantize((5,), 0.5, signed=True), Conv((6,), kernel=3)),
    ),
    "a function, a gate": Recipe(
        MAP, (SUMS, Quantize((1,), 2.0**-3, signed=True), Bend((2,), "Tanh"), Clipped((3,), 0.25, 0.5),
              Quantize((4,), 2.0**-6), Gate((5, 5)), Quantize((6,), 2.0**-9), Conv((7,), kernel=3)),
    ),
    "sixteen phases": Recipe(
        MAP, (SUMS, Quantize((1,), 0.5), Formed((2,), 2, Weights(fill="random"), form=1), Clipped((3,), -44.0, -40.0),
              Quantize((4,), 0.5, signed=True), Conv((5,), kernel=3)),
    ),
    "9 bits, far below 0": Recipe(
        MAP, (SUMS, Clipped((1,), -250.0, -200.0), Quantize((2,), style=13), Conv((3,), kernel=3)), qdq=True
    ),
    "9 bits, above 0": Recipe(
        MAP, (SUMS, Clipped((1,), 40.0, 240.0), Quantize((2,), style=6), Conv((3,), kernel=3)), qdq=True
    ),
}  # fmt: skip
"""A Clip to numbers on one side of 0: what lies beyond the edge is not among them."""

ZEROS_AROUND = {
    "before a quantizer and strides": Recipe(
        MAP, (SUMS, Affine((1,), values=(3.0,)), Zeros((2,), (1, 0, 0, 1)), Quantize((3,)),
              Conv((4,), 2, kernel=3, stride=2)),
    ),
    "of a function, before a far tap": Recipe(
        MAP, (SUMS, Quantize((1,), 2.0**-2, signed=True), Bend((2,)), Zeros((3,), (4, 3, 4, 4), 3),
              Quantize((4,), 2.0**-7), Formed((5,), 2, Weights(fill="random"), form=1), Quantize((6,))),
        opset=21,
    ),
}  # fmt: skip
"""A Pad, and what it becomes."""

FIVE_BITS = Quantize((1,), bits=5, signed=True)
TANH = (Bend((3,), "Tanh"), Quantize((4,), 2.0**-5, 6, signed=True), Conv((5,), kernel=3))

OF_SUMS = {
    f"a function of sums of {what}": Recipe(SMALL, (SUMS, FIVE_BITS, step, *TANH))
    for what, step in {
        "an average": Average((2,)),
        "an enlarging": Interpolate((2,)),
        "a product": Gate((2, 2)),
        "a transposed convolution": Transposed((2,), 3, Weights(fill="random"), kernel=4, padding=1, groups=3),
    }.items()
} | {
    f"sums of {what} at the end": Recipe(
        MAP, (SUMS, Quantize((1,), signed=True), step, Affine((3,), values=(0.5, -3.0)))
    )
    for what, step in {
        "an enlarging": Interpolate((2,)),
        "a product": Gate((2, 2)),
        "sixteen phases": Formed((2,), 3, Weights(fill="random"), form=5),
    }.items()
}
"""Only a convolution's, of four phases at most, could end a network or be bent without a quantizer."""

BRANCHES = {
    "slopes, enlarged at the end": Recipe(
        Picture(2, 2, 3), (Shuffle((0,)), Leaky((1,), (-0.0625,)), Quantize((2,)), Interpolate((3,)))
    ),
}
"""A layer of an enlarging reads the first channels of a map only, and so of its branches."""

RECIPES = {
    **BRANCHES,
    **OF_SUMS,
    **RANGES_WITHOUT_ZERO,
    **ZEROS_AROUND,
    **AS_PUBLIC_TOOLS_EXPORT,
    **FACTORS,
    **ONE_VALUE,
    **VIEWS_STORED_TWICE,
    **SUMS_AT_THE_END,
    **SUMS_OF_FEW_BITS,
}

OUTPUTS = {
    "classes without their axis, cast, and with it again": Recipe(
        MAP, (SUMS, ArgMax((1,), keep=False, cast=1, turned=True))
    ),
    "classes without their axis": Recipe(MAP, (SUMS, ArgMax((1,), keep=False))),
    "classes whose axis goes": Recipe(MAP, (SUMS, ArgMax((1,), cast=2, turned=True))),
    "one of four, of which a branch is unknown": Recipe(
        MAP, (SUMS, Quantize((1,)), Conv((2,), 2), ArgMax((3,))), others=(1, 2, 4, 0)
    ),
    "beside constants": Recipe(MAP, (SUMS,), others=(-1, -1)),
}
"""What networks give."""

DIALS = {
    "a Clip between whose numbers none is left": (RANGES_WITHOUT_ZERO["above 0, of few bits"], 3),
    "an enlarging of bilinear sums of few bits": (
        Recipe(
            TWO_BY_TWO,
            (
                Quantize((0,), scale=2.0**-4, bits=3), Interpolate((1,)), Enlarge((2,)),
                Quantize((3,), scale=2.0**-4, bits=4), Conv((4,)),
            ),
        ),
        2,
    ),
    "an enlarging of a convolution's sums of few bits": (
        Recipe(Picture(), (Quantize((0,), scale=2.0**-12), Conv((1,)), Enlarge((2,)))), 1,
    ),
    "a pooling and a concatenation of them": (
        Recipe(
            TWO_BY_TWO,
            (Quantize((0,), bits=2, scale=2.0**-2), Conv((1,)), Pool((2,)), Enlarge((3,)), Join((2, 4)), Conv((5,))),
        ),
        1,
    ),
    "a product of products that loses more planes than a word has": (
        Recipe(Picture(), (Quantize((0,)), Conv((1,), weights=Weights(fill="zeros")), Gate((2, 2)), Gate((2, 3)))), 2,
    ),
}  # fmt: skip
"""What moved sums of few bits was believed to be in units of 1, and a product of many as if it wanted all planes."""


def given(recipe: Recipe, seed: int) -> Loaded:
    found = loaded(build(recipe), seed)
    assert isinstance(found, Loaded), found
    return found


def runs(recipe: Recipe, array: str, planes: int = 8, seed: int = 0) -> None:
    """Golden model, dial and machine, under every interleaving."""
    graph = given(recipe, seed)
    assert check_golden(graph) is None
    assert check_dial(graph, planes) is None
    way = Way(parse_array(array), planes, seed=seed)
    program = compiled(graph.graph, way)
    assert isinstance(program, Program), program
    for policy in POLICIES:
        assert check_machine(program, graph.picture, replace(way, policy=policy)) is None


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("array", ARRAYS)
def test_machine_and_golden_model(name: str, array: str) -> None:
    for seed in range(3):
        runs(RECIPES[name], array, seed=seed)


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs(name: str) -> None:
    runs(OUTPUTS[name], ARRAYS[0])


@pytest.mark.parametrize("name", DIALS)
@pytest.mark.parametrize("array", ARRAYS)
def test_dial(name: str, array: str) -> None:
    recipe, planes = DIALS[name]
    for fewer in {planes, 1, 2, 3}:
        runs(recipe, array, fewer)


def test_what_is_dispatched_behind_a_waiting_run_is_known_when_the_memory_is_given_away() -> None:
    """A STORE behind a full queue of RUNs was known only when they had what they waited for: 3 of 81,820 cycles."""
    program = compiled(given(WAITING, 0).graph, Way(parse_array("16x4x4-dsp"), board=3))
    assert isinstance(program, Program), program
    assert check_grants(program) is None

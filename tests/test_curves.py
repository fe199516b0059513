"""Curves: enclosures against other ways of computing them, and where a rounded one changes."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from hwseg.curves import FUNCTIONS, Curve, Staircase, X, approximate, enclosed, number
from tests.fuzz import bent

REFEREES = {
    "sigmoid": bent.sigmoid,
    "tanh": bent.tanh,
    "expm1": bent.expm1,
    "erf": bent.erf,
    "normal": lambda x: bent.times(bent.plus(bent.erf(bent.over_root_2(x)), Fraction(1)), Fraction(1, 2)),
    "softplus": bent.softplus,
}
ABOVE = Curve("slope", (X * number(Fraction(1, 777)),), (Fraction(0),))
EIGHTH = X * number(Fraction(1, 8))


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("unit", [Fraction(1, 8), Fraction(-7, 3), Fraction(1, 10**9), Fraction(10**4)])
def test_enclosures_hold_the_number_and_are_narrow(kind: str, unit: Fraction) -> None:
    """By other formulas, to more digits."""
    for x in (-90, -17, -5, -1, 0, 1, 3, 40, 77):
        low, high = enclosed(Curve(kind, (X * number(unit),)), x)
        assert high - low <= Fraction(1, 1 << 150)
        argument = x * unit
        if kind == "expm1" and argument > 0:
            continue
        wanted = REFEREES[kind](argument) if abs(argument) < 3000 else None
        if wanted is not None:
            exact = Fraction(wanted)
            assert low - Fraction(1, 1 << 250) <= exact <= high + Fraction(1, 1 << 250), x
        assert (low == high) == (x == 0 and kind != "softplus")


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_guesses_are_near(kind: str) -> None:
    x = np.arange(-200, 0 if kind == "expm1" else 200)
    found = approximate(Curve(kind, (EIGHTH,)), x)
    wanted = [float(enclosed(Curve(kind, (EIGHTH,)), int(n))[0]) for n in x]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_enclosures_of_what_was_made_of_enclosures() -> None:
    """Sums, products, slopes and clips of intervals on both sides of 0."""
    sigmoid = Curve("sigmoid", (EIGHTH,))
    middle = sigmoid + number(Fraction(-1, 2))
    for x in (-30, -1, 0, 2, 50):
        s = enclosed(sigmoid, x)[0]
        for curve, wanted in (
            (middle * middle, (s - Fraction(1, 2)) ** 2),
            (
                Curve("slope", (middle,), (Fraction(-3, 2),)),
                max(s - Fraction(1, 2), -Fraction(3, 2) * (s - Fraction(1, 2))),
            ),
            (
                Curve("clip", (middle,), (Fraction(-1, 4), Fraction(1, 4))),
                min(max(s - Fraction(1, 2), -Fraction(1, 4)), Fraction(1, 4)),
            ),
        ):
            low, high = enclosed(curve, x)
            assert low - Fraction(1, 1 << 140) <= wanted <= high + Fraction(1, 1 << 140)
            assert high - low < Fraction(1, 1 << 140)


def test_what_is_rational_is_exact() -> None:
    """An ELU is the number itself above 0: 43.5 steps are a tie."""
    elu = ABOVE + Curve("expm1", (Curve("below", (X * number(Fraction(1, 777)),)),))
    assert enclosed(elu, 777 * 3) == (3, 3)
    assert Staircase(elu, Fraction(2), -8, 255)(87 * 777) == 44


def test_ties_go_to_the_even_integer_and_only_they_are_ties() -> None:
    """A sigmoid of 0 is a half: 127.5 of 255 steps, 126.5 of 253."""
    for steps, wanted in ((255, 128), (253, 126)):
        assert Staircase(Curve("sigmoid", (EIGHTH,)), Fraction(1, steps), 0, 255)(0) == wanted


def test_what_is_too_near_to_a_tie_is_an_error() -> None:
    """e.g. sigmoid(x) + sigmoid(-x), which is 1 exactly, though no enclosure can know it."""
    both = Curve("sigmoid", (EIGHTH,)) + Curve("sigmoid", (X * number(Fraction(-1, 8)),))
    with pytest.raises(ArithmeticError, match="too near to a tie"):
        Staircase(both, Fraction(2), 0, 255)(3)


@pytest.mark.parametrize(
    "curve",
    [
        Curve("sigmoid", (X * number(Fraction(1, 5000), Fraction(-1, 700)) + number(Fraction(1, 3)),)),
        Curve("tanh", (X * number(Fraction(1, 40_000)),)),
        Curve("clip", (X * number(Fraction(1, 9000)),), (Fraction(-1), Fraction(2, 3))),
        ABOVE + Curve("expm1", (Curve("below", (X * number(Fraction(1, 777)),)),)),
        number(Fraction(5, 7)),
    ],
)
def test_changes_of_a_monotone_function_are_all_of_them(curve: Curve) -> None:
    """Of many integers, against every single one near a change, and some between."""
    rng = np.random.default_rng(1)
    for channel in range(curve.channels):
        step = Staircase(curve, Fraction(1, 60), -40, 60)
        first, changes = step.changes(-100_000, 100_000, channel)
        assert first == step(-100_000, channel)
        places = np.array([x for x, _ in changes])
        results = [first, *(y for _, y in changes)]
        for x in {*places.tolist(), *(places - 1).tolist(), *rng.integers(-100_000, 100_001, 60).tolist()}:
            assert results[int(np.searchsorted(places, x, side="right"))] == step(x, channel)
        assert all(a != b for a, b in pairwise(results))


def test_directions() -> None:
    sigmoid, down = Curve("sigmoid", (X,)), X * number(-1)
    assert [c.direction(0) for c in (X, down, sigmoid, number(3), sigmoid + X, sigmoid * number(0))] == [
        1,
        -1,
        1,
        0,
        1,
        0,
    ]
    assert (X + Curve("sigmoid", (down,))).direction(0) is None
    assert (X * sigmoid).direction(0) is None
    assert Curve("slope", (X,), (Fraction(1), Fraction(-1))).direction(0) == 1
    assert Curve("slope", (X,), (Fraction(1), Fraction(-1))).direction(1) is None
    assert Curve("tanh", (X * number(2, -1),)).direction(1) == -1

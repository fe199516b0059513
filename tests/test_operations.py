"""Every operation is found by name: its meaning, its golden result, how files say it, how the engine does it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from hwseg import golden
from hwseg.compile.lower.lowering import LOWERINGS
from hwseg.curves import Curve, X
from hwseg.ir import Node
from hwseg.ops import (
    ROUNDING,
    SUMS,
    WEIGHTED,
    Add,
    AveragePool2d,
    Bilinear2d,
    Concat,
    Function,
    Interval,
    MaxPool2d,
    Op,
    PRelu,
    Product,
    Requantize,
    Upsample2d,
)
from hwseg.quant.read.load import RULES

ROOT = Path(__file__).parents[1]
OPERATIONS = get_args(Op)


def stem(function: Callable[..., object]) -> str:
    return function.__module__.rsplit(".", 1)[1]


def test_every_table_has_every_operation() -> None:
    assert set(golden.RULES) == set(LOWERINGS) == set(OPERATIONS)
    assert set(WEIGHTED) | set(SUMS) | set(ROUNDING) < set(OPERATIONS)


@pytest.mark.parametrize("op", OPERATIONS, ids=lambda op: op.__name__)
def test_an_operation_has_one_stem_in_three_packages(op: type[Op]) -> None:
    assert stem(golden.RULES[op]) == stem(LOWERINGS[op])
    assert stem(LOWERINGS[op]) in {stem(rule) for rule in RULES.values()}


def test_what_an_operation_needs_is_where_the_page_says() -> None:
    text = (ROOT / "docs" / "adding_an_operation.md").read_text()
    stems = {stem(function) for function in (*LOWERINGS.values(), *golden.RULES.values())}
    for name in [f"{op.__name__}`" for op in OPERATIONS] + [f"`{found}`" for found in stems]:
        assert name in text, name


THIRDS = Fraction(2, 3), Fraction(-1, 3)
PLAIN = [
    (MaxPool2d(), 1),
    (MaxPool2d(3), 1),
    (AveragePool2d(), 1),
    (Upsample2d(), 1),
    (Bilinear2d(), 1),
    (Concat(), 3),
    (Requantize(THIRDS[:1], (Fraction(1, 2),), -2, 2), 1),
    (PRelu(THIRDS[:1], (Fraction(1, 2),), (THIRDS[0],), -2, 2), 1),
    (PRelu(THIRDS[:1], (Fraction(1, 2),), (THIRDS[1],), 0, 2), 1),
    (Function(Curve("tanh", (X,)), Fraction(1, 3), -3, 3), 1),
    (Add(THIRDS, Fraction(1), -1, 1), 2),
    (Product(), 2),
]


def test_intervals_are_those_of_every_operation_without_weights() -> None:
    assert {type(op) for op, _ in PLAIN} == set(OPERATIONS) - set(WEIGHTED)


@pytest.mark.parametrize(("op", "inputs"), PLAIN, ids=lambda x: type(x).__name__)
def test_intervals_hold_and_are_reached(op: Op, inputs: int) -> None:
    """Of constant maps with each end of the inputs' intervals, and of random ones."""
    rng = np.random.default_rng(5)
    intervals: list[Interval] = [(-7, 5), (-3, 9), (0, 15)][:inputs]
    low, high = op.interval(*intervals)  # type: ignore[union-attr]
    node = Node("op", op, tuple("abc"[:inputs]), "y")
    maps = [[np.full((2, 4, 6), end, np.int32) for end in ends] for ends in product(*intervals)]
    maps += [[rng.integers(a, b + 1, (2, 4, 6)).astype(np.int32) for a, b in intervals] for _ in range(20)]
    found = [golden.execute(node, given, np.int32) for given in maps]
    assert (min(int(y.min()) for y in found), max(int(y.max()) for y in found)) == (low, high)

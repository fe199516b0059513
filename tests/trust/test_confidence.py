"""From the head's integers to bytes: the table against exact rationals, the margin of several classes, doubt."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwseg.trust.confidence import DOUBT, ENTRIES, STEPS, SURE, fit_table

FRACTIONS = st.fractions(min_value=-50, max_value=50, max_denominator=1 << 20)
TEMPERATURES = st.fractions(min_value=Fraction(1, 20), max_value=20, max_denominator=10_000)


def exact(logit: Fraction, temperature: Fraction) -> int:
    """The byte by its definition."""
    return min(SURE, math.floor(STEPS * abs(logit) / temperature + Fraction(1, 2)))


@settings(max_examples=200, deadline=None)
@given(
    st.fractions(min_value=-2, max_value=2, max_denominator=1 << 24),
    FRACTIONS,
    TEMPERATURES,
    st.lists(st.integers(-(1 << 31), (1 << 31) - 1), min_size=1, max_size=30),
)
def test_the_byte_of_one_class_is_that_of_the_middle_of_its_span(
    scale: Fraction, offset: Fraction, temperature: Fraction, integers: list[int]
) -> None:
    table = fit_table((temperature,), (scale,), (offset,))
    assert len(table.table) <= ENTRIES
    near = round(-offset / scale) if scale else 0
    values = [*integers, *(min(max(near + step, -(1 << 31)), (1 << 31) - 1) for step in (-40, -1, 0, 1, 7, 1000))]
    found = table.map(np.array(values, np.int32).reshape(1, -1, 1), np.zeros((1, len(values)), np.uint8))[0]
    for q, byte in zip(values, found.tolist(), strict=True):
        own = exact(scale * q + offset, temperature)
        middle = Fraction(2 * (q >> table.shift << table.shift) + (1 << table.shift) - 1, 2)
        assert byte in (exact(scale * middle + offset, temperature), own if own == SURE else -1)
        # A span is at most a 4096th of what lies between sure and sure, so a byte is at most one off.
        assert abs(byte - own) <= 1 + math.ceil(STEPS * abs(scale) / temperature)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.int32, np.int64])
def test_heads_of_every_type_are_read(kind: type) -> None:
    table = fit_table((Fraction(3, 2),), (Fraction(1, 16),), (Fraction(-2),))
    info = np.iinfo(kind)
    values = sorted({max(info.min, -(1 << 31)), -1 if info.min else 0, 0, 1, 32, 100, min(info.max, (1 << 31) - 1)})
    sums = np.array(values, kind).reshape(1, -1, 1)
    found = table.map(sums, np.zeros(sums.shape[:2], np.uint8))
    assert found.dtype == np.uint8
    assert found[0].tolist() == [exact(Fraction(q, 16) - 2, Fraction(3, 2)) for q in values]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(2, 5), st.booleans())
def test_the_margin_of_the_best_two_of_several_classes(seed: int, channels: int, shared: bool) -> None:
    random = np.random.default_rng(seed)
    scale = [Fraction(int(n), 1 << 12) for n in random.integers(1, 40, channels)]
    if shared:
        scale = scale[:1] * channels
    offset = [Fraction(int(n), 7) for n in random.integers(-30, 30, channels)]
    temperatures = tuple(Fraction(int(n), 10) for n in random.integers(5, 40, channels))
    sums = random.integers(-20_000, 20_000, (3, 5, channels), np.int32)
    values = [[[s * int(q) + o for s, q, o in zip(scale, row, offset, strict=True)] for row in line] for line in sums]
    mask = np.array([[row.index(max(row)) for row in line] for line in values], np.uint8)
    found = fit_table(temperatures, tuple(scale), tuple(offset)).map(sums, mask)
    for y, x in np.ndindex(mask.shape):
        second, first = sorted(values[y][x])[-2:]
        # Offsets are rounded to an integer of the sums, and 4096 spans lie before the first sure one.
        slack = 1 + math.ceil(2 * STEPS * float(max(scale)) / float(min(temperatures)))
        slack += math.ceil(float(max(temperatures) / min(temperatures)) * SURE / ENTRIES)
        assert abs(int(found[y, x]) - exact(first - second, temperatures[mask[y, x]])) <= slack


def test_offsets_far_apart_do_not_overflow() -> None:
    table = fit_table((Fraction(1),) * 2, (Fraction(1, 1 << 30),) * 2, (Fraction(1 << 100), Fraction(0)))
    sums = np.array([[[-(1 << 31), (1 << 31) - 1]]], np.int32)
    assert table.map(sums, np.zeros((1, 1), np.uint8)).tolist() == [[SURE]]


def test_doubt_is_the_probability_of_an_error() -> None:
    assert [int(d) for d in DOUBT] == [round(65536 / (1 + math.exp(byte / STEPS))) for byte in range(256)]
    assert (int(DOUBT[0]), int(DOUBT[188]), int(DOUBT[189])) == (1 << 15, 1, 0)

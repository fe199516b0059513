"""Planes, signed digits and on-the-fly conversion, both ways."""

from __future__ import annotations

import doctest
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hwseg.arith
import hwseg.arith.digits
from hwseg.arith.digits import OnTheFly, array_planes, from_digits, from_planes, to_digits, to_planes
from hwseg.arith.types import CoreSpec, IntType
from hwseg.errors import HwsegError


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("width", range(1, 9))
def test_planes_are_the_integer_and_back(width, signed):
    kind = IntType(width, signed)
    values = np.arange(kind.low, kind.high + 1)
    planes = [to_planes(int(v), kind) for v in values]
    assert [from_planes(p, kind) for p in planes] == values.tolist()
    assert array_planes(values, width).T.tolist() == planes


@given(st.integers(-(1 << 30), 1 << 30))
def test_signed_digits_are_the_integer_and_no_two_neighbours_are_nonzero(value):
    digits = to_digits(value, 32)
    assert from_digits(digits) == value
    assert all(a == 0 or b == 0 for a, b in pairwise(digits))


@given(st.lists(st.sampled_from([-1, 0, 1]), max_size=20), st.integers(1, 15), st.data())
def test_on_the_fly_conversion_equals_the_digits_and_takes_the_residual_without_addition(digits, growth, data):
    residual = data.draw(st.integers(-(1 << (growth - 1)), (1 << (growth - 1)) - 1))
    converted = OnTheFly()
    for digit in digits:
        converted = converted.append(digit)
        assert converted.q_less == converted.q - 1
    assert converted.q == from_digits(digits)
    assert converted.with_residual(residual, growth) == (converted.q << growth) + residual


@given(st.integers(-(1 << 40), 1 << 40), st.integers(-(1 << 40), 1 << 40))
def test_a_word_is_the_smallest_that_holds_its_interval(a, b):
    low, high = sorted((a, b))
    kind = IntType.of(low, high)
    assert low in kind
    assert high in kind
    assert kind.signed == (low < 0)
    smaller = IntType(kind.width - 1, kind.signed) if kind.width > 1 else None
    assert smaller is None or low not in smaller or high not in smaller


def test_words_of_the_72_lane_core():
    spec = CoreSpec(72)
    assert (spec.magnitude, spec.plane_bits, spec.sum_bits) == (9216, 15, 23)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: IntType(0), "width must be at least 1, not 0"),
        (lambda: IntType.of(2, 1), "low must not exceed high"),
        (lambda: CoreSpec(0), "lanes must be at least 1"),
        (lambda: CoreSpec(9, 9), "weight_bits must be 1 to 8, not 9"),
        (lambda: to_planes(16, IntType(4)), r"must be in \[0, 15\]"),
        (lambda: to_digits(9, 3), "needs 4 signed digits, not 3"),
        (lambda: OnTheFly().append(2), "must be -1, 0 or 1"),
    ],
)
def test_parameters_are_checked_where_they_are_born(call, message):
    with pytest.raises(HwsegError, match=message):
        call()


@pytest.mark.parametrize("module", [hwseg.arith, hwseg.arith.digits])
def test_the_examples_in_the_documentation_run(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0

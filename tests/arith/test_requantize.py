"""The fixed-point triple against the exact rational: every accumulator where small, every step where large."""

from __future__ import annotations

import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwseg.arith.requantize import NEVER, Triple, apply, differing_steps, fit, hardware_steps, nearest, steps
from hwseg.errors import HwsegError

RANGES = [(0, 255), (-128, 127), (0, 15), (-8, 7), (0, 1), (0, 63)]
floats = st.floats(-4, 4, width=32).map(Fraction)
rationals = st.builds(Fraction, st.integers(-3000, 3000), st.integers(1, 3000))
multipliers = st.one_of(floats, rationals, st.builds(lambda k: Fraction(2) ** k, st.integers(-16, 6)))
offsets = st.one_of(floats.map(lambda x: 20 * x), rationals, st.integers(-200, 200).map(Fraction))


def exact(multiplier: Fraction, offset: Fraction, low: int, high: int, acc: int) -> int:
    return min(max(round(acc * multiplier + offset), low), high)


@given(
    multipliers,
    offsets,
    st.sampled_from(RANGES),
    st.integers(-400, 400),
    st.integers(0, 500),
    st.one_of(st.none(), st.integers(-9216, 9216)),
)
def test_a_fitted_triple_equals_the_exact_requantizer_for_every_accumulator(m, b, limits, acc_low, width, total):
    triple = fit(m, b, *limits, acc_low, acc_low + width, total)
    if triple is None:
        return
    assert triple.fits
    acc = np.arange(acc_low, acc_low + width + 1)
    y = apply(acc if total is None else 2 * acc + total, *triple, *limits)
    assert y.tolist() == [exact(m, b, *limits, int(a)) for a in acc]
    assert differing_steps(triple, m, b, *limits, acc_low, acc_low + width, total) == ()


@given(multipliers, offsets, st.sampled_from(RANGES), st.one_of(st.none(), st.integers(-9216, 9216)))
def test_eight_bit_accumulators_always_fit(m, b, limits, total):
    """Twenty-four bits of slope leave no step of a short accumulator out, ties apart."""
    ties = any(2 * (a * m + b) % 2 == 1 for a in range(-128, 128))
    assert ties or fit(m, b, *limits, -128, 127, total) is not None


@given(
    st.sampled_from([1, -1]),
    st.one_of(st.integers(8, 12), st.integers(26, 34), st.integers(60, 400)),
    st.fractions(1, 2, max_denominator=1000),
    st.integers(-(1 << 32), 1 << 32),
    st.fractions(-300, 300, max_denominator=4),
    st.sampled_from([*RANGES, (0, 0), (-5, -5)]),
    st.one_of(st.none(), st.integers(-9216, 9216)),
)
def test_a_step_between_two_accumulators_always_fits(sign, exponent, mantissa, place, beside, limits, total):
    """However large the factor and wherever the step: from one accumulator to the next, low becomes high."""
    m = sign * mantissa * 2**exponent
    b = beside - place * m
    triple = fit(m, b, *limits, place - 3, place + 3, total)
    assert triple is not None
    assert triple.fits
    everywhere = fit(m, b, *limits, -(1 << 33), 1 << 33, total)
    assert everywhere is not None
    assert differing_steps(everywhere, m, b, *limits, -(1 << 33), 1 << 33, total) == ()
    for acc in range(place - 3, place + 4):
        a = acc if total is None else 2 * acc + total
        assert triple(a, *limits) == everywhere(a, *limits) == exact(m, b, *limits, acc)


@given(multipliers, offsets, st.integers(-128, 255))
def test_a_range_of_one_value_is_that_value(m, b, value):
    triple = fit(m, b, value, value, -1000, 1000)
    assert triple is not None
    assert triple.fits
    assert triple(77, value, value) == value


@given(multipliers, offsets, st.sampled_from(RANGES))
def test_steps_are_the_whole_function(m, b, limits):
    low, high = limits
    sign = -1 if m < 0 else 1
    found = np.array(steps(m, b, low, high))
    acc = np.arange(-300, 301)
    y = low + (found[None, :] <= sign * acc[:, None]).sum(1)
    assert y.tolist() == [exact(m, b, low, high, int(a)) for a in acc]


@pytest.mark.parametrize("s", range(64))
def test_apply_is_the_definition_at_every_shift_that_six_bits_hold(s):
    """Ties, their neighbours and both ends of the hardware's words, one channel each and all at once."""
    half = 1 << s >> 1
    near = [side * k * half + d for k in (0, 1, 2, 3, 5) for side in (1, -1) for d in (-1, 0, 1)]
    ends = [(1 << 55) - 1, -(1 << 55), 1, -1]
    o = np.array([x for x in (*near, *ends) if -(1 << 55) <= x < 1 << 55])
    rng = np.random.default_rng(s)
    acc = np.array([0, 1, -1, (1 << 31) - 1, -(1 << 31), *rng.integers(-(1 << 31), 1 << 31, 6)])[:, None]
    m = rng.choice([1, -1, (1 << 29) - 1, -(1 << 29), 12345], len(o))
    for low, high in ((0, 255), (-128, 127), (-256, 255)):
        y = [[Triple(int(a), int(b), s)(int(x), low, high) for a, b in zip(m, o, strict=True)] for x in acc[:, 0]]
        assert apply(acc, m, o, s, low, high).tolist() == y
        assert apply(acc.astype(object) << 40, m, o, s, low, high).tolist() == [
            [Triple(int(a), int(b), s)(int(x) << 40, low, high) for a, b in zip(m, o, strict=True)] for x in acc[:, 0]
        ]


@pytest.mark.parametrize("start", [1 << 40, 1 << 55, 1 << 62, 1 << 63, (1 << 64) - (1 << 36)])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("total", [None, -9216])
def test_offsets_at_the_far_end_of_a_long_accumulator_are_fitted_or_refused(start, sign, total):
    """The steps lie where acc * M has cancelled an offset of nearly as many bits as int64 has; gentler slopes fit."""
    found = []
    for factor in (1 << 27, 1 << 28, (1 << 29) - 1, (1 << 29) - 2):
        m, b = Fraction(sign * factor), Fraction(-start)
        middle = sign * (start // factor)
        low, high = middle - 3, middle + 3
        if max(abs(low), abs(high)) < 1 << 35:
            triple = fit(m, b, 0, 255, low, high, total)
            found.append(triple is not None)
            if triple is not None:
                assert triple.fits
                assert differing_steps(triple, m, b, 0, 255, low, high, total) == ()
    assert found
    assert start >= 1 << 55 or set(found) == {True}


@given(
    st.integers(-(1 << 24) + 1, (1 << 24) - 1),
    st.integers(-(1 << 40), 1 << 40),
    st.integers(0, 63),
    st.sampled_from(RANGES),
    st.one_of(st.none(), st.integers(-9216, 9216)),
    st.lists(st.integers(-(1 << 30), 1 << 30), min_size=1, max_size=20),
)
def test_hardware_steps_and_apply_are_the_definition(m, o, s, limits, total, accumulators):
    triple, (low, high) = Triple(m, o, s), limits
    found = hardware_steps(triple, low, high, total)
    sign = -1 if m < 0 else 1
    a = np.array(accumulators)
    hardware = a if total is None else 2 * a + total
    y = [triple(int(x), low, high) for x in hardware]
    assert apply(hardware, m, o, s, low, high).tolist() == y
    assert [low + sum(step <= sign * int(x) for step in found) for x in a] == y


@pytest.mark.parametrize("shift", range(17))
@pytest.mark.parametrize("total", [None, 0, 77, -78])
def test_powers_of_two_become_shifts_with_ties_to_even(shift, total):
    m, b = Fraction(1, 1 << shift), Fraction(3, 1 << shift)
    triple = fit(m, b, -128, 127, -(1 << 20), 1 << 20, total)
    assert triple is not None
    assert triple.m == 1
    assert triple.s == shift + (total is not None)
    acc = np.arange(-1000, 1000)
    y = apply(acc if total is None else 2 * acc + total, *triple, -128, 127)
    assert y.tolist() == [exact(m, b, -128, 127, int(a)) for a in acc]


@pytest.mark.parametrize("power", range(8))
def test_negative_shifts_multiply(power):
    assert fit(Fraction(1 << power), Fraction(-3), 0, 255, -50, 50) == Triple(1 << power, -3, 0)


def test_rounding_offset_of_a_dyadic_requantizer_is_exact():
    assert fit(Fraction(1, 64), Fraction(5, 32), 0, 255, -5000, 50000) == Triple(1, 10, 6)
    assert fit(Fraction(-3, 64), Fraction(5, 32), 0, 255, -50000, 50000) == Triple(-3, 10, 6)


@pytest.mark.parametrize(
    ("offset", "y"), [(Fraction(5, 2), 2), (Fraction(7, 2), 4), (Fraction(900), 255), (Fraction(-1), 0)]
)
def test_multiplier_zero_gives_the_clamped_offset(offset, y):
    triple = fit(Fraction(0), offset, 0, 255, -10, 10, 5)
    assert triple == Triple(0, y, 0)
    assert steps(Fraction(0), offset, 0, 255) == (-NEVER,) * y + (NEVER,) * (255 - y)


def test_differing_steps_names_the_outputs_whose_step_moved():
    m, b = Fraction(37, 1000), Fraction(1, 999)
    triple = fit(m, b, 0, 255, 0, 3000)
    assert triple is not None
    moved = triple._replace(o=triple.o + triple.m // 2)  # by half an accumulator: about half of the steps
    wrong = differing_steps(moved, m, b, 0, 255, 0, 3000)
    acc = np.arange(3001)
    y, expected = apply(acc, *moved, 0, 255), np.array([exact(m, b, 0, 255, int(a)) for a in acc])
    assert 20 < len(wrong) < 90
    assert wrong == tuple(sorted(set(np.maximum(y, expected)[y != expected].tolist())))
    assert differing_steps(triple._replace(m=-triple.m), m, b, 0, 255, 0, 3000) == tuple(range(1, 256))


def test_ties_at_many_accumulators_need_the_exact_slope():
    """acc / 10 ties at 5, 15, 25, ... and rounds them down and up in turn: no other line passes between."""
    assert fit(Fraction(1, 10), Fraction(0), 0, 255, 0, 3000) is None
    assert fit(Fraction(1, 10), Fraction(1, 30), 0, 255, 0, 3000) is not None


def test_an_accumulator_too_long_for_the_multiplier_is_not_fitted_but_approximated():
    m, b = Fraction(255, 2_000_000_001), Fraction(1, 3)
    assert fit(m, b, 0, 255, 0, 2_000_000_000) is None
    triple = nearest(m, b)
    assert triple.fits
    assert 0 < len(differing_steps(triple, m, b, 0, 255, 0, 2_000_000_000)) < 255


def test_parameters_are_checked_where_they_are_born():
    with pytest.raises(HwsegError, match="low must not exceed high"):
        fit(Fraction(1), Fraction(0), 4, 3, 0, 1)
    with pytest.raises(HwsegError, match="must fit 36 bits"):
        fit(Fraction(1), Fraction(0), 0, 3, 0, 1 << 35)


def test_a_thousand_channels_fit_in_well_under_a_second():
    generator = np.random.default_rng(0)
    scales = generator.uniform(1e-3, 1e-2, 1024).astype(np.float32)
    biases = generator.normal(0, 30, 1024).astype(np.float32)
    layer = [(Fraction(float(m)) * Fraction(3, 4), Fraction(float(b))) for m, b in zip(scales, biases, strict=True)]
    start = time.process_time()
    fitted = [fit(m, b, 0, 255, -500_000, 500_000) for m, b in layer]
    assert time.process_time() - start < 2
    assert sum(triple is not None for triple in fitted) > 1000

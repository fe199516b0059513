"""Online operators, functions of digit strings, decisions, grouped form, baselines: exhaustively where small."""

from __future__ import annotations

import doctest
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hwseg.arith.functions
import hwseg.arith.online
from hwseg.arith.baseline import BitSerialSpec
from hwseg.arith.decision import Decision
from hwseg.arith.digits import array_planes, from_digits, from_planes, to_planes
from hwseg.arith.functions import DigitRequantizer, Maximum, PlaneMaximum, Relu
from hwseg.arith.grouped import BIAS_LANES, GROUP, GroupedSpec
from hwseg.arith.mma import MmaSpec
from hwseg.arith.online import AdderSpec, CascadeSpec, SerialParallelSpec, SerialSerialSpec, value
from hwseg.arith.table import TableSpec
from hwseg.arith.types import IntType
from hwseg.errors import HwsegError

DIGITS = (-1, 0, 1)
kinds = st.builds(IntType, st.integers(1, 8), st.booleans())
weights_of = st.builds(IntType, st.integers(1, 8), st.booleans())


def strings(n):
    return list(product(DIGITS, repeat=n))


def columns(rows):
    return np.array(rows).T


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_every_pair_of_strings_adds_multiplies_and_compares(n):
    pairs = list(product(strings(n), repeat=2))
    x, y = columns([a for a, _ in pairs]), columns([b for _, b in pairs])
    sums = [AdderSpec().compute(a, b) for a, b in pairs]
    products = [SerialSerialSpec(n).compute(a, b) for a, b in pairs]
    larger = [Maximum().compute(a, b) for a, b in pairs]
    assert [from_digits(s) for s in sums] == (value(x) + value(y)).tolist()
    assert [from_digits(s) for s in products] == (value(x) * value(y)).tolist()
    assert [from_digits(s) for s in larger] == np.maximum(value(x), value(y)).tolist()
    assert all(s[0] == 0 for s in sums)
    assert AdderSpec().compute_all(x, y).T.tolist() == sums
    assert SerialSerialSpec(n).compute_all(x, y).T.tolist() == products
    assert Maximum().compute_all(x, y).T.tolist() == larger


@pytest.mark.parametrize("length", [8, 20])
def test_long_strings_add_and_multiply(length):
    generator = np.random.default_rng(length)
    x, y = generator.integers(-1, 2, (2, length, 3000))
    assert value(AdderSpec().compute_all(x, y)).tolist() == (value(x) + value(y)).tolist()
    assert value(SerialSerialSpec(length).compute_all(x, y)).tolist() == (value(x) * value(y)).tolist()
    assert value(Maximum().compute_all(x, y)).tolist() == np.maximum(value(x), value(y)).tolist()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_prefixes_of_online_sums_are_within_a_digit_of_the_sum(n):
    """The online delay: after j digits out, j - 2 digits in have been seen, and the sum is settled to one digit."""
    for x, y in product(strings(n)[:81], strings(n)[-81:]):
        digits, total = AdderSpec().compute(x, y), from_digits(x) + from_digits(y)
        for j in range(1, n + 3):
            assert abs(from_digits(digits[:j]) * 2 ** (n + 2 - j) - total) < 2 ** (n + 2 - j)


@pytest.mark.parametrize("signed", [False, True])
def test_every_product_of_a_byte_and_a_weight(signed):
    """65,536 products; every digit string is the product."""
    kind, weight = IntType(8, signed), IntType(8, signed=True)
    x, w = (g.ravel() for g in np.meshgrid(np.arange(kind.low, kind.high + 1), np.arange(-128, 128)))
    spec = SerialParallelSpec(kind, weight)
    digits = spec.compute_all(x, w)
    assert len(digits) == spec.latency == 16
    assert (value(digits) == x * w).all()
    for i in range(0, len(x), 997):
        assert spec.compute(int(x[i]), int(w[i])) == tuple(digits[:, i].tolist())


@given(kinds, weights_of, st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_cascades_and_groups_and_serial_sums_are_the_dot_product(kind, weight, lanes, seed):
    generator = np.random.default_rng(seed)
    w = generator.integers(weight.low, weight.high + 1, lanes)
    x = generator.integers(kind.low, kind.high + 1, (4, lanes))
    exact = (x @ w).tolist()
    cascade = CascadeSpec(lanes, kind, weight)
    digits = cascade.compute_all(w, x)
    assert value(digits).tolist() == exact
    assert not digits[: cascade.levels].any()
    assert [cascade.compute(w.tolist(), row) for row in x.tolist()] == digits.T.tolist()
    assert len(digits) == cascade.latency == cascade.interval + cascade.levels
    serial = BitSerialSpec(kind)
    assert serial.compute_all(w, x).tolist() == [serial.compute(w.tolist(), row) for row in x.tolist()] == exact
    grouped = GroupedSpec(lanes, kind, weight.width, weight.signed)
    # A bias that one pseudo-lane can hold, whatever the planes.
    bias = int(generator.integers(-2, min(2, (1 << weight.width - 1) - 1) + 1)) if weight.width > 1 else 0
    residuals, digits, totals = grouped.compute_all(w, x, bias)
    traces = [grouped.compute(w.tolist(), row, bias) for row in x.tolist()]
    assert totals.tolist() == [t.sum for t in traces] == [e + bias for e in exact]
    assert residuals.T.tolist() == [list(t.residuals) for t in traces]
    assert digits.T.tolist() == [list(t.digits) for t in traces]
    planes = array_planes(x, kind.width).transpose(1, 0, 2)
    assert TableSpec(lanes, weight.width, weight.signed).compute_all(w, planes, kind.signed).tolist() == exact


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
def test_biases_become_pseudo_lanes_and_the_first_digit_is_the_sign_of_the_biased_sum(bits, signed):
    spec = GroupedSpec(3, IntType(bits, signed))
    reach = 3 * 127 << (bits - 1)
    for bias in (0, 1, -1, 77, -1000, reach, -reach):
        trace = spec.compute([1, -1, 0], [1, 1, 1], bias)
        assert trace.sum == bias
        drained = spec.mma.compute([1, -1, 0, *spec.bias_weights(bias)], [1, 1, 1, *spec.bias_activations], drain=True)
        assert next((z for z in drained.digits if z), 0) == (bias > 0) - (bias < 0)
    with pytest.raises(HwsegError, match=f"must be a sum of {BIAS_LANES} pseudo-lanes of 8 bits"):
        spec.bias_weights(2 * reach)


def test_groups_are_of_64_lanes():
    assert [len(g) for g in GroupedSpec(144, IntType(8)).groups] == [GROUP, GROUP, 16]


@pytest.mark.parametrize("n", [1, 3, 7])
def test_relu_passes_positive_strings_and_zeroes_others(n):
    x = columns(strings(n))
    relu = Relu().compute_all(x)
    assert value(relu).tolist() == np.maximum(value(x), 0).tolist()
    assert relu.T.tolist() == [Relu().compute(s) for s in strings(n)]


@pytest.mark.parametrize("bits", [1, 4])
def test_maximum_of_planes(bits):
    kind = IntType(bits)
    x, y = (g.ravel() for g in np.meshgrid(np.arange(1 << bits), np.arange(1 << bits)))
    planes = PlaneMaximum().compute_all(array_planes(x, bits), array_planes(y, bits))
    for i in range(len(x)):
        found = PlaneMaximum().compute(to_planes(int(x[i]), kind), to_planes(int(y[i]), kind))
        assert found == planes[:, i].tolist()
        assert from_planes(found, kind) == max(x[i], y[i])


@given(st.lists(st.integers(-300, 300), min_size=1, max_size=20), st.integers(0, 2**32 - 1))
def test_requantized_bits_leave_as_soon_as_they_are_known(steps, seed):
    spec = DigitRequantizer(tuple(sorted(steps)))
    digits = np.random.default_rng(seed).integers(-1, 2, (9, 6))
    bits, when = spec.compute_all(digits)
    for i in range(6):
        found, times = spec.compute(digits[:, i].tolist())
        assert (found, times) == (bits[:, i].tolist(), when[:, i].tolist())
        assert from_planes(found, IntType(spec.bits)) == sum(step <= value(digits)[i] for step in spec.steps)
        if times[-1] > 1:  # one digit earlier the last bit was not known: two sums that begin alike differ
            j = times[-1] - 1
            prefix, rest = int(value(digits[:j, i])), 9 - j
            ends = [(prefix << rest) - (1 << rest) + 1, (prefix << rest) + (1 << rest) - 1]
            counts = [sum(step <= e for step in spec.steps) for e in ends]
            assert counts[0] != counts[1]


@given(kinds, st.lists(st.integers(-8, 7), min_size=1, max_size=6), st.integers(-40, 40), st.integers(0, 2**32 - 1))
def test_decisions_are_right_and_as_early_as_the_interval_allows(kind, weights, bias, seed):
    generator = np.random.default_rng(seed)
    x = generator.integers(kind.low, kind.high + 1, (8, len(weights)))
    sums = x @ np.array(weights) + bias
    decision = Decision(tuple(weights), kind, bias, zero=0, full=50)
    for sign_only in (False, True):
        needed = decision.planes_needed_all(x, sign_only)
        assert needed.tolist() == [decision.planes_needed(row, sign_only) for row in x.tolist()]
    spec = MmaSpec.of(weights, kind)
    for row, total in zip(x.tolist(), sums.tolist(), strict=True):
        trace, prefix = spec.compute(weights, row), 0
        for j, (r, z) in enumerate(zip(trace.residuals, trace.digits, strict=True)):
            prefix = 2 * prefix + z
            part = (prefix << spec.growth) + r
            low, high = decision.interval(part, j)
            assert low <= total <= high
            assert not decision.negative(part, j) or total <= 0
            assert not decision.saturated(part, j) or total >= 50
            if decision.settled(part, j):
                assert (high < 0) == (total < 0)
        assert low == high == total


def test_both_ends_of_the_interval_are_reached():
    kind, weights = IntType(3), (3, -5, 2)
    for first in product((0, 1), repeat=3):
        prefix = sum(w * b for w, b in zip(weights, first, strict=True))
        sums = [
            sum(w * (4 * b + t) for w, b, t in zip(weights, first, tail, strict=True))
            for tail in product(range(4), repeat=3)
        ]
        assert Decision(weights, kind).interval(prefix, 0) == (min(sums), max(sums))


def sums_of_every_form(w, x):
    """Sums of signed bytes x [sum, lane] with weights w, by each form."""
    kind, lanes = IntType(8, signed=True), len(w)
    yield "merged", MmaSpec.of(w.tolist(), kind).compute_all(w, x)[2]
    yield "grouped", GroupedSpec(lanes, kind).compute_all(w, x)[2]
    yield "table", TableSpec(lanes).compute_all(w, array_planes(x, 8).transpose(1, 0, 2), True)
    yield "cascaded", value(CascadeSpec(lanes, kind, IntType(8, signed=True)).compute_all(w, x))
    yield "bit_serial", BitSerialSpec(kind).compute_all(w, x)


def test_the_products_that_dex_publishes():
    """65,280 signed products one by one, 522,240 plane contributions: weights -127 .. 127 by all signed bytes."""
    x = np.arange(-128, 128)[:, None]
    products, contributions = Counter(), Counter()
    for weight in range(-127, 128):
        for form, sums in sums_of_every_form(np.array([weight]), x):
            assert (sums == weight * x[:, 0]).all(), form
            products[form] += len(sums)
        planes = array_planes(x, 8)[:, :, 0].astype(np.int64)
        place = np.array([-128, 64, 32, 16, 8, 4, 2, 1])[:, None]
        assert ((weight * planes * place).sum(0) == weight * x[:, 0]).all()
        contributions["planes"] += planes.size
    assert set(products.values()) == {65_280}
    assert contributions["planes"] == 522_240


def test_ten_times_the_products_that_dex_publishes():
    """652,800 signed products, 5,222,400 plane contributions, in sums of 68 lanes, in each form."""
    generator = np.random.default_rng(1)
    products, contributions = Counter(), 0
    for _ in range(10):
        w, x = generator.integers(-128, 128, 68), generator.integers(-128, 128, (960, 68))
        for form, sums in sums_of_every_form(w, x):
            assert sums.tolist() == (x @ w).tolist(), form
            products[form] += x.size
        contributions += array_planes(x, 8).size
    assert set(products.values()) == {652_800}
    assert contributions == 5_222_400


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AdderSpec().compute([2], [0]), "digits must be -1, 0 or 1, not 2"),
        (lambda: AdderSpec().compute([1], [0, 1]), "operands need equal lengths, 1, 2"),
        (lambda: SerialSerialSpec(0), "digits must be at least 1, not 0"),
        (lambda: SerialSerialSpec(3).compute([1], [1]), "needs 3 digits, not 1"),
        (lambda: SerialParallelSpec(IntType(4), IntType(4, True)).compute(3, 8), r"weight 8: must be in \[-8, 7\]"),
        (lambda: CascadeSpec(0, IntType(4), IntType(4)), "lanes must be at least 1, not 0"),
        (lambda: GroupedSpec(2, IntType(4)).compute([1, 300], [0, 0]), r"weight 1 must be in \[-128, 127\], is 300"),
        (lambda: GroupedSpec(2, IntType(4)).compute([1], [0]), "needs 2 weights, not 1"),
        (lambda: GroupedSpec(2, IntType(4), 9), "weight_bits must be 1 to 8, not 9"),
        (lambda: TableSpec(2, 0), "weight_bits must be 1 to 8, not 0"),
        (lambda: DigitRequantizer((3, 1)), "steps must not fall"),
    ],
)
def test_parameters_are_checked_where_they_are_born(call, message):
    with pytest.raises(HwsegError, match=message):
        call()


@pytest.mark.parametrize("module", [hwseg.arith.online, hwseg.arith.functions])
def test_the_examples_in_the_documentation_run(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0

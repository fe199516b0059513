"""The two forms of a sum of products against the integer dot product, and their invariants at every plane."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwseg.arith.digits import array_planes, from_digits, to_planes
from hwseg.arith.mma import MmaSpec
from hwseg.arith.table import ENTRIES, LANES, TableSpec
from hwseg.arith.types import IntType
from hwseg.errors import HwsegError

kinds = st.builds(IntType, st.integers(1, 8), st.booleans())
weight = st.one_of(st.sampled_from([-128, 127, 0]), st.integers(-128, 127))


def dot(weights, activations):
    return sum(w * x for w, x in zip(weights, activations, strict=True))


@st.composite
def sums(draw):
    kind = draw(kinds)
    weights = draw(st.lists(weight, min_size=1, max_size=80))
    value = st.one_of(st.sampled_from([kind.low, kind.high]), st.integers(kind.low, kind.high))
    return kind, weights, draw(st.lists(value, min_size=len(weights), max_size=len(weights)))


@given(sums())
def test_captured_and_drained_sums_are_the_dot_product(case):
    kind, weights, activations = case
    spec = MmaSpec.of(weights, kind)
    captured, drained = spec.compute(weights, activations), spec.compute(weights, activations, drain=True)
    assert captured.sum == drained.sum == dot(weights, activations)
    assert from_digits(drained.digits) == captured.sum
    assert len(drained.digits) == spec.planes + spec.growth
    assert drained.digits[: spec.planes] == captured.digits


@pytest.mark.parametrize("lanes", [1, 2, 3, 4, 7, 8, 16])
@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("kind", [IntType(1), IntType(3), IntType(1, True), IntType(8, True)])
def test_the_growth_from_the_word_length_covers_unsigned_weights(lanes, bits, kind):
    """All weights and symbols as large as their words: a plane's sum is sum|w| itself."""
    spec = MmaSpec(lanes, kind, IntType(bits))
    for w, x in product({0, 1, spec.weight.high}, {kind.low, kind.high}):
        assert spec.compute([w] * lanes, [x] * lanes).sum == lanes * w * x
        residuals, _, totals = spec.compute_all(np.array([w] * lanes), np.array([[x] * lanes]))
        assert totals.tolist() == [lanes * w * x]
        assert abs(residuals).max() <= 1 << spec.growth - 1


@given(sums(), st.integers(0, 6))
def test_any_growth_that_covers_the_weights_gives_the_same_sum(case, extra):
    kind, weights, activations = case
    spec = MmaSpec(len(weights), kind, IntType(8, True), sum(map(abs, weights)) << extra)
    assert spec.compute(weights, activations).sum == dot(weights, activations)


@given(sums())
def test_every_prefix_is_exact_and_the_first_nonzero_digit_is_the_sign(case):
    kind, weights, activations = case
    spec = MmaSpec.of(weights, kind)
    trace = spec.compute(weights, activations)
    planes = [to_planes(x, kind) for x in activations]
    for j in range(1, kind.width + 1):
        prefix = IntType(j, kind.signed)
        part = dot(weights, [sum(b << (j - 1 - i) for i, b in enumerate(p[:j])) for p in planes])
        if kind.signed:
            part -= dot(weights, [p[0] for p in planes]) << prefix.width
        assert (from_digits(trace.digits[:j]) << spec.growth) + trace.residuals[j - 1] == part
    first = next((z for z in spec.compute(weights, activations, drain=True).digits if z), 0)
    assert first == (trace.sum > 0) - (trace.sum < 0)


@given(kinds, st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_numpy_forms_equal_the_steps(kind, lanes, seed):
    generator = np.random.default_rng(seed)
    weights = generator.integers(-128, 128, lanes)
    activations = generator.integers(kind.low, kind.high + 1, (5, lanes))
    spec = MmaSpec.of(weights.tolist(), kind)
    residuals, digits, totals = spec.compute_all(weights, activations)
    traces = [spec.compute(weights.tolist(), row) for row in activations.tolist()]
    assert residuals.T.tolist() == [list(t.residuals) for t in traces]
    assert digits.T.tolist() == [list(t.digits) for t in traces]
    assert totals.tolist() == (activations @ weights).tolist()
    planes = array_planes(activations, kind.width).transpose(1, 0, 2)
    assert TableSpec(lanes).compute_all(weights, planes, kind.signed).tolist() == (activations @ weights).tolist()


@given(sums())
def test_table_sums_are_the_dot_product(case):
    kind, weights, activations = case
    spec = TableSpec(len(weights))
    planes = [list(plane) for plane in zip(*(to_planes(x, kind) for x in activations), strict=True)]
    assert spec.compute(weights, planes, kind.signed) == dot(weights, activations)


@pytest.mark.parametrize("weights", [(1, -2, 4, 127, -128, 9), (-128,) * 6, (127,) * 6, (0, 5, 0, 0, -1, 0)])
def test_a_table_holds_the_antisymmetric_sums_of_six_lanes(weights):
    spec = TableSpec(LANES)
    written = spec.entries(weights)[0]
    assert sorted(address for address, _ in written) == list(range(ENTRIES))
    assert all(-1024 <= entry <= 1023 for _, entry in written)
    assert all((a ^ b).bit_count() == 1 for (a, _), (b, _) in pairwise(written))
    table = dict(written)
    for plane in product((0, 1), repeat=LANES):
        (address,), (sign,) = spec.encode(plane)
        expected = dot(weights, [2 * x - 1 for x in plane])
        assert (-table[address] if sign else table[address]) == expected
        assert spec.plane_sum(weights, plane) == dot(weights, plane)


@pytest.mark.parametrize("lanes", range(1, 80))
def test_the_tree_adds_every_table_once_and_the_weight_sum_once(lanes):
    spec = TableSpec(lanes)
    kinds = [node.kind for level in spec.tree for node in level]
    assert kinds.count("add") == spec.tables - 1 == len(spec.pairs)
    assert kinds.count("sum") == 1
    assert spec.tree[-1][0].lanes == lanes
    assert spec.latency == -(-len(spec.tree) // 2) + 1


def test_the_growth_follows_the_real_weights():
    kind = IntType(8)
    assert [MmaSpec.of(w, kind).growth for w in ([0], [1], [-1, 1], [127, -128], [64, 64])] == [1, 1, 2, 9, 8]
    assert MmaSpec(72, kind, IntType(8, True)).growth == 15
    assert [MmaSpec(n, kind, IntType(1)).growth for n in (1, 2, 3, 72)] == [1, 2, 3, 8]
    assert (MmaSpec(72, kind, IntType(8, True)).latency, MmaSpec(72, kind, IntType(8, True)).drained_latency) == (8, 23)


def test_weights_beyond_the_declared_bound_are_noticed():
    with pytest.raises(AssertionError, match="larger than declared"):
        MmaSpec(2, IntType(2), IntType(8, True), 4).compute([127, 127], [3, 3])
    with pytest.raises(HwsegError, match="terms must be at least 1"):
        MmaSpec(0, IntType(2), IntType(8, True))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TableSpec(2).compute([1, 300], [[0, 1]]), r"weight 1 must be in \[-128, 127\], is 300"),
        (lambda: TableSpec(2, 8, False).compute([-1, 3], [[0, 1]]), r"weight 0 must be in \[0, 255\], is -1"),
        (lambda: TableSpec(2).compute([1, 3], [[0, 2]]), "digit 1 must be 0 or 1, is 2"),
        (lambda: TableSpec(2).plane_sum([1, 3], [0]), "a plane needs 2 digits, not 1"),
        (lambda: TableSpec(2).plane_sum([1], [0, 1]), "needs 2 weights, not 1"),
        (lambda: MmaSpec(2, IntType(9), IntType(8, True)), "planes must be 1 to 8, not 9"),
        (lambda: MmaSpec(2, IntType(4), IntType(8, True)).compute([1, 300], [1, 1]), r"weight 1 must be in .*, is 300"),
        (lambda: MmaSpec(2, IntType(4), IntType(8, True)).compute([1], [1, 1]), "needs 2 weights, not 1"),
        (lambda: MmaSpec(1, IntType(4), IntType(8, True)).compute([1], [-1]), r"integer -1: must be in \[0, 15\]"),
    ],
)
def test_weights_and_digits_outside_their_words_are_a_sentence(call, message):
    with pytest.raises(HwsegError, match=message):
        call()

"""Bands: sums, quotients and the sentences of those that cannot be."""

from __future__ import annotations

import pytest

from hwseg.errors import HwsegError
from hwseg.power.band import BOUNDARIES, Band, require_boundary, total


def test_sums_and_products_keep_the_ends_apart():
    assert Band(1, 2, 4) + Band(10, 20, 40) == Band(11, 22, 44)
    assert Band(1, 2, 4) * 3 == 3 * Band(1, 2, 4) == Band(3, 6, 12)
    assert Band(1, 2, 4) * Band(2, 3, 5) == Band(2, 6, 20)
    assert total([Band(1, 2, 3), Band(1, 1, 1)]) == Band(2, 3, 4)
    assert total([]) == Band(0, 0, 0)


def test_a_quotient_is_low_where_the_divisor_is_high():
    assert Band(8, 8, 8).per(Band(1, 2, 4)) == Band(2, 4, 8)
    assert Band(8, 8, 8).per(Band(0, 0, 0)) == Band(0, 0, 0)


def test_an_error_widens_both_ends_and_never_below_zero():
    assert Band(10, 20, 30).widened(0.5) == Band(5, 20, 45)
    assert Band(10, 20, 30).widened(2) == Band(0, 20, 90)


@pytest.mark.parametrize("values", [(2, 1, 3), (1, 3, 2), (3, 2, 1)])
def test_ends_out_of_order_are_refused(values):
    low, mid, high = values
    with pytest.raises(HwsegError) as error:
        Band(*values)
    sentence = f"band: must have low <= middle <= high, has {low}, {mid}, {high}; put the three values in order"
    assert str(error.value) == sentence


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(HwsegError, match="must have finite values"):
        Band(0, 0, float("inf"))


def test_boundaries_are_named():
    assert [require_boundary(name) for name in BOUNDARIES] == ["core", "pl", "pl_ps", "board"]
    with pytest.raises(HwsegError) as error:
        require_boundary("chip")
    assert str(error.value) == "boundary chip: must be one of core, pl, pl_ps, board; use pl_ps"

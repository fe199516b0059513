"""The coefficient file: frozen, complete, in order; and what other files are told."""

from __future__ import annotations

from itertools import pairwise

import pytest

from hwseg.errors import HwsegError
from hwseg.power.activity import PRICED
from hwseg.power.band import Band
from hwseg.power.coefficients import FILE, load

FROZEN = "9ccc6a1da3a203846ac9ad87c9ec81fa01fd14a778c43203c0e20e722b569303"

GOOD = '[net_toggle]\nlow = 1\nmid = 2\nhigh = 4\nunit = "pJ"\nsource = "s"\ndate = "2026-01-01"\n'


def test_the_file_is_the_one_that_was_frozen_before_the_first_total():
    """Whoever changes a value says in docs/energy.md which source was wrong, and pins the new sum here."""
    assert load().sha256 == FROZEN


def test_every_event_has_its_coefficients_and_every_coefficient_a_source():
    coefficients = load()
    for names in PRICED.values():
        for name in names:
            assert coefficients.band(name).mid > 0
    for entry in coefficients.entries.values():
        assert len(entry.source) > 20, entry.name
        assert entry.date == "2026-11-21"
    assert set(coefficients.of_unit("factor")) == {"glitch", "control_rate", "regulator"}


def test_leakage_grows_between_the_temperatures_of_the_file():
    coefficients = load()
    powers = [coefficients.static(t) for t in (25, 37.5, 50, 60, 85)]
    assert powers[0] == coefficients.band("static_pl_25")
    assert powers[-1] == coefficients.band("static_pl_85")
    assert powers[1].mid == pytest.approx((0.100 * 0.156) ** 0.5)
    assert all(a.mid < b.mid and a.high < b.high for a, b in pairwise(powers))
    with pytest.raises(HwsegError) as error:
        coefficients.static(90)
    assert str(error.value) == "junction temperature: must be from 25 to 85 degrees Celsius, is 90; use 50"


def test_a_file_of_ones_own_is_read_with_its_own_sum(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(GOOD)
    found = load(file)
    assert found.band("net_toggle") == Band(1, 2, 4)
    assert found.sha256 != load(FILE).sha256
    with pytest.raises(HwsegError, match=r"coefficient lut_toggle: is not in the file; add it, with source and date"):
        found.band("lut_toggle")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("low = 1", "low = 3", "own.toml: net_toggle: must have low <= mid <= high, has low 3, mid 2, high 4; put the"),
        ("low = 1", "low = -1", "own.toml: net_toggle: low must be a number from 0 to 1e+09, is -1; write a table"),
        ("low = 1", "low = true", "low must be a number from 0 to 1e+09, is True"),
        ("low = 1\n", "", "low must be a number from 0 to 1e+09, is None"),
        ('source = "s"', 'source = ""', "source must be a text, is ''"),
        ('unit = "pJ"', 'unit = "nJ"', "unit must be one of pJ, W, factor, is nJ"),
        (GOOD, "net_toggle = 3", "own.toml: net_toggle: must be a table"),
        (GOOD, "[", "own.toml: is not TOML, or is damaged"),
        (GOOD, "", "own.toml: must have entries, has none"),
    ],
)
def test_a_faulty_file_is_told_with_entry_rule_and_value(tmp_path, old, new, sentence):
    file = tmp_path / "own.toml"
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(HwsegError) as error:
        load(file)
    assert sentence in str(error.value)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(HwsegError, match="must be a coefficient file"):
        load(tmp_path / "none.toml")

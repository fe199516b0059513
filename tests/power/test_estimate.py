"""The estimate's arithmetic on counts and coefficients small enough to do by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from hwseg.errors import HwsegError
from hwseg.power.activity import PARTS, LayerActivity
from hwseg.power.band import BOUNDARIES, Band, total
from hwseg.power.coefficients import load
from hwseg.power.estimate import estimate


def layer(name: str = "conv", **changes) -> LayerActivity:
    events = {"cores": {"net_toggle": 1e9}, "memories": {"bram_read": 1e8}, "ddr": {"ddr_byte": 1e6}}
    found = LayerActivity(name, "conv", 1_000_000, 8, 0.0, 150_000, 500_000, 500_000, events, "default", 0.0)
    return replace(found, **changes)


def test_energies_are_counts_times_coefficients_from_the_inside_out():
    coefficients = load()
    (found,) = estimate([layer()], coefficients, 150.0).layers
    net, bram, byte = (coefficients.band(name) for name in ("net_toggle", "bram_read", "ddr_byte"))
    # 1e9 events of 1 pJ are 1 mJ; 150,000 cycles at 150 MHz are 1 ms, in which 1 W is 1 mJ
    assert found.energy_mj["core"] == net
    pl = net.mid + 0.1 * bram.mid + 0.156
    assert found.energy_mj["pl"].mid == pytest.approx(pl)
    ps = pl + 0.75 + 0.09 + 1e-3 * byte.mid
    assert found.energy_mj["pl_ps"].mid == pytest.approx(ps)
    assert found.energy_mj["board"].mid == pytest.approx(1.18 * ps + 0.30)
    assert found.energy_mj["board"].high == pytest.approx(1.33 * found.energy_mj["pl_ps"].high + 0.80)
    assert found.gops_per_w["core"].mid == pytest.approx(2e6 / (net.mid * 1e-3) / 1e9)
    assert found.gops_per_w["core"].low == pytest.approx(2e6 / (net.high * 1e-3) / 1e9)


def test_totals_are_exactly_the_sum_of_the_layers():
    layers = [layer(f"conv{i}", cycles=10_007 * i + 3, macs=31 * i) for i in range(7)]
    report = estimate(layers, load(), 133.0)
    for boundary in BOUNDARIES:
        assert report.total.energy_mj[boundary] == total(found.energy_mj[boundary] for found in report.layers)
    for part in PARTS:
        assert report.total.parts[part] == total(found.parts[part] for found in report.layers)
    assert report.total.cycles == sum(found.cycles for found in report.layers)
    assert report.total.macs == sum(found.macs for found in report.layers)
    assert report.layers[0].gops_per_w["pl"] == Band(0, 0, 0)
    mean = report.watts("pl")
    assert mean.mid == pytest.approx(report.total.energy_mj["pl"].mid / (report.total.cycles / 133e6) / 1e3)


def test_a_boundary_holds_what_is_inside_it_and_parts_add_up():
    (found,) = estimate([layer()], load(), 150.0).layers
    ends = [found.energy_mj[boundary] for boundary in BOUNDARIES]
    assert all(a.low <= b.low and a.mid <= b.mid and a.high <= b.high for a, b in pairwise(ends))
    assert total(found.parts.values()).mid == pytest.approx(found.energy_mj["board"].mid)


def test_heat_and_a_sampling_error_cost_energy_and_certainty():
    cold, hot = (estimate([layer()], load(), 150.0, t).total.energy_mj for t in (25, 85))
    assert cold["core"] == hot["core"]
    assert cold["pl"].mid < hot["pl"].mid
    sampled = estimate([layer(error=0.1)], load(), 150.0)
    exact = estimate([layer()], load(), 150.0)
    assert sampled.total.energy_mj["core"].mid == exact.total.energy_mj["core"].mid
    assert sampled.total.energy_mj["core"].high == pytest.approx(1.1 * exact.total.energy_mj["core"].high)
    assert sampled.total.parts["memories"] == exact.total.parts["memories"]
    assert sampled.sampling_error == pytest.approx(0.1)


def test_json_has_the_keys_of_the_report():
    report = estimate([layer()], load(), 150.0).json()
    row = report["layers"]["conv"]
    assert list(row["energy_mj"]) == list(row["gops_per_w"]) == ["core", "pl", "pl_ps", "board"]
    assert list(row["energy_mj"]["pl"]) == ["low", "mid", "high"]
    assert report["totals"]["energy_mj"] == row["energy_mj"]
    assert report["coefficients_sha256"] == load().sha256
    assert "wider" in report["activity_source"]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: estimate([], load(), 150.0), "energy: must be of at least one layer, has none; give a build's layers"),
        (lambda: estimate([layer()], load(), 0.5), "clock: must be from 1 to 1000 MHz, is 0.5; use the clock of the"),
        (lambda: layer(events={"heart": {}}), "conv: part heart: must be one of cores, operands"),
        (lambda: layer(events={"cores": {"sigh": 1.0}}), "conv: cores: sigh: must be one of lut_toggle"),
        (lambda: layer(events={"cores": {"net_toggle": -1.0}}), "conv: cores: net_toggle: must be counted from 0"),
        (lambda: layer(error=-0.1), "conv: must have an error of at least 0, not -0.1"),
    ],
)
def test_what_cannot_be_estimated_is_told(call, sentence):
    with pytest.raises(HwsegError) as error:
        call()
    assert sentence in str(error.value)

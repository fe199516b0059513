"""The benchmark of cores: netlists that compute the dot product, figures that are complete, cycles by definition."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from hwseg.arith.types import IntType
from hwseg.bench.activations import Layer, leading
from hwseg.bench.cores import HOLDING, STREAMS, SUMS, Figures, Work, cycles, measure
from hwseg.bench.figures import BEGIN, END, document, markdown, plot, write_section
from hwseg.commands.bench import command
from hwseg.errors import HwsegError
from hwseg.ops import Requantize
from hwseg.rtl.cores import CORES
from hwseg.toolchain import yosys
from tests.faults.cache import empty_but_for_yosys


@pytest.fixture
def layer() -> Layer:
    generator = np.random.default_rng(0)
    windows = np.maximum(generator.normal(0, 60, (192, 9)), 0).clip(0, 255).astype(np.int64)
    weights = generator.normal(0, 40, (4, 9)).clip(-128, 127).astype(np.int64)
    return Layer("conv", IntType(8), windows, weights, Requantize((1,), (0,), 0, 255), 1000)


def test_leading_planes_are_those_of_the_largest_activation():
    assert leading(np.array([[0, 1], [255, 0], [0, 0], [15, 16]]), 8, False).tolist() == [7, 0, 8, 3]
    assert leading(np.array([[0, 1]]), 8, True).tolist() == [0]


def test_cycles_are_planes_and_drain(layer):
    work = Work.of(layer, 9, 8)
    assert work.activations.shape == (STREAMS, SUMS, 9)
    dense = {name: cycles(family, work)[0] for name, family in CORES.items()}
    assert dense == {
        "merged": 8, "grouped": 8, "table": 8, "table_dsp": 8, "bit_serial": 8, "bit_parallel": 1, "cascaded": 8 + 8 + 4
    }  # fmt: skip
    for family in CORES.values():
        dense, skipping, early = cycles(family, work)
        assert early <= skipping <= dense


@pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")
@pytest.mark.parametrize(
    "family", ["table_dsp", *(pytest.param(f, marks=pytest.mark.slow) for f in CORES if f != "table_dsp")]
)
def test_the_synthesized_netlist_computes_the_dot_product_and_gating_saves_toggles(
    family, layer, tmp_path, monkeypatch
):
    """`measure` refuses a netlist that computes anything else."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty_but_for_yosys(tmp_path)))
    work = Work.of(layer, 9, 4)
    figures = measure(CORES[family], work)
    assert figures.initiation_interval == (1 if family == "bit_parallel" else 4 + CORES[family].drain(9, 4))
    assert figures.toggles_per_mac > 0
    assert figures.dsp_steps_per_mac == {"bit_parallel": 1, "table_dsp": round(4 / 9, 3)}.get(family, 0)
    if family in HOLDING:
        assert 0 < figures.toggles_per_mac_gated < figures.toggles_per_mac
    assert figures.lut > 9
    assert measure(CORES[family], work) == figures


@pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")
def test_documents_are_complete(layer, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty_but_for_yosys(tmp_path)))
    figures = Figures("merged", 9, 4, 98, 80, 5, 97, 19, 0, 0, 9, 4, 4.0, 3.2, 2.5, 23.0, 16.1, 14.3, 0.0)
    routed = replace(figures, core="bit_parallel", fmax_mhz=180.5, slowest_path="1 ns from a to b", dsp=9, lut=40)
    both = [figures, routed, replace(figures, core="table", lut=46)]
    found = document(both, [layer], layer, lambda text: None)
    assert {"core", "lanes", "weight_bits", "lut", "lutram", "ff", "dsp", "initiation_interval"} <= set(
        found["cores"][0]
    )
    write_section(tmp_path / "page.md", markdown(found))
    write_section(tmp_path / "page.md", "again")
    assert (tmp_path / "page.md").read_text().count(BEGIN) == 1
    assert f"{BEGIN}\nagain\n{END}" in (tmp_path / "page.md").read_text()
    assert found["planes"][0]["toggles_per_mac_gated"] < found["planes"][0]["toggles_per_mac"]
    assert "- bit_parallel: 1 ns from a to b" in markdown(found)
    json.dumps(found)
    pytest.importorskip("matplotlib")
    plot(tmp_path / "cores.png", found)
    assert (tmp_path / "cores.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--lanes", "0"], "--lanes: must be at least 1, not 0"), (["--bits", "9"], "--bits: must be 1 to 8, not 9")],
)
def test_bad_options_are_a_sentence(arguments, message):
    result = CliRunner().invoke(command, ["cores", *arguments])
    assert isinstance(result.exception, HwsegError)
    assert message in str(result.exception)

"""The energy benchmark: its U-Net, its samples, cores at an equal share, and a document that says what it found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from hwseg import golden
from hwseg.bench import energy_report
from hwseg.bench.energy import LANES, Work, fitting, paper, rival
from hwseg.bench.energy_cores import Observation, fit, left_out_error, observe, samples
from hwseg.bench.energy_unet import SIZE, unet
from hwseg.bench.energy_work import Case
from hwseg.boards import load_board
from hwseg.commands.bench import command
from hwseg.errors import HwsegError
from hwseg.ops import macs
from hwseg.power.band import BOUNDARIES
from hwseg.power.coefficients import load
from hwseg.rtl.config import parse_array
from hwseg.rtl.cores import CORES
from hwseg.toolchain import yosys
from tests.compile.proof import compiled

needs_yosys = pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")


def waves(size: int) -> np.ndarray:
    """A picture with structure, uint8 [size, size, 1]."""
    y, x = np.mgrid[:size, :size]
    return (127 + 100 * np.sin(y / 9) * np.cos(x / (5 + y / 20))).astype(np.uint8)[:, :, None]


@pytest.mark.parametrize("bits", [8, 4])
def test_the_unet_has_the_papers_work_and_activations_as_relu_leaves_them(bits):
    picture = waves(SIZE)
    graph = unet(picture, bits)
    work = sum(macs(n.op, [graph.types[n.inputs[0]].shape]) for n in graph.nodes if n.weights is not None)
    assert 1.3e9 < work < 1.5e9
    tensors = golden.run(graph, picture).tensors
    for node in graph.nodes:
        kind = graph.types[node.output]
        if kind.bits == bits and not kind.signed:
            zeros = float((tensors[node.output] == 0).mean())
            assert 0.05 < zeros < 0.9, node.name
            assert tensors[node.output].max() > 0.5 * kind.high


def test_a_line_is_found_and_an_error_is_that_of_a_layer_left_out():
    generator = np.random.default_rng(0)
    line = {"net_toggle": (10.0, 200.0, -5.0), "lut_toggle": (3.0, 50.0, 7.0)}
    seen = []
    for number in range(20):
        feed, ones = generator.uniform(0.1, 0.5, 2)
        events = {event: a + b * feed + c * ones for event, (a, b, c) in line.items()}
        seen.append(Observation(f"layer{number // 2}#{number % 2}", feed, ones, 8, events))
    assert {e: pytest.approx(v, abs=1e-3) for e, v in line.items()} == fit(seen)
    assert left_out_error(seen, load()) < 1e-4
    seen[4] = replace(seen[4], per_cycle={event: 2 * value for event, value in seen[4].per_cycle.items()})
    assert left_out_error(seen, load()) > 0.1


@pytest.fixture(scope="module")
def small() -> Case:
    """A U-Net's shapes on a small picture: the default array, quickly."""
    picture = waves(32)
    graph = unet(picture, 8)
    program = compiled(graph, parse_array("16x8x8-dsp"))
    return Case("small", program, golden.run(graph, picture).tensors)


def test_samples_are_steps_of_real_maps_with_rows_of_real_weights(small):
    plan = next(p for p in small.program.plans if p.layer.name.startswith("enc1/conv1"))
    found = list(samples(plan, small.tensors, small.program.config, 2))
    assert len(found) == 2
    for sample in found:
        assert sample.values.shape == (64, 4, LANES)
        assert sample.planes == 8
        assert sample.values.any()
        assert np.abs(sample.weights.astype(int)).sum() > 0


@needs_yosys
@pytest.mark.slow
def test_every_core_computes_the_samples_and_rivals_are_dearer(small):
    """`observe` refuses a netlist that computes anything else."""
    work = Work.of(small)
    board = load_board("zynq7020")
    coefficients = load()
    ours = rival(CORES["table_dsp"], work, coefficients, 150.0)
    assert ours.cores == pytest.approx(128)
    direct = sum(a.cycles for a in work.base)
    assert ours.report.total.cycles == pytest.approx(direct, rel=1e-6)
    for name, family in CORES.items():
        sample = work.samples[0][0]
        assert observe(family, sample).per_cycle["net_toggle"] > 0, name
        other = rival(family, work, coefficients, 150.0)
        assert other.cores == pytest.approx(fitting(family, small.program.config, board.resources))
        if name != "table_dsp":
            assert other.gops < ours.gops
            assert other.report.total.gops_per_w["pl_ps"].mid < ours.report.total.gops_per_w["pl_ps"].mid
    own = paper(work, coefficients)
    assert own.gops == pytest.approx(53.0, rel=1e-3)


def found_document() -> dict[str, object]:
    """What a run finds, with figures that are easy to follow."""
    band = {"low": 10.0, "mid": 20.0, "high": 40.0}
    bands = dict.fromkeys(BOUNDARIES, band)
    energies = {"energy_mj": bands, "watts": bands, "gops_per_w": bands}
    parts = {"parts_w": {"cores": 1.0}}
    networks = ("unet16-8bit", "unet16-4bit", "unet16-8bit-256", "unet16-4bit-256", "nuclei-w8a8")
    rows = [{"network": name, "macs": 10**9, "cycles": 10**6, "gops": 300.0} | energies | parts for name in networks]
    core = {"network": "unet16-8bit", "cores": 2.0, "cycles": 8.0, "lut": 100.0, "dsp": 0}
    rivals = [core | {"core": name, "gops": 100.0 * (1 + (name == "table_dsp"))} | energies for name in CORES]
    head = {"clock_mhz": 150.0, "temperature_c": 50.0, "coefficients_sha256": "ab" * 32, "array": "a", "yosys": "0"}
    own = core | {"core": "merged", "gops": 53.0} | energies
    fewer = [row | {"cycles": 9 * 10**5, "left_out": 0.125} for row in rows]
    return head | {"networks": rows, "skipping": fewer, "rivals": rivals, "paper": own}


def test_the_document_says_what_was_found():
    text = energy_report.markdown(found_document())
    assert "| unet16-8bit | 1.000 | 300 | 20 (10 to 40) |" in text
    assert "| 8 bits, PL, middle | 160 | 20.0, missed | 20.0, missed |" in text
    assert "| unet16-8bit | 12.5% | 10.0% | 20.0 | 20.0 | 20.0 | 20.0 |" in text
    assert "| unet16-8bit | cascaded | 2.00 | 1.00 | 1.00 | 1.00 | 2.52 |" in text
    assert "**Factor 1.32**: our middle is above the measurement, which lies within the band." in text
    alone = energy_report.markdown(found_document() | {"rivals": []})
    assert "Rivals" not in alone


def test_aims_are_reached_or_not_as_the_figures_say():
    found = found_document()
    for row in found["networks"]:  # type: ignore[attr-defined]
        row["gops_per_w"] = {b: {"low": 30.0, "mid": 170.0, "high": 400.0} for b in BOUNDARIES}
        if row["network"] == "unet16-4bit-256":
            row["gops_per_w"]["pl"]["mid"] = 295.0
    rows = energy_report.target_rows(found)
    assert [str(row[2]).split(", ")[1] for row in rows] == ["reached", "missed", "reached", "reached"]
    assert [str(row[3]).split(", ")[1] for row in rows] == ["reached"] * 4


def test_the_command_refuses_what_it_cannot_do(monkeypatch, tmp_path):
    for arguments, sentence in (
        (["energy", "--clock-mhz", "0"], "--clock-mhz: must be from 1 to 1000, is 0; use 150"),
        (["energy", "--no-rivals", "--coefficients", str(tmp_path / "none")], "must be a coefficient file"),
    ):
        result = CliRunner().invoke(command, arguments)
        assert isinstance(result.exception, HwsegError)
        assert sentence in str(result.exception)
    monkeypatch.setattr(yosys, "version", lambda: None)
    result = CliRunner().invoke(command, ["energy"])
    assert str(result.exception).startswith(
        "hwseg bench energy: needs pyosys, which is not there; install hwseg[synth]"
    )


@needs_yosys
@pytest.mark.slow
@pytest.mark.network
def test_the_cores_file_is_what_the_netlists_of_today_show():
    """Gates that were changed since toggle otherwise: then `hwseg bench energy --calibrate hwseg/power/cores.toml`."""
    from hwseg.bench.energy_calibrate import cores_text
    from hwseg.power.cores import FILE

    assert cores_text(load(), lambda _: None) == FILE.read_text()

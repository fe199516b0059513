"""The throughput benchmark: its rows, and that its cuts are the network's layers, computed right."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import functions, throughput, upsampling, verification
from benchmarks.strips import cuts
from hwseg.compile.program import Program, compile_graph
from hwseg.rtl.config import PRESETS, parse_array
from tests.compile.proof import BOARD, differences

CONFIG = parse_array("8x8x8")
KEYS = ["name", "bits", "ddr_bits", "mode", "clock_mhz", "macs", "cycles", "utilization", "gops", "ddr_bytes"]


def compiled(graph: object) -> Program:
    return compile_graph(graph, CONFIG, BOARD)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["unet8", "resunet"])
def network(request: pytest.FixtureRequest) -> Program:
    return compiled(throughput.NETWORKS[request.param](8, 32))


def test_a_row_has_the_agreed_keys_and_follows_the_clock() -> None:
    rows = [throughput.measure("unet8", 4, 16, PRESETS["zynq7020"], clock) for clock in (150.0, 100.0)]
    assert list(asdict(rows[0])) == KEYS
    assert [row.clock_mhz for row in rows] == [150.0, 100.0]
    assert rows[0].macs == rows[1].macs
    assert rows[0].gops > rows[1].gops
    assert rows[0].gops == pytest.approx(2 * rows[0].macs * 0.15 / rows[0].cycles)


@pytest.mark.parametrize(("name", "bits"), throughput.SHIPPED.items())
def test_shipped_networks_have_rows(name: str, bits: int | str) -> None:
    row = throughput.measure(name, bits, 32, PRESETS["zynq7020"])
    assert (row.name, row.bits, row.ddr_bits, row.mode) == (name, bits, 32, "dense")
    assert 0 < row.utilization < 1


def test_each_upsampling_has_a_line() -> None:
    size, config = (8, 1, 32, 1), PRESETS["sim"]
    lines = {name: upsampling.measure(size, 4, name, config) for name in ("nearest", "bilinear", "transposed")}
    assert [line[:3] for line in lines.values()] == [["unet8", "4", name] for name in lines]
    assert all(line[4].endswith(" %") == (name == "bilinear") for name, line in lines.items())
    assert int(lines["bilinear"][3].replace(",", "")) > int(lines["nearest"][3].replace(",", ""))


def test_each_function_and_gate_has_a_line() -> None:
    names = ("3x3 and ReLU", "3x3 and LeakyReLU", "3x3, 8 bits, HardSigmoid", "depthwise 3x3 and ReLU")
    lines = list(functions.measure(PRESETS["sim"], names, size=8))
    assert [line[0] for line in lines] == list(names)
    cycles = [int(line[1].replace(",", "")) for line in lines]
    assert cycles[3] < cycles[0] < min(cycles[1:3])
    assert lines[0][2] == "1.0"
    assert [int(line[3]) for line in lines][2:] == [3, 1]


def test_skipping_saves_cycles_on_a_dark_picture(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 60, (128, 128)).astype(np.uint8)
    pixels[:64] = 0
    Image.fromarray(pixels).save(tmp_path / "dark.png")
    config = PRESETS["zynq7020"]
    dense = throughput.measure("nuclei-w8a8", 8, 16, config)
    found = throughput.measure_skipping("nuclei-w8a8", 16, config, [tmp_path / "dark.png"])
    assert found.mode == "skip"
    assert found.macs == dense.macs
    assert dense.cycles / 2 < found.cycles < dense.cycles
    assert found.gops * found.cycles == pytest.approx(dense.gops * dense.cycles)
    assert 0 < found.utilization < dense.utilization * dense.cycles / found.cycles


def test_every_layer_is_cut_once_with_its_own_channels_and_weights(network: Program) -> None:
    whole = {plan.layer.name: plan.layer for plan in network.plans}
    found = list(cuts(network, compiled, 10_000))
    assert [name for cut in found for name in cut.layers] == [plan.layer.name for plan in network.plans]
    for cut in found:
        layers = {plan.layer.name: plan.layer for plan in cut.program.plans}
        for name in cut.layers:
            small, large = layers[name], whole[name]
            assert (small.op, small.kernel, small.stride) == (large.op, large.kernel, large.stride)
            assert small.shape[1:] == large.shape[1:]
            assert small.shape[0] * cut.whole == large.shape[0] * cut.rows
            assert small.requantize == large.requantize
            assert (small.weights == large.weights).all()
            assert (small.pooled is None) == (large.pooled is None)
        assert cut.cycles <= 10_000 or cut.rows < 6


def test_cuts_compute_what_they_should(network: Program) -> None:
    for cut in cuts(network, compiled, 10_000):
        assert differences(cut.program) == {}, cut.layers


def test_what_has_passed_is_not_simulated_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = compiled(throughput.NETWORKS["unet8"](8, 16))
    runs: list[str] = []

    def simulated(network: str, what: str, _: Program) -> verification.Check:
        runs.append(what)
        return verification.Check(network, what, 100, 100, 0, len(runs) > 1, 1e4)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(verification, "engine_verilog", repr)
    monkeypatch.setattr(verification, "_simulated", simulated)
    assert not verification.verify_whole("unet8", program).passed
    assert verification.verify_whole("unet8", program).passed
    assert verification.verify_whole("again", program) == verification.Check("again", "whole", 100, 100, 0, True, 1e4)
    assert len(runs) == 2
    (note,) = (tmp_path / "hwseg" / verification.PASSED).iterdir()
    note.write_bytes(note.read_bytes().replace(b"100", b"200", 1))
    assert verification.verify_whole("unet8", program).cycles == 100
    assert len(runs) == 3
    changed = replace(program, weights=program.weights[:-1] + b"x")
    verification.verify_whole("unet8", changed)
    assert len(runs) == 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--array", "9x8x8"], "output channels must be a multiple of 8"),
        (["--array", "64x8x8"], "--array 64x8x8: needs about .* LUT, zynq7020 has 53,200; use 16x8x8-dsp"),
        (["--clock", "nan"], "--clock: must be from 1 to 1000 MHz, is nan"),
        (["--clock", "0"], "--clock: must be from 1 to 1000 MHz, is 0"),
        (["--json", "none/rows.json"], "none/rows.json: must be a file in a folder that exists"),
        (["--plot", "."], r"\.: must be a file in a folder that exists"),
        (["--plot", "plot.bad"], "plot.bad: must end in .png"),
        (["--plot", "plot.png", "--clock", "100"], "--plot: shows drawn networks at 150 MHz, of which there is none"),
        (["--plot", "plot.png", "--only", "nuclei-w8a8"], "--plot: shows drawn networks at 150 MHz"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_measured(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["throughput", *arguments])
    monkeypatch.setattr(throughput, "measure", None)
    with pytest.raises(SystemExit) as ended:
        throughput.main()
    assert ended.value.code == 2
    assert re.search(sentence, capsys.readouterr().err)

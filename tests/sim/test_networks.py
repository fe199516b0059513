"""The whole path on random small U-Nets: PyTorch, QONNX, compiler, Verilog; every value and every cycle."""

import numpy as np
import pytest

from hwseg.builds.build import compile_model
from hwseg.builds.simulation import simulate
from hwseg.errors import HwsegError
from hwseg.quant.read.load import load
from tests.quant.models import random_image, random_unet

pytestmark = [pytest.mark.verilator, pytest.mark.xdist_group("simulator")]

SEEDS = [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 20))]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Builds by seed and array, each compiled once."""
    folder = tmp_path_factory.mktemp("networks")
    made = {}

    def make(seed, array="sim", core="table", **choices):
        key = (seed, array, core, *sorted(choices.items()))
        if key not in made:
            place = folder / f"{len(made)}"
            place.mkdir()
            model = random_unet(seed, place, **choices)
            made[key] = compile_model(model, array=array, core=core, out=place / "build").path
        return made[key]

    return make


def picture(build, seed):
    return random_image(load(build / "model.onnx"), seed)


def check(build, seed, **memory):
    result = simulate(build, picture(build, seed), seed=seed + 1, **memory)
    assert result.finished
    assert result.first_mismatch is None, str(result.first_mismatch)
    assert result.mismatches == 0
    return result


@pytest.mark.parametrize("seed", SEEDS)
def test_values_and_cycles_are_exact_with_fixed_latency(compiled, seed):
    result = check(compiled(seed), seed)
    assert [(x.name, x.cycles) for x in result.layers] == [(x.name, x.predicted_cycles) for x in result.layers]
    assert result.cycles == result.predicted_cycles == sum(layer.cycles for layer in result.layers)


@pytest.mark.parametrize("seed", SEEDS)
def test_values_are_exact_with_random_latency_and_stalls(compiled, seed):
    check(compiled(seed), seed, latency=(3, 20 + 40 * (seed % 5)))


@pytest.mark.parametrize("latency", [2, 97, 400])
def test_cycles_are_predicted_for_other_latencies(compiled, latency):
    result = check(compiled(3), 3, latency=(latency, latency))
    assert result.cycles == result.predicted_cycles


@pytest.mark.parametrize(
    ("array", "core"),
    [
        ("8x2x2", "table"),
        ("8x4x4", "merged"),
        ("zynq7020", "table"),
        pytest.param("8x2x2", "table_dsp", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("seed", [5, 6])
def test_other_arrays_compute_the_same(compiled, array, core, seed):
    result = check(compiled(seed, array, core), seed)
    assert result.cycles == result.predicted_cycles


def copy_with(build, target, name, change):
    """The build with one file changed by `change`(bytes)."""
    target.mkdir()
    for file in build.iterdir():
        if file.is_file():
            (target / file.name).write_bytes(change(file.read_bytes()) if file.name == name else file.read_bytes())
    return target


def flip(position):
    def change(content):
        at = position if position >= 0 else len(content) + position
        return content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :]

    return change


@pytest.mark.parametrize("name", ["top.v", "program.bin", "weights.bin"])
def test_a_changed_file_is_refused_by_name(compiled, tmp_path, name):
    build = copy_with(compiled(3), tmp_path / "changed", name, flip(100))
    with pytest.raises(HwsegError, match=rf"{name}: was changed: SHA-256"):
        simulate(build, picture(build, 3))


def test_wrong_weights_show_as_mismatches(compiled, tmp_path):
    # One byte may be a weight that no picture shows: a channel that is always clamped.
    def spoil(content):
        return bytes(byte ^ 0x55 for byte in content[:64]) + content[64:]

    build = copy_with(compiled(3), tmp_path / "changed", "weights.bin", spoil)
    result = simulate(build, picture(build, 3), verify=False)
    assert result.mismatches > 0
    assert not result.passed
    assert result.first_mismatch.layer == result.layers[1].name


def test_a_wrong_program_shows_as_a_mismatch_or_a_hang(compiled, tmp_path):
    def never_last(content):
        words = np.frombuffer(content, "<u8").copy()
        # The `last` flag of the first RUN: its sums never reach the requantizers.
        runs = np.flatnonzero((words[::4] & np.uint64(15)) == 4)
        words[4 * runs[0]] ^= np.uint64(1 << 14)
        return words.tobytes()

    build = copy_with(compiled(3), tmp_path / "changed", "program.bin", never_last)
    assert not simulate(build, picture(build, 3), verify=False).passed


def test_wrong_verilog_shows_as_mismatches(compiled, tmp_path):
    def no_exclusive_or(content):
        head, rest = content.decode().split("module hwseg_encoder_", 1)
        body, tail = rest.split("endmodule", 1)
        changed = body.replace(" ^ ", " | ", 1)
        assert changed != body
        return (head + "module hwseg_encoder_" + changed + "endmodule" + tail).encode()

    build = copy_with(compiled(3), tmp_path / "changed", "top.v", no_exclusive_or)
    result = simulate(build, picture(build, 3), verify=False)
    assert result.mismatches > 0
    assert result.cycles == result.predicted_cycles

"""From a build folder to its energy: counts that follow from the program, sources of activity, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from benchmarks.graphs import GraphBuilder
from hwseg import golden
from hwseg.builds.build import compile_model
from hwseg.builds.energy import CALIBRATION, PICTURES, activity_of, energy_of, read_images
from hwseg.commands.compile import command as compiling
from hwseg.commands.report import command as reporting
from hwseg.energy.engine import Data, events
from hwseg.energy.frame import activity_of_program
from hwseg.energy.traffic import Traffic, traffic
from hwseg.errors import HwsegError
from hwseg.machine.activity import skipping
from hwseg.power.activity import PARTS
from hwseg.power.cores import core_activity, measured
from hwseg.quant.read.load import load
from hwseg.rtl.config import BANKS, parse_array
from hwseg.target.resources import PARAMETER_BITS, memory
from tests.compile.proof import compiled

MODEL = Path(__file__).parents[2] / "hwseg" / "models" / "nuclei-w8a8.onnx"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More of them than are looked at in a sample; every other one is black."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for i in range(2 * PICTURES):
        pixels = generator.integers(0, 256, (128, 128)).astype(np.uint8) * (i % 2)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    out = tmp_path_factory.mktemp("build") / "a"
    return compile_model(MODEL, array="small", out=out, calibrate=pictures / "1.png").path


def test_counts_of_the_program_are_those_of_its_plan():
    """A layer of 16 x 24 pixels, 8 to 20 channels, 5 planes in: three passes of 8 rows, 48 words, one tile each."""
    b = GraphBuilder(16, 24, 3)
    program = compiled(b.graph(b.sums(b.conv(b.conv("image", 8, bits=5), 20), 1)), parse_array("8x8x8"))
    timing = program.timing()
    found = traffic(program.program, timing, program.config)
    count = found[1]
    assert program.plans[1].layer.shape == (16, 24, 20)
    assert count.steps == count.last_steps == 3 * 16 * 3
    assert count.plane_cycles == 5 * count.steps
    assert count.walking == 8 * count.steps
    assert count.cycles == timing.layers[1] > count.walking
    assert count.reloads >= 3
    assert count.weight_words == count.reloads * program.config.tile_words
    assert count.ring_words == count.weight_words
    assert count.ring_written == 3 * program.config.tile_words
    assert count.first_steps == count.steps
    for number, one in found.items():
        assert one.read_words == timing.read_words[number]
        assert one.written_words == timing.write_words[number]


def test_events_grow_with_what_they_are_counted_from():
    b = GraphBuilder(16, 24, 3)
    program = compiled(b.graph(b.sums(b.conv("image", 8), 1)), parse_array("8x8x8"))
    count = traffic(program.program, program.timing(), program.config)[0]
    core = core_activity("table", program.config.lanes)
    calm, busy = (events(program.config, count, Data(rate, rate, 0.2), core) for rate in (0.1, 0.4))
    assert set(calm) <= set(PARTS)
    nets = [sum(one["cores"][event] for event in ("net_toggle", "lut_net_toggle")) for one in (calm, busy)]
    assert nets[1] > 2 * nets[0]
    assert busy["operands"]["net_toggle"] == pytest.approx(4 * calm["operands"]["net_toggle"])
    for part in ("memories", "clock", "control", "ddr"):
        assert calm[part] == busy[part]
    assert calm["clock"]["clock_tree"] == count.cycles
    assert calm["ddr"]["ddr_byte"] == 8 * (count.read_words + count.written_words)
    cores = program.config.rows * program.config.pixels
    assert calm["cores"]["ff_clock"] == cores * core.per_cycle["ff_clock"] * count.cycles


def test_memories_are_read_where_the_engine_wants_their_words():
    """Three groups of input channels, so that partial sums are read in two of three steps."""
    b = GraphBuilder(16, 24, 3)
    config = parse_array("8x8x8")
    program = compiled(b.graph(b.sums(b.conv(b.conv("image", 24), 8, bits=5), 1)), config)
    count = traffic(program.program, program.timing(), config)[1]
    assert count.first_steps == count.last_steps == count.steps / 3
    core = core_activity("table", config.lanes)

    def reads(one: Traffic) -> float:
        return events(config, one, Data(0.2, 0.2, 0.2), core)["memories"]["bram_read"]

    idle = replace(count, cycles=0, plane_cycles=0, first_steps=count.steps)
    idle = replace(idle, written_words=0, pool_words=0, moved_steps=0, ring_words=0, last_steps=0)
    assert reads(idle) == 0
    assert reads(replace(idle, plane_cycles=10)) == 10 * BANKS * 4  # 2048 words x 64 bits: four block RAMs
    assert reads(replace(idle, first_steps=count.first_steps)) == 8 * 8 * (count.steps - count.first_steps)
    assert reads(replace(idle, written_words=7, pool_words=3)) == 4 * 2 * 1 + 3 * 1
    assert reads(replace(idle, moved_steps=5)) == 5 * 2 * 1
    assert reads(replace(idle, ring_words=6)) == 6 * 2
    assert reads(replace(idle, waiting_steps=3)) == 2 * 3 * 8 * 1
    assert reads(replace(idle, last_steps=5)) == 5 * 8 * memory(8 * config.param_slots, PARAMETER_BITS)
    assert reads(replace(idle, cycles=9)) == 9 * 2


def test_centre_words_of_a_residual_addition_wait():
    """One pass of both sets: the first one's wait for a RUN, as many as the map of 16 x 24 pixels has words."""
    b = GraphBuilder(16, 24, 3)
    x = b.conv("image", 16)
    y = b.add(x, b.conv(x, 16), Fraction(1, 2), Fraction(1, 2), 0, 255, Fraction(0))
    program = compiled(b.graph(b.sums(y, 1)), parse_array("16x8x8"))
    counts = traffic(program.program, program.timing(), program.config)
    assert sum(plan.layer.residual is not None for plan in program.plans) == 1
    for plan in program.plans:
        assert counts[plan.index].waiting_steps == (16 * 3 if plan.layer.residual else 0)


def test_packed_weights_are_half_the_words_of_the_ring_and_all_of_the_shadow():
    b = GraphBuilder(16, 24, 3)
    config = parse_array("8x8x8")
    program = compiled(b.graph(b.sums(b.conv("image", 8, weight_bits=4), 1)), config)
    counts = traffic(program.program, program.timing(), config)
    packed = [plan for plan in program.plans if plan.packed]
    assert packed
    for plan in packed:
        count = counts[plan.index]
        assert 2 * count.ring_words == count.weight_words == count.reloads * config.tile_words


def test_planes_that_are_left_out_take_no_cycles_and_no_toggles_with_them():
    """A picture that is black but for a corner: the same layers with less of everything that comes with a plane."""
    b = GraphBuilder(32, 64, 1)
    program = compiled(b.graph(b.sums(b.conv(b.conv("image", 16), 16), 1)), parse_array("8x8x8"))
    picture = np.zeros((32, 64, 1), np.uint8)
    picture[:8, :8] = np.random.default_rng(0).integers(0, 256, (8, 8, 1))
    tensors = golden.run(program.graph, picture).tensors
    left = skipping(program, picture)
    assert left.skipped > 0
    dense, fewer = (activity_of_program(program, [tensors], "full", full=True, skipping=one) for one in (None, left))
    assert sum(a.cycles for a in fewer) == program.timing(saved=left.saved).total <= program.timing().total
    for plan, before, after in zip(program.plans, dense[1:], fewer[1:], strict=True):
        planes, out = left.planes[plan.index]
        reads = BANKS * memory(program.config.bank_words, 64)
        saved = before.events["memories"]["bram_read"] - after.events["memories"]["bram_read"]
        assert saved == out * reads + 2 * (before.cycles - after.cycles)
        toggles = [a.events["operands"]["ff_toggle"] for a in (before, after)]
        assert toggles[1] == pytest.approx(toggles[0])
        assert 0 <= out < planes


def test_cores_are_measured_and_scaled_to_other_lanes():
    for name in ("table", "table_dsp", "merged"):
        core = core_activity(name, 72)
        assert core == measured()[name]
        assert 0 < core.fit_error < 0.5
        low, high = core.per_plane(0.1, 0.2), core.per_plane(0.4, 0.2)
        assert high["net_toggle"] > low["net_toggle"] > 0
        half = core_activity(name, 36)
        assert half.per_plane(0.3, 0.1)["net_toggle"] == pytest.approx(core.per_plane(0.3, 0.1)["net_toggle"] / 2)
    with pytest.raises(HwsegError, match="core cascaded: must be one of table"):
        core_activity("cascaded", 72)


def test_the_calibration_picture_is_stored_and_looked_at(build, pictures, tmp_path):
    stored = activity_of(build)
    assert {a.source for a in stored} == {"calibration"}
    given = activity_of(build, pictures / "1.png")
    assert [a.events for a in stored] == [a.events for a in given]
    assert {a.source for a in given} == {"images"}
    assert (build / CALIBRATION).is_file()
    again = compile_model(MODEL, array="small", out=tmp_path / "again", calibrate=pictures / "1.png").path
    assert (again / CALIBRATION).read_bytes() == (build / CALIBRATION).read_bytes()


def test_a_page_of_a_stack_is_looked_at(build, pictures, tmp_path):
    """By `hwseg report --images --page` and `hwseg compile --calibrate --page`; without it a stack is refused."""
    planes = np.stack([np.asarray(Image.open(pictures / name)) for name in ("0.png", "1.png")])
    tifffile.imwrite(tmp_path / "stack.tif", planes)
    given, paged = activity_of(build, pictures / "1.png"), activity_of(build, tmp_path / "stack.tif", page=1)
    assert [a.events for a in paged] == [a.events for a in given]
    arguments = [
        str(MODEL),
        "-o",
        str(tmp_path / "build"),
        "--array",
        "small",
        "--calibrate",
        str(tmp_path / "stack.tif"),
    ]
    done = CliRunner().invoke(compiling, arguments)
    assert "stack.tif: holds 2 pictures, one is wanted; choose with --page 0 to --page 1" in str(done.exception)
    assert CliRunner().invoke(compiling, [*arguments, "--page", "1"]).exit_code == 0
    assert (tmp_path / "build" / CALIBRATION).read_bytes() == (build / CALIBRATION).read_bytes()
    looked = [str(build), "--images", str(tmp_path / "stack.tif"), "-o", str(tmp_path / "report"), "--json"]
    assert "choose with --page 0 to --page 1" in str(CliRunner().invoke(reporting, looked).exception)
    found = CliRunner().invoke(reporting, [*looked, "--page", "1"])
    assert found.exit_code == 0, found.exception
    wanted = CliRunner().invoke(reporting, [*looked[:2], str(pictures / "1.png"), *looked[3:]])
    assert json.loads(found.stdout)["layers"] == json.loads(wanted.stdout)["layers"]
    for command, words in ((compiling, arguments[:-2]), (reporting, [str(build)])):
        assert "--page: " in str(CliRunner().invoke(command, [*words, "--page", "1"]).exception)


def test_pictures_of_little_activity_cost_less_and_everything_has_no_sampling_error(build, pictures):
    black, noise = (energy_of(build, pictures / name) for name in ("0.png", "1.png"))
    assert black.total.energy_mj["core"].mid < noise.total.energy_mj["core"].mid
    assert black.total.energy_mj["board"].mid < noise.total.energy_mj["board"].mid
    full = energy_of(build, pictures / "1.png", full=True)
    assert full.sampling_error <= noise.sampling_error
    assert "every group" in full.activity_source
    near = abs(full.total.energy_mj["core"].mid / noise.total.energy_mj["core"].mid - 1)
    assert near <= noise.sampling_error


def test_without_a_picture_the_default_activity_has_a_wider_band(build, tmp_path):
    plain = energy_of(compile_model(MODEL, array="small", out=tmp_path / "plain").path)
    assert "default activity" in plain.activity_source
    seen = energy_of(build)
    width = [r.total.energy_mj["core"].high / r.total.energy_mj["core"].mid for r in (plain, seen)]
    assert width[0] > width[1]
    assert [layer.name for layer in plain.layers] == [layer.name for layer in seen.layers]
    assert plain.total.cycles == seen.total.cycles


def test_a_folder_gives_some_pictures_or_all(pictures):
    graph = load(MODEL)
    assert len(read_images(pictures, graph, False, "")) == PICTURES
    assert len(read_images(pictures, graph, True, "")) == 2 * PICTURES


def test_what_cannot_be_looked_at_is_told(build, pictures, tmp_path):
    Image.fromarray(np.zeros((64, 100), np.uint8)).save(tmp_path / "small.png")
    with pytest.raises(HwsegError) as error:
        activity_of(build, tmp_path / "small.png")
    sentence = f"{tmp_path / 'small.png'}: must be 128 wide and 128 high, is 100 by 64; crop or resize it first"
    assert str(error.value) == sentence
    assert activity_of(build, tmp_path / "small.png", fit="resize")
    (tmp_path / "empty").mkdir()
    with pytest.raises(HwsegError, match=r"empty: must hold pictures \(.png.*holds none; give a picture or a folder"):
        activity_of(build, tmp_path / "empty")
    with pytest.raises(HwsegError, match=r"small.png: must be 128 wide"):
        compile_model(MODEL, array="small", out=tmp_path / "b", calibrate=tmp_path / "small.png")
    assert not (tmp_path / "b").exists()


def test_a_build_that_was_changed_is_refused(tmp_path):
    changed = compile_model(MODEL, array="small", out=tmp_path / "changed").path
    with (changed / "program.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(HwsegError, match=r"program\.bin"):
        energy_of(changed)

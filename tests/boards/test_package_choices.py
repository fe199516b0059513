"""What was chosen when a model was compiled is what its package says, and what a driver does with it."""

from __future__ import annotations

import json
import os
import re
import shutil
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from hwseg import golden
from hwseg.boards import CLOCK_TOLERANCE, board_names, load_board
from hwseg.boards.zynq7020.package import package, read_build
from hwseg.builds.build import compile_model
from hwseg.errors import HwsegError
from hwseg.files import MANIFEST, manifest_text
from hwseg.pictures.meaning import NONE
from hwseg.pictures.table import normalize
from hwseg.rtl.config import SUFFIXES
from hwseg.runtime import Accelerator, fpga, read_package
from tests.quant.models import random_unet
from tests.runtime.fake import FakeBoard
from tests.runtime.test_fpga import word

BOARD = load_board("pynq-z2")


def compiled(folder, **choices):
    """A build of a small random network."""
    folder.mkdir(parents=True, exist_ok=True)
    return compile_model(random_unet(1, folder), **{"array": "8x1x1", "out": folder / "build", **choices})


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize(
    ("board", "target", "clock", "pll", "divisors"),
    [
        ("zynq7020", "pynq-z2", None, "ddr", (7, 1)),
        ("zynq7020", "pynq-z2", 100.0, "io", (10, 1)),
        ("zynq7020", "arty-z7-20", 131.25, "ddr", (8, 1)),
        ("pynq-z1", "pynq-z2", 118.182, "arm", (11, 1)),
        ("zedboard", "zedboard", None, "io", (7, 1)),
        ("zedboard", "zedboard", 100.0, "io", (10, 1)),
        ("zynq7020", "pynq-z2", 5.0, "io", (50, 4)),
    ],
)
def test_the_clock_travels(tmp_path, board, target, clock, pll, divisors):
    """From --clock-mhz to report, constraints, scripts, read-me, driver, and the register that sets it."""
    build = compiled(tmp_path, board=board, clock_mhz=clock)
    clocked = package([build.path], load_board(target), tmp_path / "package")
    mhz = build.report["clock_mhz"]
    assert abs(clocked.clock_mhz - mhz) < CLOCK_TOLERANCE
    found = read_package(tmp_path / "package")
    assert found.board.clock_mhz == pytest.approx(mhz, abs=CLOCK_TOLERANCE)
    assert (found.board.fclk_pll, found.board.fclk_divisors) == (pll, divisors)
    hardware = tmp_path / "package" / "hardware"
    period = re.search(r"-period ([\d.]+) ", (hardware / "timing.xdc").read_text())
    assert period is not None
    assert 1000 / float(period[1]) == pytest.approx(mhz, rel=1e-3)
    for text in (hardware / "vivado.tcl", hardware / "open.sh", tmp_path / "package" / "README.md"):
        told = re.findall(r"(?:at |--freq |, )(\d+\.\d{3})(?: MHz|\b)", text.read_text())
        assert told
        assert all(float(value) == pytest.approx(mhz, abs=0.01) for value in told)
    (tmp_path / "dev").mkdir()
    with open(tmp_path / "dev" / "mem", "wb") as memory:
        memory.truncate(0xF801_0000)
    fpga.set_clock(found.board, tmp_path)
    value = word(tmp_path, 0xF8000170)
    source = {0: "io", 2: "arm", 3: "ddr"}[value >> 4 & 3]
    assert (source, value >> 8 & 63, value >> 20 & 63) == (pll, *divisors)


def test_a_clock_that_no_pll_gives_is_refused_and_the_cure_works(tmp_path):
    build = compiled(tmp_path / "a", clock_mhz=123.456)
    sentence = r"the clock of pynq-z2 cannot be 123.456 MHz: .*; compile again with --clock-mhz 118.182 or 125"
    with pytest.raises(HwsegError, match=sentence):
        package([build.path], BOARD, tmp_path / "package")
    assert not (tmp_path / "package").exists()
    for cure in (118.182, 125):
        again = compiled(tmp_path / str(cure), clock_mhz=cure)
        clocked = package([again.path], BOARD, tmp_path / "package")
        assert clocked.clock_mhz == pytest.approx(cure, abs=CLOCK_TOLERANCE)


@pytest.mark.parametrize("name", board_names())
def test_every_cure_of_a_clock_is_a_clock(name):
    board, refused = load_board(name), 0
    for mhz in np.random.default_rng(1).uniform(1, 1000, 40):
        try:
            assert board.at(float(mhz), "x").ps.fclk.mhz == pytest.approx(mhz, abs=CLOCK_TOLERANCE)
        except HwsegError as error:
            refused += 1
            cures = [float(word) for word in error.cure.replace(" or ", " ").split() if word[0].isdigit()]
            assert min(cures) < mhz < max(cures)
            for cure in cures:
                assert board.at(cure, "x").ps.fclk.mhz == pytest.approx(cure, abs=CLOCK_TOLERANCE)
    assert refused > 10


@pytest.mark.parametrize("name", board_names())
def test_every_boards_own_clock_and_every_clock_of_its_plls_is_one_of_its(name):
    board = load_board(name)
    assert board.at(board.clock_mhz, "x") is board
    for mhz in board.ps.plls.values():
        for divisor in (1, 2, 7, 10, 63, 64, 63 * 63):
            assert board.at(mhz / divisor, "x").ps.fclk.mhz == pytest.approx(mhz / divisor, abs=CLOCK_TOLERANCE)


def test_builds_of_different_clocks_are_refused(plain, tmp_path):
    slow = compile_model(random_unet(7, tmp_path), array="8x1x1", clock_mhz=100, out=tmp_path / "slow").path
    with pytest.raises(
        HwsegError, match=r"was compiled for 100 MHz, .* for 150; compile again with --clock-mhz 150: a"
    ):
        package([plain.path, slow], BOARD, tmp_path / "package")
    with pytest.raises(
        HwsegError, match=r"was compiled for 150 MHz, .* for 100; compile again with --clock-mhz 100: a"
    ):
        package([slow, plain.path], BOARD, tmp_path / "package")
    assert not (tmp_path / "package").exists()


@pytest.mark.parametrize("core", SUFFIXES)
def test_the_core_travels(tmp_path, core):
    build = compiled(tmp_path, core=core)
    package([build.path], BOARD, tmp_path / "package")
    found = read_package(tmp_path / "package")
    assert found.array == build.report["array"] == f"8x1x1{SUFFIXES[core]}"
    assert found.array_code == 0x010108 | list(SUFFIXES).index(core) << 24
    assert (tmp_path / "package/hardware/sim_cells.v").exists() == (build.path / "sim_cells.v").exists()


def quantized(pixels, kind):
    """pixel / 256 in the integers of a graph's input."""
    steps = np.rint(pixels.astype(np.float64) / (256 * float(kind.scale[0])))
    return np.clip(steps, kind.low, kind.high).astype(np.int16)


@pytest.mark.parametrize("planes", [3, 8])
@pytest.mark.parametrize("spec", [NONE, "percentile 2 97.5"])
def test_planes_and_normalization_travel_to_the_mask(tmp_path, planes, spec):
    """The masks are those of the golden model with the same dial, on the same prepared picture."""
    import onnx

    path = random_unet(1, tmp_path)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"hwseg.normalize": spec})
    onnx.save(model, path)
    build = compile_model(path, array="8x1x1", planes=planes, out=tmp_path / "build")
    package([build.path], BOARD, tmp_path / "package")
    described = read_package(tmp_path / "package")
    graph = build.program.graph
    kind = graph.types[graph.input]
    pixels = np.random.default_rng(3).integers(40, 200, kind.shape, np.uint8)
    wanted = golden.run(graph, quantized(normalize(pixels, spec), kind))
    with Accelerator(described, FakeBoard(described)) as accelerator:
        result = accelerator.segment(pixels, "unet1", planes=planes)
        assert (result.sums == wanted.tensors[graph.head.tensor]).all()
        assert (result.mask == wanted.mask).all()
        head = graph.head
        values = golden.values(head.scale, head.offset, result.sums).astype(np.float32)
        assert (result.logits == values).all()


def test_where_the_picture_and_the_head_lie_is_what_the_build_says(plain, tmp_path):
    package([plain.path], BOARD, tmp_path / "package")
    memory = json.loads((plain.path / "memory.json").read_text())
    model = read_package(tmp_path / "package").model("unet1")
    assert (model.total_bytes, model.cycles) == (memory["total_bytes"], plain.report["totals"]["cycles"])
    assert (model.input_address, model.head_address) == (memory["input"]["address"], memory["head"]["address"])
    assert model.head_layout.to_json().items() <= memory["head"].items()
    assert model.input.to_json().items() <= memory["input"].items()
    head = plain.program.graph.head
    assert model.head.scale == tuple(
        float(Fraction(s)) for s in head.scale * (model.head_layout.shape[2] // len(head.scale))
    )


def changed(plain, tmp_path, change):
    """A copy of the build with other contents, its manifest made again or not."""
    copy = shutil.copytree(plain.path, tmp_path / "copy")
    if change(copy) is not False:
        (copy / MANIFEST).write_text(manifest_text(copy))
    return copy


def entry(name, *path, value):
    def change(folder):
        content = json.loads((folder / name).read_text())
        inner = content
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        (folder / name).write_text(json.dumps(content))

    return change


def beside(folder):
    content = json.loads((folder / MANIFEST).read_text())
    del content["sim_cells.v"]
    (folder / MANIFEST).write_text(json.dumps(content))
    return False


def pipe(folder):
    (folder / "sim_cells.v").unlink()
    os.mkfifo(folder / "sim_cells.v")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (beside, r"sim_cells.v: is not listed in the manifest; run hwseg compile again"),
        (
            entry("report.json", "clock_mhz", value="fast"),
            r"clock_mhz must be a finite number from 1 to 1000, is 'fast'",
        ),
        (entry("report.json", "clock_mhz", value=float("nan")), r"clock_mhz must be a finite number"),
        (entry("report.json", "planes", value="4"), r"planes must be an integer"),
        (
            entry("report.json", "model", value="../../x"),
            r"the model's name must be one of a folder, is '../../x'; rename",
        ),
        (entry("report.json", "model", value=".."), r"the model's name must be one of a folder"),
        (
            entry("report.json", "board", value="mine"),
            r"was compiled for mine, which is no board any more; compile again",
        ),
        (entry("report.json", "array", value="8x8x8"), r"must be for one array, 8x8x8"),
        (entry("report.json", "layers", value=5), r"layers must be a list"),
        (entry("memory.json", "array", value=None), r"array must be text"),
        (entry("graph.json", "head", "scale", value=["1/0"]), r"must be a build folder: ZeroDivisionError"),
        (entry("graph.json", "input", value="none"), r"must have the entry tensors.none"),
        (lambda folder: (folder / "graph.json").write_bytes(b"[" * 200_000), r"graph.json: must be JSON"),
        (lambda folder: (folder / "top.v").unlink(), r"top.v: is not listed in the manifest"),
        (pipe, r"sim_cells.v: is not listed in the manifest"),
    ],
)
def test_a_build_that_is_none_is_refused(plain, tmp_path, change, sentence):
    copy = changed(plain, tmp_path, change)
    with pytest.raises(HwsegError, match=sentence):
        package([copy], BOARD, tmp_path / "package")
    assert not (tmp_path / "package").exists()


def test_what_is_read_is_what_the_manifest_lists(plain, tmp_path, monkeypatch):
    """Also where a file changes between the check of one and the reading of another."""
    from hwseg.files import Sealed

    real, copy = Sealed.read, shutil.copytree(plain.path, tmp_path / "copy")

    def read(self, name, *arguments):
        found = real(self, name, *arguments)
        (copy / name).write_bytes(b"changed afterwards")
        return found

    wanted = read_build(plain.path)
    monkeypatch.setattr(Sealed, "read", read)
    found = read_build(copy)
    assert (found.contents, found.top) == (wanted.contents, wanted.top)


def test_the_commands_line_tells_the_clock(plain, tmp_path):
    from click.testing import CliRunner

    from hwseg.commands.package import command

    arguments = [str(plain.path), "--board", "pynq-z2", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(command, arguments)
    files = sum(path.is_file() for path in (tmp_path / "out").rglob("*"))
    assert done.output == f"wrote {tmp_path / 'out'}: {files} files for the PYNQ-Z2 at 150.000 MHz\n"


def test_a_report_says_what_its_package_is_for(plain):
    build = SimpleNamespace(**vars(read_build(plain.path)))
    report = plain.report
    assert (build.board, build.clock_mhz, build.array) == (report["board"], report["clock_mhz"], report["array"])

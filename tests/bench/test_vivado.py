"""`hwseg report --vivado` with a stand-in for Vivado: what it is given, what is read from it, what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hwseg.bench import vivado
from hwseg.bench.saif import parse
from hwseg.builds.build import compile_model
from hwseg.builds.energy import energy_of
from hwseg.errors import HwsegError
from hwseg.toolchain import yosys
from tests.faults.small import model

pytestmark = pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")

REPORT = """
+--------------------------+--------+
| Total On-Chip Power (W)  | 1.250  |
| Dynamic (W)              | 1.100  |
| Device Static (W)        | 0.150  |
+--------------------------+--------+
| Clocks                  |     0.300 |        3 |       --- |             --- |
|   CARRY4                |    <0.001 |       12 |     13300 |            0.09 |
"""


def stand_in(folder: Path, body: str) -> None:
    """A program named vivado."""
    program = folder / "vivado"
    program.write_text(f"#!{sys.executable}\n{body}\n")
    program.chmod(0o755)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (16, 16)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vivado")
    return compile_model(model(folder / "model.onnx"), array="8x1x1-merged", out=folder / "build").path


def test_both_figures_stand_side_by_side(build, picture, tmp_path, monkeypatch):
    keep = tmp_path / "kept"
    keep.mkdir()
    body = f"""import shutil, sys
assert sys.argv[1:] == ["-mode", "batch", "-source", "power.tcl", "-nojournal"], sys.argv
for name in ("power.tcl", "activity.saif", "top.v"):
    shutil.copy(name, {str(keep)!r})
open("power.txt", "w").write({REPORT!r})"""
    stand_in(tmp_path, body)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    energy = energy_of(build, picture)
    found = vivado.compare(build, picture, energy, lambda _: None)
    assert found.vivado["Total On-Chip Power (W)"] == 1.25
    assert found.vivado["Clocks"] == 0.3
    assert found.vivado["CARRY4"] == 0.001
    assert found.estimated == energy.watts("pl")
    assert "1.250 W in the programmable logic (1.100 W dynamic); estimated: " in found.told
    script = (keep / "power.tcl").read_text()
    assert "-part xc7z020clg400-1" in script
    assert "create_clock -name clk -period 6.667" in script
    assert "set_operating_conditions -junction_temp 50" in script
    activity = parse((keep / "activity.saif").read_text())
    (array,) = activity.top.inside
    assert len(array.inside) == 8
    assert (keep / "top.v").read_bytes() == (build / "top.v").read_bytes()


def test_what_is_missing_or_fails_is_told(build, picture, tmp_path, monkeypatch):
    energy = energy_of(build)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HwsegError) as error:
        vivado.compare(build, picture, energy, lambda _: None)
    assert str(error.value) == "--vivado: needs vivado on PATH, which is not there; install Vivado ML Standard"
    stand_in(tmp_path, "import sys; print('ERROR: [Common 17-69] no licence'); sys.exit(1)")
    with pytest.raises(HwsegError) as error:
        vivado.compare(build, None, energy, lambda _: None)
    sentence = (
        "--vivado: needs pictures for the activity, and the build has none; add --images, or compile with --calib"
    )
    assert sentence in str(error.value)
    with pytest.raises(HwsegError) as error:
        vivado.compare(build, picture, energy, lambda _: None)
    assert str(error.value) == (
        "vivado: must not fail on power.tcl, and your files are not to blame: ERROR: [Common 17-69] no licence; "
        "correct what it names"
    )
    stand_in(tmp_path, "open('power.txt', 'w').write('| Dynamic (W) | 1.1 |')")
    with pytest.raises(
        HwsegError, match=r"vivado: must report Total On-Chip Power \(W\), Device Static \(W\), has not"
    ):
        vivado.compare(build, picture, energy, lambda _: None)

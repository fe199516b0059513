"""The installed wheel holds everything that the checkout has, boards and simulation too, and works without it."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PACKAGES = {"hwseg": "hwseg", "boards": "hwseg/boards", "sim": "hwseg/sim"}
"""Folder of the checkout: folder of the wheel."""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tracked(folder: str) -> set[str]:
    """Files of a folder that are not ignored, links left aside, relative to it."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", folder, cwd=ROOT).splitlines()
    paths = [ROOT / name for name in listed]
    return {p.relative_to(ROOT / folder).as_posix() for p in paths if p.is_file() and not p.is_symlink()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ROOT / ".git").exists():
        pytest.skip("needs the checkout")
    pytest.importorskip("build")
    out = tmp_path_factory.mktemp("dist")
    # From an unpacked source distribution, as an index would: this tests both.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Interpreter of a new environment with the wheel installed, and its dependencies lent by this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    interpreter = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", interpreter, "install", "--quiet", "--no-deps", "--no-index"]
    run(*pip, wheel, cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return interpreter


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        found = [name for name in content.namelist() if ".dist-info/" not in name]
    expected = {f"{inside}/{name}" for folder, inside in PACKAGES.items() for name in tracked(folder)}
    assert set(found) == expected
    assert len(found) == len(set(found))


def test_boards_simulation_and_networks_are_found_without_the_checkout(python: Path, tmp_path: Path) -> None:
    code = """
import hwseg.boards, hwseg.sim, hwseg.models
from importlib.resources import files
from pathlib import Path
print(Path(hwseg.__file__).parents[1])
assert (files(hwseg.boards) / "zynq7020" / "board.toml").is_file()
assert any(f.name.endswith(".v") for f in files(hwseg.sim).iterdir())
assert all(hwseg.models.path(name).is_file() for name in hwseg.models.NAMES)
"""
    where = run(python, "-I", "-c", code, cwd=tmp_path).strip()
    assert Path(where).is_relative_to(python.parents[1])


def test_the_program_is_installed(python: Path, tmp_path: Path) -> None:
    program = python.with_name("hwseg")
    assert run(program, "--version", cwd=tmp_path).startswith("hwseg, version ")
    assert "amaranth" in run(program, "doctor", cwd=tmp_path)


@pytest.fixture(scope="module")
def build(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shipped network compiled by the installed program for its smallest array."""
    folder = tmp_path_factory.mktemp("work")
    code = "from hwseg import models; print(models.path(models.NAMES[0]))"
    model = run(python, "-I", "-c", code, cwd=folder).strip()
    run(python.with_name("hwseg"), "compile", model, "-o", "build", "--array", "8x1x1", cwd=folder)
    return folder / "build"


def test_the_installed_program_compiles_a_shipped_network(build: Path) -> None:
    expected = {"top.v", "program.bin", "weights.bin", "memory.json", "report.json", "report.html"}
    assert expected <= {path.name for path in build.iterdir()}


def test_the_installed_program_packages_it_with_driver_and_licence(python: Path, build: Path, tmp_path: Path) -> None:
    run(python.with_name("hwseg"), "package", build, "--board", "pynq-z2", "-o", "out", cwd=tmp_path)
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")}
    assert {"hardware/hwseg_zynq.v", "licences/hwseg-Apache-2.0.txt", "python/hwseg/runtime/accelerator.py"} <= found


@pytest.mark.slow
@pytest.mark.verilator
def test_the_installed_program_simulates_it(python: Path, build: Path, tmp_path: Path) -> None:
    pytest.importorskip("cocotb")
    rows = np.add.outer(np.arange(128), np.arange(128)).astype(np.uint8)
    Image.fromarray(rows).save(tmp_path / "x.png")
    program = python.with_name("hwseg")
    run(program, "simulate", build, "--image", "x.png", "--json", "out.json", "--pictures", "pictures", cwd=tmp_path)
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["mismatches"] == 0
    assert result["cycles"] == result["predicted_cycles"] > 0

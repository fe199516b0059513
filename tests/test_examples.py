"""The scripts in examples/ run as they are printed in the documents."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def model(tmp_path: Path) -> Path:
    models = pytest.importorskip("tests.quant.models", exc_type=ImportError)
    chosen: Path = models.random_unet(3, tmp_path, depth=1, channels=1, classes=1, head="raw", final="none")
    return chosen


def test_compile_prints_every_layer_of_the_shipped_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from hwseg import models

    build = example("unet_compile").main(tmp_path / "build", models.path("nuclei-mixed"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-2]] == [plan.layer.name for plan in build.program.plans]
    assert lines[-2].startswith(f"{build.report['totals']['cycles']:,} cycles; ")
    assert (tmp_path / "build" / "top.v").is_file()


@pytest.mark.verilator
@pytest.mark.xdist_group("simulator")
def test_compile_and_simulate_a_small_network(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build = example("unet_compile").main(tmp_path / "build", model)
    picture, mask = tmp_path / "picture.png", tmp_path / "mask.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)).save(picture)
    result = example("unet_simulate").main(build.path, picture, mask)
    assert result.passed
    assert result.cycles == build.program.timing().total
    assert np.array_equal(np.asarray(Image.open(mask)) > 0, result.mask > 0)
    assert "passed: 0 mismatches" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_an_example_without_arguments_says_how_to_run_it(name: str) -> None:
    if name in ("unet_train.py", "unet_adapt.py", "unet_evaluate.py"):
        pytest.importorskip("brevitas")
    done = subprocess.run(
        [sys.executable, EXAMPLES / name], capture_output=True, text=True, check=False, cwd=EXAMPLES.parent
    )
    assert done.returncode == 1
    assert f"python examples/{name} " in done.stderr

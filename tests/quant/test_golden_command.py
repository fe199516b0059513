"""`hwseg golden` from the shell's side: exit status, files, sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hwseg import golden
from hwseg.cli import main
from hwseg.quant.read.load import load
from tests.quant import models


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["golden", *map(str, arguments)])
    return int(stop.value.code or 0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return models.random_unet(1, tmp_path, channels=1, final="sigmoid", classes=1)


@pytest.fixture
def tensor(model: Path) -> Path:
    graph = load(model)
    path = model.with_suffix(".npy")
    np.save(path, models.floats(graph, models.random_image(graph)))
    return path


def test_output_is_the_models(model: Path, tensor: Path, tmp_path: Path) -> None:
    out = tmp_path / "y.npy"
    assert run(model, "--image", tensor, "--out", out) == 0
    graph = load(model)
    y = np.load(out)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, golden.run(graph, models.random_image(graph)).output)


def test_comparison_with_qonnx(model: Path, tensor: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("qonnx")
    assert run(model, "--image", tensor, "--compare", "qonnx", "--verbose") == 0
    told = capsys.readouterr().out
    assert "power-of-two model, equality required): 0 of" in told
    assert told.endswith("agree\n")


def test_a_difference_is_status_1(model: Path, tensor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("qonnx")
    from hwseg.quant.read import referee

    real = referee.run_qonnx

    def wrong(path: Path, x: np.ndarray) -> referee.Context:
        return {name: array + 1 for name, array in real(path, x).items() if array is not None}

    monkeypatch.setattr(referee, "run_qonnx", wrong)
    assert run(model, "--image", tensor, "--compare", "qonnx") == 1


def test_pictures_fit_or_are_refused(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "a.png"
    Image.new("L", (64, 64), 99).save(picture)
    assert run(model, "--image", picture) == 2
    assert "use --fit crop or --fit resize" in capsys.readouterr().err
    assert run(model, "--image", picture, "--fit", "crop") == 0


def test_faults_are_one_line(model: Path, tensor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "none.onnx", "--image", tensor) == 2
    assert run(model, "--image", tmp_path / "none.npy") == 2
    assert run(model, "--image", tensor, "--out", tmp_path) == 2
    assert run(model, "--image", tensor, "--compare", "brevitas") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("hwseg: ") for line in lines)
    assert "--checkpoint" in lines[3]

"""`compile --calibrate` and `simulate` on models whose output is larger or smaller than their picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hwseg.cli import main
from tests.quant.handmade import Net

pytestmark = [pytest.mark.verilator, pytest.mark.xdist_group("simulator")]


def twice(path: Path) -> Path:
    """The maximum of a transposed convolution goes on beside its map, twice the picture."""
    net = Net((1, 1, 16, 16))
    weights = net.weights("up", (1, 5, 2, 2))
    x = net.quant(net.node("ConvTranspose", net.image(), weights, name="up", strides=[2, 2]), name="q")
    pooled = net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], name="pool")
    wide = net.node(
        "Resize", pooled, "", net.const("factors", [1, 1, 2, 2]), mode="nearest", name="wide",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip
    return net.save(path, net.conv(net.node("Concat", x, wide, axis=1, name="cat"), 10, 1, 1, name="head"))


def half(path: Path) -> Path:
    """Stride 2 under a head of three classes, on a picture of odd sides."""
    net = Net((1, 1, 9, 21))
    x = net.quant(net.conv(net.image(), 1, 6, 3, strides=[2, 2]), signed=0, name="q")
    return net.save(path, net.conv(x, 6, 3, 1, name="head"))


def run(arguments: list[str]) -> int:
    """The exit status of one command."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


@pytest.mark.parametrize("make", [twice, half])
def test_the_result_of_any_size_is_told_and_drawn(make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make(tmp_path / "model.onnx")
    size, made = ((16, 16), (32, 32)) if make is twice else ((9, 21), (5, 11))
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, size).astype(np.uint8)).save(tmp_path / "x.png")
    build, image = str(tmp_path / "build"), str(tmp_path / "x.png")
    assert run(["compile", str(model), "-o", build, "--array", "sim", "--calibrate", image]) == 0
    assert run(["simulate", build, "--image", image, "--out", str(tmp_path / "y.npy")]) == 0
    assert "0 mismatches" in capsys.readouterr().out
    assert np.load(tmp_path / "y.npy").shape[2:] == made
    folder = tmp_path / "build" / "simulation"
    assert np.asarray(Image.open(folder / "mask.png")).shape == made
    scale = 512 // max(*size, *made)
    expected = tuple(scale * max(sides) for sides in zip(size, made, strict=True))
    assert np.asarray(Image.open(folder / "overlay.png")).shape[:2] == expected
    found = json.loads((folder / "simulation.json").read_text())
    assert found["passed"]
    assert run(["report", build, "-o", str(tmp_path / "report")]) == 0


def test_a_folder_that_cannot_be_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run of minutes is not begun for pictures that cannot be written."""
    model = half(tmp_path / "model.onnx")
    Image.fromarray(np.zeros((9, 21), np.uint8)).save(tmp_path / "x.png")
    build = str(tmp_path / "build")
    assert run(["compile", str(model), "-o", build, "--array", "sim"]) == 0
    (tmp_path / "file").write_text("")
    found = run(["simulate", build, "--image", str(tmp_path / "x.png"), "--pictures", str(tmp_path / "file" / "in")])
    assert found != 0
    assert "mismatches" not in capsys.readouterr().out

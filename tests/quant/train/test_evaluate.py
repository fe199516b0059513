"""Metrics against hand-counted masks, and `hwseg eval` against the golden model."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")
pytest.importorskip("monai")

from hwseg import golden  # noqa: E402
from hwseg.cli import main  # noqa: E402
from hwseg.compile.program import Program  # noqa: E402
from hwseg.datasets import data  # noqa: E402
from hwseg.errors import HwsegError  # noqa: E402
from hwseg.machine import execute  # noqa: E402
from hwseg.pictures.meaning import Meaning  # noqa: E402
from hwseg.pictures.table import BYTE  # noqa: E402
from hwseg.quant.networks.layers import calibrate  # noqa: E402
from hwseg.quant.networks.unet import QuantUNet, UNetConfig  # noqa: E402
from hwseg.quant.read.load import load  # noqa: E402
from hwseg.quant.train import evaluate, metrics  # noqa: E402
from hwseg.quant.train.export import export_qonnx  # noqa: E402


def box(top: int, left: int, height: int, width: int, side: int = 24) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    mask[top : top + height, left : left + width] = 1
    return mask


def test_a_shifted_square() -> None:
    found = metrics.of_mask(box(4, 7, 10, 10), box(4, 4, 10, 10))
    assert found["dice"] == pytest.approx(0.7)
    assert found["iou"] == pytest.approx(70 / 130)
    assert found["hd95"] == pytest.approx(3)
    outline = 36
    within = sum(1 for row in range(10) for column in range(10) if (row in (0, 9) or column in (0, 9))
                 and not (1 < column < 10 and 0 <= row < 10 and column > 9))  # fmt: skip
    assert within == outline
    # Of either outline, only the far side (10 pixels, the corners among them) and what is next to it is 3 away.
    assert 0.5 < found["nsd"] < 1


def test_equal_empty_and_missing_masks() -> None:
    full, empty = box(4, 4, 10, 10), np.zeros((24, 24), np.uint8)
    assert metrics.of_mask(full, full) == {"dice": 1, "iou": 1, "hd95": 0, "nsd": 1}
    assert metrics.of_mask(empty, empty) == {"dice": 1, "iou": 1, "hd95": 0, "nsd": 1}
    assert metrics.of_mask(empty, full) == {"dice": 0, "iou": 0, "hd95": pytest.approx(24 * math.sqrt(2)), "nsd": 0}
    two = metrics.of_mask(full * 2, full * 2, classes=3)
    assert two == {"dice": 1, "iou": 1, "hd95": 0, "nsd": 1}
    assert metrics.of_mask(full, full * 2, classes=3)["dice"] == 0


def test_nsd_counts_outline_pixels_within_two() -> None:
    near = metrics.of_mask(box(4, 6, 10, 10), box(4, 4, 10, 10))
    assert near["nsd"] == 1
    far = metrics.of_mask(box(4, 4, 3, 3), box(15, 15, 3, 3))
    assert far["nsd"] == 0


def test_paired_differences() -> None:
    first, second = [0.9, 0.8, 0.95, 0.7, 0.85, 0.9], [0.8, 0.7, 0.9, 0.65, 0.8, 0.88]
    change, p = metrics.paired(first, second)
    assert change.mean == pytest.approx(np.mean(first) - np.mean(second))
    assert p == pytest.approx(2 / 2**6)
    assert metrics.paired(first, first)[1] == 1


MEANING = Meaning("percentile 1 99", fit="resize")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = QuantUNet(UNetConfig(depth=1, width=2, batch_norm=False)).eval()
    calibrate(network, [torch.rand(2, 1, 16, 16)])
    path = tmp_path_factory.mktemp("model") / "m.onnx"
    export_qonnx(network, path, (16, 16), MEANING)
    return path


def test_pictures_are_scaled_as_in_training_and_run_in_integers(model: Path, discs: Path) -> None:
    graph, pairs = load(model), data.load(discs)["test"]
    found = evaluate.evaluate(graph, pairs)
    assert found.values("dice") == pytest.approx(evaluate.dices(graph, pairs))
    for pair in pairs:
        prepared, target = pair.prepared(MEANING, (16, 16))
        mask = golden.run(graph, prepared.integers(BYTE)).mask
        assert found.pictures[pair.name] == metrics.of_mask(mask, target)
    with pytest.raises(HwsegError, match="needs at least one picture"):
        evaluate.evaluate(graph, [])


def test_other_sizes_are_refused_unless_scaling_is_meant(discs: Path, tmp_path: Path) -> None:
    network = QuantUNet(UNetConfig(depth=1, width=2, batch_norm=False)).eval()
    export_qonnx(network, tmp_path / "m.onnx", (16, 16))
    graph, pairs = load(tmp_path / "m.onnx"), data.load(discs)["test"]
    with pytest.raises(HwsegError, match=r"must be 16 wide and 16 high .* is 32 by 32; export .* --size 32x32, or add"):
        evaluate.evaluate(graph, pairs)
    assert len(evaluate.evaluate(graph, pairs, fit="resize").pictures) == 2


def test_the_command(model: Path, discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*more: str) -> tuple[int | str | None, str, str]:
        with pytest.raises(SystemExit) as done:
            main(["eval", str(model), "--data", str(discs), *more])
        out = capsys.readouterr()
        return done.value.code, out.out, out.err

    code, text, _ = call("--json", str(tmp_path / "e.json"))
    assert code == 0
    assert [line.split()[0] for line in text.splitlines()] == list(metrics.NAMES)
    values = json.loads((tmp_path / "e.json").read_text())
    assert values["means"]["dice"]["mean"] == pytest.approx(
        float(np.mean([row["dice"] for row in values["pictures"].values()]))
    )
    assert len(call("--planes", "8", "--planes", "3", "--split", "val")[1].splitlines()) == 8
    assert call("--layer-planes", "*/act0=3")[0] == 0
    for options, sentence in (
        (("--layer-planes", "x=3"), "'x' matches no activation; they are enc0/act0"),
        (("--layer-planes", "*=9"), "must be NAME=N with N from 2 to 8, not '*=9'"),
        (("--split", "ward"), "has no split.json that lists ward"),
    ):
        code, _, error = call(*options)
        assert code == 2
        assert sentence in error


def test_the_command_executes_the_compiled_program(
    model: Path, discs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def call(name: str, *more: str) -> tuple[int | str | None, str]:
        with pytest.raises(SystemExit) as done:
            main(["eval", str(model), "--data", str(discs), "--split", "val", "--json", str(tmp_path / name), *more])
        return done.value.code, "".join(capsys.readouterr())

    assert call("golden.json")[0] == 0
    code, text = call("executed.json", "--execute", "8x4x4")
    assert code == 0
    assert "2 pictures executed by the program for 8x4x4: no value of any map differs" in text
    assert (tmp_path / "golden.json").read_bytes() == (tmp_path / "executed.json").read_bytes()
    code, text = call("x", "--execute", "8x4x4", "--planes", "5")
    assert code == 2
    assert "--execute: takes all planes; leave out --planes" in text
    right = execute.execute

    def wrong(program: Program, image: np.ndarray) -> dict[str, np.ndarray]:
        found = right(program, image)
        return {name: values + (name == program.graph.head.tensor) for name, values in found.items()}

    monkeypatch.setattr(execute, "execute", wrong)
    code, text = call("x", "--execute", "8x4x4")
    assert code == 2
    assert "differs from the golden model in 256 values; report this program as a fault" in text
    assert not (tmp_path / "x").exists()

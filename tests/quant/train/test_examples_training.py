"""The training scripts in examples/, on small discs: train, adapt, evaluate."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from hwseg.quant.networks.unet import QuantUNet, UNetConfig  # noqa: E402
from hwseg.quant.train.checkpoint import save_network  # noqa: E402
from hwseg.quant.train.config import TrainConfig  # noqa: E402

EXAMPLES = Path(__file__).parents[3] / "examples"


def example(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_adapt_and_evaluate(discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    save_network(tmp_path / "base.pt", QuantUNet(UNetConfig(depth=2, width=8)), TrainConfig(size=16), quantized=False)
    run = example("unet_adapt").main(tmp_path / "base.pt", discs, tmp_path / "m.onnx", steps=4, size=16)
    assert set(run.ranks()) == set(run.architecture.convolutions)
    assert "parameters trained; ranks" in capsys.readouterr().out
    found = example("unet_evaluate").main(tmp_path / "m.onnx", discs)
    assert list(found) == [8, 6, 4, 3]
    assert all(len(evaluation.pictures) == 2 for evaluation in found.values())
    assert capsys.readouterr().out.count("Dice at") == 4

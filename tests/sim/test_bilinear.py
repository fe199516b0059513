"""A U-Net with bilinear enlarging: PyTorch, QONNX, compiler, Verilog; every value and every cycle."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwseg.builds.build import compile_model
from hwseg.builds.simulation import simulate
from hwseg.quant.read.load import load
from tests.quant.models import random_image

pytestmark = [pytest.mark.verilator, pytest.mark.xdist_group("simulator")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    pytest.importorskip("brevitas")
    from hwseg.quant.networks.layers import calibrate
    from hwseg.quant.networks.unet import QuantUNet, UNetConfig, fold_batch_norm
    from hwseg.quant.train.export import export_qonnx

    torch.manual_seed(3)
    bits = {"*": 8, "bottom/*": 4}
    network = QuantUNet(UNetConfig(2, 5, upsampling="bilinear", activation_bits=bits)).eval()
    calibrate(fold_batch_norm(network), [torch.rand(2, 1, 32, 32)])
    path = tmp_path_factory.mktemp("bilinear") / "model.onnx"
    export_qonnx(network, path, (20, 36))
    return path


@pytest.mark.parametrize("array", ["8x2x2", "8x4x4"])
def test_values_and_cycles_are_exact(model: Path, tmp_path: Path, array: str) -> None:
    build = compile_model(model, array=array, out=tmp_path / "build")
    result = simulate(build.path, random_image(load(model), 1))
    assert result.first_mismatch is None, str(result.first_mismatch)
    assert result.passed
    assert [(x.name, x.cycles) for x in result.layers] == [(x.name, x.predicted_cycles) for x in result.layers]


def test_values_are_exact_with_random_latency_and_stalls(model: Path, tmp_path: Path) -> None:
    build = compile_model(model, array="8x4x4", out=tmp_path / "build")
    result = simulate(build.path, random_image(load(model), 2), latency=(3, 90))
    assert result.first_mismatch is None, str(result.first_mismatch)
    assert result.finished
    assert result.mismatches == 0


def test_the_executor_agrees(model: Path) -> None:
    pytest.importorskip("qonnx")
    from hwseg.quant.read import referee

    verdict = referee.compare(model, random_image(load(model), 2), "qonnx", referee.run_qonnx)
    assert verdict.exact
    assert verdict.agrees
    assert any("resize" in row.tensor or "Resize" in row.tensor for row in verdict.tensors)

"""Every network of the family: trained a little, exported, compiled, and computed by the engine's program."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from hwseg.datasets import data  # noqa: E402
from hwseg.quant.networks.unet import preset  # noqa: E402
from hwseg.quant.read.load import load  # noqa: E402
from hwseg.quant.train.checkpoint import load_network  # noqa: E402
from hwseg.quant.train.config import TrainConfig  # noqa: E402
from hwseg.quant.train.export import export_qonnx  # noqa: E402
from hwseg.quant.train.run import Run, train  # noqa: E402
from hwseg.rtl.config import parse_array  # noqa: E402
from tests.compile.proof import compiled, differences  # noqa: E402


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
def test_a_trained_network_is_what_the_program_computes(
    residual: bool, upsampling: str, discs: Path, tmp_path: Path
) -> None:
    unet = preset("mixed", depth=2, width=4, residual=residual, upsampling=upsampling)
    config = TrainConfig(steps=6, batch=2, size=16, validate_every=6, calibration_batches=1, threads=1)
    train(Run(tmp_path / "run", unet, config), data.load(discs))
    network, meta = load_network(tmp_path / "run" / "best.pt")
    export_qonnx(network, tmp_path / "m.onnx", (16, 16), meta["input"], meta["labels"])
    program = compiled(load(tmp_path / "m.onnx"), parse_array("8x2x2", "table"))
    assert differences(program) == {}

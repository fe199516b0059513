"""What the tools are given: QONNX files that hwseg exports, smallest first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hwseg import models

CALIBRATED_ON = 64
"""Pixels of the calibration pictures' sides."""


@dataclass(frozen=True)
class Network:
    """A U-Net with random weights, calibrated on random pictures; where `shipped` is set, one of `hwseg.models`.

    preset: bits, as `hwseg train --preset` names them.  size: pixels of a picture's sides.
    """

    name: str
    preset: str
    size: int = 128
    depth: int = 3
    width: int = 8
    upsampling: str = "nearest"
    residual: bool = False
    shipped: str = ""

    def file(self, folder: Path) -> Path:
        """The QONNX file, exported into `folder` where it does not exist."""
        if self.shipped:
            return models.path(self.shipped, ".onnx")
        path = folder / f"{self.name}.onnx"
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            self._export(path)
        return path

    def _export(self, path: Path) -> None:
        import torch

        from hwseg.quant.networks.layers import calibrate
        from hwseg.quant.networks.unet import QuantUNet, fold_batch_norm, preset
        from hwseg.quant.train.export import export_qonnx

        torch.manual_seed(0)
        config = preset(
            self.preset, depth=self.depth, width=self.width, upsampling=self.upsampling, residual=self.residual
        )
        model = fold_batch_norm(QuantUNet(config).eval())
        calibrate(model, [torch.rand(2, 1, CALIBRATED_ON, CALIBRATED_ON)])
        export_qonnx(model, path, (self.size, self.size), name=self.name)


NETWORKS = (
    Network("tiny", "w4a4", 32, 1, 4),
    Network("nuclei-w8a8", "w8a8", shipped="nuclei-w8a8"),
    Network("nearest-4bit", "w4a4"),
    Network("transposed", "w8a8", upsampling="transposed"),
    Network("nuclei-mixed", "mixed", upsampling="transposed", shipped="nuclei-mixed"),
    Network("transposed-4bit", "w4a4", upsampling="transposed"),
    Network("bilinear", "w8a8", upsampling="bilinear"),
    Network("residual", "w8a8", residual=True),
)

"""The networks that are measured: U-Nets with random weights, calibrated on random pictures, exported once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "build" / "benchmarks"
CALIBRATED_ON = 64
"""Pixels of the calibration pictures' sides: the quantizers' ranges hardly depend on it, and its time does."""


@dataclass(frozen=True)
class Network:
    """A U-Net of `width`, 2 `width`, ... channels with transposed convolutions, for pictures of `size` x `size`."""

    width: int
    size: int
    depth: int = 4

    @property
    def name(self) -> str:
        return f"unet{self.width}-{self.size}"

    def file(self) -> Path:
        """The QONNX file, exported where it does not exist."""
        path = FOLDER / f"{self.name}.onnx"
        if not path.is_file():
            FOLDER.mkdir(parents=True, exist_ok=True)
            self._export(path)
        return path

    def _export(self, path: Path) -> None:
        import torch

        from hwseg.quant.networks.layers import calibrate
        from hwseg.quant.networks.unet import QuantUNet, UNetConfig, fold_batch_norm
        from hwseg.quant.train.export import export_qonnx

        torch.manual_seed(0)
        model = fold_batch_norm(QuantUNet(UNetConfig(self.depth, self.width, upsampling="transposed")).eval())
        calibrate(model, [torch.rand(2, 1, CALIBRATED_ON, CALIBRATED_ON)])
        export_qonnx(model, path, (self.size, self.size), name=self.name)


SMALL = Network(8, 128, 3)
MIDDLE = Network(16, 256)
LARGE = Network(64, 512)
"""31 million parameters."""

"""Train a small quantized U-Net from Python and export it: the library behind `hwseg train` and `hwseg export`.

    python examples/unet_train.py DATA OUT.onnx

DATA holds images/ and masks/ (the same file names), and optionally split.json.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hwseg.datasets import data
from hwseg.quant.networks.unet import UNetConfig
from hwseg.quant.train.export import export_qonnx
from hwseg.quant.train.run import Progress, Run, TrainConfig, load_network, train


def main(folder: Path, out: Path, steps: int = 300) -> None:
    """8 bits at full resolution, 4 below: half the cycles where most of the work is."""
    unet = UNetConfig(
        depth=2,
        width=8,
        weight_bits={"*": 4, "enc0/*": 8, "dec0/*": 8, "head": 8},
        activation_bits={"*": 4, "enc0/*": 8, "dec0/*": 8, "dec1/conv1": 8},
        per_channel=True,
    )
    run = Run(out.with_suffix(""), unet, TrainConfig(steps=steps, size=64))
    result = train(run, data.load_folder(folder), show)
    for part, score in result.scores.items():
        print(f"Dice on {part}: {score}")
    network, meta = load_network(run.folder / "best.pt")
    export_qonnx(network, out, (128, 128), meta["input"], meta["labels"], out.stem, meta["seen"])
    print(f"wrote {out}")


def show(progress: Progress) -> None:
    """One line per validation."""
    if progress.val_dice is not None:
        print(f"step {progress.step} ({progress.stage}): loss {progress.loss:.3f}, Dice {progress.val_dice:.3f}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))

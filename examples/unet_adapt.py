"""Adapt a trained network to other pictures with few parameters and export its integers: behind `hwseg adapt`.

    python examples/unet_adapt.py BASE.pt DATA OUT.onnx

BASE.pt is a checkpoint of `hwseg train`, such as float.pt; DATA holds images/ and masks/.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from hwseg.datasets import data
from hwseg.quant.train import adapt
from hwseg.quant.train.checkpoint import load_network
from hwseg.quant.train.config import TrainConfig, meant
from hwseg.quant.train.export import export_qonnx
from hwseg.quant.train.run import train


def main(base: Path, folder: Path, out: Path, steps: int = 600, size: int = 64) -> adapt.AdaptRun:
    """8-bit weights and activations, adapters of up to three triplets per convolution."""
    network, meta = load_network(base)
    unet = replace(network.config, weight_bits=8, activation_bits=8)
    config = TrainConfig(
        steps=steps,
        size=size,
        float_part=0.6,
        quantized_part=0.0,
        validate_every=min(100, steps),
        **meant(meta["input"]),
        init=str(base),
    )
    run = adapt.AdaptRun(out.with_suffix(""), unet, config, adapt.AdaptConfig(rank=3, final_rank=2.0, fewer=8))
    result = train(run, data.load(folder))
    print(f"{adapt.trainable(run.model):,} of {run.started['all']:,} parameters trained; ranks {run.ranks()}")
    for part, score in result.scores.items():
        print(f"Dice on {part}: {score}")
    merged, meta = load_network(run.folder / "best.pt")
    export_qonnx(merged, out, (128, 128), meta["input"], meta["labels"], out.stem, meta["seen"])
    return run


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*(Path(argument) for argument in sys.argv[1:]))

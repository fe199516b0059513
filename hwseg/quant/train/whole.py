"""How well a network in floating point does on whole pictures."""

from __future__ import annotations

import torch

from hwseg.datasets.pairs import Pair
from hwseg.pictures.meaning import Meaning
from hwseg.quant.networks.architecture import Quantized
from hwseg.quant.train import metrics
from hwseg.quant.train.tensors import whole


@torch.no_grad()
def dice(model: Quantized, pairs: list[Pair], pixels: Meaning, device: torch.device, resize: int = 0) -> list[float]:
    """Dice of each whole picture, scaled to `resize` x `resize` unless 0."""
    training = model.training
    model.eval()
    classes = max(2, model.config.out_channels)
    scores = []
    for pair in pairs:
        image, target = whole(pair, pixels, model.config.input_quantizer, model.config.multiple, resize)
        predicted = metrics.labels(model(image.to(device))).cpu()
        scores.append(float(metrics.dice(predicted, target, classes)[0]))
    model.train(training)
    return scores

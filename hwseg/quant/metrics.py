"""How good a mask is: Dice per picture, its mean, and how far that mean can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.segmentation import dice_score


@dataclass(frozen=True)
class Score:
    """Mean Dice over `pictures`, with a 95 % bootstrap interval over pictures."""

    mean: float
    low: float
    high: float
    pictures: int

    def __str__(self) -> str:
        return f"{self.mean:.4f} (95 % interval {self.low:.4f} to {self.high:.4f}, {self.pictures} pictures)"


def labels(logits: Tensor) -> Tensor:
    """Class of each pixel, [batch, height, width]: value > 0 for one output channel, the largest for several."""
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(dim=1)


def dice(predicted: Tensor, target: Tensor, classes: int = 2) -> Tensor:
    """Dice of each picture, the background left out, mean over classes; 1 where neither has any foreground."""
    scores = dice_score(
        predicted, target, num_classes=classes, include_background=False, average="none", input_format="index"
    )
    per_class = scores.reshape(predicted.shape[0], classes - 1)
    return torch.nan_to_num(per_class, nan=1.0).mean(dim=1)


def summarize(scores: list[float], seed: int = 0, resamples: int = 2000) -> Score:
    """Mean and interval by resampling pictures."""
    values = np.asarray(scores, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(0, len(values), size=(resamples, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), (2.5, 97.5))
    return Score(float(values.mean()), float(low), float(high), len(values))

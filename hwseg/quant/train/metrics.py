"""How good a mask is, picture by picture: Dice, IoU, HD95 and NSD; their means, and how far a mean can be trusted.

HD95 is the 95th percentile of the distances between the two outlines, in pixels, the larger of both directions; NSD is
the share of both outlines that lies within two pixels of the other one.  Of several classes the background is left out
and the others are averaged.  Pixels that are to be ignored count as background in both masks.  Outlines and
distances are MONAI's, Dice and IoU are torchmetrics'.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.segmentation import dice_score, mean_iou

from hwseg.errors import HwsegError
from hwseg.pictures.labels import IGNORE

NAMES = ("dice", "iou", "hd95", "nsd")
TOLERANCE = 2
"""Pixels within which outlines count as equal, for NSD."""


@dataclass(frozen=True)
class Score:
    """A mean over `pictures`, with a 95 % bootstrap interval over pictures."""

    mean: float
    low: float
    high: float
    pictures: int

    def __str__(self) -> str:
        return f"{self.mean:.4f} (95 % interval {self.low:.4f} to {self.high:.4f}, {self.pictures} pictures)"


def labels(logits: Tensor) -> Tensor:
    """Class of each pixel, [batch, height, width]: value > 0 for one output channel, the largest for several."""
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(dim=1)


def known(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both masks with the background where nobody knows."""
    ignored = target == IGNORE
    return predicted.masked_fill(ignored, 0), target.masked_fill(ignored, 0)


def dice(predicted: Tensor, target: Tensor, classes: int = 2) -> Tensor:
    """Dice of each picture, the background left out, mean over classes; 1 where neither has any foreground."""
    predicted, target = known(predicted, target)
    scores = dice_score(
        predicted, target, num_classes=classes, include_background=False, average="none", input_format="index"
    )
    per_class = scores.reshape(predicted.shape[0], classes - 1)
    return torch.nan_to_num(per_class, nan=1.0).mean(dim=1)


def iou(predicted: Tensor, target: Tensor, classes: int = 2) -> Tensor:
    """Intersection over union of each picture, as `dice`; a class in neither counts 1."""
    predicted, target = known(predicted, target)
    scores = mean_iou(
        predicted, target, num_classes=classes, include_background=False, per_class=True, input_format="index"
    ).reshape(predicted.shape[0], classes - 1)
    absent = torch.stack([((predicted != c) & (target != c)).flatten(1).all(1) for c in range(1, classes)], dim=1)
    return torch.where(absent, 1.0, scores).mean(dim=1)


def outlines(predicted: Tensor, target: Tensor, classes: int = 2) -> tuple[float, float]:
    """(HD95, NSD) of one picture [height, width]; where one has no foreground: the diagonal, and 0."""
    predicted, target = known(predicted, target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI warns of its own deprecations
        try:
            from monai.metrics.hausdorff_distance import compute_hausdorff_distance
            from monai.metrics.surface_dice import compute_surface_dice
        except ModuleNotFoundError as error:
            raise HwsegError("HD95 and NSD", f"need the package {error.name}", "pip install 'hwseg[train]'") from error
        found: list[tuple[float, float]] = []
        for c in range(1, classes):
            a, b = ((mask == c)[None, None].float() for mask in (predicted, target))
            if not a.any() or not b.any():
                both = not a.any() and not b.any()
                found.append((0.0, 1.0) if both else (math.hypot(*target.shape), 0.0))
                continue
            distance = compute_hausdorff_distance(a, b, include_background=True, percentile=95)
            share = compute_surface_dice(a, b, class_thresholds=[TOLERANCE], include_background=True)
            found.append((float(distance), float(share)))
    distances, shares = zip(*found, strict=True)
    return float(np.mean(distances)), float(np.mean(shares))


def of_mask(predicted: NDArray[np.uint8], target: NDArray[np.uint8], classes: int = 2) -> dict[str, float]:
    """All four of one picture [height, width]."""
    a, b = (torch.from_numpy(np.asarray(mask).astype(np.int64)) for mask in (predicted, target))
    distance, share = outlines(a, b, classes)
    overlap = float(dice(a[None], b[None], classes)[0]), float(iou(a[None], b[None], classes)[0])
    return dict(zip(NAMES, (*overlap, distance, share), strict=True))


def summarize(scores: Sequence[float], seed: int = 0, resamples: int = 2000) -> Score:
    """Mean and interval by resampling pictures."""
    values = np.asarray(scores, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(0, len(values), size=(resamples, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), (2.5, 97.5))
    return Score(float(values.mean()), float(low), float(high), len(values))


def paired(first: Sequence[float], second: Sequence[float]) -> tuple[Score, float]:
    """Mean of `first` - `second` over the same pictures, and the Wilcoxon signed-rank p-value (two-sided)."""
    from scipy.stats import wilcoxon

    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    p = float(wilcoxon(differences).pvalue) if differences.any() else 1.0
    return summarize(differences.tolist()), p

"""What training minimizes: each loss takes logits [batch, channels, height, width] and labels [batch, height, width].

    dice_ce    cross-entropy + (1 - soft Dice)
    poly_dice  cross-entropy + a polynomial in t = 1 - soft Dice:  t + weight * (t^2 + ... + t^order)
    boundary   dice_ce + weight * cross-entropy of the pixels at most two from an edge of the mask

Pixels that are to be ignored (255 in the labels) are in no mean and no overlap.  With class weights, means of
cross-entropies are weighted ones: a pixel counts as much as the weight of its class.
One output channel is foreground or not; several are classes, of which the first is the background and has no Dice.
The polynomial follows the idea of arXiv 2606.23373 as far as its abstract tells it (Dice as the first term of an
expansion whose higher-order terms get a coefficient and a largest order); its own coefficients were not at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from hwseg.pictures.labels import IGNORE
from hwseg.quant.train.config import TrainConfig

Loss = Callable[[Tensor, Tensor], Tensor]
BORDER = 2
"""Pixels from an edge that count as boundary."""


def from_config(config: TrainConfig, weights: Sequence[float] = ()) -> Loss:
    """The loss that a configuration names.  weights: of the classes, the background first; none where all are 1."""
    weight, order = config.loss_weight, config.loss_order
    if config.loss == "poly_dice":
        return lambda logits, targets: poly_dice(logits, targets, weight, order, weights)
    if config.loss == "boundary":
        return lambda logits, targets: boundary(logits, targets, weight, weights)
    return lambda logits, targets: dice_ce(logits, targets, weights)


def dice_ce(logits: Tensor, targets: Tensor, weights: Sequence[float] = ()) -> Tensor:
    """Cross-entropy plus 1 - soft Dice over the batch."""
    return entropy_mean(logits, targets, weights) + (1 - soft_dice(logits, targets)).mean()


def poly_dice(logits: Tensor, targets: Tensor, weight: float, order: int, weights: Sequence[float] = ()) -> Tensor:
    """Cross-entropy plus t + weight * (t^2 + ... + t^order), t = 1 - soft Dice; `order` 1 is `dice_ce`."""
    t = 1 - soft_dice(logits, targets)
    polynomial = t + weight * sum((t**k for k in range(2, order + 1)), start=t.new_zeros(()))
    return entropy_mean(logits, targets, weights) + polynomial.mean()


def boundary(logits: Tensor, targets: Tensor, weight: float, weights: Sequence[float] = ()) -> Tensor:
    """`dice_ce` plus `weight` times the mean cross-entropy near edges; masks without an edge add nothing."""
    near = edges(targets).to(logits) * importance(targets, weights)
    return (
        entropy_mean(logits, targets, weights)
        + (1 - soft_dice(logits, targets)).mean()
        + weight * (pixel_entropy(logits, targets) * near).sum() / (near.sum() + 1)
    )


def pixel_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each pixel, [batch, height, width]; 0 where it is to be ignored."""
    if logits.shape[1] == 1:
        wanted = (targets == 1).to(logits)
        entropy = functional.binary_cross_entropy_with_logits(logits[:, 0], wanted, reduction="none")
        return entropy * (targets != IGNORE)
    return functional.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="none")


def importance(targets: Tensor, weights: Sequence[float]) -> Tensor:
    """How much each pixel counts, [batch, height, width]: the weight of its class, 0 where it is to be ignored."""
    known = targets != IGNORE
    if not weights:
        return known
    table = torch.tensor(weights, dtype=torch.float32, device=targets.device)
    return table[targets.masked_fill(~known, 0)] * known


def entropy_mean(logits: Tensor, targets: Tensor, weights: Sequence[float] = ()) -> Tensor:
    """Weighted mean cross-entropy of the pixels that count."""
    entropy, counted = pixel_entropy(logits, targets), importance(targets, weights)
    if not weights:
        return entropy.sum() / counted.sum().clamp(min=1)
    return (entropy * counted).sum() / counted.sum().clamp(min=1e-6)


def soft_dice(logits: Tensor, targets: Tensor) -> Tensor:
    """Dice of probabilities over the whole batch, one per foreground class; 1 is added above and below."""
    counted = (targets != IGNORE)[:, None].to(logits)
    if logits.shape[1] == 1:
        likely, wanted = logits.sigmoid() * counted, (targets == 1).to(logits)[:, None]
    else:
        likely = logits.softmax(dim=1)[:, 1:] * counted
        known = targets.masked_fill(targets == IGNORE, 0)
        wanted = functional.one_hot(known, logits.shape[1]).movedim(-1, 1)[:, 1:].to(logits)
    overlap = (likely * wanted).sum(dim=(0, 2, 3))
    return (2 * overlap + 1) / ((likely + wanted).sum(dim=(0, 2, 3)) + 1)


def edges(targets: Tensor, border: int = BORDER) -> Tensor:
    """Whether another label lies within `border` pixels (a square), [batch, height, width]."""
    labels, window = targets.float()[:, None], 2 * border + 1
    high = functional.max_pool2d(labels, window, stride=1, padding=border)
    low = -functional.max_pool2d(-labels, window, stride=1, padding=border)
    return (high != low)[:, 0]

"""What training minimizes: each loss takes logits [batch, channels, height, width] and labels [batch, height, width].

    dice_ce    cross-entropy + (1 - soft Dice)
    poly_dice  cross-entropy + a polynomial in t = 1 - soft Dice:  t + weight * (t^2 + ... + t^order)
    boundary   dice_ce + weight * cross-entropy of the pixels at most two from an edge of the mask

Pixels that are to be ignored (255 in the labels) are in no mean and no overlap.
One output channel is foreground or not; several are classes, of which the first is the background and has no Dice.
The polynomial follows the idea of arXiv 2606.23373 as far as its abstract tells it (Dice as the first term of an
expansion whose higher-order terms get a coefficient and a largest order); its own coefficients were not at hand.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from hwseg.pictures.labels import IGNORE
from hwseg.quant.train.config import TrainConfig

Loss = Callable[[Tensor, Tensor], Tensor]
BORDER = 2
"""Pixels from an edge that count as boundary."""


def from_config(config: TrainConfig) -> Loss:
    """The loss that a configuration names."""
    weight, order = config.loss_weight, config.loss_order
    if config.loss == "poly_dice":
        return lambda logits, targets: poly_dice(logits, targets, weight, order)
    if config.loss == "boundary":
        return lambda logits, targets: boundary(logits, targets, weight)
    return dice_ce


def dice_ce(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy plus 1 - soft Dice over the batch."""
    return _mean(pixel_entropy(logits, targets), targets) + (1 - soft_dice(logits, targets)).mean()


def poly_dice(logits: Tensor, targets: Tensor, weight: float, order: int) -> Tensor:
    """Cross-entropy plus t + weight * (t^2 + ... + t^order), t = 1 - soft Dice; `order` 1 is `dice_ce`."""
    t = 1 - soft_dice(logits, targets)
    polynomial = t + weight * sum((t**k for k in range(2, order + 1)), start=t.new_zeros(()))
    return _mean(pixel_entropy(logits, targets), targets) + polynomial.mean()


def boundary(logits: Tensor, targets: Tensor, weight: float) -> Tensor:
    """`dice_ce` plus `weight` times the mean cross-entropy near edges; masks without an edge add nothing."""
    entropy = pixel_entropy(logits, targets)
    near = edges(targets).to(entropy) * (targets != IGNORE)
    return (
        _mean(entropy, targets)
        + (1 - soft_dice(logits, targets)).mean()
        + weight * (entropy * near).sum() / (near.sum() + 1)
    )


def pixel_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each pixel, [batch, height, width]; 0 where it is to be ignored."""
    if logits.shape[1] == 1:
        wanted = (targets == 1).to(logits)
        entropy = functional.binary_cross_entropy_with_logits(logits[:, 0], wanted, reduction="none")
        return entropy * (targets != IGNORE)
    return functional.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="none")


def _mean(entropy: Tensor, targets: Tensor) -> Tensor:
    """Over the pixels that count."""
    return entropy.sum() / (targets != IGNORE).sum().clamp(min=1)


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

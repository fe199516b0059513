"""Pictures made worse, so that a few good validation pictures also show what bad ones look like.

Each changes the input's integers [H, W, C] within the range of the network's input.  The mask that they should give is
the same.  They are drawn by a seed and the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hwseg.ir import TensorType

Values = NDArray[Any]


def darker(t: Values, _random: np.random.Generator) -> Values:
    """A third of the brightness."""
    return t / 3


def brighter(t: Values, _random: np.random.Generator) -> Values:
    """Twice as bright, clipped."""
    return 2 * t


def lifted(t: Values, _random: np.random.Generator) -> Values:
    """Middle tones lifted."""
    return np.sqrt(np.maximum(t, 0))


def flat(t: Values, _random: np.random.Generator) -> Values:
    """A third of the contrast, around the mean."""
    return np.asarray(t.mean() + (t - t.mean()) / 3)


def blurred(t: Values, _random: np.random.Generator) -> Values:
    """Out of focus."""
    spread = max(1.0, min(t.shape[:2]) / 48)
    return np.asarray(ndimage.gaussian_filter(t, (spread, spread, 0)))


def noisy(t: Values, random: np.random.Generator) -> Values:
    """A deviation of an eighth of the range."""
    return t + random.normal(0, 0.125, t.shape)


def covered(t: Values, random: np.random.Generator) -> Values:
    """A rectangle of an eighth to a half of each side shows nothing."""
    result = t.copy()
    tall, wide = (int(n * random.uniform(0.125, 0.5)) for n in t.shape[:2])
    y, x = random.integers(0, t.shape[0] - tall + 1), random.integers(0, t.shape[1] - wide + 1)
    result[y : y + tall, x : x + wide] = t.mean()
    return result


def shaded(t: Values, random: np.random.Generator) -> Values:
    """Light falls off to one side."""
    rows, columns = (np.linspace(-0.5, 0.5, n) for n in t.shape[:2])
    angle = random.uniform(0, 2 * np.pi)
    light = 0.6 + 0.8 * (np.cos(angle) * rows[:, None] + np.sin(angle) * columns)
    return np.asarray(t * light[:, :, None])


DISTURBANCES: Mapping[str, Callable[[Values, np.random.Generator], Values]] = {
    "blurred": blurred,
    "noisy": noisy,
    "covered": covered,
    "darker": darker,
    "flat": flat,
    "shaded": shaded,
    "brighter": brighter,
    "lifted": lifted,
}


def disturbance(name: str, kind: TensorType, seed: int) -> Callable[[Values], Values]:
    """From the integers of a picture to those of a worse one."""

    def change(image: Values) -> Values:
        span = max(1, kind.high - kind.low)
        t = (image.astype(np.float64) - kind.low) / span
        worse = DISTURBANCES[name](t, np.random.default_rng(seed))
        return np.asarray(np.clip(np.rint(worse * span) + kind.low, kind.low, kind.high), image.dtype)

    return change

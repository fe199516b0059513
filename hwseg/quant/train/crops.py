"""How training draws: the crop number `index` of step `step` is a function of (seed, step, index) and nothing else.

So a run goes on after an interruption as if there had been none, several processes share a batch by taking its parts,
and a thread may draw ahead.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hwseg.datasets.pairs import Classes, Pair
from hwseg.errors import require
from hwseg.pictures.meaning import Meaning
from hwseg.pictures.prepare import prepare, standardized
from hwseg.quant.train.tensors import to_tensor

Batch = tuple[Tensor, Tensor]
Values = NDArray[np.float32]
"""t of every pixel, from 0 to 1, [height, width, channels]."""

TILT, SCALE, SHIFT = 12.0, 0.15, 0.08
"""Largest rotation in degrees, share of scaling, and share of the side, of `mild` augmentation."""


@dataclass(frozen=True)
class Crops:
    """Square crops of `size` from pictures that were, unless 0, scaled to `resize` x `resize`."""

    size: int
    meaning: Meaning
    resize: int = 0
    augment: str = "turn"


def draw(pairs: list[Pair], crops: Crops, seed: int, step: int, indices: range) -> Batch:
    """The network's input, float [count, channels, size, size], and classes [count, size, size]."""
    drawn = [_one(pairs, crops, np.random.default_rng((seed, step, index))) for index in indices]
    x = standardized(np.stack([values for values, _ in drawn]), crops.meaning)
    return to_tensor(x), torch.from_numpy(np.stack([y for _, y in drawn])).long()


def ahead(pairs: list[Pair], crops: Crops, seed: int, steps: range, indices: range) -> Iterator[Batch]:
    """The batches of `steps`, each drawn by a thread while the one before is used."""
    with ThreadPoolExecutor(1) as pool:
        waiting: Future[Batch] | None = None
        for step in [*steps, -1]:
            later = pool.submit(draw, pairs, crops, seed, step, indices) if step >= 0 else None
            if waiting is not None:
                yield waiting.result()
            waiting = later


def _one(pairs: list[Pair], crops: Crops, rng: np.random.Generator) -> tuple[Values, Classes]:
    pair = pairs[int(rng.integers(0, len(pairs)))]
    prepared, mask = pair.prepared(crops.meaning, (crops.resize, crops.resize) if crops.resize else None)
    size = crops.size
    require(
        min(mask.shape) >= size,
        str(pair.image),
        f"must be at least {size}x{size}, the size of a training crop, not {mask.shape[1]}x{mask.shape[0]}",
        "lower --size",
    )
    values = None
    if crops.augment == "mild":
        values, mask = _tilt(prepared.values(), mask, rng)
    top, left = (int(rng.integers(0, length - size + 1)) for length in mask.shape)
    window = np.s_[top : top + size, left : left + size]
    mask = mask[window]
    # Users normalize whole pictures and cut-outs alike; learn both, but never stretch the noise of an empty crop.
    if crops.augment == "turn" and not crops.resize and bool(mask.any()) and rng.random() < 0.5:
        picture = pair.read()[0]
        alone = replace(picture, pixels=np.ascontiguousarray(picture.pixels[window]))
        values = prepare(alone, crops.meaning, pair.channels).values()
    elif values is None:
        values = replace(prepared, pixels=prepared.pixels[window]).values()
    else:
        values = values[window]
    if crops.augment == "turn":
        values, mask = _turn(values, mask, rng)
    if crops.augment != "none":
        values = _contrast(values, rng)
    return values, np.ascontiguousarray(mask)


def _turn(values: Values, mask: Classes, rng: np.random.Generator) -> tuple[Values, Classes]:
    turns, flip = int(rng.integers(0, 4)), bool(rng.integers(0, 2))
    values, mask = np.rot90(values, turns), np.rot90(mask, turns)
    return (values[:, ::-1], mask[:, ::-1]) if flip else (values, mask)


def _tilt(values: Values, mask: Classes, rng: np.random.Generator) -> tuple[Values, Classes]:
    """A small rotation, scaling and shift about the middle, perhaps mirrored; what comes from outside is 0."""
    height, width = mask.shape
    angle, scale = np.deg2rad(rng.uniform(-TILT, TILT)), 1 + rng.uniform(-SCALE, SCALE)
    down, right = rng.uniform(-SHIFT, SHIFT) * height, rng.uniform(-SHIFT, SHIFT) * width
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    x, y = (width - 1) / 2, (height - 1) / 2
    matrix = (c * mirror, s, x - c * mirror * x - s * y + right, -s * mirror, c, y + s * mirror * x - c * y + down)
    planes = [_moved(values[:, :, i], matrix, Image.Resampling.BILINEAR) for i in range(values.shape[2])]
    return np.stack(planes, axis=2), _moved(mask, matrix, Image.Resampling.NEAREST)


def _moved(plane: np.ndarray, matrix: tuple[float, ...], sampling: Image.Resampling) -> np.ndarray:
    picture = Image.fromarray(np.ascontiguousarray(plane))
    return np.asarray(picture.transform(picture.size, Image.Transform.AFFINE, matrix, sampling))


def _contrast(values: Values, rng: np.random.Generator) -> Values:
    """Another exposure: darker more often than brighter, as where a few bright spots set the scale; sometimes noise."""
    gamma, gain = float(np.exp(rng.uniform(-0.4, 0.4))), float(np.exp(rng.uniform(-1.0, 0.3)))
    exposed = gain * values.astype(np.float64) ** gamma
    if rng.random() < 0.3:
        exposed = exposed + rng.normal(0, rng.uniform(1, 6), exposed.shape) / 255
    return np.clip(exposed, 0, 1).astype(np.float32)

"""How training draws: the crop number `index` of step `step` is a function of (seed, step, index) and nothing else.

So a run goes on after an interruption as if there had been none, several processes share a batch by taking its parts,
and a thread may draw ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hwseg.errors import require
from hwseg.normalize import normalize
from hwseg.quant.train.pairs import Pair, Pixels, to_tensor

Batch = tuple[Tensor, Tensor]
Alter = Callable[[Pixels, Pixels, np.random.Generator], tuple[Pixels, Pixels]]
TILT, SCALE, SHIFT = 12.0, 0.15, 0.08
"""Largest rotation in degrees, share of scaling, and share of the side, of `mild` augmentation."""


@dataclass(frozen=True)
class Crops:
    """Square crops of `size` from pictures that were normalized and, unless 0, scaled to `resize` x `resize`."""

    size: int
    normalize: str
    resize: int = 0
    augment: str = "turn"


def draw(pairs: list[Pair], crops: Crops, seed: int, step: int, indices: range) -> Batch:
    """Float [count, channels, size, size] = pixel / 256, and labels [count, size, size]."""
    drawn = [_one(pairs, crops, np.random.default_rng((seed, step, index))) for index in indices]
    return to_tensor(np.stack([x for x, _ in drawn])), torch.from_numpy(np.stack([y for _, y in drawn])).long()


def ahead(pairs: list[Pair], crops: Crops, seed: int, steps: range, indices: range) -> Iterator[Batch]:
    """The batches of `steps`, each drawn by a thread while the one before is used."""
    with ThreadPoolExecutor(1) as pool:
        waiting: Future[Batch] | None = None
        for step in [*steps, -1]:
            later = pool.submit(draw, pairs, crops, seed, step, indices) if step >= 0 else None
            if waiting is not None:
                yield waiting.result()
            waiting = later


def _one(pairs: list[Pair], crops: Crops, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    pair = pairs[int(rng.integers(0, len(pairs)))]
    pixels, mask = pair.read() if crops.augment == "turn" and not crops.resize else _whole(pair, crops)
    size = crops.size
    require(
        min(mask.shape) >= size,
        str(pair.image),
        f"must be at least {size}x{size}, the size of a training crop, not {mask.shape[1]}x{mask.shape[0]}",
        "lower --size",
    )
    if crops.augment == "mild":
        pixels, mask = _tilt(pixels, mask, rng)
    top, left = (int(rng.integers(0, length - size + 1)) for length in mask.shape)
    window = np.s_[top : top + size, left : left + size]
    mask = mask[window]
    if crops.augment == "turn" and not crops.resize:
        # Users normalize whole pictures and cut-outs alike; learn both, but never stretch the noise of an empty crop.
        alone = bool(mask.any()) and rng.random() < 0.5
        pixels = normalize(pixels[window], crops.normalize) if alone else normalize(pixels, crops.normalize)[window]
    else:
        pixels = pixels[window]
    if crops.augment == "turn":
        pixels, mask = _turn(pixels, mask, rng)
    if crops.augment != "none":
        pixels = _contrast(pixels, rng)
    return pixels, np.ascontiguousarray(mask)


def _whole(pair: Pair, crops: Crops) -> tuple[Pixels, Pixels]:
    return pair.prepared(crops.normalize, (crops.resize, crops.resize) if crops.resize else None)


def _turn(pixels: Pixels, mask: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    turns, flip = int(rng.integers(0, 4)), bool(rng.integers(0, 2))
    pixels, mask = np.rot90(pixels, turns), np.rot90(mask, turns)
    return (pixels[:, ::-1], mask[:, ::-1]) if flip else (pixels, mask)


def _tilt(pixels: Pixels, mask: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """A small rotation, scaling and shift about the middle, perhaps mirrored; what comes from outside is 0."""
    height, width = mask.shape
    angle, scale = np.deg2rad(rng.uniform(-TILT, TILT)), 1 + rng.uniform(-SCALE, SCALE)
    down, right = rng.uniform(-SHIFT, SHIFT) * height, rng.uniform(-SHIFT, SHIFT) * width
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    x, y = (width - 1) / 2, (height - 1) / 2
    matrix = (c * mirror, s, x - c * mirror * x - s * y + right, -s * mirror, c, y + s * mirror * x - c * y + down)
    planes = [_moved(pixels[:, :, i], matrix, Image.Resampling.BILINEAR) for i in range(pixels.shape[2])]
    return np.stack(planes, axis=2), _moved(mask, matrix, Image.Resampling.NEAREST)


def _moved(plane: Pixels, matrix: tuple[float, ...], sampling: Image.Resampling) -> Pixels:
    picture = Image.fromarray(np.ascontiguousarray(plane))
    return np.asarray(picture.transform(picture.size, Image.Transform.AFFINE, matrix, sampling))


def _contrast(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Another exposure: darker more often than brighter, as where a few bright spots set the scale; sometimes noise."""
    gamma, gain = float(np.exp(rng.uniform(-0.4, 0.4))), float(np.exp(rng.uniform(-1.0, 0.3)))
    values = (255 * gain * (np.arange(256) / 255) ** gamma)[pixels]
    if rng.random() < 0.3:
        values = values + rng.normal(0, rng.uniform(1, 6), values.shape)
    result: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return result

"""One picture with its mask, as integers and as tensors, and the parts that a set of them is split into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hwseg.errors import HwsegError, require
from hwseg.image import fitted
from hwseg.normalize import normalize

PARTS = ("train", "val", "test")
_GREY, _COLOUR = ("1", "L", "LA"), ("RGB", "RGBA", "P")

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Pair:
    """One picture and its mask, as files.

    One class: the mask is 255 (or 1) in the foreground.  More: its values are labels from 0.
    """

    image: Path
    mask: Path
    channels: int
    classes: int
    _cache: dict[Any, tuple[Pixels, Pixels]] = field(default_factory=dict, repr=False, compare=False)

    def read(self) -> tuple[Pixels, Pixels]:
        """Picture [height, width, channels] and labels [height, width]; kept in memory after the first time."""
        if None not in self._cache:
            self._cache[None] = read_picture(self.image, self.channels), read_mask(self.mask, self.classes)
        return self._cache[None]

    def prepared(self, normalization: str, size: tuple[int, int] | None = None) -> tuple[Pixels, Pixels]:
        """What the network sees, and the labels at that size: normalized, then scaled to `size` (height, width).

        A mask of one class is 1 where at least half of the scaled pixel is; labels are those of the nearest pixel.
        """
        key = normalization, size
        if key not in self._cache:
            pixels, mask = self.read()
            pixels = normalize(pixels, normalization)
            if size is not None:
                pixels, mask = fitted(pixels, size, "resize", str(self.image)), _scaled(mask, size, self.classes)
            self._cache[key] = pixels, mask
        return self._cache[key]


def same_size(image: Path, mask: Path) -> None:
    """Refuse a mask of another size than its picture."""
    sizes = [_header(path).size for path in (image, mask)]
    require(
        sizes[0] == sizes[1],
        str(mask),
        f"must be {sizes[0][0]}x{sizes[0][1]} like its picture, not {sizes[1][0]}x{sizes[1][1]}",
    )


def chosen(parts: dict[str, list[Pair]], exclude: Sequence[str], place: str) -> dict[str, list[Pair]]:
    """The parts without the pictures named in `exclude`; something must be left to train and to validate on."""
    stems = {pair.image.stem for pairs in parts.values() for pair in pairs}
    left_out = {Path(name).stem for name in exclude}
    for stem in left_out:
        require(stem in stems, "--exclude", f"names {stem}, which is not in {place}")
    parts = {part: [pair for pair in pairs if pair.image.stem not in left_out] for part, pairs in parts.items()}
    for part in ("train", "val"):
        require(bool(parts[part]), place, f"has no {part} pictures", "add some to split.json, or remove the file")
    return parts


def shuffled(stems: list[str], seed: int) -> dict[str, list[str]]:
    """A seeded split: 15 % to validate, 15 % to test, the rest to train."""
    order = [stems[int(i)] for i in np.random.default_rng(seed).permutation(len(stems))]
    held = max(1, round(0.15 * len(stems)))
    return {"train": order[2 * held :], "val": order[:held], "test": order[held : 2 * held]}


def both_classes(pairs: Sequence[Pair]) -> None:
    """Refuse masks in which every pixel of every picture has the same label: there is nothing to learn."""
    found: set[int] = set()
    for pair in pairs:
        found.update(np.unique(pair.read()[1]).tolist())
        if len(found) > 1:
            return
    label = ", ".join(str(value) for value in sorted(found))
    folder = str(pairs[0].mask.parent)
    require(False, folder, f"every pixel of the {len(pairs)} training masks is {label}", "check how masks are coded")


def read_picture(path: Path, channels: int) -> Pixels:
    """8-bit picture [height, width, channels], one channel or red, green, blue."""
    require(channels in (1, 3), "channels", f"must be 1 (grey) or 3 (colour) to read pictures, not {channels}")
    picture = _open(path)
    require(
        picture.mode in (*_GREY, *_COLOUR),
        str(path),
        f"must be an 8-bit grey or colour picture, not mode {picture.mode}",
        "convert it to 8 bits",
    )
    pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape(*pixels.shape[:2], channels)


def read_mask(path: Path, classes: int) -> Pixels:
    """Labels [height, width]."""
    picture = _open(path)
    require(
        picture.mode in ("1", "L", "P"), str(path), f"must be an 8-bit mask of one channel, not mode {picture.mode}"
    )
    values = np.asarray(picture.convert("L") if picture.mode == "1" else picture)
    if classes == 1:
        require(
            not 1 < values.max(initial=0) < 128,
            str(path),
            f"must mark the foreground with 255 or 1, not {values.max(initial=0)}",
            "set more output channels for a mask of labels",
        )
        return (values >= (128 if values.max(initial=0) > 1 else 1)).astype(np.uint8)
    require(
        int(values.max(initial=0)) < classes,
        str(path),
        f"must hold labels below {classes}, not {values.max(initial=0)}",
        "set more output channels",
    )
    return values


def whole(pair: Pair, normalization: str, multiple: int, resize: int = 0) -> tuple[Tensor, Tensor]:
    """A whole picture as a batch of one, cut at the right and below to a size that the network's poolings divide."""
    pixels, mask = pair.prepared(normalization, (resize, resize) if resize else None)
    height, width = (length // multiple * multiple for length in mask.shape)
    require(height > 0 and width > 0, str(pair.image), f"must be at least {multiple}x{multiple}")
    return to_tensor(pixels[None, :height, :width]), torch.from_numpy(mask[:height, :width].copy()).long()[None]


def to_tensor(pixels: Pixels) -> Tensor:
    """[batch, height, width, channels] pixels as the network's input, pixel / 256."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 1))).float() / 256


def _scaled(mask: Pixels, size: tuple[int, int], classes: int) -> Pixels:
    if classes > 1:
        return np.asarray(Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST))
    shares = fitted(mask[:, :, None] * np.uint8(255), size, "resize", "mask")[:, :, 0]
    return (shares >= 128).astype(np.uint8)


def _header(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise HwsegError(
            str(path), f"cannot be read as a picture ({type(error).__name__})", "replace the file"
        ) from error


def _open(path: Path) -> Image.Image:
    picture = _header(path)
    try:
        picture.load()
    except Exception as error:
        raise HwsegError(str(path), f"is damaged ({type(error).__name__}: {error})", "replace the file") from error
    return picture

"""A folder of pictures and masks: `images/`, `masks/` with the same file names, and, where there is one, `split.json`.

    {"train": ["a.png", ...], "val": [...], "test": [...]}

Further keys of split.json are left alone.  Without the file, a seeded shuffle of the names splits 70/15/15.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hwseg.errors import HwsegError, require
from hwseg.normalize import normalize

PARTS = ("train", "val", "test")
SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
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
    _cache: list[tuple[Pixels, Pixels]] = field(default_factory=list, repr=False, compare=False)

    def read(self) -> tuple[Pixels, Pixels]:
        """Picture [height, width, channels] and labels [height, width]; kept in memory after the first time."""
        if not self._cache:
            self._cache.append((read_picture(self.image, self.channels), read_mask(self.mask, self.classes)))
        return self._cache[0]


@dataclass(frozen=True)
class Crops:
    """How training draws: square crops of `size`, flipped, turned and with varied contrast."""

    size: int
    normalize: str
    augment: bool = True


def load_folder(
    root: Path | str, channels: int = 1, classes: int = 1, seed: int = 0, exclude: Sequence[str] = ()
) -> dict[str, list[Pair]]:
    """Pairs of each part, all paired and of equal size; `exclude` names pictures to leave out."""
    root = Path(root)
    images, masks = (_files(root / name) for name in ("images", "masks"))
    _same_names(images, masks, root)
    for stem, image in images.items():
        sizes = [_header(path).size for path in (image, masks[stem])]
        require(
            sizes[0] == sizes[1],
            str(masks[stem]),
            f"must be {sizes[0][0]}x{sizes[0][1]} like its picture, not {sizes[1][0]}x{sizes[1][1]}",
        )
    parts = {
        part: [Pair(images[stem], masks[stem], channels, classes) for stem in stems]
        for part, stems in _split(root, list(images), seed).items()
    }
    left_out = {Path(name).stem for name in exclude}
    for stem in left_out:
        require(stem in images, "--exclude", f"names {stem}, which is not in {root / 'images'}")
    parts = {part: [pair for pair in pairs if pair.image.stem not in left_out] for part, pairs in parts.items()}
    for part in ("train", "val"):
        require(bool(parts[part]), str(root), f"has no {part} pictures", "add some to split.json, or remove the file")
    return parts


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


def draw(pairs: list[Pair], count: int, crops: Crops, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A batch: float [count, channels, size, size] = pixel / 256, labels [count, size, size]; only `rng` is random."""
    drawn = [_crop(pairs[int(i)], crops, rng) for i in rng.integers(0, len(pairs), count)]
    return to_tensor(np.stack([x for x, _ in drawn])), torch.from_numpy(np.stack([y for _, y in drawn])).long()


def whole(pair: Pair, normalization: str, multiple: int) -> tuple[Tensor, Tensor]:
    """A whole picture as a batch of one, cut at the right and below to a size that the network's poolings divide."""
    pixels, mask = pair.read()
    height, width = (length // multiple * multiple for length in mask.shape)
    require(height > 0 and width > 0, str(pair.image), f"must be at least {multiple}x{multiple}")
    pixels = normalize(pixels, normalization)[:height, :width]
    return to_tensor(pixels[None]), torch.from_numpy(mask[:height, :width].copy()).long()[None]


def to_tensor(pixels: Pixels) -> Tensor:
    """[batch, height, width, channels] pixels as the network's input, pixel / 256."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 1))).float() / 256


def _crop(pair: Pair, crops: Crops, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    pixels, mask = pair.read()
    size = crops.size
    require(
        min(mask.shape) >= size,
        str(pair.image),
        f"must be at least {size}x{size}, the size of a training crop, not {mask.shape[1]}x{mask.shape[0]}",
        "lower --size",
    )
    top, left = (int(rng.integers(0, length - size + 1)) for length in mask.shape)
    window = np.s_[top : top + size, left : left + size]
    mask = mask[window]
    # Users normalize whole pictures and cut-outs alike; learn both, but never stretch the noise of an empty crop.
    alone = crops.augment and bool(mask.any()) and rng.random() < 0.5
    pixels = normalize(pixels[window], crops.normalize) if alone else normalize(pixels, crops.normalize)[window]
    if crops.augment:
        pixels, mask = _turn(pixels, mask, rng)
        pixels = _contrast(pixels, rng)
    return pixels, np.ascontiguousarray(mask)


def _turn(pixels: Pixels, mask: Pixels, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    turns, flip = int(rng.integers(0, 4)), bool(rng.integers(0, 2))
    pixels, mask = np.rot90(pixels, turns), np.rot90(mask, turns)
    return (pixels[:, ::-1], mask[:, ::-1]) if flip else (pixels, mask)


def _contrast(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Another exposure: darker more often than brighter, as where a few bright spots set the scale; sometimes noise."""
    gamma, gain = float(np.exp(rng.uniform(-0.4, 0.4))), float(np.exp(rng.uniform(-1.0, 0.3)))
    values = (255 * gain * (np.arange(256) / 255) ** gamma)[pixels]
    if rng.random() < 0.3:
        values = values + rng.normal(0, rng.uniform(1, 6), values.shape)
    result: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return result


def _files(folder: Path) -> dict[str, Path]:
    require(folder.is_dir(), str(folder), "must be a folder of pictures", "a data set has images/ and masks/")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            require(path.stem not in files, str(path), "is the second file of this name", "keep one of them")
            files[path.stem] = path
    require(bool(files), str(folder), f"holds no picture ({', '.join(SUFFIXES)})")
    return files


def _same_names(images: dict[str, Path], masks: dict[str, Path], root: Path) -> None:
    for stem, path in images.items():
        require(stem in masks, str(path), f"has no mask {root / 'masks' / path.name}", "add it or remove the picture")
    for stem, path in masks.items():
        require(stem in images, str(path), "is a mask without a picture", "add the picture or remove the mask")


def _split(root: Path, stems: list[str], seed: int) -> dict[str, list[str]]:
    path = root / "split.json"
    if not path.exists():
        order = [stems[int(i)] for i in np.random.default_rng(seed).permutation(len(stems))]
        held = max(1, round(0.15 * len(stems)))
        return {"train": order[2 * held :], "val": order[:held], "test": order[held : 2 * held]}
    try:
        split = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HwsegError(str(path), f"is not valid JSON: {error}") from error
    require(isinstance(split, dict), str(path), 'must be an object such as {"train": ["a.png"], "val": ["b.png"]}')
    parts: dict[str, list[str]] = {}
    for part in PARTS:
        names = split.get(part, [])
        valid = isinstance(names, list) and all(isinstance(name, str) for name in names)
        require(valid, str(path), f"{part} must be a list of file names")
        parts[part] = [Path(name).stem for name in names]
    _check_split(path, parts, set(stems))
    return parts


def _check_split(path: Path, parts: dict[str, list[str]], stems: set[str]) -> None:
    seen: dict[str, str] = {}
    for part, names in parts.items():
        for name in names:
            require(name in stems, str(path), f"{part} names {name}, which is not in images/")
            require(
                name not in seen,
                str(path),
                f"{name} is in {seen.get(name)} and again in {part}",
                "a picture belongs to one part",
            )
            seen[name] = part


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

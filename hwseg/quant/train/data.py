"""A data set from its source, a CSV file (`csv_data`) or a folder: `images/`, `masks/` with the same file names, and,
where there is one, `split.json`.

    {"train": ["a.png", ...], "val": [...], "test": [...]}

Further keys of split.json are left alone unless asked for.  Without the file, a seeded shuffle splits 70/15/15.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from hwseg.errors import HwsegError, require
from hwseg.quant.train.csv_data import load_csv
from hwseg.quant.train.pairs import PARTS, Pair, chosen, same_size, shuffled

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")


def load(
    source: Path | str, channels: int = 1, classes: int = 1, seed: int = 0, exclude: Sequence[str] = (), extra: str = ""
) -> dict[str, list[Pair]]:
    """Pairs of each part of a folder or a CSV file; `extra`: one further part of the split to load as well."""
    if Path(source).suffix.lower() == ".csv":
        return load_csv(Path(source), channels, classes, seed, exclude, extra)
    return load_folder(source, channels, classes, seed, exclude, extra)


def load_folder(
    root: Path | str, channels: int = 1, classes: int = 1, seed: int = 0, exclude: Sequence[str] = (), extra: str = ""
) -> dict[str, list[Pair]]:
    """Pairs of each part, all paired and of equal size; `exclude` names pictures to leave out."""
    root = Path(root)
    images, masks = (_files(root / name) for name in ("images", "masks"))
    _same_names(images, masks, root)
    for stem, image in images.items():
        same_size(image, masks[stem])
    parts = {
        part: [Pair(images[stem], masks[stem], channels, classes) for stem in stems]
        for part, stems in _split(root, list(images), seed, extra).items()
    }
    return chosen(parts, exclude, str(root))


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


def _split(root: Path, stems: list[str], seed: int, extra: str) -> dict[str, list[str]]:
    path = root / "split.json"
    if not path.exists():
        require(not extra or extra in PARTS, str(root), f"has no split.json that lists {extra}")
        return shuffled(stems, seed)
    try:
        split = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HwsegError(str(path), f"is not valid JSON: {error}") from error
    require(isinstance(split, dict), str(path), 'must be an object such as {"train": ["a.png"], "val": ["b.png"]}')
    require(not extra or extra in split, str(path), f"has no part {extra}", f"parts are {', '.join(split)}")
    parts: dict[str, list[str]] = {}
    for part in dict.fromkeys((*PARTS, *([extra] if extra else []))):
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
                name not in seen or part not in PARTS,
                str(path),
                f"{name} is in {seen.get(name)} and again in {part}",
                "a picture belongs to one part",
            )
            seen[name] = part

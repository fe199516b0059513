"""A data set from its source, a CSV file (`csv_data`) or a folder: `images/`, `masks/` with the same file names, and,
where there are any, `split.json` and `dataset.toml`.

    {"train": ["a.png", ...], "val": [...], "test": [...]}         split.json

    [input]                                                        dataset.toml; or keys "input" and "labels" beside
    values = "range 0 4095"                                        "train" in split.json
    [labels]
    coding = "instances"

`input` says what pixels are (`hwseg.pictures.meaning`), `labels` what the values of masks are
(`hwseg.pictures.labels`).  Further keys of split.json are left alone unless asked for.  Without the file, a seeded
shuffle splits 70/15/15.  A folder in `images/` is a DICOM series; a file of several pages is a picture for each, all in
one part.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwseg.borders import given
from hwseg.errors import require
from hwseg.files import file_errors, read_file
from hwseg.pictures import labels as declared
from hwseg.pictures import meaning
from hwseg.pictures.labels import Labels
from hwseg.pictures.meaning import Meaning
from hwseg.pictures.read import SUFFIXES, is_picture, stem
from hwseg.quant.train.csv_data import load_csv
from hwseg.quant.train.pairs import PARTS, Pair, chosen, paired, shuffled

DECLARATION, SPLIT = "dataset.toml", "split.json"


def load(
    source: Path | str,
    channels: int = 1,
    classes: int = 1,
    seed: int = 0,
    exclude: Sequence[str] = (),
    extra: str = "",
    labels: Labels | None = None,
) -> dict[str, list[Pair]]:
    """Pairs of each part of a folder or a CSV file; `extra`: one further part of the split to load as well.

    classes: output channels of the network.  labels: what masks mean, by default what the source declares.
    """
    meant = labels or labels_of(source, classes) or Labels(classes)
    if Path(source).suffix.lower() == ".csv":
        return load_csv(Path(source), channels, meant, seed, exclude, extra)
    return load_folder(source, channels, meant, seed, exclude, extra)


def meaning_of(source: Path | str) -> Meaning | None:
    """What the data set declares its pixels to be, or None."""
    place, table = _declared(Path(source), "input")
    return None if table is None else meaning.from_mapping(table, place)


def labels_of(source: Path | str, channels: int) -> Labels | None:
    """What the data set declares its masks to be, or None."""
    place, table = _declared(Path(source), "labels")
    return None if table is None else declared.from_mapping(table, channels, place)


def _declared(source: Path, name: str) -> tuple[str, Any]:
    """A table of dataset.toml, or a key of split.json, with its place."""
    if source.suffix.lower() == ".csv" or not source.is_dir():
        return "", None
    path, found = source / DECLARATION, None
    if os.path.lexists(path):
        content = _toml(path)
        unknown = next((key for key in content if key not in ("input", "labels")), None)
        require(unknown is None, str(path), f"has the tables [input] and [labels] only, not {unknown!r}")
        found = content.get(name)
    if os.path.lexists(source / SPLIT) and name in (split := _json(source / SPLIT)):
        require(found is None, str(path), f"declares {name}, and so does {SPLIT}", "declare it once")
        return f"{source / SPLIT}, {name}", split[name]
    return f"{path}, [{name}]", found


def _toml(path: Path) -> dict[str, Any]:
    with given(path, "readable TOML", "correct it"):
        return tomllib.loads(read_file(path).decode("utf-8-sig"))


def _json(path: Path) -> dict[str, Any]:
    with given(path, "valid JSON", "correct it, or remove it"):
        split = json.loads(read_file(path).decode("utf-8-sig"))
    require(isinstance(split, dict), str(path), 'must be an object such as {"train": ["a.png"], "val": ["b.png"]}')
    return dict(split)


def load_folder(
    root: Path | str,
    channels: int = 1,
    labels: Labels | None = None,
    seed: int = 0,
    exclude: Sequence[str] = (),
    extra: str = "",
) -> dict[str, list[Pair]]:
    """Pairs of each part, all paired and of equal size; `exclude` names pictures to leave out."""
    root = Path(root)
    labels = labels or labels_of(root, 1) or Labels()
    images, masks = (_files(root / name) for name in ("images", "masks"))
    _same_names(images, masks, root)
    pairs = {name: paired(image, masks[name], channels, labels) for name, image in images.items()}
    parts = {
        part: [pair for name in names for pair in pairs[name]]
        for part, names in _split(root, list(images), seed, extra).items()
    }
    return chosen(parts, exclude, str(root))


def _files(folder: Path) -> dict[str, Path]:
    require(os.path.isdir(folder), str(folder), "must be a folder of pictures", "a data set has images/ and masks/")
    files: dict[str, Path] = {}
    with file_errors(folder):
        listed = sorted(folder.iterdir())
    for path in listed:
        if is_picture(path) or (path.is_dir() and not path.name.startswith(".")):
            name = stem(path)
            require(name not in files, str(path), "is the second file of this name", "keep one of them")
            files[name] = path
    require(bool(files), str(folder), f"holds no picture ({', '.join(SUFFIXES)})", "a data set has images/ and masks/")
    return files


def _same_names(images: dict[str, Path], masks: dict[str, Path], root: Path) -> None:
    for name, path in images.items():
        require(name in masks, str(path), f"has no mask {root / 'masks' / path.name}", "add it or remove the picture")
    for name, path in masks.items():
        require(name in images, str(path), "is a mask without a picture", "add the picture or remove the mask")


def _split(root: Path, stems: list[str], seed: int, extra: str) -> dict[str, list[str]]:
    path = root / SPLIT
    if not os.path.lexists(path):
        require(not extra or extra in PARTS, str(root), f"has no split.json that lists {extra}")
        return shuffled(stems, seed, str(root))
    split = _json(path)
    if set(split) <= {"input", "labels"}:
        return shuffled(stems, seed, str(root))
    require(not extra or extra in split, str(path), f"has no part {extra}", f"parts are {', '.join(split)}")
    parts: dict[str, list[str]] = {}
    for part in dict.fromkeys((*PARTS, *([extra] if extra else []))):
        names = split.get(part, [])
        valid = isinstance(names, list) and all(isinstance(name, str) for name in names)
        require(valid, str(path), f"{part} must be a list of file names")
        parts[part] = [name if name in stems else stem(Path(name)) for name in names]
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

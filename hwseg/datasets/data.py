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
from contextlib import suppress
from pathlib import Path
from typing import Any

from hwseg.borders import given
from hwseg.datasets.csv_data import csv_images, csv_parts, load_csv
from hwseg.datasets.faults import Faults, each
from hwseg.datasets.pairs import PARTS, Pair, chosen, paired, shuffled, without
from hwseg.errors import HwsegError, require
from hwseg.files import file_errors, read_file
from hwseg.pictures import labels as declared
from hwseg.pictures import meaning
from hwseg.pictures.labels import Labels
from hwseg.pictures.meaning import Meaning
from hwseg.pictures.read import SUFFIXES, head, is_picture, stem

DECLARATION, SPLIT = "dataset.toml", "split.json"


def load(
    source: Path | str,
    channels: int = 1,
    classes: int = 1,
    seed: int = 0,
    exclude: Sequence[str] = (),
    extra: str | Sequence[str] = (),
    labels: Labels | None = None,
    faults: Faults | None = None,
) -> dict[str, list[Pair]]:
    """Pairs of each part of a folder or a CSV file; `extra`: further parts of the split to load as well.

    classes: output channels of the network.  labels: what masks mean, by default what the source declares.  faults:
    gets all that is wrong, and what is sound is loaded; without it the first fault is raised.
    """
    meant = labels or labels_of(source, classes) or Labels(classes)
    further = [extra] if isinstance(extra, str) else list(extra)
    further = [part for part in further if part and part not in PARTS]
    if Path(source).suffix.lower() == ".csv":
        return load_csv(Path(source), channels, meant, seed, exclude, further, faults)
    return load_folder(source, channels, meant, seed, exclude, further, faults)


def parts_of(source: Path | str) -> list[str]:
    """The parts that a data set lists beside train, val and test."""
    path = Path(source)
    if path.suffix.lower() == ".csv":
        names = csv_parts(path)
    else:
        split = _json(path / SPLIT) if os.path.lexists(path / SPLIT) else {}
        names = [key for key, value in split.items() if _is_list(value)]
    return [name for name in dict.fromkeys(names) if name and name not in (*PARTS, "input", "labels")]


def channels_of(source: Path | str) -> int:
    """Channels of the first picture whose header can be read, 1 without one."""
    path = Path(source)
    is_csv = path.suffix.lower() == ".csv"
    for file in csv_images(path) if is_csv else _files(path / "images", Faults()).values():
        with suppress(HwsegError):
            return head(file).channels
    return 1


def is_split(source: Path | str) -> bool:
    """Whether the data set says itself which picture is in which part."""
    path = Path(source)
    if path.suffix.lower() == ".csv":
        return any(csv_parts(path))
    return os.path.lexists(path / SPLIT) and not set(_json(path / SPLIT)) <= {"input", "labels"}


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
    extra: Sequence[str] = (),
    faults: Faults | None = None,
) -> dict[str, list[Pair]]:
    """Pairs of each part, all paired and of equal size; `exclude` names pictures to leave out."""
    root = Path(root)
    labels = labels or labels_of(root, 1) or Labels()
    images, masks = (_files(root / name, faults) for name in ("images", "masks"))
    left_out = without(images, exclude, str(root), faults)
    kept = {name: image for name, image in images.items() if name not in left_out}
    _same_names(kept, {name: mask for name, mask in masks.items() if name not in left_out}, root, faults)
    pairs: dict[str, list[Pair]] = {}
    for name, image in kept.items():
        with each(faults):
            if name in masks:
                pairs[name] = paired(image, masks[name], channels, labels)
    parts: dict[str, list[Pair]] = {}
    with each(faults):
        for part, names in _split(root, list(images), seed, extra, faults).items():
            parts[part] = [pair for name in names if name in pairs for pair in pairs[name]]
    return chosen(parts, str(root), faults)


def _files(folder: Path, faults: Faults | None) -> dict[str, Path]:
    require(os.path.isdir(folder), str(folder), "must be a folder of pictures", "a data set has images/ and masks/")
    files: dict[str, Path] = {}
    with file_errors(folder):
        listed = sorted(folder.iterdir())
    for path in listed:
        if is_picture(path) or (path.is_dir() and not path.name.startswith(".")):
            name = stem(path)
            with each(faults):
                require(name not in files, str(path), "is the second file of this name", "keep one of them")
                files[name] = path
    require(bool(files), str(folder), f"holds no picture ({', '.join(SUFFIXES)})", "a data set has images/ and masks/")
    return files


def _same_names(images: dict[str, Path], masks: dict[str, Path], root: Path, faults: Faults | None) -> None:
    for name, path in images.items():
        with each(faults):
            rule = f"has no mask {root / 'masks' / path.name}"
            require(name in masks, str(path), rule, "add it or remove the picture")
    for name, path in masks.items():
        with each(faults):
            require(name in images, str(path), "is a mask without a picture", "add the picture or remove the mask")


def _split(
    root: Path, stems: list[str], seed: int, extra: Sequence[str], faults: Faults | None
) -> dict[str, list[str]]:
    path = root / SPLIT
    if not os.path.lexists(path):
        missing = ", ".join(extra)
        require(not extra, str(root), f"has no split.json that lists {missing}", f"parts are {', '.join(PARTS)}")
        return shuffled(stems, seed, str(root))
    split = _json(path)
    if set(split) <= {"input", "labels"}:
        return shuffled(stems, seed, str(root))
    for part in extra:
        require(part in split, str(path), f"has no part {part}", f"parts are {', '.join(split)}")
    parts: dict[str, list[str]] = {}
    for part in dict.fromkeys((*PARTS, *extra)):
        names = split.get(part, [])
        require(_is_list(names), str(path), f"{part} must be a list of file names")
        parts[part] = [name if name in stems else stem(Path(name)) for name in names]
    _check_split(path, parts, set(stems), faults)
    return parts


def _is_list(value: Any) -> bool:
    """Whether it is one of file names."""
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _check_split(path: Path, parts: dict[str, list[str]], stems: set[str], faults: Faults | None) -> None:
    seen: dict[str, str] = {}
    for part, names in parts.items():
        for name in names:
            with each(faults):
                require(name in stems, str(path), f"{part} names {name}, which is not in images/")
                require(
                    name not in seen or part not in PARTS,
                    str(path),
                    f"{name} is in {seen.get(name)} and again in {part}",
                    "a picture belongs to one part",
                )
            seen[name] = part

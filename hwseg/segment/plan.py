"""Which files become which masks, and how each picture is cut; what can be wrong is, before the first tile."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwseg.errors import require
from hwseg.files import file_errors, sha256
from hwseg.pictures.formats import Head
from hwseg.pictures.read import format_of, head, is_picture, stem
from hwseg.pictures.tiles import Grid, Reach, Size, grid
from hwseg.segment.network import Engine

ENDINGS = {"tiff": ".tif", "nifti": ".nii.gz", "dicom": ".dcm", "numpy_file": ".npy", "pillow": ".png"}
"""Of masks, by the format of their pictures."""

KINDS = {
    ".tif": "tiff",
    ".tiff": "tiff",
    ".nii.gz": "nifti",
    ".nii": "nifti",
    ".dcm": "dicom",
    ".npy": "npy",
    ".png": "png",
}
"""Formats that masks are written in, by their ending."""


@dataclass(frozen=True)
class Item:
    """One file, or a folder with a DICOM series, and the mask it becomes.

    page: one picture of it, or None for all.  format: of the picture's file.  kind: of the mask's.
    """

    source: Path
    page: int | None
    head: Head
    format: str
    out: Path
    kind: str

    @property
    def pages(self) -> tuple[int, ...]:
        """Its pictures, by their number in the file."""
        return tuple(range(self.head.pages)) if self.page is None else (self.page,)

    @property
    def size(self) -> Size:
        return self.head.height, self.head.width


@dataclass(frozen=True)
class Plan:
    """An item and how its pictures are cut.  digest: of everything that its mask follows from."""

    item: Item
    grid: Grid
    scaled: bool
    digest: str

    @property
    def tiles(self) -> int:
        """Of all its pictures."""
        return len(self.item.pages) * len(self.grid)

    @property
    def pixels(self) -> int:
        """The same of the pictures' own pixels."""
        return len(self.item.pages) * self.item.size[0] * self.item.size[1]


def items_of(
    inputs: Sequence[Path],
    out: Path,
    page: int | None,
    drawings: Mapping[str, str] | None = None,
    measure: Path | None = None,
) -> tuple[Item, ...]:
    """Every picture of the inputs, and where its mask goes: to `out` if it names the one file, else into it.

    drawings, measure: what else is written, the former by `drawing_of`, in words; HwsegError where one file would
    replace another.
    """
    sources = list(_sources(inputs))
    require(bool(sources), "INPUT", "must be pictures, there is none", "name files or folders of pictures")
    to_file = list(inputs) == sources and len(sources) == 1 and not os.path.isdir(out) and kind_of(out) != ""
    found = [_item(source, page, out, to_file) for source in sources]
    _require_apart(found, drawings or {}, measure)
    return tuple(found)


def kind_of(path: Path) -> str:
    """The format that a mask's name asks for, or nothing."""
    name = path.name.lower()
    return next((kind for ending, kind in KINDS.items() if name.endswith(ending)), "")


def _sources(inputs: Sequence[Path]) -> Iterator[Path]:
    """Files, DICOM series as their folder, and the pictures of folders in the order of their names."""
    for path in inputs:
        require(
            os.path.exists(path),
            str(path),
            "must be a picture or a folder of pictures, but there is none",
            "check the path",
        )
        if not os.path.isdir(path):
            yield path
            continue
        with file_errors(path):
            listed = [p for p in sorted(path.iterdir()) if not p.name.startswith(".")]
            files = [p for p in listed if p.is_file()]
            for broken in (p for p in listed if is_picture(p) and not p.exists()):
                require(False, str(broken), "is a link to a file that is not there", "restore the file, or remove it")
        pictures = [p for p in files if is_picture(p)]
        if _is_series(files):
            yield path
            continue
        require(
            bool(pictures), str(path), f"must hold pictures, holds none in {len(files)} files", "name another folder"
        )
        yield from pictures


def _is_series(files: Sequence[Path]) -> bool:
    """Whether a folder's files are all DICOM: then they are the slices of one picture."""
    from hwseg.pictures.formats.dicom import is_dicom

    slices = [p for p in files if p.name.upper() != "DICOMDIR"]
    return bool(slices) and all(is_dicom(p) for p in slices)


def _item(source: Path, page: int | None, out: Path, to_file: bool) -> Item:
    """A picture and where its mask goes."""
    known, found = format_of(source), head(source)
    inside = page is None or page < found.pages
    require(inside, str(source), f"has the pages 0 to {found.pages - 1}, not {page}", "choose one of them")
    several = found.pages > 1 and page is None
    ending = ".tif" if known == "pillow" and several else ENDINGS[known]
    target = out if to_file else out / (stem(source) + ending)
    place, kind = str(target), kind_of(target)
    needed = {"nifti": "an affine", "dicom": "a patient and a study"}.get(kind, "")
    fits = not needed or known == kind
    require(fits, place, f"needs {needed}, which {source.name} has not", f"name a file that ends in {ending}")
    rule = f"holds one mask, {source.name} has {found.pages} pictures"
    require(kind != "png" or not several, place, rule, "choose one with --page, or name a file that ends in .tif")
    return Item(source, page, found, known, target, kind)


def drawing_of(item: Item, page: int, what: str = "overlay") -> Path:
    """Where a drawing of one of its pictures goes: NAME.overlay.png, or NAME.overlay-0003.png of several."""
    ending = "" if item.head.pages == 1 else f"-{page:04d}"
    return item.out.with_name(f"{stem(item.out)}.{what}{ending}.png")


def _require_apart(found: Sequence[Item], drawings: Mapping[str, str], measure: Path | None) -> None:
    """No file that is written replaces another, nor a picture."""
    written = [(item.out, f"the mask of {item.source}") for item in found]
    for what, words in drawings.items():
        pages = [(item, page) for item in found for page in item.pages]
        written += [(drawing_of(item, page, what), f"{words} {item.source}") for item, page in pages]
    if measure is not None:
        written.append((measure, "the table of --measure"))
    seen: dict[str, str] = {}
    for path, what in written:
        other = seen.setdefault(os.path.abspath(path), what)
        rule, cure = f"would be {other} and {what}", "rename one, or segment them into two folders"
        require(other is what, str(path), rule, cure)
    sources = {os.path.realpath(item.source) for item in found}
    for path, _ in written:
        with file_errors(path), suppress(FileNotFoundError):
            path.lstat()  # a name that cannot be is told before the first tile
        there = os.path.realpath(path)
        require(there not in sources, str(path), "would replace a picture of this run", "name another folder")


def plan(item: Item, engine: Engine, options: dict[str, Any]) -> Plan:
    """How an item is cut.  options: what else its results follow from, for the digest."""
    network = engine.network
    scaled = network.reach is None
    if network.reach is None:
        cuts = grid(network.size, network.size, network.size, Reach((0, 0), (0, 0), (1, 1)))
    else:
        cuts = grid(item.size, network.size, engine.tile(item.size), network.reach)
    content = {
        "picture": _digest(item),
        "page": item.page,
        "network": network.digest,
        "on": engine.on,
        "meaning": network.pixels.meaning.metadata(),
        "tile": list(cuts.tile),
        "kind": item.kind,
        **options,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return Plan(item, cuts, scaled, digest)


def _digest(item: Item) -> str:
    """Of the picture's file, or of all files of a series."""
    if not os.path.isdir(item.source):
        return sha256(item.source)
    files = [p for p in sorted(item.source.iterdir()) if p.is_file()]
    return hashlib.sha256("".join(sha256(p) for p in files).encode()).hexdigest()

"""A data set as a CSV file with the columns image, mask and, where the parts are fixed, part (train, val, test, ...).

Paths are relative to the file and stay in its folder.  Columns are parted by commas, semicolons or tabs, whichever the
first line has; a byte order mark is skipped.  Without a column `part`, a seeded shuffle splits 70/15/15.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hwseg.borders import given
from hwseg.datasets.faults import Faults, each
from hwseg.datasets.pairs import PARTS, Pair, chosen, paired, shuffled, without
from hwseg.errors import require
from hwseg.files import read_file
from hwseg.pictures.labels import Labels
from hwseg.pictures.read import stem

COLUMNS = ("image", "mask")
DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class Row:
    """A checked line; `part` is "" where the file has no such column."""

    image: Path
    mask: Path
    part: str


def load_csv(
    path: Path,
    channels: int,
    labels: Labels,
    seed: int = 0,
    exclude: Sequence[str] = (),
    extra: Sequence[str] = (),
    faults: Faults | None = None,
) -> dict[str, list[Pair]]:
    """Pairs of each part, in the order of the lines."""
    rows = _rows(path, faults)
    require(bool(rows), str(path), "lists no picture", "add lines below the first")
    titles = _titles(rows, path.parent)
    left_out = without(titles, exclude, str(path), faults)
    pairs: dict[str, list[Pair]] = {}
    for title, row in zip(titles, rows, strict=True):
        with each(faults):
            if title not in left_out:
                pairs[str(row.image)] = paired(row.image, row.mask, channels, labels, title)
    parts: dict[str, list[Pair]] = {}
    with each(faults):
        for part, names in _parts(rows, seed, path, extra).items():
            parts[part] = [pair for name in names if name in pairs for pair in pairs[name]]
    for part in extra:
        with each(faults):
            require(bool(parts.get(part)), str(path), f"has no picture of part {part}")
    return chosen(parts, str(path), faults)


def _titles(rows: Sequence[Row], folder: Path) -> list[str]:
    """Names of the pictures, all different: the file's without its ending, with folders where that is not enough."""
    short = [stem(row.image) for row in rows]
    counts = Counter(short)
    long = [(row.image.relative_to(folder).parent / name).as_posix() for name, row in zip(short, rows, strict=True)]
    found = [name if counts[name] == 1 else full for name, full in zip(short, long, strict=True)]
    again = Counter(found)
    whole = [row.image.relative_to(folder).as_posix() for row in rows]
    return [name if again[name] == 1 else full for name, full in zip(found, whole, strict=True)]


def csv_parts(path: Path) -> list[str]:
    """What its column `part` says, line by line; "" where there is no such column."""
    return [row.part for row in _rows(path, Faults())]


def csv_images(path: Path) -> list[Path]:
    """Its pictures, as far as lines can be read."""
    return [row.image for row in _rows(path, Faults())]


def _parts(rows: list[Row], seed: int, path: Path, extra: Sequence[str]) -> dict[str, list[str]]:
    if not rows[0].part:
        return shuffled([str(row.image) for row in rows], seed, str(path))
    return {part: [str(row.image) for row in rows if row.part == part] for part in (*PARTS, *extra)}


def _lines(path: Path) -> list[list[str]]:
    with given(path, "a readable CSV file", "write it as UTF-8 with commas and double quotes"):
        content = read_file(path)
        rule = "must be text in UTF-8, is in UTF-16"
        require(content[:2] not in (b"\xff\xfe", b"\xfe\xff"), str(path), rule, "save it as CSV UTF-8")
        text = content.decode("utf-8-sig")
        delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def _rows(path: Path, faults: Faults | None) -> list[Row]:
    lines = _lines(path)
    header = [name.strip() for name in lines[0]] if lines else []
    known = {*COLUMNS, "part"}
    fits = set(COLUMNS) <= set(header) <= known and len(set(header)) == len(header)
    require(fits, str(path), f"must begin with the columns image, mask and perhaps part, not {', '.join(header)!r}")
    seen: dict[Path, int] = {}
    rows: list[Row] = []
    for number, line in enumerate(lines[1:], start=2):
        if any(entry.strip() for entry in line):
            with each(faults):
                rows.append(_row(path, header, number, line, seen))
    return rows


def _row(path: Path, header: list[str], number: int, line: list[str], seen: dict[Path, int]) -> Row:
    """A checked line.  seen: pictures by the lines that name them."""
    place = f"{path} line {number}"
    require(len(line) == len(header), place, f"must have {len(header)} values, not {len(line)}")
    row = {name: entry.strip() for name, entry in zip(header, line, strict=True)}
    for name, entry in row.items():
        require(bool(entry), place, f"has no {name}")
    image, mask = (_inside(path.parent, row[name], place, name) for name in COLUMNS)
    require(image not in seen, place, f"names {row['image']} again, after line {seen.get(image)}")
    seen[image] = number
    return Row(image, mask, row.get("part", ""))


def _inside(folder: Path, name: str, place: str, column: str) -> Path:
    """A file of the folder, or HwsegError."""
    normal = os.path.normpath(name.replace("\\", "/"))
    inside = not os.path.isabs(normal) and not normal.startswith("..")
    cure = "paths are relative to the CSV file and stay in its folder: move one or the other"
    require(inside, place, f"{column} {name} lies outside the file's folder", cure)
    path = folder / normal
    require(os.path.exists(path), place, f"{column} {name} does not exist", "paths are relative to the file")
    return path

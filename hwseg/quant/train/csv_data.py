"""A data set as a CSV file with the columns image, mask and, where the parts are fixed, part (train, val, test, ...).

Paths are relative to the file and stay in its folder.  Columns are parted by commas, semicolons or tabs, whichever the
first line has; a byte order mark is skipped.  Without a column `part`, a seeded shuffle splits 70/15/15.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwseg.borders import given
from hwseg.errors import require
from hwseg.files import read_file
from hwseg.pictures.labels import Labels
from hwseg.quant.train.pairs import PARTS, Pair, chosen, paired, shuffled

COLUMNS = ("image", "mask")
DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class Row:
    """A checked line; `part` is "" where the file has no such column."""

    image: Path
    mask: Path
    part: str


def load_csv(
    path: Path, channels: int, labels: Labels, seed: int = 0, exclude: Sequence[str] = (), extra: str = ""
) -> dict[str, list[Pair]]:
    """Pairs of each part, in the order of the lines."""
    rows = list(_rows(path))
    require(bool(rows), str(path), "lists no picture", "add lines below the first")
    pairs = {str(row.image): paired(row.image, row.mask, channels, labels) for row in rows}
    if not rows[0].part:
        parts = {
            part: [pair for name in names for pair in pairs[name]]
            for part, names in shuffled(list(pairs), seed, str(path)).items()
        }
    else:
        wanted = (*PARTS, *([extra] if extra not in PARTS else []))
        parts = {
            part: [pair for row in rows if row.part == part for pair in pairs[str(row.image)]]
            for part in wanted
            if part
        }
    require(not extra or bool(parts.get(extra)), str(path), f"has no picture of part {extra}")
    return chosen(parts, exclude, str(path))


def _lines(path: Path) -> list[list[str]]:
    with given(path, "a readable CSV file", "write it as UTF-8 with commas and double quotes"):
        content = read_file(path)
        rule = "must be text in UTF-8, is in UTF-16"
        require(content[:2] not in (b"\xff\xfe", b"\xfe\xff"), str(path), rule, "save it as CSV UTF-8")
        text = content.decode("utf-8-sig")
        delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def _rows(path: Path) -> Iterator[Row]:
    lines = _lines(path)
    header = [name.strip() for name in lines[0]] if lines else []
    known = {*COLUMNS, "part"}
    fits = set(COLUMNS) <= set(header) <= known and len(set(header)) == len(header)
    require(fits, str(path), f"must begin with the columns image, mask and perhaps part, not {', '.join(header)!r}")
    seen: dict[Path, int] = {}
    for number, line in enumerate(lines[1:], start=2):
        place = f"{path} line {number}"
        if not any(entry.strip() for entry in line):
            continue
        require(len(line) == len(header), place, f"must have {len(header)} values, not {len(line)}")
        row = {name: entry.strip() for name, entry in zip(header, line, strict=True)}
        for name, entry in row.items():
            require(bool(entry), place, f"has no {name}")
        files = {name: _inside(path.parent, row[name], place, name) for name in COLUMNS}
        image = files["image"]
        require(image not in seen, place, f"names {row['image']} again, after line {seen.get(image)}")
        seen[image] = number
        yield Row(image, files["mask"], row.get("part", ""))


def _inside(folder: Path, name: str, place: str, column: str) -> Path:
    """A file of the folder, or HwsegError."""
    normal = os.path.normpath(name.replace("\\", "/"))
    inside = not os.path.isabs(normal) and not normal.startswith("..")
    cure = "paths are relative to the CSV file and stay in its folder: move one or the other"
    require(inside, place, f"{column} {name} lies outside the file's folder", cure)
    path = folder / normal
    require(path.exists(), place, f"{column} {name} does not exist", "paths are relative to the file")
    return path

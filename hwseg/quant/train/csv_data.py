"""A data set as a CSV file with the columns image, mask and, where the parts are fixed, part (train, val, test, ...).

Paths are relative to the file.  Without a column `part`, a seeded shuffle splits 70/15/15.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from hwseg.errors import HwsegError, require
from hwseg.quant.train.pairs import PARTS, Pair, chosen, same_size, shuffled

COLUMNS = ("image", "mask")


def load_csv(
    path: Path, channels: int = 1, classes: int = 1, seed: int = 0, exclude: Sequence[str] = (), extra: str = ""
) -> dict[str, list[Pair]]:
    """Pairs of each part, in the order of the lines."""
    rows = list(_rows(path))
    require(bool(rows), str(path), "lists no picture")
    pairs = {str(row["image"]): Pair(row["image"], row["mask"], channels, classes) for row in rows}
    if "part" not in rows[0]:
        parts = {part: [pairs[name] for name in names] for part, names in shuffled(list(pairs), seed).items()}
    else:
        wanted = (*PARTS, *([extra] if extra not in PARTS else []))
        parts = {
            part: [pairs[str(row["image"])] for row in rows if str(row["part"]) == part] for part in wanted if part
        }
    require(not extra or bool(parts.get(extra)), str(path), f"has no picture of part {extra}")
    return chosen(parts, exclude, str(path))


def _rows(path: Path) -> Iterator[dict[str, Path]]:
    """Checked lines; the values are paths, except `part`, which is wrapped as one."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise HwsegError(str(path), f"is no readable CSV file ({error})") from error
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
        files = {name: path.parent / row[name] for name in COLUMNS}
        for name, file_path in files.items():
            require(file_path.is_file(), place, f"{name} {row[name]} does not exist", "paths are relative to the file")
        image = files["image"]
        require(image not in seen, place, f"names {row['image']} again, after line {seen.get(image)}")
        seen[image] = number
        same_size(image, files["mask"])
        yield files | ({"part": Path(row["part"])} if "part" in row else {})

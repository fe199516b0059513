"""What is finished of an unfinished run: class maps as they grow, and a line for each tile.

    OUT/.hwseg-segment/              or .NAME.hwseg-segment beside a single mask
        finished.jsonl               masks that are written: name, digest of their plan, SHA-256
        NAME.tiles/plan.json         what its classes follow from
        NAME.tiles/classes           uint8 [pictures, H, W], or [pictures, H, W, 2] with confidence
        NAME.tiles/tiles.jsonl       picture, tile, SHA-256 of its classes; written after these

The folder is removed when all masks are written.  A line that a crash tore, and a tile whose classes are not what its
line says, count as not finished.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.files import file_errors, sha256, write_whole
from hwseg.locks import stem
from hwseg.pictures.tiles import Tile
from hwseg.segment.plan import Item, Plan

UNFINISHED = ".hwseg-segment"


def folder_of(out: Path, single: bool) -> Path:
    """Where a run keeps what is not finished."""
    return out.with_name(f".{stem(out.name)}{UNFINISHED}") if single else out / UNFINISHED


@dataclass(frozen=True)
class Written:
    """Files of an item, the mask first, and the share of its pixels that are not background.

    reviews: of each picture, whether a person should look at it, where that was asked for.
    """

    files: tuple[Path, ...]
    foreground: float
    reviews: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """For the journal."""
        files = [path.name for path in self.files]
        return {"files": files, "foreground": self.foreground, "reviews": list(self.reviews)}


class Run:
    """Finished masks of a run, by their name."""

    def __init__(self, folder: Path, resume: bool) -> None:
        self.folder = folder
        with file_errors(folder):
            there = folder.exists()
            rule = "holds what an interrupted run has finished"
            require(resume or not there, str(folder), rule, "go on with it by --resume, or remove that folder")
            folder.mkdir(parents=True, exist_ok=True)
        self._lines = Lines(folder / "finished.jsonl")

    def finished(self, plan: Plan) -> Mapping[str, Any] | None:
        """What is known of a plan's mask, if that is written and as it was."""
        for line in reversed(self._lines.read()):
            if line.get("mask") == plan.item.out.name and line.get("plan") == plan.digest:
                whole = plan.item.out.is_file() and sha256(plan.item.out) == line.get("sha256")
                return line if whole else None
        return None

    def finish(self, plan: Plan, written: Written) -> None:
        """The mask is written; its tiles are not needed any more."""
        content = {"mask": plan.item.out.name, "plan": plan.digest, "sha256": sha256(plan.item.out)}
        self._lines.add(content | written.json())
        shutil.rmtree(self.tiles(plan.item), ignore_errors=True)

    def table(self, item: Item) -> Path:
        """Rows of a table on one item."""
        return self.folder / f"{stem(item.out.name)}.csv"

    def tiles(self, item: Item) -> Path:
        """The folder of an unfinished mask."""
        return self.folder / f"{stem(item.out.name)}.tiles"

    def keep(self) -> None:
        """The run ends early: what is finished stays, a folder with nothing finished goes."""
        self._lines.close()
        if not any(self.folder.rglob("*.jsonl")):
            shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """All masks are written."""
        self._lines.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Lines:
    """A file of JSON, one value to a line; what was added survives a crash, a torn last line is left out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def read(self) -> list[Mapping[str, Any]]:
        """All whole lines."""
        if not self.path.exists():
            return []
        with file_errors(self.path):
            text = self.path.read_bytes().decode("utf-8", "replace")
        found: list[Mapping[str, Any]] = []
        for line in text.split("\n"):
            try:
                content = json.loads(line)
            except ValueError:
                continue
            if isinstance(content, dict):
                found.append(content)
        return found

    def add(self, content: Mapping[str, Any]) -> None:
        """One line more, on the disk when this returns."""
        with file_errors(self.path):
            if self._file is None:
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            # A torn line before it ends here.
            _written(self._file, b"\n" + json.dumps(content).encode() + b"\n", None)
            os.fsync(self._file)

    def close(self) -> None:
        """Nothing is added any more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Classes:
    """The class maps of an item while they grow.  Raises HwsegError for those of another plan.

    layers: bytes of a pixel: its class, and with 2 how sure that is.
    """

    def __init__(self, folder: Path, plan: Plan, layers: int = 1) -> None:
        self.plan, self.folder, self.layers = plan, folder, layers
        self.shape = (len(plan.item.pages), *plan.item.size)
        place = folder / "plan.json"
        with file_errors(folder):
            if not (folder / "tiles.jsonl").exists():  # no tile is finished: nothing to go on with
                shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            if place.exists():
                rule = "was begun with another picture, network or option"
                same = _plan_of(place) == plan.digest
                require(same, str(folder), rule, "remove that folder to begin again, or give what it was begun with")
            else:
                write_whole(place, json.dumps({"plan": plan.digest}).encode())
            self._handle = os.open(folder / "classes", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            os.ftruncate(self._handle, layers * int(np.prod(self.shape)))
        self._lines = Lines(folder / "tiles.jsonl")

    def finished(self) -> set[tuple[int, int]]:
        """Tiles whose classes are there: (picture, tile)."""
        tiles = list(self.plan.grid)
        done = set()
        for line in self._lines.read():
            number, index = line.get("picture"), line.get("tile")
            if not isinstance(number, int) or not isinstance(index, int):
                continue
            if not (0 <= number < self.shape[0] and 0 <= index < len(tiles)):
                continue
            if _digest(self._read(number, tiles[index])) == line.get("sha256"):
                done.add((number, index))
        return done

    def put(self, number: int, index: int, tile: Tile, classes: np.ndarray) -> None:
        """Keep the classes of what is taken of a tile; those beyond the picture are dropped."""
        rows, columns = self._place(tile)
        kept = np.ascontiguousarray(classes[: rows.stop - rows.start, : columns.stop - columns.start])
        with file_errors(self.folder):
            for row, line in zip(range(rows.start, rows.stop), kept, strict=True):
                _written(self._handle, line.tobytes(), self._offset(number, row, columns.start))
            os.fsync(self._handle)
        self._lines.add({"picture": number, "tile": index, "sha256": _digest(kept)})

    def maps(self) -> np.ndarray:
        """All of them, uint8 [pictures, H, W, layers], from the disk as they are looked at."""
        with file_errors(self.folder):
            return np.memmap(self.folder / "classes", np.uint8, "r", shape=(*self.shape, self.layers))

    def close(self) -> None:
        """Nothing is put any more."""
        os.close(self._handle)
        self._lines.close()

    def _place(self, tile: Tile) -> tuple[slice, slice]:
        """Where a tile's classes are in the picture, without the extension; all of it, where that was scaled."""
        (rows, columns), (height, width) = tile.place, self.shape[1:]
        if self.plan.scaled:
            return slice(0, height), slice(0, width)
        return _within(rows, height), _within(columns, width)

    def _offset(self, number: int, row: int, column: int) -> int:
        return ((number * self.shape[1] + row) * self.shape[2] + column) * self.layers

    def _read(self, number: int, tile: Tile) -> np.ndarray:
        rows, columns = self._place(tile)
        return np.ascontiguousarray(self.maps()[number, rows, columns])


def _within(span: slice, length: int) -> slice:
    return slice(min(span.start, length), min(span.stop, length))


def _digest(classes: np.ndarray) -> str:
    return hashlib.sha256(classes.tobytes()).hexdigest()


def _plan_of(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes()).get("plan")
    except (ValueError, AttributeError) as error:
        raise HwsegError(str(path), "is damaged", "remove its folder to begin again") from error


def _written(handle: int, content: bytes, offset: int | None) -> None:
    """All bytes, at a place or at the end."""
    rest = memoryview(content)
    while rest:
        count = os.write(handle, rest) if offset is None else os.pwrite(handle, rest, offset)
        rest = rest[count:]
        offset = None if offset is None else offset + count

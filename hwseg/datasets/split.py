"""Which pictures a run began with, in which part: by name and by content, so that it stays so.

    {"format": 1, "seed": 0, "drawn": true, "train": {"p0": "0f31...", ...}, "val": {...}, "test": {...}}

A picture is in the part that its content (`content.digest`) was in, whatever its name is now; one whose content is new
is in that of its name, and has changed; one of which neither is known is new, and in no part.  `drawn`: whether the
seed decided, because the data set says nothing of parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwseg.datasets.content import WIDTH
from hwseg.datasets.data import is_split
from hwseg.datasets.pairs import PARTS, Pair
from hwseg.errors import HwsegError, require
from hwseg.files import parsed_json, read_file

NAME = "split.json"
"""In a run's folder."""

FORMAT = 1
CURE = "put back what the run wrote, or begin another run"
_NAMED = 5

Parts = dict[str, list[Pair]]
Place = tuple[str, str]
"""Part and name."""


@dataclass(frozen=True)
class Changes:
    """What a data set has now and had not when a run began, by names; moved: parts that the data set says otherwise."""

    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    renamed: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """For people; none where all is as it was."""
        told = (
            (self.new, "new in the data and in no part of this run"),
            (self.gone, "gone from the data"),
            (self.changed, "changed, and in the part that the name had"),
            (self.renamed, "renamed, and in the part that the content had"),
            (self.moved, "in another part now, and in this run where the run began with it"),
        )
        return [f"{_listed(names)}: {what}" for names, what in told if names]


@dataclass(frozen=True)
class Split:
    """parts: of train, val and test the digest of each picture by its name, in the run's order."""

    parts: Mapping[str, Mapping[str, bytes]]
    seed: int
    drawn: bool

    @staticmethod
    def of(parts: Mapping[str, Sequence[Pair]], seed: int, drawn: bool) -> Split:
        """What a run begins with."""
        return Split({part: {p.name: p.digest for p in parts.get(part, ())} for part in PARTS}, seed, drawn)

    def text(self) -> str:
        """JSON, as `parse` reads it."""
        listed = {part: {name: d.hex() for name, d in names.items()} for part, names in self.parts.items()}
        return json.dumps({"format": FORMAT, "seed": self.seed, "drawn": self.drawn, **listed}, indent=1) + "\n"

    def arrange(self, parts: Mapping[str, Sequence[Pair]]) -> tuple[Parts, Changes]:
        """The pictures in the parts and the order that they began in, and what is otherwise; further parts stay."""
        places, changes = self._places(parts)
        result = {part: [places[part, name] for name in self.parts[part] if (part, name) in places] for part in PARTS}
        return result | {part: list(pairs) for part, pairs in parts.items() if part not in PARTS}, changes

    def renewed(self, parts: Mapping[str, Sequence[Pair]]) -> Split:
        """With the names and contents of now; pictures that are gone keep their part, should they come back."""
        places, _ = self._places(parts)
        now: dict[str, dict[str, bytes]] = {part: {} for part in PARTS}
        for part in PARTS:
            for name, digest in self.parts[part].items():
                pair = places.get((part, name))
                now[part] |= {name: digest} if pair is None else {pair.name: pair.digest}
        return Split(now, self.seed, self.drawn)

    def _places(self, parts: Mapping[str, Sequence[Pair]]) -> tuple[dict[Place, Pair], Changes]:
        """The picture of now for each part and name of the run; contents come before names, which may be given anew."""
        every = [(part, pair) for part in PARTS for pair in parts.get(part, ())]
        known = [(part, name) for part in PARTS for name in self.parts[part]]
        contents: dict[bytes, list[Place]] = {}
        for part, name in known:
            contents.setdefault(self.parts[part][name], []).append((part, name))
        places: dict[Place, Pair] = {}
        found: dict[int, Place] = {}

        def place(pair: Pair, choices: Iterable[Place]) -> None:
            free = next((one for one in choices if one not in places), None)
            if free is not None and id(pair) not in found:
                places[free], found[id(pair)] = pair, free

        for _, pair in every:  # content and name, content alone, name alone
            place(pair, [one for one in contents.get(pair.digest, ()) if one[1] == pair.name])
        for _, pair in every:
            place(pair, contents.get(pair.digest, ()))
        same = set(found)
        for _, pair in every:
            if pair.digest not in contents:
                place(pair, [one for one in known if one[1] == pair.name])
        new = [pair.name for _, pair in every if id(pair) not in found]
        changed = [pair.name for _, pair in every if id(pair) in found and id(pair) not in same]
        renamed = [
            f"{pair.name} (was {found[id(pair)][1]})"
            for _, pair in every
            if id(pair) in same and found[id(pair)][1] != pair.name
        ]
        moved = [p.name for part, p in every if id(p) in same and found[id(p)][0] != part and not self.drawn]
        gone = [name for part, name in known if (part, name) not in places]
        return places, Changes(*map(tuple, (new, gone, changed, renamed, moved)))

    def inherited(self, parts: Mapping[str, Sequence[Pair]]) -> Parts:
        """For a run that begins with what another one has trained: known pictures keep their part, new ones theirs."""
        result, _ = self.arrange(parts)
        placed = {id(pair) for part in PARTS for pair in result[part]}
        new = {part: [pair for pair in parts.get(part, ()) if id(pair) not in placed] for part in PARTS}
        return {part: pairs + new.get(part, []) for part, pairs in result.items()}

    def knows(self, pairs: Sequence[Pair]) -> bool:
        """Whether any of the pictures was in the run, by its content."""
        contents = {digest for names in self.parts.values() for digest in names.values()}
        return any(pair.digest in contents for pair in pairs)


def parse(content: bytes, place: str) -> Split:
    """From JSON; HwsegError for anything that is not understood."""
    found: Any = parsed_json(content, place, CURE)
    try:
        require(found["format"] == FORMAT, place, f"must have format {FORMAT}, has {found['format']!r}", CURE)
        parts = {part: {str(name): bytes.fromhex(digest) for name, digest in found[part].items()} for part in PARTS}
        whole = all(len(digest) == WIDTH for names in parts.values() for digest in names.values())
        seed, drawn = found["seed"], found["drawn"]
        require(whole and isinstance(seed, int) and isinstance(drawn, bool), place, "is damaged", CURE)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise HwsegError(place, "is damaged: it must be what hwseg train writes", CURE) from error
    return Split(parts, seed, drawn)


def of_run(folder: Path) -> Split | None:
    """The split of a run's folder; None where there is none, as of an older hwseg, or another file of this name."""
    path = folder / NAME
    if not path.is_file():
        return None
    content = read_file(path)
    found = parsed_json(content, str(path), CURE)
    return parse(content, str(path)) if isinstance(found, dict) and "format" in found else None


def for_data(folder: Path, source: Path, parts: Mapping[str, Sequence[Pair]]) -> Split | None:
    """The split of a run's folder, if it has any of these pictures and the data set says nothing of parts itself."""
    if is_split(source):
        return None
    found = of_run(folder)
    return found if found and found.knows([pair for part in PARTS for pair in parts.get(part, ())]) else None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")

"""The meaning that a command works with: declared in the model's file, chosen with --input, or assumed and said.

A choice becomes part of the graph's metadata and of a build's report, so that whatever is made of the build has it.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwseg.borders import given
from hwseg.errors import HwsegError
from hwseg.files import read_file
from hwseg.pictures import labels, meaning
from hwseg.pictures.labels import Labels
from hwseg.pictures.meaning import FIT, INPUT, NAMES, NORMALIZE, PIXEL, Meaning

DECLARED, CHOSEN, ASSUMED = "file", "--input", "assumed"
_LARGEST = 1 << 16


@dataclass(frozen=True)
class Choice:
    """origin: `DECLARED`, `CHOSEN` or `ASSUMED`."""

    meaning: Meaning
    origin: str

    def sentence(self, name: str) -> str:
        """What pixels are taken for, and why."""
        said = self.meaning.sentence()
        if self.origin == ASSUMED:
            return (
                f"{name} does not say what the pixels of a picture are to it: its input is taken to be {said}; "
                "if it was trained on anything else, say so with --input"
            )
        return f"input: {said}" + (", as chosen with --input" if self.origin == CHOSEN else "")

    def json(self, name: str) -> dict[str, Any]:
        """For report.json."""
        return {"origin": self.origin, "meaning": self.meaning.text(), "sentence": self.sentence(name)}


def of_metadata(metadata: Mapping[str, str], channels: int, name: str) -> Choice:
    """What a model's metadata say, or the assumption."""
    found = meaning.declared(metadata, name)
    if found is None:
        return Choice(PIXEL, ASSUMED)
    return Choice(found.check(channels, name), CHOSEN if metadata.get(ORIGIN) == CHOSEN else DECLARED)


ORIGIN = "hwseg.input.origin"
"""Key of a graph's metadata where its meaning was chosen, not read from the file."""


def with_choice(metadata: Mapping[str, str], text: str, channels: int) -> dict[str, str]:
    """The metadata with what --input NAME|FILE says; as they are where it says nothing."""
    if not text:
        return dict(metadata)
    chosen = named(text).check(channels, "--input")
    kept = {k: v for k, v in metadata.items() if k not in (NORMALIZE, FIT, INPUT)}
    return kept | {INPUT: chosen.text(), ORIGIN: CHOSEN}


def named(text: str, option: str = "--input") -> Meaning:
    """A meaning from a name, from a phrase such as "range 0 4095", or a JSON or TOML file, as an option has it."""
    path = Path(text)
    try:
        if text not in NAMES and not text.lstrip().startswith("{") and os.path.isfile(path):
            return meaning.from_mapping(table(path, "input"), str(path))
        return meaning.phrase(text, option)
    except HwsegError as error:
        if error.place != "normalization":
            raise
        names = ", ".join(NAMES)
        raise HwsegError(option, error.rule, f"or one of the names {names}, or a JSON or TOML file") from None


def table(path: Path, name: str) -> Any:
    """A table of a JSON or TOML file: the one of this name, or the file itself."""
    with given(path, "JSON or TOML", "write it as docs/pictures.md shows"):
        text = read_file(path, _LARGEST).decode("utf-8-sig")
        found = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    return found[name] if isinstance(found, dict) and isinstance(found.get(name), dict) else found


def named_labels(text: str, channels: int, ignore: int | None = None) -> Labels:
    """Labels from a coding such as "instances" or "values 1 2", or from a JSON or TOML file."""
    path = Path(text)
    if text and os.path.isfile(path):
        found = labels.from_mapping(table(path, "labels"), channels, str(path))
        return found if ignore is None else Labels(channels, found.coding, ignore, found.names, found.colours)
    return Labels(channels, text, ignore)

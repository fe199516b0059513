"""What a mask's values are, declared with the data set and carried by the model (metadata `hwseg.labels`, JSON).

A class map is uint8 [H, W]: 0 the background, 1 to classes - 1, and `IGNORE` where nobody knows.  A network of one
output channel has two classes.  How the values of a mask file become that is the coding:

    binary          foreground is the one value beside 0, whatever it is; more values are refused
    nonzero         foreground is every value but 0
    instances       the same; each value is one object
    from N          foreground is N and above, for masks that were blurred or stored with losses
    values A B ...  two classes: foreground is any of these; more: class i is the i-th of them
    classes         the value is the class

`ignore`: a value that is in no loss and no score.  Masks are written with one coding for a model, whatever a picture
holds: 255 for the foreground of two classes from one channel, else class numbers, with `colours` as the palette.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hwseg.errors import HwsegError, require

LABELS = "hwseg.labels"
"""Key of the metadata."""

FORMAT = 1
IGNORE = 255
"""In a class map: nobody knows."""

CODINGS = ("binary", "nonzero", "instances", "from", "values", "classes")
FORMS = '"binary", "nonzero", "instances", "from N", "values A B ...", "classes"'
COLOURS = (
    (0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
    (204, 121, 167),
)  # fmt: skip
"""Okabe and Ito's palette, black first; it repeats, darker, for more classes."""

_HEX = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class Labels:
    """The labels of masks.  channels: output channels of the network, 1 for foreground or not.  coding: as the module
    says.  ignore: a mask's value, or None.  names, colours ("#rrggbb"): of all classes, the background first, or none.
    """

    channels: int = 1
    coding: str = ""
    ignore: int | None = None
    names: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        words = self.coding.split() or ["binary" if self.channels == 1 else "classes"]
        object.__setattr__(self, "coding", " ".join(words))
        numbers = all(re.fullmatch(r"\d{1,5}", word) and int(word) <= 65535 for word in words[1:])
        counts = {"from": len(words) == 2, "values": len(words) > 1}.get(words[0], len(words) == 1)
        require(words[0] in CODINGS and numbers and counts, "labels", f"must be {FORMS}, not {self.coding!r}")
        one = words[0] in ("values", "classes") or self.channels == 1
        require(one, "labels", f"{self.coding!r} has no more than two classes, the network has {self.channels}",
                "declare classes or values")  # fmt: skip
        require(words[0] != "classes" or self.channels > 1, "labels", "classes need two output channels or more",
                "say binary or nonzero, or train with --out-channels 2 or more")  # fmt: skip
        if words[0] == "values":
            listed = self.listed
            twice = len(set(listed)) < len(listed)
            wanted = self.channels == 1 or len(listed) == self.channels
            require(not twice and wanted, "labels", f"must list {self.channels} different values, not {self.coding!r}")
            zero = self.channels == 1 and 0 in listed
            require(not zero, "labels", "0 is the background, so it is no value of the foreground")
        if words[0] == "from":
            require(self.listed[0] > 0, "labels", "must begin above 0, the background", "for example 'from 128'")
        if self.ignore is not None:
            whole = isinstance(self.ignore, int) and not isinstance(self.ignore, bool) and 1 <= self.ignore <= 65535
            require(whole, "labels", f"ignore must be a value from 1 to 65535, not {self.ignore!r}")
            require(
                self.ignore not in self.known, "labels", f"ignore = {self.ignore} is a class, too", "choose another"
            )
            require(self.channels < IGNORE, "labels", f"ignore goes with at most {IGNORE - 1} classes")
        for name, texts in (("names", self.names), ("colours", self.colours)):
            count = len(texts) in (0, self.classes)
            require(count, "labels", f"must have {self.classes} {name}, the background first, has {len(texts)}")
        for colour in self.colours:
            require(bool(_HEX.fullmatch(colour)), "labels", f"colours must be like '#ff8000', not {colour!r}")
        apart = len({colour.lower() for colour in self.colours}) == len(self.colours)
        require(apart, "labels", "colours must be different, one for each class", "give each class its own")

    @property
    def classes(self) -> int:
        """With the background."""
        return max(2, self.channels)

    @property
    def listed(self) -> tuple[int, ...]:
        """Numbers of the coding."""
        return tuple(int(word) for word in self.coding.split()[1:])

    @property
    def known(self) -> tuple[int, ...]:
        """Values that mean a class, where they are few."""
        return tuple(range(self.channels)) if self.coding == "classes" else self.listed

    def read(self, values: np.ndarray, place: str) -> np.ndarray:
        """The class map, uint8 [H, W], of a mask's values; HwsegError names those that mean nothing."""
        void = np.zeros(values.shape, bool) if self.ignore is None else values == self.ignore
        found = _values(values if self.ignore is None else values[~void])
        kind = self.coding.split()[0]
        if kind == "binary":
            self._require_binary(found, place)
        if kind in ("binary", "nonzero", "instances"):
            classes: np.ndarray = (values != 0).astype(np.uint8)
        elif kind == "from":
            classes = (values >= self.listed[0]).astype(np.uint8)
        else:
            classes = self._listed(values, found, place)
        classes[void] = IGNORE
        return classes

    def _require_binary(self, found: list[int], place: str) -> None:
        others = [v for v in found if v]
        shown = ", ".join(map(str, others[:6])) + (", ..." if len(others) > 6 else "")
        cure = (
            "declare what they are with --labels: 'instances' where each object has its number, 'nonzero', 'from 128' "
            "for blurred masks, or 'values A B'; with --ignore N where N means that nobody knows; or train with "
            "--out-channels"
        )
        require(len(others) <= 1, place, f"must mark the foreground with one value, has {shown} beside 0", cure)

    def _listed(self, values: np.ndarray, found: list[int], place: str) -> np.ndarray:
        """Classes from values that are listed."""
        if self.channels == 1:
            known = {0: 0} | dict.fromkeys(self.listed, 1)
        else:
            known = {v: i for i, v in enumerate(self.known)}
        strange = [v for v in found if v not in known]
        shown = ", ".join(map(str, strange[:6])) + (", ..." if len(strange) > 6 else "")
        rule = f"must hold {self._described()}, holds {shown}"
        fits = self.channels > 1 and len(found) == self.channels
        such = f", such as --labels 'values {' '.join(map(str, found))}'" if fits else ""
        cure = f"declare them with --labels{such}, or train with as many --out-channels"
        if strange == [max(found)] and self.ignore is None:
            cure = f"add --ignore {strange[0]} if that means that nobody knows, or {cure}"
        require(not strange, place, rule, cure)
        table = np.zeros(max(known) + 1, np.uint8)
        for value, number in known.items():
            table[value] = number
        result: np.ndarray = table[np.minimum(values, max(known))]
        return result

    def _described(self) -> str:
        if self.coding == "classes":
            return f"labels below {self.channels}"
        return f"the values {', '.join(map(str, sorted({0, *self.listed} if self.channels == 1 else self.listed)))}"

    def palette(self) -> np.ndarray:
        """uint8 [classes, 3]."""
        if self.colours:
            return np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in self.colours], np.uint8)
        rows = [COLOURS[0]]
        for number in range(1, self.classes):
            turn, colour = divmod(number - 1, len(COLOURS) - 1)
            rows.append(tuple(value * max(1, 4 - turn) // 4 for value in COLOURS[1 + colour]))  # type: ignore[arg-type]
        return np.array(rows, np.uint8)

    def coded(self, classes: np.ndarray) -> np.ndarray:
        """The values that a class map is written with, uint8: 0 and 255 for one channel, else class numbers."""
        numbers = np.asarray(classes, np.uint8)
        return np.asarray((numbers != 0) * np.uint8(255)) if self.channels == 1 else numbers

    @property
    def written(self) -> Labels:
        """How such masks are read back."""
        return replace(self, coding="binary" if self.channels == 1 else "classes", ignore=None)

    def name(self, number: int) -> str:
        """Of a class."""
        if self.names:
            return self.names[number]
        return "background" if not number else "foreground" if self.classes == 2 else f"class {number}"

    def text(self) -> str:
        """JSON, as `parse` reads it."""
        content: dict[str, Any] = {"format": FORMAT, "channels": self.channels, "coding": self.coding}
        if self.ignore is not None:
            content["ignore"] = self.ignore
        content |= {key: list(value) for key, value in (("names", self.names), ("colours", self.colours)) if value}
        return json.dumps(content, sort_keys=True)


def _values(values: np.ndarray) -> list[int]:
    """Those that are there, in their order."""
    if values.dtype == np.uint8:
        return [int(v) for v in np.flatnonzero(np.bincount(values.ravel(), minlength=256))]
    return [int(v) for v in np.unique(values)]


def parse(text: str, channels: int, place: str = LABELS) -> Labels:
    """Labels from JSON, for so many output channels."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HwsegError(place, f"must be JSON: {error}", "write it as docs/pictures.md shows") from error
    return from_mapping(content, channels, place)


def from_mapping(content: Any, channels: int, place: str) -> Labels:
    """Labels from a table of JSON or TOML."""
    keys = {"format", "channels", "coding", "ignore", "names", "colours"}
    require(isinstance(content, Mapping), place, f"must be a table with keys of {', '.join(sorted(keys))}")
    for key in content:
        require(key in keys, place, f"has the unknown key {key!r}", f"keys are {', '.join(sorted(keys))}")
    version = content.get("format", FORMAT)
    require(version == FORMAT, place, f"must have format {FORMAT}, has {version!r}", "use a newer hwseg")
    declared = content.get("channels", channels)
    require(declared == channels, place, f"is for {declared!r} output channels, the network has {channels}")
    coding = content.get("coding", "")
    require(isinstance(coding, str), place, f"coding must be a text, not {coding!r}", f"it is {FORMS}")
    lists = {}
    for key in ("names", "colours"):
        value = content.get(key, [])
        texts = isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)
        require(texts, place, f"{key} must be a list of texts, not {value!r}")
        lists[key] = tuple(value)
    try:
        return Labels(channels, coding, content.get("ignore"), **lists)
    except HwsegError as error:
        raise HwsegError(place, f"{error.place} {error.rule}", error.cure) from None


def declared(metadata: Mapping[str, str], channels: int, place: str) -> Labels:
    """What a model's metadata say; without them, what its channels do."""
    if LABELS in metadata:
        return parse(metadata[LABELS], channels, f"{place}, metadata {LABELS}")
    return Labels(channels)

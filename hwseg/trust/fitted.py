"""What was fitted to a network on validation pictures, carried in its file (metadata `hwseg.trust`, JSON).

It belongs to one network, of which it holds a digest, and is refused with any other.  Numbers are decimal texts, read
as fractions: nothing depends on how a float is printed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from hwseg.errors import HwsegError, require
from hwseg.trust.scores import SCORES

TRUST = "hwseg.trust"
"""Key of the metadata."""

FORMAT = 1
COOLEST, HOTTEST = Fraction(1, 100), Fraction(100)
"""Bounds of a temperature."""
MOST_CHANNELS = 256
"""Of a head: a class is a byte."""
LONGEST = 120

FIT = "fit it with hwseg trust MODEL --data DIR"
_NUMBER = re.compile(r"\d{1,12}(\.\d{1,12})?")
_KEYS = ("format", "graph", "channels", "temperatures", "bound", "score", "limit", "pictures", "wanted")


@dataclass(frozen=True)
class Trust:
    """What was fitted.  graph: SHA-256 of the network, in hexadecimal.  temperatures: one for each channel of the head,
    by which logits are divided.  bound: pixels of less confidence are deferred; 0 defers none.  score, limit: a picture
    whose score (of `hwseg.trust.scores`) is above the limit is one to review.

    pictures: how many it was fitted on.  wanted: what was asked for, in words.
    """

    graph: str
    temperatures: tuple[str, ...]
    bound: int
    score: str
    limit: str
    pictures: int = 0
    wanted: str = ""

    def __post_init__(self) -> None:
        hexadecimal = isinstance(self.graph, str) and re.fullmatch(r"[0-9a-f]{64}", self.graph)
        require(bool(hexadecimal), "trust", f"graph must be a SHA-256 in hexadecimal, not {str(self.graph)[:80]!r}")
        count = 1 <= len(self.temperatures) <= MOST_CHANNELS
        require(count, "trust", f"must have 1 to {MOST_CHANNELS} temperatures, has {len(self.temperatures)}")
        for text in self.temperatures:
            fits = _is_number(text) and COOLEST <= Fraction(text) <= HOTTEST
            require(fits, "trust", f"temperatures must be from {COOLEST} to {HOTTEST}, not {str(text)[:40]!r}")
        for name, value, most in (("bound", self.bound, 255), ("pictures", self.pictures, 1 << 30)):
            whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
            require(whole, "trust", f"{name} must be an integer from 0 to {most}, not {str(value)[:40]!r}")
        known = isinstance(self.score, str) and self.score in SCORES
        require(known, "trust", f"score must be {', '.join(SCORES)}, not {str(self.score)[:40]!r}", "use a newer hwseg")
        require(_is_number(self.limit), "trust", f"limit must be a number from 0, not {str(self.limit)[:40]!r}")
        short = isinstance(self.wanted, str) and len(self.wanted) <= LONGEST and self.wanted.isprintable()
        require(short, "trust", f"wanted must be a line of at most {LONGEST} characters")

    @property
    def channels(self) -> int:
        """Of the head."""
        return len(self.temperatures)

    def check(self, channels: int, place: str) -> Trust:
        """This, or HwsegError where it is not for so many channels."""
        require(channels == self.channels, place,
                f"is for a head of {self.channels} channels, the network has {channels}", f"{FIT} again")  # fmt: skip
        return self

    def text(self) -> str:
        """JSON, as `parse` reads it."""
        content = {"format": FORMAT, "channels": self.channels, "temperatures": list(self.temperatures)}
        content |= {key: getattr(self, key) for key in _KEYS if key not in content}
        return json.dumps(content, sort_keys=True)


def _is_number(text: Any) -> bool:
    return isinstance(text, str) and bool(_NUMBER.fullmatch(text))


def parse(text: str, channels: int, place: str = TRUST) -> Trust:
    """What JSON says, for so many channels of the head; HwsegError for what is not understood to the last key."""
    cure = f"{FIT} again"
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HwsegError(place, f"must be JSON: {error}", cure) from None
    require(isinstance(content, Mapping), place, f"must be a table with keys of {', '.join(_KEYS)}", cure)
    for key in content:
        require(key in _KEYS, place, f"has the unknown key {str(key)[:40]!r}", "use a newer hwseg")
    version = content.get("format")
    known = type(version) is int and version == FORMAT
    require(known, place, f"must have format {FORMAT}, has {str(version)[:40]}", "use a newer hwseg")
    for key in _KEYS:
        require(key in content, place, f"must have the key {key}", cure)
    temperatures = content["temperatures"]
    require(isinstance(temperatures, list), place, "temperatures must be a list of numbers", cure)
    names = ("graph", "bound", "score", "limit", "pictures", "wanted")
    try:
        found = Trust(temperatures=tuple(temperatures), **{name: content[name] for name in names})
    except HwsegError as error:
        raise HwsegError(place, error.rule, error.cure or cure) from None
    count = content["channels"]
    each = type(count) is int and count == found.channels
    require(each, place, "must have a temperature for each of its channels", cure)
    return found.check(channels, place)

"""JSON from outside, one entry at a time: it is what it must be, or one sentence names file, entry and value."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from hwseg.errors import HwsegError, require


class Entry:
    """A value of a JSON file.  place: the file.  name: of the entry, `head.scale` for example.  cure: of an error."""

    def __init__(self, value: Any, place: str, cure: str, name: str = "") -> None:
        self.value, self.place, self.cure, self.name = value, place, cure, name

    def _require(self, condition: bool, rule: str) -> None:
        if not condition:
            found = repr(self.value)
            shown = found if len(found) <= 60 else found[:57] + "..."
            raise HwsegError(self.place, f"{self.name or 'its content'} must be {rule}, is {shown}", self.cure)

    def __getitem__(self, key: str) -> Entry:
        name = f"{self.name}.{key}" if self.name else key
        self._require(isinstance(self.value, Mapping), "an object")
        require(key in self.value, self.place, f"must have the entry {name}", self.cure)
        return Entry(self.value[key], self.place, self.cure, name)

    def integer(self, low: int = 0, high: int = (1 << 32) - 1, step: int = 1) -> int:
        """A multiple of `step` from `low` to `high`."""
        whole = isinstance(self.value, int) and not isinstance(self.value, bool)
        rule = f"an integer from {low} to {high}" + (f", a multiple of {step}" if step > 1 else "")
        self._require(whole and low <= self.value <= high and self.value % step == 0, rule)
        return int(self.value)

    def whole(self) -> int:
        """An integer of any size: JSON's are bounded by the file."""
        self._require(isinstance(self.value, int) and not isinstance(self.value, bool), "an integer")
        return int(self.value)

    def number(self, low: float = float("-inf"), high: float = float("inf")) -> float:
        """A finite number from `low` to `high`."""
        real = isinstance(self.value, (int, float)) and not isinstance(self.value, bool)
        try:
            value = float(self.value) if real else 0.0
        except OverflowError:
            real, value = False, 0.0
        fits = real and isfinite(value) and low <= value <= high
        self._require(fits, "a finite number" + (f" from {low:g} to {high:g}" if isfinite(low) else ""))
        return value

    def text(self) -> str:
        """Text that can be printed and encoded."""
        self._require(isinstance(self.value, str), "text")
        self._require(not any(0xD800 <= ord(letter) < 0xE000 for letter in self.value), "Unicode text")
        return str(self.value)

    def one_of(self, *choices: str) -> str:
        self._require(self.value in choices if isinstance(self.value, str) else False, " or ".join(choices))
        return str(self.value)

    def flag(self) -> bool:
        self._require(isinstance(self.value, bool), "true or false")
        return bool(self.value)

    def entries(self, least: int = 0, most: int = 1 << 16) -> tuple[Entry, ...]:
        """The entries of a list that has `least` to `most` of them."""
        self._require(isinstance(self.value, (list, tuple)), "a list")
        count = str(least) if least == most else f"{least} to {most}"
        fits = least <= len(self.value) <= most
        require(fits, self.place, f"{self.name} must have {count} entries, has {len(self.value)}", self.cure)
        found = enumerate(self.value)
        return tuple(Entry(value, self.place, self.cure, f"{self.name}[{number}]") for number, value in found)

    def items(self) -> tuple[tuple[str, Entry], ...]:
        """The entries of an object by their names."""
        self._require(isinstance(self.value, Mapping), "an object")
        return tuple((key, self[key]) for key in self.value)

    def fail(self, rule: str) -> HwsegError:
        """What to raise where this entry's value breaks a rule of its own."""
        return HwsegError(self.place, f"{self.name}: {rule}", self.cure)

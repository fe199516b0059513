"""What pixel values are to a network, declared once and carried in its file (metadata `hwseg.input`, JSON).

A value v of a picture becomes a number t from 0 to 1, and that the network's input x:

    unit                 t = pixel / (2**bits - 1)
    range LOW HIGH       t = (v - LOW) / (HIGH - LOW), clipped
    window CENTRE WIDTH  t as DICOM PS3.3 C.11.2.1.2 says, LINEAR, from 0 to 1; `window` alone: the file's own
    percentile LOW HIGH  the range from the LOW-th to the HIGH-th percentile of the whole picture

    x = (t - mean) / deviation, of each channel, where they are declared

Percentiles are nearest ranks over all channels of one picture; a slice of a stack is a picture.  Numbers are decimal
texts, read as fractions: nothing depends on how a float is printed.

A file of an older hwseg says `hwseg.normalize`, "none" or "percentile LOW HIGH", and perhaps `hwseg.fit`: the picture
is brought to 8 bits first, then fitted, then x = pixel / 256 (`Meaning.before`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, log2
from typing import Any

from hwseg.errors import HwsegError, require

INPUT = "hwseg.input"
NORMALIZE, FIT = "hwseg.normalize", "hwseg.fit"
"""Keys of the metadata: today's, and those of an older hwseg."""

NONE = "none"
FORMAT = 1
KINDS = {"unit": (0,), "range": (2,), "window": (0, 2), "percentile": (2,)}
"""Kinds of `values`, and how many numbers follow."""

FITS = ("", "resize")
EXTENDS = ("edge", "zero")
WIDE = 32
"""`bits` of values that do not fit 16: floats and longer integers."""

DEFAULT = "percentile 0.5 99.5"
FORMS = '"unit", "range LOW HIGH", "window CENTRE WIDTH", "window" or "percentile LOW HIGH"'
_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d{1,20})?([eE][+-]?\d{1,2})?")


def number(text: Any) -> Fraction | None:
    """A decimal number of bounded length, or None."""
    return Fraction(text) if isinstance(text, str) and _NUMBER.fullmatch(text) else None


def _check_values(values: str) -> None:
    kind, *texts = values.split() or [""]
    numbers = [number(text) for text in texts]
    fits = kind in KINDS and len(texts) in KINDS[kind] and None not in numbers
    require(fits, "normalization", f"must be {FORMS}, not {values[:80]!r}")
    found = [n for n in numbers if n is not None]
    if kind == "percentile":
        valid = 0 <= found[0] < found[1] <= 100
        require(valid, "normalization", f"percentiles must rise from 0 to 100, not {values[:80]!r}")
    if kind == "range":
        require(found[0] < found[1], "normalization", f"a range must rise, not {values[:80]!r}")
    if kind == "window" and found:
        require(found[1] > 1, "normalization", f"the width of a window must be above 1, not {values[:80]!r}")


@dataclass(frozen=True)
class Meaning:
    """What pixel values are.  values: as the module says.  bits: depth of the pictures, 1 to 16, 32 for floats and
    longer integers, 0 for any (not with `unit`, whose 1 it decides).  mean, deviation: of t, one per channel, or none.

    fit: "resize" where whole pictures are scaled to the network's size.  extend: what lies below and to the right of a
    picture that is extended, its "edge" or "zero".  before: `hwseg.normalize` of an older file, else "".
    """

    values: str = "unit"
    bits: int = 0
    mean: tuple[str, ...] = ()
    deviation: tuple[str, ...] = ()
    fit: str = ""
    extend: str = "edge"
    before: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", " ".join(self.values.split()))
        _check_values(self.values)
        whole = isinstance(self.bits, int) and not isinstance(self.bits, bool)
        require(
            whole and (0 <= self.bits <= 16 or self.bits == WIDE),
            "input",
            f"bits must be from 1 to 16, {WIDE} for floats and longer integers, or 0 for any, not {self.bits!r}",
        )
        require(len(self.mean) == len(self.deviation), "input", "must have a deviation for each mean, and none without")
        for name, texts in (("mean", self.mean), ("deviation", self.deviation)):
            for text in texts:
                require(number(text) is not None, "input", f"{name} must be numbers, not {text!r}")
        positive = all(Fraction(text) > 0 for text in self.deviation)
        require(positive, "input", f"deviations must be above 0, not {', '.join(self.deviation)}")
        require(self.fit in FITS, "input", f'fit must be "resize" or "", not {self.fit!r}')
        require(self.extend in EXTENDS, "input", f"extend must be {' or '.join(EXTENDS)}, not {self.extend!r}")

    @property
    def kind(self) -> str:
        """The first word of `values`."""
        return self.values.split()[0]

    @property
    def numbers(self) -> tuple[Fraction, ...]:
        """What follows it."""
        return tuple(map(Fraction, self.values.split()[1:]))

    def check(self, channels: int, place: str = "input") -> Meaning:
        """This, or HwsegError where it is not for so many channels."""
        fits = len(self.mean) in (0, channels)
        require(fits, place, f"must have a mean for each of {channels} channels, has {len(self.mean)}")
        return self

    def accepts(self, bits: int) -> bool:
        """Whether pictures of this depth may be meant: the very one of `unit`; else 8 bits at most, or more than 8,
        since a range or a window is of values, and an 8-bit copy of deeper pictures has others.
        """
        if not self.bits or self.kind == "unit":
            return self.bits in (0, bits)
        return (self.bits <= 8) == (bits <= 8)

    def of_depth(self, bits: int) -> Meaning:
        """The same for pictures of this depth, where it said none and means one."""
        return self if self.bits or self.kind == "percentile" else replace(self, bits=bits)

    @property
    def bound(self) -> int:
        """Where x lies: 0 for 0 to 1, else the smallest power of two that it does not exceed either way."""
        if not self.mean:
            return 0
        ends = [
            abs((t - Fraction(m)) / Fraction(d)) for m, d in zip(self.mean, self.deviation, strict=True) for t in (0, 1)
        ]
        return 1 << max(0, ceil(log2(max(ends))))

    def text(self) -> str:
        """JSON, as `parse` reads it."""
        content: dict[str, Any] = {"format": FORMAT, "values": self.values, "bits": self.bits, "extend": self.extend}
        if self.mean:
            content |= {"mean": list(self.mean), "deviation": list(self.deviation)}
        if self.fit:
            content["fit"] = self.fit
        return json.dumps(content, sort_keys=True)

    def metadata(self) -> dict[str, str]:
        """Keys of a model file that say this."""
        if not self.before:
            return {INPUT: self.text()}
        return {NORMALIZE: self.before} | ({FIT: self.fit} if self.fit else {})

    def sentence(self) -> str:
        """For people."""
        depth = {0: "", WIDE: ", of floats or long integers"}.get(self.bits, f", of {self.bits}-bit pictures")
        if self.before:
            text = "pixel / 256" + ("" if self.before == NONE else f" after {self.before}, in 8 bits")
        elif self == PIXEL:
            text = "pixel / 256 of 8-bit pictures"
        else:
            text = self.values + depth
        if self.mean:
            text += f", less {' '.join(self.mean)}, over {' '.join(self.deviation)}"
        return text + (", scaled to the network's size" if self.fit else "")


PIXEL = Meaning("range 0 256", 8)
IMAGENET = ("0.485", "0.456", "0.406"), ("0.229", "0.224", "0.225")
NAMES: Mapping[str, Meaning] = {
    "unit": Meaning("unit", 8),
    "unit16": Meaning("unit", 16),
    "imagenet": Meaning("unit", 8, *IMAGENET),
    "pixel/256": PIXEL,
    NONE: PIXEL,
}
"""Short names: p / 255; p / 65535; p / 255 with ImageNet's mean and deviation; p / 256, by both of its names."""


def parse(text: str, place: str = INPUT) -> Meaning:
    """A meaning from JSON; HwsegError for anything that is not understood to the last key."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HwsegError(place, f"must be JSON: {error}", "write it as docs/pictures.md shows") from error
    return from_mapping(content, place)


def from_mapping(content: Any, place: str) -> Meaning:
    """A meaning from a table of JSON or TOML; numbers may be texts."""
    keys = {"format", "values", "bits", "mean", "deviation", "fit", "extend"}
    require(isinstance(content, Mapping), place, f"must be a table with keys of {', '.join(sorted(keys))}")
    for key in content:
        require(key in keys, place, f"has the unknown key {key!r}", f"keys are {', '.join(sorted(keys))}")
    version = content.get("format", FORMAT)
    require(version == FORMAT, place, f"must have format {FORMAT}, has {version!r}", "use a newer hwseg")
    values = content.get("values", "unit")
    for key, value in (("values", values), ("fit", content.get("fit", "")), ("extend", content.get("extend", "edge"))):
        require(isinstance(value, str), place, f"{key} must be a text, not {value!r}")
    lists = {key: content.get(key, ()) for key in ("mean", "deviation")}
    for key, value in lists.items():
        require(isinstance(value, (list, tuple)), place, f"{key} must be a list of numbers, not {value!r}")
    texts = {key: tuple(v if isinstance(v, str) else repr(v) for v in value) for key, value in lists.items()}
    try:
        return Meaning(
            values,
            content.get("bits", 0),
            texts["mean"],
            texts["deviation"],
            content.get("fit", ""),
            content.get("extend", "edge"),
        )
    except HwsegError as error:
        raise HwsegError(place, f"{error.place} {error.rule}", error.cure) from None


def phrase(text: str, place: str) -> Meaning:
    """A meaning from a name, a phrase such as "range 0 4095", or JSON."""
    if text.strip() in NAMES:
        return NAMES[text.strip()]
    if text.lstrip().startswith("{"):
        return parse(text, place)
    return Meaning(text)


def older(normalize: str, fit: str = "") -> Meaning:
    """What a file of an older hwseg means."""
    words = normalize.split()
    if words != [NONE]:
        require(
            words[:1] == ["percentile"],
            "normalization",
            f'must be "none" or "percentile LOW HIGH", not {normalize[:80]!r}',
        )
        _check_values(normalize)
    return replace(PIXEL, before=normalize, fit=fit)


def declared(metadata: Mapping[str, str], place: str) -> Meaning | None:
    """What a model's metadata say, or None."""
    if INPUT in metadata:
        return parse(metadata[INPUT], f"{place}, metadata {INPUT}")
    if NORMALIZE in metadata:
        return older(metadata[NORMALIZE], metadata.get(FIT, ""))
    return None

"""From pixel to real number to integer: exact, and a table of at most 65,536 entries.

A picture's `Span` is the pixels that become t = 0 and t = 1, as fractions.  With mean m, deviation d and the scale s of
the network's first quantizer, a pixel p is the integer

    q = clamp(round((clip((p - low) / (high - low)) - m) / (d s)), half to even

in integers over one denominator.  So every machine has the same table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, lcm

import numpy as np

from hwseg.errors import require
from hwseg.pictures.meaning import WIDE, Meaning
from hwseg.pictures.raster import Raster

SIXTEEN = 65535
_SAFE = 1 << 62


@dataclass(frozen=True)
class Quantizer:
    """A network's first quantizer: x = q * scale, q from low to high."""

    scale: Fraction
    low: int
    high: int

    @property
    def dtype(self) -> type:
        return np.int16 if self.low < 0 else np.uint8


BYTE = Quantizer(Fraction(1, 256), 0, 255)


@dataclass(frozen=True)
class Span:
    """Pixels that become 0 and 1; `levels`: how many values a pixel may have."""

    low: Fraction
    high: Fraction
    levels: int


def spanned(picture: Raster, meaning: Meaning) -> tuple[Raster, Span]:
    """The picture in at most 16 bits, and its span.  Raises HwsegError where it is not what the meaning declares."""
    require_depth(picture, meaning)
    if picture.wide:
        return narrowed(picture, meaning)
    levels = 256 if picture.pixels.dtype == np.uint8 else SIXTEEN + 1
    if meaning.kind == "unit":
        return picture, Span(Fraction(0), Fraction((1 << (meaning.bits or picture.bits)) - 1), levels)
    if meaning.kind == "percentile":
        low, high = percentiles(picture.pixels, meaning.numbers)
        return picture, Span(Fraction(low), Fraction(high), levels)
    ends = [(v - picture.offset) / picture.slope for v in _ends(picture, meaning)]
    return picture, Span(ends[0], ends[1], levels)


def require_depth(picture: Raster, meaning: Meaning) -> None:
    """A picture of another depth would be silently darker or brighter."""
    depth = "floats or long integers" if meaning.bits == WIDE else f"{meaning.bits} bits"
    found = f"{picture.pixels.dtype} values" if picture.wide else f"{picture.bits} bits"
    rule = f"must have {depth} per channel, which the network's input is declared for, has {found}"
    cure = "convert it to that depth, or declare what its values are with --input"
    require(meaning.accepts(picture.bits), picture.place, rule, cure)
    plain = meaning.kind != "unit" or not picture.wide
    rule = f"holds {picture.pixels.dtype} values, of which nobody knows what is dark and what is bright"
    cure = "declare it with --normalize or --input, for example 'range 0 1', 'window 40 400' or 'percentile 0.5 99.5'"
    require(plain, picture.place, rule, cure)


def _ends(picture: Raster, meaning: Meaning) -> tuple[Fraction, Fraction]:
    """Values that become 0 and 1, of a range or a window."""
    numbers = meaning.numbers
    if meaning.kind == "range":
        return numbers[0], numbers[1]
    if not numbers:
        require(
            picture.window is not None, picture.place, "names no window of its own", "declare 'window CENTRE WIDTH'"
        )
        assert picture.window is not None
        numbers = picture.window
    centre, width = numbers[0] - Fraction(1, 2), numbers[1] - 1
    return centre - width / 2, centre + width / 2


def percentiles(pixels: np.ndarray, bounds: tuple[Fraction, ...]) -> tuple[int, int]:
    """Nearest ranks of unsigned pixels; of a picture of one value, that and the next."""
    ranks = np.cumsum(np.bincount(pixels.reshape(-1), minlength=256))
    low, high = (int(np.searchsorted(ranks, max(1, ceil(b * pixels.size / 100)))) for b in bounds)
    return low, high if high > low else max(low + 1, int(pixels.max()))


def narrowed(picture: Raster, meaning: Meaning) -> tuple[Raster, Span]:
    """Wide values in 16 bits: pixel = floor(65535 * (v - low) / (high - low) + 1/2) in float64, clipped.

    low and high are the meaning's, percentiles again nearest ranks; so a pixel / 65535 is t.
    """
    values = picture.pixels.astype(np.float64) * float(picture.slope) + float(picture.offset)
    require(
        bool(np.isfinite(values).all()),
        picture.place,
        "must hold finite numbers, holds NaN or infinity",
        "replace them",
    )
    if meaning.kind == "percentile":
        ranked = np.sort(values, axis=None)
        low, high = (float(ranked[max(1, ceil(b * values.size / 100)) - 1]) for b in meaning.numbers)
        high = high if high > low else float(ranked[-1])
    else:
        low, high = map(float, _ends(picture, meaning))
    width = high - low
    require(width < float("inf"), picture.place, f"reaches from {low:g} to {high:g}, too far for float64", "rescale it")
    unit = np.clip((values - low) / width, 0, 1) if width > 0 else np.zeros(values.shape)
    pixels = np.floor(SIXTEEN * unit + 0.5).astype(np.uint16)
    narrow = replace(picture, pixels=pixels, bits=16, slope=Fraction(1), offset=Fraction(0), window=None)
    return narrow, Span(Fraction(0), Fraction(SIXTEEN), SIXTEEN + 1)


def numerators(span: Span) -> tuple[np.ndarray, int]:
    """t of every pixel value as a whole number over one denominator."""
    d = lcm(span.low.denominator, span.high.denominator)
    low, high = int(span.low * d), int(span.high * d)
    kind = np.int64 if max(abs(low), abs(high), d * span.levels) < _SAFE else object
    return np.clip(np.arange(span.levels).astype(kind) * d - low, 0, high - low), high - low


def values(span: Span) -> np.ndarray:
    """t of every pixel value, float32 [levels]."""
    top, bottom = numerators(span)
    return np.asarray(top / bottom, np.float32)


def table(span: Span, meaning: Meaning, quantizer: Quantizer) -> np.ndarray:
    """The network's integer for every pixel value, [levels], or [channels, levels] where channels have their own."""
    if not meaning.mean:
        return integers(span, Fraction(0), quantizer.scale, quantizer)
    each = zip(map(Fraction, meaning.mean), map(Fraction, meaning.deviation), strict=True)
    return np.stack([integers(span, mean, deviation * quantizer.scale, quantizer) for mean, deviation in each])


def integers(span: Span, mean: Fraction, step: Fraction, quantizer: Quantizer) -> np.ndarray:
    """clamp(round((t - mean) / step)), half to even, of every pixel value."""
    top, bottom = numerators(span)
    # (top / bottom - mean) / step = (top * a - b) / c, all whole
    a = mean.denominator * step.denominator
    b, c = mean.numerator * bottom * step.denominator, bottom * mean.denominator * step.numerator
    if 2 * (bottom * a + abs(b) + c) >= _SAFE:
        top = top.astype(object)
    doubled = 2 * (top * a - b)
    q = (doubled + c) // (2 * c)
    tied = (doubled + c) % (2 * c) == 0
    q = q - (tied & (q % 2 == 1))
    return np.asarray(np.clip(q, quantizer.low, quantizer.high), quantizer.dtype)


def normalize(pixels: np.ndarray, spec: str) -> np.ndarray:
    """An older file's step: 8 bits in, 8 bits out, the percentiles at 0 and 255, rounded half up."""
    words = spec.split()
    if words == ["none"] or pixels.size == 0:
        return pixels
    low, high = percentiles(pixels, tuple(map(Fraction, words[1:])))
    new = (2 * 255 * (np.clip(np.arange(256), low, high) - low) + (high - low)) // (2 * (high - low))
    result: np.ndarray = new.astype(np.uint8)[pixels]
    return result

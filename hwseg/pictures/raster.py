"""One picture, its depth and what its values stand for; and a file's pictures with their geometry.

Up to 16 bits, pixels are unsigned integers and value = slope * pixel + offset, exactly: signed integers and DICOM's or
NIfTI's rescaling are that.  Anything wider stays as it is until a meaning brings it to 16 bits (`table.narrowed`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.pictures.meaning import WIDE

CHANNELS = 8
"""The most channels of a picture."""

LUMA = (19595, 38470, 7471)
"""ITU-R 601, in 65536ths."""


@dataclass(frozen=True)
class Raster:
    """pixels: [H, W, C], uint8 or uint16, or any numbers where bits = 32.  bits: declared depth.

    window: centre and width that the file names, for the kind `window` alone.
    """

    pixels: np.ndarray
    bits: int
    slope: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)
    window: tuple[Fraction, Fraction] | None = None
    place: str = "picture"

    @property
    def wide(self) -> bool:
        return self.bits == WIDE

    def channels(self, count: int) -> Raster:
        """With so many channels: grey from red, green, blue as ITU-R 601 luma, three equal ones from grey."""
        found = self.pixels.shape[2]
        if found == count:
            return self
        if found == 1 and count == 3:
            return replace(self, pixels=np.repeat(self.pixels, 3, axis=2))
        fits = found == 3 and count == 1 and not self.wide
        require(fits, self.place, f"must have {count} channels, has {found}", "choose or combine channels first")
        weighted = self.pixels.astype(np.uint64) @ np.array(LUMA, np.uint64)
        grey = ((weighted + (1 << 15)) >> np.uint64(16)).astype(self.pixels.dtype)
        return replace(self, pixels=grey[:, :, None])


@dataclass(frozen=True)
class Geometry:
    """Where pixels lie.  kind: "png", "picture" (Pillow's other formats), "tiff", "nifti", "dicom" or "npy".

    files: in the order of slices where each slice has its own, else one.  axes, shape: as in the file.  spacing:
    (slice, row, column) in `unit`, or None; 0 for slices whose distance the file does not say.

    affine: of a NIfTI, rows of floats.  order, flips: how its array became [slice, row, column]: transposed to `order`,
    then the axes of `flips` reversed; `array.transpose(order)[flipped]` and back.
    """

    kind: str
    files: tuple[str, ...]
    axes: str = "YX"
    shape: tuple[int, ...] = ()
    spacing: tuple[float, float, float] | None = None
    unit: str = ""
    affine: tuple[tuple[float, ...], ...] | None = None
    order: tuple[int, ...] = ()
    flips: tuple[int, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """What a file holds.  pixels: [slices, H, W, C]; bits, slope, offset, window: as of `Raster`.

    index, palette: [slices, H, W] and [n, 3] where the file has a palette, for masks.  scale: what small samples (1, 2,
    4 bits) were multiplied with to fill 8.
    """

    pixels: np.ndarray
    bits: int
    geometry: Geometry
    slope: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)
    window: tuple[Fraction, Fraction] | None = None
    index: np.ndarray | None = None
    palette: np.ndarray | None = None
    scale: int = 1
    place: str = "picture"

    def __len__(self) -> int:
        return len(self.pixels)

    def slice(self, number: int) -> Raster:
        """One picture of it."""
        return Raster(self.pixels[number], self.bits, self.slope, self.offset, self.window, self.place)


@dataclass(frozen=True)
class Stored:
    """An array as `Raster` and `Picture` keep it."""

    pixels: np.ndarray
    bits: int
    offset: Fraction = Fraction(0)


def stored(array: np.ndarray, place: str) -> Stored:
    """Unsigned pixels of any array of numbers: signed ones are moved up, wide ones stay."""
    if array.dtype == np.bool_:
        return Stored(array.astype(np.uint8) * np.uint8(255), 8)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    kind, size = native.dtype.kind, native.dtype.itemsize
    require(kind in "uif", place, f"must hold numbers, holds {array.dtype}", "convert it first")
    if kind == "u" and size <= 2:
        return Stored(native, 8 * size)
    if kind == "i" and size <= 2:
        half = 1 << (8 * size - 1)
        unsigned = (native.astype(np.int32) + half).astype(np.uint8 if size == 1 else np.uint16)
        return Stored(unsigned, 8 * size, Fraction(-half))
    if kind == "f":
        require(
            bool(np.isfinite(native).all()), place, "must hold finite numbers, holds NaN or infinity", "replace them"
        )
    return Stored(native, WIDE)


def raster(array: np.ndarray, place: str = "image", bits: int = 0) -> Raster:
    """A picture from an array [H, W] or [H, W, C]; bits: its depth where that is a little less than its type's."""
    try:
        pixels = np.asarray(array)
    except (ValueError, TypeError) as error:
        raise HwsegError(place, f"must be [H, W] or [H, W, C], is no array: {error}", "give one picture") from error
    rule = f"must be [H, W] or [H, W, C] with at most {CHANNELS} channels, is {list(pixels.shape)}"
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    fits = pixels.ndim == 3 and 0 < pixels.shape[2] <= CHANNELS and pixels.size > 0
    require(fits, place, rule, "give one picture at a time")
    found = stored(pixels, place)
    if found.bits - 8 < bits < found.bits <= 16 and not found.offset:
        largest = int(found.pixels.max())
        rule = f"must have values below {1 << bits}, its {bits} bits, reaches {largest}"
        require(largest < 1 << bits, place, rule, "declare its depth")
        return Raster(found.pixels, bits, offset=found.offset, place=place)
    return Raster(found.pixels, found.bits, offset=found.offset, place=place)

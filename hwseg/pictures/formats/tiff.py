"""TIFF through tifffile: 1 to 64 bits, pages, tiles, ImageJ and OME axes, palettes, orientation, resolution."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from hwseg.borders import given, install
from hwseg.errors import HwsegError, require
from hwseg.pictures.formats import Head, oriented, require_pages, require_size, without_alpha
from hwseg.pictures.raster import CHANNELS, Geometry, Picture, stored

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
READ = {WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR}
JPEGS = {6, 7, 33007}
"""Compressions whose decoder gives red, green, blue for YCbCr."""

ASSOCIATED, UNASSOCIATED = 1, 2
"""Kinds of alpha."""

CURE = "replace it, or save it again without compression"

_UNITS = {1: "", 2: "inch", 3: "cm"}


@dataclass(frozen=True)
class Layout:
    """A series: its axes by letter, and which of them are slices, channels, samples."""

    series: Any
    page: Any
    axes: str
    shape: tuple[int, ...]

    def size(self, letter: str) -> int:
        return self.shape[self.axes.index(letter)] if letter in self.axes else 1

    @property
    def pages(self) -> int:
        return prod(n for letter, n in zip(self.axes, self.shape, strict=True) if letter not in "YXSC")

    @property
    def samples(self) -> int:
        return self.size("S") * self.size("C")

    @property
    def turned(self) -> bool:
        return self.orientation in (5, 6, 7, 8)

    @property
    def orientation(self) -> int:
        tag = self.page.tags.get("Orientation")
        return int(tag.value) if tag is not None else 1

    @property
    def alpha(self) -> bool:
        extra = tuple(int(e) for e in self.page.extrasamples)
        return bool(extra) and extra[-1] in (ASSOCIATED, UNASSOCIATED)

    @property
    def channels(self) -> int:
        return 3 if self.page.photometric == PALETTE else self.samples - self.alpha

    @property
    def bits(self) -> int:
        """Of a sample, as the file declares it."""
        return int(self.page.bitspersample)


@contextlib.contextmanager
def _codecs(place: str) -> Iterator[None]:
    """Say which package unpacks a file, where it is missing."""
    try:
        yield
    except Exception as error:
        if "imagecodecs" not in str(error) or isinstance(error, HwsegError):
            raise
        rule = "is a compressed TIFF file, which needs the package imagecodecs"
        raise HwsegError(place, rule, install("formats")) from error


@contextlib.contextmanager
def _opened(path: Path, place: str) -> Iterator[Any]:
    import tifffile

    complaints = _Complaints()
    logger = logging.getLogger("tifffile")
    logger.addHandler(complaints)
    propagated, logger.propagate = logger.propagate, False
    try:
        with given(place, "a TIFF file of a known kind", CURE), _codecs(place), tifffile.TiffFile(path) as file:
            yield file
        said = complaints.said
        rule = f"is a damaged TIFF file: tifffile says {said[0][:160]!r}" if said else ""
        require(not said, place, rule, "replace it, or save it again")
    finally:
        logger.removeHandler(complaints)
        logger.propagate = propagated


class _Complaints(logging.Handler):
    """What tifffile logs where it goes on with less than the file declares: one page of a truncated stack, zeros."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []
        self.thread_id = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread_id:  # other threads read other files
            self.said.append(record.getMessage())


def _layout(file: Any, place: str) -> Layout:
    """The one series of the file; HwsegError where its pages differ, or hold what is no picture."""
    series = [s for s in file.series if s.kind != "thumbnail"]
    require(bool(series), place, "holds no picture", "replace the file")
    kinds = [f"{'x'.join(map(str, s.shape))} {s.dtype}" for s in series]
    rule = f"has pages that differ: {'; '.join(kinds[:4])}{' ...' if len(kinds) > 4 else ''}"
    require(len(series) == 1, place, rule, "save those that belong together in a file of their own")
    chosen, page = series[0], series[0].keyframe
    axes = chosen.axes
    if "Y" not in axes or "X" not in axes or len(set(axes)) < len(axes):
        raise HwsegError(
            place, f"has the axes {axes!r}, in which there are no rows and columns", "save it as ImageJ or OME TIFF"
        )
    layout = Layout(chosen, page, axes, tuple(chosen.shape))
    kind = int(page.photometric)
    name = getattr(page.photometric, "name", str(kind))
    require(kind in READ, place, f"must be grey, RGB or of a palette, is {name}", "convert it to RGB")
    rule = "must be grey, RGB or of a palette, is YCbCr without JPEG's compression"
    require(kind != YCBCR or int(page.compression) in JPEGS, place, rule, "convert it to RGB")
    require(page.dtype is not None and page.dtype.kind in "uifb", place, f"must hold numbers, holds {page.dtype}")
    count = layout.samples
    split = layout.size("S") == 1 or layout.size("C") == 1
    require(split and layout.channels <= CHANNELS, place, f"must have at most {CHANNELS} channels, has {count}",
            "choose channels first")  # fmt: skip
    return layout


def head(path: Path, place: str) -> Head:
    """Size, depth and pages."""
    with _opened(path, place) as file:
        layout = _layout(file, place)
        _require_alike(layout, place, range(len(layout.series.pages)))
        size = layout.size("Y"), layout.size("X")
        bits = 8 if layout.page.photometric == PALETTE else _depth(layout)
        return Head(layout.pages, *(size[::-1] if layout.turned else size), layout.channels, bits)


def _require_alike(layout: Layout, place: str, numbers: Iterable[int]) -> None:
    """Refuse pages that are turned or coloured otherwise than the first, which speaks for all, or lie elsewhere.

    tifffile compares how pages are packed, not what they say of their pixels.
    """
    first = layout.page
    for number in numbers:
        frame = layout.series.pages[number]
        if frame is None or frame is first:
            continue
        inside = Path(frame.parent.filehandle.dirname) == Path(first.parent.filehandle.dirname)
        require(inside, place, f"has page {number} in a file of another folder", "save its pages in one file")
        page = frame.aspage()
        turned = page.tags.valueof("Orientation", 1) != layout.orientation
        require(not turned, place, f"has page {number} turned otherwise than page 0", "save each page in its own file")
        same = first.photometric != PALETTE or np.array_equal(page.colormap, first.colormap)
        require(same, place, f"has another palette on page {number} than on page 0", "convert it to RGB")


def _depth(layout: Layout) -> int:
    """Bits as `Raster` has them."""
    found = stored(np.zeros(1, layout.page.dtype), "sample").bits
    small = layout.page.dtype.kind == "u" and 8 < layout.bits < 16
    return layout.bits if small else found


def read(path: Path, place: str, page: int | None) -> Picture:
    """All slices, or one."""
    with _opened(path, place) as file:
        layout = _layout(file, place)
        require_pages(place, layout.pages, page)
        stored_pages = len(layout.series.pages)
        _require_alike(layout, place, range(stored_pages) if page is None or stored_pages != layout.pages else (page,))
        count = layout.pages if page is None else 1
        item = layout.page.dtype.itemsize * layout.samples
        require_size(place, layout.size("Y"), layout.size("X"), count, item)
        slices = _slices(layout, page)
        slices = np.ascontiguousarray(oriented(slices, layout.orientation))
        picture = _picture(layout, slices, place, _geometry(file, layout, path))
        return _calibrated(picture, file.imagej_metadata or {} if file.is_imagej else {}, place)


def _slices(layout: Layout, page: int | None) -> np.ndarray:
    """[S, H, W, samples] as they lie in the file."""
    axes = layout.axes
    one_each = page is not None and len(layout.series.pages) == layout.pages
    alone = one_each and "C" not in axes and (axes.endswith("YXS") or (axes.endswith("YX") and "S" not in axes))
    if alone:
        array = layout.series.pages[page].asarray()
        return np.asarray(array).reshape(1, layout.size("Y"), layout.size("X"), -1)
    array = np.asarray(layout.series.asarray())
    others = [i for i, letter in enumerate(axes) if letter not in "YXSC"]
    samples = [i for i, letter in enumerate(axes) if letter in "SC"]
    array = array.transpose(*others, axes.index("Y"), axes.index("X"), *samples)
    array = array.reshape(layout.pages, layout.size("Y"), layout.size("X"), -1)
    return array if page is None else array[page : page + 1]


def _picture(layout: Layout, slices: np.ndarray, place: str, geometry: Geometry) -> Picture:
    """Palettes resolved, white-is-zero turned round, opaque alpha dropped, small samples brought to 8 bits."""
    kind, bits = int(layout.page.photometric), layout.bits
    if kind == PALETTE:
        index = slices[..., 0]
        require(
            index.dtype == np.uint8,
            place,
            f"must have a palette of 8 bits at most, has {index.dtype}",
            "convert it to RGB",
        )
        palette = _palette(layout.page.colormap)
        require(int(index.max()) < len(palette), place, f"names colour {index.max()}, its palette has {len(palette)}")
        return Picture(palette[index], 8, geometry, index=index, palette=palette, place=place)
    if slices.dtype == np.bool_ or (bits < 8 and slices.dtype == np.uint8):
        scale = 255 // ((1 << bits) - 1)
        slices = slices.astype(np.uint8) * np.uint8(scale)
        bits = 8
    else:
        scale = 1
    found = stored(slices, place)
    pixels, depth = found.pixels, _depth(layout) if bits > 8 else found.bits
    if kind == WHITE_IS_ZERO:
        rule = f"must hold unsigned integers where white is zero, holds {slices.dtype}"
        require(depth <= 16 and not found.offset, place, rule, "save it with black as zero")
        pixels = np.asarray(((1 << depth) - 1) - pixels, pixels.dtype)
    if layout.alpha:
        require(depth <= 16, place, "must not have alpha beside wide values", "save it without")
        pixels = without_alpha(pixels, place, (1 << depth) - 1)
    return Picture(pixels, depth, geometry, offset=found.offset, scale=scale, place=place)


def _calibrated(picture: Picture, known: Mapping[str, Any], place: str) -> Picture:
    """With the straight line that ImageJ calls a calibration: so it keeps signed pixels of 16 bits."""
    if "cf" not in known or not {"c0", "c1"} <= known.keys():
        return picture
    try:
        function, offset, slope = int(known["cf"]), *(Fraction(repr(float(known[name]))) for name in ("c0", "c1"))
    except (TypeError, ValueError, OverflowError):
        function, offset, slope = -1, Fraction(0), Fraction(0)
    plain = function == 0 and slope > 0 and picture.bits <= 16 and not picture.geometry.facts["white_is_zero"]
    rule = "must be calibrated by a rising straight line, of at most 16 bits and with black as zero"
    require(plain, place, rule, "remove ImageJ's calibration, or convert it to 32 bits with ImageJ")
    return replace(picture, slope=slope, offset=picture.offset * slope + offset)


def _palette(colormap: np.ndarray) -> np.ndarray:
    """uint8 [n, 3] from TIFF's 16 bits per colour, of which 8 are meant."""
    exact = bool((colormap % 257 == 0).all())
    return np.ascontiguousarray((colormap // 257 if exact else colormap >> 8).astype(np.uint8).T)


def _geometry(file: Any, layout: Layout, path: Path) -> Geometry:
    """Pixel sizes: OME's and ImageJ's own, else the resolution."""
    facts: dict[str, Any] = {"orientation": layout.orientation, "bigtiff": bool(file.is_bigtiff)}
    facts["white_is_zero"] = int(layout.page.photometric) == WHITE_IS_ZERO
    spacing, unit = None, ""
    tags = layout.page.tags
    if "XResolution" in tags and "YResolution" in tags:
        pairs = [tags[name].value for name in ("YResolution", "XResolution")]
        facts["resolution"] = tuple(pairs)
        facts["resolution_unit"] = int(tags["ResolutionUnit"].value) if "ResolutionUnit" in tags else 2
        if all(isinstance(p, tuple) and len(p) == 2 and p[0] > 0 and p[1] > 0 for p in pairs):
            rows, columns = (p[1] / p[0] for p in pairs)
            unit = _UNITS.get(facts["resolution_unit"], "")
            spacing = (0.0, rows, columns)
    if file.is_imagej:
        known = file.imagej_metadata or {}
        facts["imagej"] = {k: known[k] for k in ("unit", "spacing", "axes") if k in known}
        unit = str(known.get("unit", unit)).replace("\\u00B5", "\N{MICRO SIGN}")
        if spacing is not None:
            spacing = (float(known.get("spacing", 1.0)), *spacing[1:])
    if file.is_ome and (sizes := ome_sizes(file)):
        units = {str(sizes.get(f"PhysicalSize{axis}Unit", "\N{MICRO SIGN}m")) for axis in "YX"}
        unit_z = str(sizes.get("PhysicalSizeZUnit", "\N{MICRO SIGN}m"))
        z, *steps = (float(sizes.get(f"PhysicalSize{axis}") or 0.0) for axis in "ZYX")
        if len(units) == 1 and min(steps) > 0:
            spacing, unit = (z if unit_z in units else 0.0, steps[0], steps[1]), units.pop()
    if layout.turned and spacing is not None:
        spacing = (spacing[0], spacing[2], spacing[1])
    return Geometry("tiff", (str(path),), layout.axes, layout.shape, spacing, unit, facts=facts)


def ome_sizes(file: Any) -> dict[str, Any]:
    """OME's physical sizes of a pixel, PhysicalSizeX for example, and their units, as far as the file says them."""
    import tifffile

    try:
        image = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
        pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
        return {k: v for k, v in pixels.items() if k.startswith("PhysicalSize")}
    except (KeyError, TypeError, AttributeError, IndexError):
        return {}

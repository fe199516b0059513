"""PNG, JPEG, BMP, GIF, WebP and PNM through Pillow; PNG of 16 bits, of which Pillow drops half, through imagecodecs."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from hwseg.borders import given
from hwseg.errors import require
from hwseg.pictures.formats import Head, needed, oriented, require_pages, require_size, without_alpha
from hwseg.pictures.raster import Geometry, Picture

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM")
CHANNELS = {"1": 1, "L": 1, "LA": 1, "PA": 3, "P": 3, "RGB": 3, "RGBA": 3}
"""Modes that are read, and the channels that they become."""

WHAT = "a picture"
CURE = "use a sound PNG, JPEG, BMP, GIF, WebP, PNM, TIFF, NIfTI, DICOM or .npy file"

ORIENTATION = 274
PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}


@dataclass(frozen=True)
class PngHeader:
    """Of a PNG file.  kind: its colour type.  transparent: it names a transparent colour.  animated: it is an APNG."""

    width: int
    height: int
    depth: int
    kind: int
    transparent: bool
    animated: bool = False


def png_header(path: Path) -> PngHeader | None:
    """None for a file that is no PNG, or is damaged before its pixels: Pillow then says what is wrong."""
    with path.open("rb") as file:
        if file.read(8) != PNG:
            return None
        start = file.read(25)
        if len(start) < 25 or start[4:8] != b"IHDR":
            return None
        width, height, depth, kind = struct.unpack(">IIBB", start[8:18])
        transparent, animated = False, False
        for _ in range(1000):
            head = file.read(8)
            if len(head) < 8 or head[4:] == b"IDAT":
                break
            transparent |= head[4:] == b"tRNS"
            animated |= head[4:] == b"acTL"
            file.seek(struct.unpack(">I", head[:4])[0] + 4, 1)
    return PngHeader(width, height, depth, kind, transparent, animated)


def _sixteen(path: Path, place: str) -> PngHeader | None:
    """The header of a PNG file of 16 bits."""
    header = png_header(path)
    if header is None or header.depth != 16 or header.kind not in _PNG_CHANNELS:
        return None
    require(not header.animated, place, "must not be animated and of 16 bits per channel", "save its pages as TIFF")
    return header


@contextmanager
def _opened(path: Path, place: str) -> Iterator[Image.Image]:
    with given(place, WHAT, CURE), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path, formats=FORMATS) as picture:
            yield picture


def _checked(picture: Image.Image, place: str) -> tuple[int, int, int]:
    """Pages, height and width as they are to be seen."""
    cure = "convert it to 8-bit grey or RGB, or to 16-bit TIFF"
    rule = f"must be grey or colour of 8 bits per channel, or grey of 16, is of mode {picture.mode}"
    require(picture.mode in CHANNELS, place, rule, cure)
    require(_largest(picture) <= 255, place, f"must have 8 bits per channel, reaches to {_largest(picture)}", cure)
    pages = int(getattr(picture, "n_frames", 1))
    turned = picture.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    width, height = picture.size[::-1] if turned else picture.size
    return pages, height, width


def _largest(picture: Image.Image) -> int:
    """The largest sample that a PNM file declares; Pillow makes 8 bits of it without a word."""
    tiles = getattr(picture, "tile", ()) if picture.format == "PPM" else ()
    return max((number for tile in tiles for number in tile[3] if isinstance(number, int)), default=255)


def head(path: Path, place: str) -> Head:
    """Size, depth and pages."""
    if (header := _sixteen(path, place)) is not None:
        turned = _exif(path, place) in (5, 6, 7, 8)
        size = (header.width, header.height) if turned else (header.height, header.width)
        return Head(1, *size, 3 if header.kind in (2, 6) else 1, 16)
    with _opened(path, place) as picture:
        pages, height, width = _checked(picture, place)
        return Head(pages, height, width, CHANNELS[picture.mode], 8)


def read(path: Path, place: str, page: int | None) -> Picture:
    """All pages, or one of them."""
    geometry = Geometry("png" if path.suffix.lower() == ".png" else "picture", (str(path),))
    if (header := _sixteen(path, place)) is not None:
        require_pages(place, 1, page)
        return Picture(_read_sixteen(path, place, header), 16, geometry, place=place)
    with _opened(path, place) as picture:
        pages, height, width = _checked(picture, place)
        require_pages(place, pages, page)
        chosen = range(pages) if page is None else range(page, page + 1)
        require_size(place, height, width, len(chosen), CHANNELS[picture.mode])
        scale = _scale(path, picture)
        orientation = picture.getexif().get(ORIENTATION, 1)
        index, palette = [], None
        planes = []
        for number in chosen:
            if pages > 1:
                picture.seek(number)
            picture.load()
            if picture.mode == "P":
                index.append(np.asarray(picture))
                palette = _palette(picture)
            planes.append(_pixels(picture, place))
        sizes = {plane.shape for plane in planes}
        require(len(sizes) == 1, place, f"has pages of different kinds: {_shapes(sizes)}", "choose one with --page")
    pixels = np.ascontiguousarray(oriented(np.stack(planes), orientation))
    kept = index if len(index) == len(planes) else []
    indices = np.ascontiguousarray(oriented(np.stack(kept)[..., None], orientation)[..., 0]) if kept else None
    return Picture(pixels, 8, geometry, index=indices, palette=palette if kept else None, scale=scale, place=place)


def _shapes(sizes: set[tuple[int, ...]]) -> str:
    return ", ".join(sorted("x".join(map(str, size)) for size in sizes))


def _pixels(picture: Image.Image, place: str) -> np.ndarray:
    """uint8 [H, W, C]: palettes resolved, opaque alpha dropped."""
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        grey = picture.mode in ("L", "LA", "1")
        full = np.asarray(picture.convert("RGBA"))
        pixels = without_alpha(full, place, 255)
        return pixels[..., :1] if grey else pixels
    pixels = np.asarray(picture.convert("L" if CHANNELS[picture.mode] == 1 else "RGB"))
    return pixels.reshape(*pixels.shape[:2], -1)


def _palette(picture: Image.Image) -> np.ndarray:
    """uint8 [n, 3]."""
    found = np.array(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    return np.concatenate([found, np.zeros((256 - len(found), 3), np.uint8)])


def _scale(path: Path, picture: Image.Image) -> int:
    """What samples of 1, 2 or 4 bits were multiplied with."""
    if picture.mode == "1":
        return 255
    header = png_header(path)
    small = header is not None and header.kind == 0 and header.depth < 8
    return 255 // ((1 << header.depth) - 1) if small and header is not None else 1


def _exif(path: Path, place: str) -> int:
    """The orientation of a PNG of 16 bits."""
    with _opened(path, place) as picture:
        return int(picture.getexif().get(ORIENTATION, 1))


def _read_sixteen(path: Path, place: str, header: PngHeader) -> np.ndarray:
    """uint16 [1, H, W, C]."""
    samples = _PNG_CHANNELS[header.kind]
    require_size(place, header.height, header.width, 1, 2 * samples)
    require(not header.transparent, place, "must not be transparent, names a transparent colour", "flatten it first")
    if header.kind == 0:
        with _opened(path, place) as picture:
            picture.load()
            pixels = np.asarray(picture).astype(np.uint16)
    else:
        codecs = needed("imagecodecs", place, "a PNG file of 16 bits per colour")
        with given(place, WHAT, CURE):
            pixels = np.asarray(codecs.png_decode(path.read_bytes()))
    fits = pixels.dtype == np.uint16 and pixels.shape[:2] == (header.height, header.width)
    require(fits, place, f"must hold 16-bit pixels, was read as {pixels.dtype} {list(pixels.shape)}", "save it as TIFF")
    pixels = pixels.reshape(1, header.height, header.width, -1)
    if samples in (2, 4):
        pixels = without_alpha(pixels, place, 65535)
    return np.ascontiguousarray(oriented(pixels, _exif(path, place)))

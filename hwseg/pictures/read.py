"""Any picture file, by its first bytes: the one reader of every command, of training, and of the examples.

What a file declares is honoured or refused, never lost: depth, pages, orientation, palette, transparency, rescaling.
`head` reads headers alone; `read` gives all pictures of a file, or one.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.files import file_errors
from hwseg.pictures.formats import Head
from hwseg.pictures.raster import Picture, Raster

__all__ = ["SUFFIXES", "Head", "format_of", "head", "is_picture", "read", "read_one", "stem"]

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".pgm", ".ppm", ".pnm", ".tif", ".tiff", ".nii", ".nii.gz",
    ".dcm", ".dicom", ".npy",
)  # fmt: skip
"""Of files that are looked at in a folder."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_NIFTI = (b"n+1\0", b"n+2\0")


def is_picture(path: Path) -> bool:
    """Whether a file of a folder is taken for a picture: by its name; those that begin with a dot are the system's."""
    return not path.name.startswith(".") and path.name.lower().endswith(SUFFIXES)


def stem(path: Path) -> str:
    """The name without its ending."""
    name = path.name
    ending = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if name.lower().endswith(s)), "")
    return name[: len(name) - len(ending)] if ending else path.stem if os.path.isfile(path) else name


def _format(path: Path, place: str) -> Any:
    """The module of `hwseg.pictures.formats` that reads a file; none is imported before it is wanted."""
    name = _kind(path, place)
    try:
        return import_module(f"hwseg.pictures.formats.{name}")
    except ModuleNotFoundError as error:
        package = {"PIL": "pillow"}.get(str(error.name), str(error.name))
        raise HwsegError(place, f"needs the package {package} to be read", f"pip install {package}") from error


def _kind(path: Path, place: str) -> str:
    with file_errors(path):
        if os.path.isdir(path):
            return "dicom"
        require(os.path.isfile(path), place, "must be a picture, but there is no such file", "check the path")
        with path.open("rb") as file:
            start = file.read(540)
    if start[:4] in _TIFF:
        return "tiff"
    if start[:6] == b"\x93NUMPY" or path.suffix.lower() == ".npy":
        return "numpy_file"
    if start[128:132] == b"DICM" or path.suffix.lower() in (".dcm", ".dicom"):
        return "dicom"
    if start[344:348] in _NIFTI or start[4:8] in _NIFTI or path.name.lower().endswith((".nii", ".nii.gz")):
        return "nifti"
    return "pillow"


def format_of(path: str | Path) -> str:
    """Which of `hwseg.pictures.formats` reads a file, or a folder with a DICOM series."""
    return _kind(Path(path), str(path))


def head(path: str | Path) -> Head:
    """What the header of a file, or of a folder with a DICOM series, declares."""
    place = str(path)
    with file_errors(place):
        found: Head = _format(Path(path), place).head(Path(path), place)
    return found


def read(path: str | Path, page: int | None = None) -> Picture:
    """The pictures of a file, or of a folder with a DICOM series; `page`: one of them, from 0."""
    place = str(path)
    with file_errors(place):
        found: Picture = _format(Path(path), place).read(Path(path), place, page)
    assert found.pixels.ndim == 4, place
    assert found.bits == 32 or found.pixels.dtype in (np.uint8, np.uint16), place
    return found


def read_one(path: str | Path, page: int | None = None) -> Raster:
    """The picture of a file; one of several must be chosen."""
    if page is None:
        pages = head(path).pages
        require(
            pages == 1,
            str(path),
            f"holds {pages} pictures, one is wanted",
            f"choose with --page 0 to --page {pages - 1}",
        )
    return read(path, page).slice(0)

"""NIfTI through nibabel: [i, j, k] and an affine become slices as they are looked at.

The third axis of the file is that of the slices.  In a slice, columns run to the patient's left (or, where the slice is
sagittal, to the back) and rows to the back (or down); as DICOM has them, and radiologists.  `restored` goes back.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from hwseg.borders import given
from hwseg.errors import require
from hwseg.pictures.formats import Head, needed, require_pages, require_size
from hwseg.pictures.raster import Geometry, Picture, stored

SLICES = "choose one volume of it, for example with fslsplit or nibabel's four_to_three"
_UNITS = {"meter": "m", "mm": "mm", "micron": "\N{MICRO SIGN}m", "unknown": "mm"}
"""Of the header; mm is the custom where it says nothing."""


def _opened(path: Path, place: str) -> Any:
    nibabel = needed("nibabel", place, "a NIfTI file")
    with given(place, "a NIfTI file", "replace the file"):
        return nibabel.Nifti1Image.from_filename(path) if _first(path) else nibabel.Nifti2Image.from_filename(path)


def _first(path: Path) -> bool:
    """Version 1 says 348 first, version 2 says 540."""
    import gzip

    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] == b"\x1f\x8b":
        with gzip.open(path) as file:
            start = file.read(4)
    return 540 not in (int.from_bytes(start, "little"), int.from_bytes(start, "big"))


def _shape(image: Any, place: str) -> tuple[int, int, int]:
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    rule = f"must have 2 or 3 dimensions, has {len(shape)}: {'x'.join(map(str, shape))}"
    require(2 <= len(shape) <= 3, place, rule, SLICES)
    dtype = image.get_data_dtype()
    require(dtype.kind in "uif", place, f"must hold numbers, holds {dtype}", "convert it to grey")
    return (*shape, 1)[:3]  # type: ignore[return-value]


def _order(image: Any) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """The transposition to [slice, row, column], and the axes of that which are reversed."""
    from nibabel.orientations import io_orientation

    ornt = io_orientation(image.affine)
    anatomical = [int(a) if np.isfinite(a) else i for i, a in enumerate(ornt[:, 0])]
    upward = [bool(f == 1) if np.isfinite(f) else True for f in ornt[:, 1]]
    column, row = sorted((0, 1), key=lambda axis: anatomical[axis])
    order = (2, row, column)
    # upward: to the right, to the front, to the head; wanted: to the left, to the back, and down within a slice.
    slices_up = anatomical[2] == 2
    flips = [0] if upward[2] != slices_up else []
    flips += [number for number, axis in ((1, row), (2, column)) if upward[axis]]
    return order, tuple(flips)


def head(path: Path, place: str) -> Head:
    """Size, depth and slices."""
    image = _opened(path, place)
    shape = _shape(image, place)
    (slices, row, column), _ = _order(image)
    bits = stored(np.zeros(1, image.get_data_dtype()), place).bits
    return Head(shape[slices], shape[row], shape[column], 1, bits if _linear(image) else 32)


def _unit(image: Any) -> str:
    """Of its spacing."""
    return _UNITS.get(str(image.header.get_xyzt_units()[0]), "")


def _linear(image: Any) -> bool:
    """Whether values are integers, rescaled upward."""
    slope = image.dataobj.slope
    return bool(np.isfinite(slope) and slope > 0)


def read(path: Path, place: str, page: int | None) -> Picture:
    """All slices, or one."""
    image = _opened(path, place)
    shape = _shape(image, place)
    order, flips = _order(image)
    require_pages(place, shape[order[0]], page)
    rows, columns = shape[order[1]], shape[order[2]]
    require_size(place, rows, columns, shape[order[0]], image.get_data_dtype().itemsize)
    with given(place, "a NIfTI file", "replace the file"):
        raw = np.asarray(image.dataobj.get_unscaled()).reshape(shape)
    array = np.flip(raw.transpose(order), flips)
    array = array if page is None else array[page : page + 1]
    slope, offset = (float(v) for v in (image.dataobj.slope, image.dataobj.inter))
    geometry = Geometry(
        "nifti", (str(path),), "ijk", tuple(int(n) for n in image.shape),
        tuple(float(image.header.get_zooms()[a]) if a < len(image.header.get_zooms()) else 1.0 for a in order),  # type: ignore[arg-type]
        _unit(image), tuple(tuple(map(float, line)) for line in image.affine), order, flips,
    )  # fmt: skip
    if not _linear(image):
        array = array.astype(np.float64) * slope + offset
        slope, offset = 1.0, 0.0
    found = stored(np.ascontiguousarray(array[..., None]), place)
    scale = Fraction(slope)
    moved = found.offset * scale + Fraction(offset)
    return Picture(found.pixels, found.bits, geometry, scale, moved, place=place)


def restored(slices: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Class maps [slice, row, column] as the file's array [i, j, k]."""
    array = np.flip(slices, geometry.flips).transpose(np.argsort(geometry.order))
    return np.ascontiguousarray(array.reshape(geometry.shape))

"""Every connected object of a mask: its size, its place and the picture's values in it, by scikit-image.

Slices of a volume (NIfTI, DICOM series, TIFF with an axis Z) are measured together, with their spacing; other pictures
of one file each by itself.  Objects touch at corners, too; those of different classes are never one.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hwseg.pictures.formats import needed
from hwseg.pictures.labels import Labels
from hwseg.pictures.raster import Geometry, Picture
from hwseg.pictures.read import read
from hwseg.segment.plan import Item

FIRST = (
    "picture", "page", "object", "class", "name", "pixels", "size", "unit", "slice", "row", "column", "z", "y", "x",
)  # fmt: skip
"""Columns.  size: in unit squared or cubed.  slice, row, column: the centroid, in pixels from 0; z, y, x in units."""

Row = Mapping[str, Any]


def measured(item: Item, maps: np.ndarray, labels: Labels) -> list[Row]:
    """A row for each object of the class maps [pictures, H, W]."""
    _scikit(item)
    picture = read(item.source, item.page)
    if _is_volume(picture.geometry) and len(maps) > 1:
        return _objects(item, picture, np.asarray(maps), labels)
    rows: list[Row] = []
    for number, page in enumerate(item.pages):
        one = replace(picture, pixels=picture.pixels[number : number + 1])
        rows += _objects(item, one, np.asarray(maps[number : number + 1]), labels, page)
    return rows


def _scikit(item: Item) -> Any:
    """scikit-image, or the sentence that says how to get it."""
    return needed("skimage.measure", "--measure", f"to measure the objects of {item.source.name}")


def _is_volume(geometry: Geometry) -> bool:
    """Whether pictures of one file lie above each other."""
    stacked = [
        letter for letter, n in zip(geometry.axes, geometry.shape, strict=False) if letter not in "YXSC" and n > 1
    ]
    return geometry.kind in ("nifti", "dicom") or (geometry.kind == "tiff" and stacked == ["Z"])


def _objects(item: Item, picture: Picture, maps: np.ndarray, labels: Labels, page: int | None = None) -> list[Row]:
    """Objects of a volume, or of its only slice, which is `page` of the file."""
    skimage = _scikit(item)
    flat = page is not None
    pixels = picture.pixels[0] if flat else picture.pixels
    classes = maps[0] if flat else maps
    numbered = skimage.label(classes, background=0, connectivity=classes.ndim)
    class_of = np.zeros(int(numbered.max()) + 1, np.uint8)
    class_of[numbered] = classes
    if len(class_of) == 1:
        return []
    wanted = ("label", "num_pixels", "centroid", "intensity_mean", "intensity_min", "intensity_max")
    found = skimage.regionprops_table(numbered, pixels, properties=wanted)
    sizes, unit = _steps(picture.geometry, flat)
    one = float(np.prod(sizes[1:] if flat else sizes))
    rows: list[Row] = []
    for index, label in enumerate(found["label"]):
        centre = [float(found[f"centroid-{axis}"][index]) for axis in range(classes.ndim)]
        place = [float(page), *centre] if page is not None else centre
        number, count = int(class_of[label]), int(found["num_pixels"][index])
        row: dict[str, Any] = {
            **{"picture": item.source.name, "page": "" if page is None else page, "object": int(label)},
            **{"class": number, "name": labels.name(number), "pixels": count, "size": count * one, "unit": unit},
            **dict(zip(("slice", "row", "column"), place, strict=True)),
            **{axis: at * step for axis, at, step in zip("zyx", place, sizes, strict=True) if axis != "z" or not flat},
        }
        rows.append(row | _values(found, index, picture))
    return rows


def _steps(geometry: Geometry, flat: bool) -> tuple[tuple[float, float, float], str]:
    """Size of a pixel along slices, rows and columns, and its unit; in pixels where the file does not say all of it."""
    if geometry.spacing is None or not geometry.unit or not (flat or geometry.spacing[0] > 0):
        return (1.0, 1.0, 1.0), "pixel"
    return geometry.spacing, geometry.unit


def _values(found: Mapping[str, np.ndarray], index: int, picture: Picture) -> dict[str, float]:
    """Mean, smallest and largest value of each channel."""
    channels = picture.pixels.shape[3]
    slope, offset = float(picture.slope), float(picture.offset)
    row = {}
    for channel in range(channels):
        for name, key in (("mean", "intensity_mean"), ("minimum", "intensity_min"), ("maximum", "intensity_max")):
            column = f"{key}-{channel}" if f"{key}-{channel}" in found else key
            ending = f" {channel + 1}" if channels > 1 else ""
            row[name + ending] = float(found[column][index]) * slope + offset
    return row


def csv_text(rows: Sequence[Row], columns: Sequence[str] = ()) -> str:
    """A table with a header; columns: more than the first ones, else those of the rows."""
    more = columns or [name for name in (rows[0] if rows else ()) if name not in FIRST]
    file = io.StringIO()
    table = csv.DictWriter(file, [*FIRST, *more], restval="", lineterminator="\n")
    table.writeheader()
    table.writerows({k: f"{v:.10g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    return file.getvalue()


def joined(texts: Sequence[str]) -> str:
    """One table of several; where pictures have different channels, with the columns of all."""
    tables = [list(csv.DictReader(io.StringIO(text))) for text in texts]
    rows = [row for table in tables for row in table]
    columns = dict.fromkeys(name for row in rows for name in row if name not in FIRST)
    return csv_text(rows, tuple(columns))

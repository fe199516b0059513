"""Class maps as files, in the format and the geometry of the pictures that they were made of.

Values are those of `Labels.coded`, whatever a picture holds.  A file is whole or absent: it is written beside, where
what is unfinished lies, and renamed.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hwseg.errors import HwsegError
from hwseg.pictures.formats import needed
from hwseg.pictures.formats.nifti import restored
from hwseg.pictures.formats.tiff import ome_sizes
from hwseg.pictures.labels import Labels
from hwseg.pictures.raster import Geometry
from hwseg.pictures.read import read
from hwseg.segment.plan import Item

BIG = 0xF000_0000
"""Bytes from which a TIFF needs 64-bit offsets; its format allows 4 GiB with its headers."""


def write(item: Item, maps: np.ndarray, geometry: Geometry, labels: Labels, model: str, scratch: Path) -> None:
    """`maps`, class numbers uint8 [pictures, H, W], as the item's mask; by way of `scratch`, on the same disk."""
    try:
        WRITERS[item.kind](item, maps, geometry, labels, model, scratch)
        with scratch.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(scratch, item.out)
    finally:
        scratch.unlink(missing_ok=True)


def _png(item: Item, maps: np.ndarray, geometry: Geometry, labels: Labels, model: str, scratch: Path) -> None:
    from PIL import Image

    picture = Image.fromarray(labels.coded(maps[0]))
    if labels.channels > 1:
        picture.putpalette(labels.palette().reshape(-1).tolist())
    picture.save(scratch, "PNG")


def _npy(item: Item, maps: np.ndarray, geometry: Geometry, labels: Labels, model: str, scratch: Path) -> None:
    shape = maps.shape if item.head.pages > 1 and item.page is None else maps.shape[1:]
    found = np.lib.format.open_memmap(scratch, "w+", np.uint8, shape)
    for number, plane in enumerate(maps):
        found.reshape(maps.shape)[number] = labels.coded(plane)
    found.flush()


def _tiff(item: Item, maps: np.ndarray, geometry: Geometry, labels: Labels, model: str, scratch: Path) -> None:
    """Pages and axes of the picture, its resolution; ImageJ's and OME's descriptions where it has them."""
    import tifffile

    own = geometry.kind == "tiff"
    letters = [(a, n) for a, n in zip(geometry.axes, geometry.shape, strict=True) if a not in "YXSC"] if own else []
    axes = "".join(a for a, _ in letters) if item.page is None else ""
    shape = tuple(n for _, n in letters) if item.page is None else ()
    if not own and len(maps) > 1:
        axes, shape = "Q", (len(maps),)
    source = _described(item.source) if own else {}
    given: dict[str, Any] = {"metadata": {"axes": axes + "YX", **source.pop("metadata", {})}, **_resolution(geometry)}
    flavour = {key: True for key in ("imagej", "ome") if source.get(key)}
    if "imagej" not in flavour:
        given |= {"compression": "zlib", "rowsperstrip": 256}
        if labels.channels > 1:
            given |= {"photometric": "palette", "colormap": _colormap(labels)}
    elif labels.channels > 1:
        given["metadata"]["LUTs"] = [(_colormap(labels) >> 8).astype(np.uint8)]
    big = bool(geometry.facts.get("bigtiff")) or maps.size > BIG
    with tifffile.TiffWriter(scratch, bigtiff=big and "imagej" not in flavour, **flavour) as file:
        planes = (labels.coded(plane) for plane in maps)
        given.setdefault("photometric", "minisblack")
        if len(maps) == 1:
            file.write(next(planes).reshape(*shape, *maps.shape[1:]), **given)
        else:
            file.write(planes, shape=(*shape, *maps.shape[1:]), dtype=np.uint8, **given)


def _described(path: Path) -> dict[str, Any]:
    """How the picture's file describes its axes: ImageJ's or OME's own, with their pixel sizes."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        if file.is_imagej:
            known = file.imagej_metadata or {}
            return {"imagej": True, "metadata": {k: known[k] for k in ("unit", "spacing") if k in known}}
        if file.is_ome:
            return {"ome": True, "metadata": ome_sizes(file)}
    return {}


def _resolution(geometry: Geometry) -> dict[str, Any]:
    """Pixels per unit, columns first; of a picture that is turned to be seen, turned with it."""
    found = geometry.facts.get("resolution")
    if not found:
        return {}
    rows, columns = found
    if geometry.facts.get("orientation", 1) in (5, 6, 7, 8):
        rows, columns = columns, rows
    return {"resolution": (columns, rows), "resolutionunit": geometry.facts.get("resolution_unit", 2)}


def _colormap(labels: Labels) -> np.ndarray:
    """uint16 [3, 256]."""
    found = np.zeros((3, 256), np.uint16)
    found[:, : labels.classes] = labels.palette().T.astype(np.uint16) * 257
    return found


def _nifti(item: Item, maps: np.ndarray, geometry: Geometry, labels: Labels, model: str, scratch: Path) -> None:
    """The picture's header with its affine and codes, and one byte for a voxel."""
    nibabel = needed("nibabel", str(item.out), "a NIfTI file")
    source = nibabel.load(item.source)
    if item.page is None:
        coded = np.stack([labels.coded(plane) for plane in maps])
    else:
        across, where = geometry.order[0], item.page
        where = item.head.pages - 1 - where if 0 in geometry.flips else where
        source = source.slicer[tuple(slice(where, where + 1) if axis == across else slice(None) for axis in range(3))]
        shape = tuple(int(n) for n in source.shape)
        geometry = Geometry("nifti", geometry.files, "ijk", shape, order=geometry.order, flips=geometry.flips)
        coded = labels.coded(maps)
    header = source.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    mask = type(source)(restored(coded, geometry), source.affine, header)
    # nibabel sets codes of its own where an affine is given.
    mask.header["qform_code"], mask.header["sform_code"] = source.header["qform_code"], source.header["sform_code"]
    nibabel.save(mask, scratch)


def _dicom(item: Item, maps: np.ndarray, geometry: Geometry, labels: Labels, model: str, scratch: Path) -> None:
    _segmentation(item, maps, geometry, labels, model).save_as(scratch)


def _segmentation(item: Item, maps: np.ndarray, geometry: Geometry, labels: Labels, model: str) -> Any:
    from hwseg.segment.dicom_seg import segmentation

    try:
        return segmentation(item, maps, geometry, labels, model)
    except (OSError, HwsegError):
        raise
    except Exception as error:  # highdicom and pydicom raise many kinds for pictures that lack what SEG needs
        reason = f"cannot be the source of a DICOM segmentation ({type(error).__name__}: {str(error)[:160]})"
        raise HwsegError(str(item.source), reason, "name an output that ends in .tif or .npy") from error


def require_possible(item: Item, labels: Labels, model: str) -> None:
    """HwsegError where no mask could be written for a picture, before its first tile: tried with an empty one."""
    if item.kind == "dicom":
        first = replace(item, page=item.pages[0])
        geometry = read(item.source, first.page).geometry
        _segmentation(first, np.zeros((1, *item.size), np.uint8), geometry, labels, model)


WRITERS = {"png": _png, "npy": _npy, "tiff": _tiff, "nifti": _nifti, "dicom": _dicom}

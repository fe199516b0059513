"""DICOM through pydicom: a file, or a folder with one series.  Rescaling is kept exactly; MONOCHROME1 is turned round.

The slices of a series lie in the order of their positions along the normal of their plane.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hwseg.borders import given
from hwseg.errors import HwsegError, require
from hwseg.pictures.formats import Head, needed, require_pages, require_size
from hwseg.pictures.meaning import WIDE
from hwseg.pictures.raster import Geometry, Picture, Stored, stored

DEFLATED = "1.2.840.10008.1.2.1.99"
GREY, COLOUR = ("MONOCHROME1", "MONOCHROME2"), ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
MAX_FILES = 20_000
UNEVEN = 0.01
"""Of the distance of slices, how far it may vary; where one is missing, a volume has no size in millimetres."""


def _header(path: Path, place: str) -> Any:
    """Everything but the pixels; a compressed data set, which may unpack to any size, is refused."""
    pydicom = needed("pydicom", place, "a DICOM file")
    with given(place, "a DICOM file", "replace the file"):
        syntax = pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID", "")
        rule = "must not be deflated as a whole: nothing says to what size it unpacks"
        require(syntax != DEFLATED, place, rule, "convert it with dcmconv of DCMTK")
        found = pydicom.dcmread(path, stop_before_pixels=True)
        _checked(found, place)
        return found


def _checked(header: Any, place: str) -> None:
    """Refuse what is not understood."""
    kind = str(header.get("PhotometricInterpretation", "none"))
    rule = f"must hold a picture, grey or RGB, is {kind}"
    require("Rows" in header and kind in GREY + COLOUR, place, rule, "convert it to grey or RGB")
    for name, what in (("ModalityLUTSequence", "a table of its modality"),):
        require(
            name not in header,
            place,
            f"must not have {what}",
            "apply it first, for example with pydicom's apply_modality_lut",
        )
    slope, _ = _rescale(header, place)
    require(slope > 0, place, f"must have a rescale slope above 0, has {slope}", "apply it first")


def _number(value: Any, place: str) -> Fraction:
    """A decimal string, exactly."""
    text = str(getattr(value, "original_string", value)).strip()
    try:
        require(len(text) <= 32 and "e99" not in text.lower(), place, f"must have short numbers, has {text[:40]!r}")
        return Fraction(text) if "e" not in text.lower() else Fraction(float(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise HwsegError(place, f"must have numbers that are numbers, has {text[:40]!r}", "replace the file") from None


def _kind(header: Any) -> tuple[int, int, int, str]:
    """What must be alike in a series: height, width, samples, photometric interpretation."""
    return (
        int(header.Rows),
        int(header.Columns),
        int(header.get("SamplesPerPixel", 1)),
        str(header.PhotometricInterpretation),
    )


def _said(kind: tuple[int, int, int, str]) -> str:
    return f"{kind[1]}x{kind[0]}, {kind[3]}"


def _depth(header: Any) -> int:
    stored_bits = int(header.get("BitsStored", 32)) if "BitsStored" in header else WIDE
    return stored_bits if 1 < stored_bits <= 16 else 8 if stored_bits == 1 else WIDE


def files_of(folder: Path, place: str) -> list[Path]:
    """Files of a series; DICOM files by their first bytes, everything else is refused."""
    from hwseg.files import file_errors

    with file_errors(folder):
        found = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".") and p.name.upper() != "DICOMDIR"]
    rule = f"must hold the files of one DICOM series, at most {MAX_FILES}, holds {len(found)}"
    require(0 < len(found) <= MAX_FILES, place, rule, "give a folder with one series")
    for path in found:
        require(is_dicom(path), str(path), "is no DICOM file, in a folder of a series", "move it out of the folder")
    return found


def is_dicom(path: Path) -> bool:
    """By its first bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _series(path: Path, place: str) -> list[tuple[Path, Any]]:
    """Files with their headers, in the order of their slices."""
    paths = files_of(path, place) if path.is_dir() else [path]
    found = [(p, _header(p, str(p))) for p in paths]
    if len(found) == 1:
        return found
    first = found[0][1]
    for p, header in found:
        here, there = _kind(header), _kind(first)
        rule = f"is {_said(here)}, while {found[0][0].name} of the same folder is {_said(there)}"
        require(here == there, str(p), rule, "a series has slices of one size: move the others out")
        rule = f"belongs to another series than {found[0][0].name}"
        require(header.get("SeriesInstanceUID") == first.get("SeriesInstanceUID"), str(p), rule, "give each a folder")
        require(int(header.get("NumberOfFrames", 1)) == 1, str(p), "must be one slice of the series", "read it alone")
        signed = [int(h.get("PixelRepresentation", 0)) for h in (header, first)]
        rule = f"holds {'signed' if signed[0] else 'unsigned'} pixels, unlike {found[0][0].name}"
        require(signed[0] == signed[1], str(p), rule, "give each kind a folder")
        same = _axes(header) == _axes(first)
        require(same, str(p), f"lies in another plane than {found[0][0].name}", "give each plane a folder")
    positions = [_position(header) for _, header in found]
    numbers = [float(header.get("InstanceNumber") or 0) for _, header in found]
    along = numbers if None in positions else [position for position in positions if position is not None]
    places = sorted(((at, p, header) for at, (p, header) in zip(along, found, strict=True)), key=lambda e: e[0])
    for (before, p, _), (after, q, _) in pairwise(places):
        rule = f"is at the same place as {p.name}"
        require(before != after, str(q), rule, "a series has each slice once: separate its phases")
    return [(p, header) for _, p, header in places]


def _axes(header: Any) -> tuple[float, ...]:
    return tuple(round(float(v), 4) for v in header.get("ImageOrientationPatient") or ())


def _position(header: Any) -> float | None:
    """Along the normal."""
    axes, at = header.get("ImageOrientationPatient"), header.get("ImagePositionPatient")
    if not axes or not at:
        return None
    row, column = np.array(axes[:3], float), np.array(axes[3:], float)
    return round(float(np.cross(row, column) @ np.array(at, float)), 4)


def head(path: Path, place: str) -> Head:
    """Size, depth and slices."""
    series = _series(path, place)
    first = series[0][1]
    pages = len(series) if len(series) > 1 else int(first.get("NumberOfFrames", 1) or 1)
    return Head(pages, int(first.Rows), int(first.Columns), 1 if _kind(first)[2] == 1 else 3, _bits(series))


def _bits(series: list[tuple[Path, Any]]) -> int:
    """Depth of the series: wide where slices are rescaled each in its own way."""
    alike = len({_rescale(header, str(p)) for p, header in series}) == 1
    depths = {_depth(header) for _, header in series}
    return max(depths) if alike else WIDE


def _said_by(header: Any, group: str, *names: str) -> set[tuple[str, ...]]:
    """Elements of the file, or of the functional group that an enhanced file keeps them in, for all frames or each."""
    holders = [header]
    for sequence in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        holders += [item for frame in header.get(sequence) or () for item in frame.get(group) or ()]
    return {tuple(_first(h.get(name)) for name in names) for h in holders if any(name in h for name in names)}


def _first(value: Any) -> str:
    """The first of an element's values as it is written; empty where there is none."""
    if hasattr(value, "__len__") and not isinstance(value, str):
        value = value[0] if len(value) else None
    return "" if value is None else str(getattr(value, "original_string", value)).strip()


def _rescale(header: Any, place: str) -> tuple[Fraction, Fraction]:
    """Slope and intercept; HwsegError where frames have their own."""
    said = _said_by(header, "PixelValueTransformationSequence", "RescaleSlope", "RescaleIntercept")
    found = {(_number(slope or 1, place), _number(intercept or 0, place)) for slope, intercept in said}
    rule = f"must have one rescaling, its frames have {len(found)}"
    require(len(found) < 2, place, rule, "save each frame as a file of its own, for example with emf2sf of dcm4che")
    return found.pop() if found else (Fraction(1), Fraction(0))


def read(path: Path, place: str, page: int | None) -> Picture:
    """All slices, or one."""
    series = _series(path, place)
    first = series[0][1]
    frames = int(first.get("NumberOfFrames", 1) or 1) if len(series) == 1 else 1
    pages = len(series) if len(series) > 1 else frames
    require_pages(place, pages, page)
    count = pages if page is None else 1
    require_size(place, int(first.Rows), int(first.Columns), count, _kind(first)[2] * 8)
    if len(series) > 1:
        chosen = series if page is None else series[page : page + 1]
        slices = np.concatenate([_pixels(p, header) for p, header in chosen])
    else:
        chosen = series
        slices = _pixels(*series[0])
        slices = slices if page is None else slices[page : page + 1]
    bits, (slope, intercept) = _bits(series), _rescale(first, place)
    if bits == WIDE:
        factors = [_rescale(header, str(p)) for p, header in chosen] * (count // len(chosen))
        slices = np.stack([s * float(a) + float(b) for s, (a, b) in zip(slices, factors, strict=True)])
        slope, intercept = Fraction(1), Fraction(0)
    found = _stored(slices, bits, place)
    return Picture(
        found.pixels, bits, _geometry(series, path), slope, found.offset * slope + intercept, _window(chosen),
        scale=255 if int(first.get("BitsStored", 8)) == 1 else 1, place=place,
    )  # fmt: skip


def _pixels(path: Path, header: Any) -> np.ndarray:
    """[frames, H, W, C] as stored, with MONOCHROME1 turned round and bits that mean nothing cleared."""
    place = str(path)
    pydicom = needed("pydicom", place, "a DICOM file")
    syntax = header.file_meta.TransferSyntaxUID.name
    cure = "convert it with dcmdjpeg or dcmconv of DCMTK, or replace the file"
    with given(place, f"a DICOM file whose pixels can be decoded ({syntax})", cure):
        from pydicom.pixels.utils import pixel_array

        array = np.asarray(pixel_array(pydicom.dcmread(path)))
    height, width, samples, kind = _kind(header)
    array = array.reshape(-1, height, width, samples)
    bits = int(header.get("BitsStored", 32)) if "BitsStored" in header else 32
    if array.dtype.kind == "u" and bits < 8 * array.dtype.itemsize:
        array = array & array.dtype.type((1 << bits) - 1)
    if bits == 1:
        array = array * np.uint8(255)
    if kind == "MONOCHROME1":
        rule = f"must hold integers where white is zero, holds {array.dtype}"
        require(array.dtype.kind in "ui", place, rule, "save it as MONOCHROME2")
        array = np.asarray(_turned(header) - array.astype(np.int64), array.dtype)
    return array


def _turned(header: Any) -> int:
    """The smallest and the largest pixel together: what white and black add up to."""
    return -1 if header.get("PixelRepresentation") else (1 << int(header.get("BitsStored", 32))) - 1


def _stored(slices: np.ndarray, bits: int, place: str) -> Stored:
    """As `stored`; signed pixels of 12 bits, say, from 0 to 4095."""
    found = stored(slices, place)
    if bits == WIDE or not found.offset:
        return found
    moved = int(-found.offset) - (1 << (bits - 1))
    low, high = int(found.pixels.min()) - moved, int(found.pixels.max()) - moved
    rule = f"must have signed pixels of {bits} bits, reaches from {low - (1 << bits - 1)} to {high - (1 << bits - 1)}"
    require(low >= 0 and high < 1 << bits, place, rule, "correct its Bits Stored")
    return Stored(found.pixels - found.pixels.dtype.type(moved), found.bits, found.offset + moved)


def _window(series: list[tuple[Path, Any]]) -> tuple[Fraction, Fraction] | None:
    """The first window that all slices name, of a linear function; mirrored where pixels were turned round."""
    found = {_own_window(header, str(p)) for p, header in series}
    return found.pop() if len(found) == 1 else None


def _own_window(header: Any, place: str) -> tuple[Fraction, Fraction] | None:
    names = "WindowCenter", "WindowWidth", "VOILUTFunction"
    said = _said_by(header, "FrameVOILUTSequence", *names)
    if len(said) != 1:
        return None
    first, second, function = said.pop()
    if not first or not second or function not in ("", "LINEAR"):
        return None
    centre, width = _number(first, place), _number(second, place)
    if header.PhotometricInterpretation == "MONOCHROME1":
        # 1 - t of v = slope * p + intercept is t of slope * (turned - p) + intercept with this centre
        slope, intercept = _rescale(header, place)
        centre = slope * _turned(header) + 2 * intercept - centre + 1
    return (centre, width) if width > 1 else None


def _geometry(series: list[tuple[Path, Any]], path: Path) -> Geometry:
    first = series[0][1]
    between = float(first.get("SpacingBetweenSlices") or first.get("SliceThickness") or 0)
    positions = [at for at in (_position(header) for _, header in series) if at is not None]
    if len(positions) == len(series) > 1:
        steps = np.diff(positions)
        between = float(steps[0]) if np.ptp(steps) <= UNEVEN * steps[0] else 0.0
    spacing = first.get("PixelSpacing") or first.get("ImagerPixelSpacing")
    sizes = (between, float(spacing[0]), float(spacing[1])) if spacing else None
    return Geometry("dicom", tuple(str(p) for p, _ in series), "slice row column", spacing=sizes, unit="mm")

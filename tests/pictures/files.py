"""Picture files as people have them, made for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def jpeg_turned(path: Path, pixels: np.ndarray, orientation: int) -> Path:
    """A picture whose EXIF says how it is to be turned; lossless, for comparison."""
    picture = Image.fromarray(pixels)
    exif = picture.getexif()
    exif[274] = orientation
    picture.save(path, exif=exif.tobytes())
    return path


def dicom(path: Path, pixels: np.ndarray, **changes: Any) -> Path:
    """One grey or RGB image; `changes`: elements by their names."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    found.SOPClassUID, found.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    found.SeriesInstanceUID = changes.pop("SeriesInstanceUID", "1.2.3")
    found.Rows, found.Columns = pixels.shape[:2]
    found.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    found.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        found.PlanarConfiguration = 0
    found.BitsAllocated = 8 * pixels.dtype.itemsize
    found.BitsStored, found.HighBit = found.BitsAllocated, found.BitsAllocated - 1
    found.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in changes.items():
        setattr(found, name, value)
    found.PixelData = pixels.tobytes()
    found.save_as(path, enforce_file_format=True)
    return path


def series(folder: Path, volume: np.ndarray, **changes: Any) -> Path:
    """A folder with a slice in each file, in an order that their names do not tell."""
    folder.mkdir(parents=True)
    for number, plane in enumerate(volume):
        position = [0.0, 0.0, 2.5 * number]
        dicom(
            folder / f"{(number * 7) % 11:02d}.dcm", plane, InstanceNumber=99 - number, ImagePositionPatient=position,
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[0.5, 0.75], **changes,
        )  # fmt: skip
    return folder


def nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None, **header: Any) -> Path:
    """A NIfTI file; slope and inter in `header` are written as they are."""
    import nibabel

    image = nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine)
    if header:
        image.header.set_slope_inter(header["slope"], header["inter"])
    nibabel.save(image, path)
    return path

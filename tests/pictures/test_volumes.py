"""NIfTI and DICOM: volumes and series, their orientation, units, rescaling and windows."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from hwseg.pictures.formats.nifti import restored
from hwseg.pictures.meaning import Meaning
from hwseg.pictures.prepare import prepare
from hwseg.pictures.read import read, read_one
from hwseg.pictures.table import BYTE
from tests.pictures import files
from tests.pictures.reading import COLOUR, DEEP, GREY, RANDOM, VOLUME, agrees, sentence


def test_nifti_is_turned_as_it_is_looked_at(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    ras = files.nifti(tmp_path / "a.nii.gz", VOLUME, np.diag([1.0, 2.0, 3.0, 1.0]))
    found = read(ras)
    assert found.pixels.shape == (5, 7, 9, 1)
    values = found.pixels[..., 0].astype(int) + int(found.offset)
    # i runs to the right and j to the front; columns run to the left and rows to the back.
    assert (values == VOLUME[::-1, ::-1].transpose(2, 1, 0)).all()
    assert (restored(values, found.geometry) == VOLUME).all()
    assert found.geometry.spacing == (3, 2, 1)
    agrees(ras)
    lps = files.nifti(tmp_path / "b.nii", VOLUME, np.diag([-1.0, -2.0, 3.0, 1.0]))
    assert (read(lps).pixels[..., 0].astype(int) - 32768 == VOLUME.transpose(2, 1, 0)).all()
    swapped = np.array([[0, -2.0, 0, 0], [-1.0, 0, 0, 0], [0, 0, 3.0, 0], [0, 0, 0, 1]])
    other = read(files.nifti(tmp_path / "c.nii", VOLUME, swapped))
    assert other.pixels.shape == (5, 9, 7, 1)
    assert (restored(other.pixels[..., 0], other.geometry).astype(int) - 32768 == VOLUME).all()
    assert (read_one(ras, 3).pixels == found.pixels[3]).all()


def test_the_same_volume_in_any_order_looks_the_same(tmp_path: Path) -> None:
    """Every signed permutation of the axes in a slice, and of the slices' direction."""
    pytest.importorskip("nibabel")
    base = read(files.nifti(tmp_path / "a.nii", VOLUME, np.eye(4))).pixels
    for number, flips in enumerate(np.ndindex(2, 2, 2)):
        for swap in (False, True):
            array, affine = VOLUME, np.eye(4)
            for axis, flip in enumerate(flips):
                if flip:
                    array, affine = np.flip(array, axis), affine.copy()
                    affine[axis, axis] = -1
            if swap:
                array, affine = array.transpose(1, 0, 2), affine[:, [1, 0, 2, 3]]
            found = read(files.nifti(tmp_path / f"{number}{swap}.nii", array, affine))
            assert (found.pixels == base).all()
            assert (restored(found.pixels[..., 0], found.geometry) == array.astype(int) + 32768).all()


def test_nifti_rescaling_is_exact(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    file = files.nifti(tmp_path / "a.nii", VOLUME, slope=0.5, inter=-10)
    found = read(file)
    values = found.pixels[..., 0] * float(found.slope) + float(found.offset)
    assert (restored(values, found.geometry) == VOLUME * 0.5 - 10).all()
    assert found.bits == 16
    falling = read(files.nifti(tmp_path / "b.nii", VOLUME, slope=-2.0, inter=1))
    assert falling.bits == 32
    assert (restored(falling.pixels[..., 0], falling.geometry) == VOLUME * -2.0 + 1).all()


@pytest.mark.parametrize(
    ("unit", "found"), [("micron", "\N{MICRO SIGN}m"), ("meter", "m"), ("mm", "mm"), ("unknown", "mm")]
)
def test_a_voxel_is_measured_in_its_own_unit(unit: str, found: str, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(VOLUME, np.diag([0.5, 0.5, 2.0, 1.0]))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    assert read(tmp_path / "a.nii").geometry.unit == found


def test_niftis_that_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    file = files.nifti(tmp_path / "a.nii.gz", np.zeros((4, 5, 6, 90), np.int16))
    assert "must have 2 or 3 dimensions, has 4: 4x5x6x90; choose one volume of it" in sentence(file)
    files.nifti(file, np.zeros((4, 5, 6, 1), np.int16))
    assert read(file).pixels.shape == (6, 5, 4, 1)
    content = bytearray(gzip.decompress(file.read_bytes()))
    struct.pack_into("<8h", content, 40, 3, 30000, 30000, 30000, 1, 1, 1, 1)
    file.write_bytes(gzip.compress(bytes(content)))
    assert "must have at most" in sentence(file, 0)
    struct.pack_into("<8h", content, 40, 3, 400, 400, 400, 1, 1, 1, 1)
    file.write_bytes(gzip.compress(bytes(content)))
    assert "is not a NIfTI file, or is damaged" in sentence(file, 0)
    file.write_bytes(b"\x1f\x8b" + bytes(100))
    assert "a.nii.gz" in sentence(file)


# --- DICOM ---


def test_a_series_lies_in_the_order_of_its_positions(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    volume = RANDOM.integers(0, 4096, (6, 12, 17)).astype(np.uint16)
    folder = files.series(tmp_path / "s", volume, BitsStored=12, HighBit=11, RescaleSlope="1", RescaleIntercept="-1024")
    found = read(folder)
    assert (found.pixels[..., 0] == volume).all()
    assert (found.bits, found.slope, found.offset) == (12, 1, -1024)
    assert found.geometry.spacing == (2.5, 0.5, 0.75)
    assert (read_one(folder, 4).pixels[..., 0] == volume[4]).all()
    agrees(folder)


def test_monochrome1_is_turned_round_and_unused_bits_are_cleared(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    pixels = RANDOM.integers(0, 4096, (12, 17)).astype(np.uint16)
    file = files.dicom(tmp_path / "a.dcm", pixels, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11)
    assert (read_one(file).pixels[..., 0] == 4095 - pixels).all()
    overlaid = pixels | np.uint16(0x8000)
    file = files.dicom(tmp_path / "b.dcm", overlaid, BitsStored=12, HighBit=11)
    assert (read_one(file).pixels[..., 0] == pixels).all()
    unit = prepare(read_one(file), Meaning("unit", 12), 1).values()
    assert np.abs(unit[..., 0] - pixels / 4095).max() < 1e-6
    colour = files.dicom(tmp_path / "c.dcm", COLOUR)
    assert (read_one(colour).pixels == COLOUR).all()
    agrees(colour)
    signed = files.dicom(tmp_path / "d.dcm", VOLUME[:, :, 0])
    assert (read_one(signed).pixels[..., 0].astype(int) - 32768 == VOLUME[:, :, 0]).all()


def test_windows_of_dicom(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    pixels = np.array([[0, 924, 1064, 1264, 4000]], np.uint16)
    file = files.dicom(tmp_path / "a.dcm", pixels, RescaleSlope="1", RescaleIntercept="-1024", WindowCenter="40",
                       WindowWidth="400")  # fmt: skip
    own, declared = (prepare(read_one(file), Meaning(v), 1).integers(BYTE) for v in ("window", "window 40 400"))
    assert (own == declared).all()
    assert own[0, [0, 3, 4], 0].tolist() == [0, 255, 255]
    assert own[0, 2, 0] == 128


@pytest.mark.parametrize("signed", [False, True])
def test_a_window_is_of_the_pixels_before_they_are_turned_round(signed: bool, tmp_path: Path) -> None:
    """As pydicom applies the window, and inverts what comes out."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.pixels import apply_windowing

    pixels = (RANDOM.integers(0, 4096, (12, 17)) - 2048 * signed).astype(np.int16 if signed else np.uint16)
    window = {"RescaleSlope": "2", "RescaleIntercept": "-100", "WindowCenter": "1000", "WindowWidth": "800"}
    file = files.dicom(tmp_path / "a.dcm", pixels, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11,
                       **window)  # fmt: skip
    shown = apply_windowing(2.0 * pixels - 100, pydicom.dcmread(file))
    t = (shown - shown.min()) / (shown.max() - shown.min())
    assert 0 < (t == 0).mean() < 1
    found = prepare(read_one(file), Meaning("window"), 1).values()[..., 0]
    assert np.abs(found - (1 - t)).max() < 1e-6


def test_signed_pixels_of_twelve_bits_are_twelve_bits(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    pixels = RANDOM.integers(-2048, 2048, (12, 17)).astype(np.int16)
    for stored in (pixels, pixels.view(np.uint16) & np.uint16(0xFFF)):  # with and without the sign in unused bits
        file = files.dicom(tmp_path / "a.dcm", stored, BitsStored=12, HighBit=11, PixelRepresentation=1)
        found = read_one(file)
        assert (found.pixels[..., 0].astype(int) + int(found.offset) == pixels).all()
        unit = prepare(found, Meaning("unit", 12), 1).values()[..., 0]
        assert np.abs(unit - (pixels + 2048.0) / 4095).max() < 1e-6
    pair = tmp_path / "pair"
    files.series(pair, np.abs(pixels)[None].astype(np.uint16))
    place = {"ImagePositionPatient": [0, 0, 50.0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    files.dicom(pair / "zz.dcm", pixels, **place)
    assert "zz.dcm: holds signed pixels, unlike 00.dcm; give each kind a folder" in sentence(pair)


def test_frames_keep_their_rescaling_and_their_window(tmp_path: Path) -> None:
    """Enhanced files say in functional groups what others say in the file."""
    pydicom = pytest.importorskip("pydicom")

    def group(slope: str, centre: str) -> object:
        scale, window, holder = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        scale.RescaleSlope, scale.RescaleIntercept = slope, "-1024"
        window.WindowCenter, window.WindowWidth = centre, "400"
        holder.PixelValueTransformationSequence, holder.FrameVOILUTSequence = [scale], [window]
        return holder

    def written(**groups: list) -> Path:
        sequences = {name: pydicom.Sequence(items) for name, items in groups.items()}
        tall = np.concatenate([DEEP[..., 0], DEEP[..., 1]])
        return files.dicom(tmp_path / "a.dcm", tall, Rows=12, NumberOfFrames=2, **sequences)

    shared = read(written(SharedFunctionalGroupsSequence=[group("2", "40")]))
    each = read(written(PerFrameFunctionalGroupsSequence=[group("2", "40"), group("2", "40")]))
    for found in (shared, each):
        assert (found.slope, found.offset, found.window) == (2, -1024, (40, 400))
    windows = read(written(PerFrameFunctionalGroupsSequence=[group("2", "40"), group("2", "50")]))
    assert (windows.slope, windows.window) == (2, None)
    file = written(PerFrameFunctionalGroupsSequence=[group("2", "40"), group("3", "40")])
    assert "must have one rescaling, its frames have 2; save each frame as a file of its own" in sentence(file)


def test_windows_that_are_not_one_linear_window_are_not_taken(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    window = {"WindowCenter": "40", "WindowWidth": "400"}
    assert read(files.dicom(tmp_path / "a.dcm", GREY, **window)).window == (40, 400)
    assert read(files.dicom(tmp_path / "a.dcm", GREY, VOILUTFunction="SIGMOID", **window)).window is None
    folder = files.series(tmp_path / "s", DEEP.transpose(2, 0, 1), **window)
    assert read(folder).window == (40, 400)
    place = {"ImagePositionPatient": [0, 0, 50.0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    files.dicom(folder / "zz.dcm", DEEP[..., 0], **place | window | {"WindowCenter": "50"})
    assert read(folder).window is None  # no one window is all slices' own
    assert read(folder, 3).window == (50, 400)


def test_series_that_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    volume = RANDOM.integers(0, 4096, (3, 12, 17)).astype(np.uint16)
    folder = files.series(tmp_path / "s", volume)
    extra = folder / "zz.dcm"
    place = {"ImagePositionPatient": [0, 0, 50.0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    files.dicom(extra, volume[0, :5], **place)
    assert "zz.dcm: is 17x5, MONOCHROME2, while" in sentence(folder, 0)
    files.dicom(extra, volume[0], SeriesInstanceUID="9.9", **place)
    assert "belongs to another series" in sentence(folder, 0)
    files.dicom(extra, volume[0], ImagePositionPatient=[0, 0, 2.5], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    assert "is at the same place as" in sentence(folder, 0)
    files.dicom(extra, volume[0], ImagePositionPatient=[0, 0, 9.5], ImageOrientationPatient=[0, 1, 0, 0, 0, 1])
    assert "lies in another plane" in sentence(folder, 0)
    extra.write_text("notes")
    assert "is no DICOM file, in a folder of a series" in sentence(folder, 0)
    extra.unlink()
    files.dicom(extra, volume[0], RescaleSlope="2", **place)
    found = read(folder)
    assert found.bits == 32  # each slice has its own scale: the real values, in floats
    assert (found.pixels[3, ..., 0] == 2.0 * volume[0]).all()
    agrees(folder)


def test_dicoms_that_are_refused(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    file = files.dicom(tmp_path / "a.dcm", GREY, RescaleSlope="-1")
    assert "must have a rescale slope above 0, has -1" in sentence(file)
    files.dicom(file, GREY, PhotometricInterpretation="PALETTE COLOR")
    assert "must hold a picture, grey or RGB, is PALETTE COLOR" in sentence(file)
    files.dicom(file, GREY, Rows=60000, Columns=60000)
    assert "must have at most" in sentence(file)
    found = pydicom.dcmread(files.dicom(file, GREY))
    found.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    found.save_as(file, enforce_file_format=True)
    assert "must not be deflated as a whole" in sentence(file)
    file.write_bytes(file.read_bytes()[:200])
    assert "a.dcm" in sentence(file)
    files.dicom(file, GREY)
    file.write_bytes(file.read_bytes()[:-50])
    assert "is not a DICOM file whose pixels can be decoded" in sentence(file)


# --- arrays, and what no format is ---

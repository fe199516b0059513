"""What a file declares is honoured or refused: every format, its depths, pages, orientation, transparency."""

from __future__ import annotations

import struct
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hwseg.errors import HwsegError
from hwseg.pictures import formats
from hwseg.pictures.meaning import Meaning
from hwseg.pictures.prepare import prepare
from hwseg.pictures.read import head, read, read_one, stem
from hwseg.pictures.table import BYTE
from tests.pictures import files
from tests.pictures.reading import COLOUR, DEEP, GREY, RANDOM, VOLUME, agrees, sentence

tifffile = pytest.importorskip("tifffile")
# --- PNG, JPEG and their like ---


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "webp", "ppm", "tif"])
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_plain_pictures(suffix: str, pixels: np.ndarray, tmp_path: Path) -> None:
    file = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(file, **({"lossless": True} if suffix == "webp" else {}))
    found = read_one(file)
    assert found.bits == 8
    if not (suffix == "gif" and pixels.ndim == 3):  # GIF has 256 colours
        shown = found.channels(3 if pixels.ndim == 3 else 1).pixels
        assert (shown == pixels.reshape(shown.shape)).all()
    agrees(file)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_orientation_is_applied(orientation: int, suffix: str, tmp_path: Path) -> None:
    from PIL import ImageOps

    file = tmp_path / f"a.{suffix}"
    if suffix == "png":
        files.jpeg_turned(file, COLOUR, orientation)
        with Image.open(file) as picture:
            expected = np.asarray(ImageOps.exif_transpose(picture))
    else:
        tifffile.imwrite(file, COLOUR, extratags=[(274, 3, 1, orientation, True)], photometric="rgb")
        png = files.jpeg_turned(tmp_path / "b.png", COLOUR, orientation)
        expected = read_one(png).pixels
    assert (read_one(file).pixels == expected).all()
    agrees(file)


def test_a_photograph_is_turned_in_every_command(tmp_path: Path) -> None:
    """A square JPEG whose EXIF says that it lies on its side was trained on as it lay."""
    file = files.jpeg_turned(tmp_path / "a.jpg", np.repeat(np.arange(0, 240, 15, dtype=np.uint8)[None], 16, 0), 6)
    pixels = read_one(file).pixels[:, :, 0].astype(int)
    assert pixels[15].mean() - pixels[0].mean() > 200  # dark above, bright below
    assert abs(pixels[:, 0].mean() - pixels[:, 15].mean()) < 3


@pytest.mark.parametrize("kind", ["rgb", "grey", "rgba"])
def test_sixteen_bits_of_png_are_kept(kind: str, tmp_path: Path) -> None:
    codecs = pytest.importorskip("imagecodecs")
    pixels = {
        "rgb": DEEP,
        "grey": DEEP[..., 0].copy(),
        "rgba": np.concatenate([DEEP, np.full((12, 17, 1), 65535, np.uint16)], 2),
    }
    file = tmp_path / "a.png"
    file.write_bytes(codecs.png_encode(pixels[kind]))
    found = read_one(file)
    assert found.bits == 16
    assert (found.pixels == (DEEP[..., :1] if kind == "grey" else DEEP)).all()
    agrees(file)


def test_small_values_in_48_bits_are_more_than_three_greys(tmp_path: Path) -> None:
    codecs = pytest.importorskip("imagecodecs")
    pixels = (np.arange(12 * 17 * 3).reshape(12, 17, 3) % 1021).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(codecs.png_encode(pixels))
    assert len(np.unique(read_one(tmp_path / "a.png").pixels)) == min(1021, pixels.size)
    prepared = prepare(read_one(tmp_path / "a.png"), Meaning("percentile 0.5 99.5"), 3)
    assert len(np.unique(prepared.integers(BYTE))) > 200


@pytest.mark.parametrize("depth", [8, 16])
def test_an_animated_png_keeps_its_bits_or_is_refused(depth: int, tmp_path: Path) -> None:
    """Pillow makes 8 bits of 16."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    samples = COLOUR.astype(">u2") * 257 if depth == 16 else COLOUR
    lines = b"".join(b"\0" + line.tobytes() for line in samples)
    header = struct.pack(">IIBBBBB", 17, 12, depth, 2, 0, 0, 0)
    frame = struct.pack(">IIIIIHHBB", 0, 17, 12, 0, 0, 1, 1, 0, 0)
    parts = [(b"IHDR", header), (b"acTL", struct.pack(">II", 1, 0)), (b"fcTL", frame), (b"IDAT", zlib.compress(lines))]
    content = b"".join(chunk(*part) for part in [*parts, (b"IEND", b"")])
    file = tmp_path / "a.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    if depth == 8:
        assert (read_one(file).pixels == COLOUR).all()
    else:
        assert "must not be animated and of 16 bits per channel; save its pages as TIFF" in sentence(file)


@pytest.mark.parametrize("magic", [b"P6", b"P3"])
def test_a_pnm_of_more_than_eight_bits_is_refused(magic: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.ppm"
    for largest in (255, 4095, 65535):
        samples = np.minimum(DEEP, largest)
        body = samples.astype(">u2" if largest > 255 else np.uint8).tobytes()
        body = body if magic == b"P6" else " ".join(map(str, samples.reshape(-1))).encode()
        file.write_bytes(magic + f"\n17 12\n{largest}\n".encode() + body)
        if largest == 255:
            assert (read_one(file).pixels == samples).all()
        else:
            assert f"a.ppm: must have 8 bits per channel, reaches to {largest}; convert it" in sentence(file)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_opaque_alpha_is_dropped_and_transparency_refused(mode: str, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    picture = Image.fromarray(COLOUR).convert("RGBA")
    if mode == "P":
        picture = picture.convert("RGB").quantize(8)
        picture.save(file, transparency=2)
    else:
        picture.convert(mode).save(file)
        assert read_one(file).pixels.shape == (12, 17, 1 if mode == "LA" else 3)
        picture.putpixel((3, 4), (1, 2, 3, 254))
        picture.convert(mode).save(file)
    assert "must not be transparent" in sentence(file)
    assert "flatten it onto a background" in sentence(file)


def test_palettes_are_resolved(tmp_path: Path) -> None:
    few = (COLOUR // 128) * 120
    picture = Image.fromarray(few).quantize(8)
    picture.save(tmp_path / "a.png")
    assert (read_one(tmp_path / "a.png").pixels == few).all()
    agrees(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["CMYK", "I", "F"])
def test_modes_that_would_lose_something_are_refused(mode: str, tmp_path: Path) -> None:
    file = tmp_path / ("a.jpg" if mode == "CMYK" else "a.tif")
    Image.fromarray(GREY).convert(mode).save(file)
    if mode == "CMYK":
        assert "is of mode CMYK" in sentence(file)
    else:
        assert read_one(file).wide


def test_pages_are_chosen(tmp_path: Path) -> None:
    pictures = [Image.fromarray(GREY + np.uint8(n)) for n in range(3)]
    for name in ("a.tif", "a.png", "a.webp"):
        options = {"lossless": True} if name == "a.webp" else {}
        pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:], **options)
        assert "holds 3 pictures, one is wanted; choose with --page 0 to --page 2" in sentence(tmp_path / name)
        assert (read_one(tmp_path / name, 2).channels(1).pixels[:, :, 0] == GREY + np.uint8(2)).all()
        assert "has the pages 0 to 2, not 3" in sentence(tmp_path / name, 3)
        agrees(tmp_path / name)


# --- TIFF ---


@pytest.mark.parametrize(
    ("array", "options", "shape", "bits"),
    [
        (DEEP[..., 0], {}, (1, 12, 17, 1), 16),
        (DEEP, {"photometric": "rgb"}, (1, 12, 17, 3), 16),
        (DEEP.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}, (1, 12, 17, 3), 16),
        (DEEP.transpose(2, 0, 1), {"photometric": "minisblack"}, (3, 12, 17, 1), 16),
        (DEEP.transpose(2, 0, 1), {"imagej": True, "metadata": {"axes": "ZYX"}}, (3, 12, 17, 1), 16),
        (DEEP.transpose(2, 0, 1), {"imagej": True, "metadata": {"axes": "CYX"}}, (1, 12, 17, 3), 16),
        (DEEP.transpose(2, 0, 1), {"ome": True, "metadata": {"axes": "CYX"}}, (1, 12, 17, 3), 16),
        (np.stack([DEEP, DEEP]).transpose(0, 3, 1, 2), {"ome": True, "metadata": {"axes": "ZCYX"}}, (2, 12, 17, 3), 16),
        (DEEP[..., 0], {"tile": (16, 16), "compression": "zlib"}, (1, 12, 17, 1), 16),
        (DEEP[..., 0], {"bigtiff": True, "byteorder": ">"}, (1, 12, 17, 1), 16),
        (DEEP[..., 0].astype(np.int16), {}, (1, 12, 17, 1), 16),
        (DEEP[..., 0].astype(np.float32), {}, (1, 12, 17, 1), 32),
        (DEEP[..., 0].astype(np.uint32), {}, (1, 12, 17, 1), 32),
        (GREY > 128, {"photometric": "minisblack"}, (1, 12, 17, 1), 8),
    ],
)  # fmt: skip
def test_tiffs(array: np.ndarray, options: dict, shape: tuple[int, ...], bits: int, tmp_path: Path) -> None:
    file = tmp_path / ("a.ome.tif" if "ome" in options else "a.tif")
    tifffile.imwrite(file, array, **options)
    found = read(file)
    assert found.pixels.shape == shape
    assert found.bits == bits
    values = found.pixels.astype(np.float64) * float(found.slope) + float(found.offset)
    if array.dtype == bool:
        values = values / 255
    whole = array.reshape(shape) if array.ndim == 2 or array.shape[-1] == shape[3] else None
    if whole is None and shape[3] == 1:
        whole = array[..., None]
    if whole is None:
        whole = np.moveaxis(array, -3, -1).reshape(shape)
    assert (values == whole).all()
    for page in range(shape[0]):
        assert (read(file, page).pixels[0] == found.pixels[page]).all()
    agrees(file)


def test_compressed_tiffs(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    for compression in ("lzw", "packbits", "zstd"):
        tifffile.imwrite(tmp_path / "a.tif", DEEP, photometric="rgb", compression=compression)
        assert (read_one(tmp_path / "a.tif").pixels == DEEP).all()


def test_white_is_zero_and_alpha_and_palettes_of_tiff(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, DEEP[..., 0], photometric="miniswhite")
    assert (read_one(file).pixels[..., 0] == 65535 - DEEP[..., 0]).all()
    opaque = np.concatenate([COLOUR, np.full((12, 17, 1), 255, np.uint8)], 2)
    tifffile.imwrite(file, opaque, photometric="rgb", extrasamples=["unassalpha"])
    assert (read_one(file).pixels == COLOUR).all()
    agrees(file)
    opaque[0, 0, 3] = 254
    tifffile.imwrite(file, opaque, photometric="rgb", extrasamples=["unassalpha"])
    assert "must not be transparent" in sentence(file)
    colours = RANDOM.integers(0, 256, (3, 256)).astype(np.uint16) * 257
    tifffile.imwrite(file, GREY, photometric="palette", colormap=colours)
    assert (read_one(file).pixels == (colours // 257).T[GREY]).all()
    agrees(file)


def test_tiffs_that_are_not_one_picture(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    with tifffile.TiffWriter(file) as writer:
        writer.write(GREY)
        writer.write(GREY[:5])
    assert "has pages that differ: 12x17 uint8; 5x17 uint8; save those that belong together" in sentence(file)
    tifffile.imwrite(file, DEEP, photometric="cielab")
    assert "must be grey, RGB or of a palette, is CIELAB" in sentence(file)
    tifffile.imwrite(file, np.zeros((12, 17), np.complex64))
    assert "must hold numbers, holds complex64" in sentence(file)
    tifffile.imwrite(file, np.zeros((9, 12, 17), np.uint8), imagej=True, metadata={"axes": "CYX"})
    assert "must have at most 8 channels, has 9" in sentence(file)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert "damaged TIFF file" in sentence(file)
    for options in ({}, {"compression": "zlib"}, {"tile": (16, 16)}, {"photometric": "minisblack"}):
        tifffile.imwrite(file, DEEP.transpose(2, 0, 1), **options)
        content = file.read_bytes()
        for left in range(9, len(content), 61):
            file.write_bytes(content[:left])
            with pytest.raises(HwsegError, match=r"a\.tif: "):
                read(file)
    file.write_bytes(b"II*\0" + bytes(40))
    sentence(file)


def test_resolution_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, DEEP.transpose(2, 0, 1), imagej=True, resolution=(4, 2),
                     metadata={"axes": "ZYX", "spacing": 3.5, "unit": "um"})  # fmt: skip
    geometry = read(file).geometry
    assert (geometry.spacing, geometry.unit, geometry.axes) == ((3.5, 0.5, 0.25), "um", "ZYX")


def test_every_page_says_itself_how_it_is_turned_and_coloured(tmp_path: Path) -> None:
    file, colours = tmp_path / "a.tif", np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    for same in (True, False):
        with tifffile.TiffWriter(file) as writer:
            for value in (6, 6, 6 if same else 3):
                turned = [(274, 3, 1, value, True)]
                writer.write(GREY, metadata=None, photometric="minisblack", extratags=turned)
        if same:
            assert len(read(file)) == 3
            agrees(file)
    cure = "a.tif: has page 2 turned otherwise than page 0; save each page in its own file"
    assert cure in sentence(file)
    assert cure in sentence(file, 2)
    assert len(read(file, 1)) == 1
    with pytest.raises(HwsegError, match="turned otherwise"):
        head(file)
    for last in (colours, colours[:, ::-1]):
        with tifffile.TiffWriter(file) as writer:
            for colormap in (colours, last):
                writer.write(GREY, metadata=None, photometric="palette", colormap=colormap)
        if last is colours:
            assert len(read(file)) == 2
    assert "a.tif: has another palette on page 1 than on page 0; convert it to RGB" in sentence(file)


def test_an_ome_file_reads_nothing_outside_its_folder(tmp_path: Path) -> None:
    own, other = "urn:uuid:11111111-1111-1111-1111-111111111111", "urn:uuid:22222222-2222-2222-2222-222222222222"
    (tmp_path / "inside").mkdir()
    tifffile.imwrite(tmp_path / "b.ome.tif", GREY, ome=True)
    plane = '<TiffData IFD="0" FirstZ="{}" PlaneCount="1"><UUID FileName="{}">{}</UUID></TiffData>'
    schema = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    pixels = 'DimensionOrder="XYZCT" Type="uint8" SizeX="17" SizeY="12" SizeC="1" SizeT="1" SizeZ="2"'
    text = (
        f'<OME xmlns="{schema}" UUID="{own}"><Image ID="Image:0"><Pixels ID="Pixels:0" {pixels}>'
        f'<Channel ID="C:0" SamplesPerPixel="1"/>{plane.format(0, "a.ome.tif", own)}'
        f"{plane.format(1, '../b.ome.tif', other)}</Pixels></Image></OME>"
    )
    file = tmp_path / "inside" / "a.ome.tif"
    tifffile.imwrite(file, GREY, description=text, metadata=None, photometric="minisblack")
    assert "has page 1 in a file of another folder; save its pages in one file" in sentence(file)


def test_ycbcr_is_read_as_colours_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    Image.fromarray(COLOUR).convert("YCbCr").save(file)
    assert "must be grey, RGB or of a palette, is YCbCr without JPEG's compression" in sentence(file)
    pytest.importorskip("imagecodecs")
    flat = np.full((16, 16, 3), (200, 30, 60), np.uint8)
    tifffile.imwrite(file, flat, photometric="rgb", compression="jpeg")
    assert tifffile.TiffFile(file).pages[0].photometric == tifffile.PHOTOMETRIC.YCBCR
    assert np.abs(read_one(file).pixels.astype(int) - flat).max() <= 3


def test_imagej_calibration_is_honoured_or_refused(tmp_path: Path) -> None:
    """ImageJ keeps signed 16-bit pixels as unsigned ones with the line -32768 + 1 p."""
    file = tmp_path / "a.tif"
    for slope, offset in ((1, -32768), (Fraction(1, 4), Fraction(1, 2)), (1, 0)):
        line = {"cf": 0, "c0": float(offset), "c1": float(slope)}
        tifffile.imwrite(file, DEEP[..., 0], imagej=True, metadata=line if offset else {})
        found = read_one(file)
        assert (found.pixels[..., 0] == DEEP[..., 0]).all()
        assert (found.slope, found.offset) == (slope, offset)
    for bad in ({"cf": 3, "c0": 1.0, "c1": 1.0}, {"cf": 0, "c0": 1.0, "c1": -1.0}):
        tifffile.imwrite(file, DEEP[..., 0], imagej=True, metadata=bad)
        assert "must be calibrated by a rising straight line" in sentence(file)


# --- NIfTI ---


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (GREY, (1, 12, 17, 1)),
        (COLOUR, (1, 12, 17, 3)),
        (DEEP.transpose(2, 0, 1), (3, 12, 17, 1)),
        (DEEP[None].repeat(4, 0), (4, 12, 17, 3)),
        (GREY / 3.0, (1, 12, 17, 1)),
        (GREY.astype(">u2"), (1, 12, 17, 1)),
    ],
)
def test_arrays(array: np.ndarray, shape: tuple[int, ...], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    found = read(tmp_path / "a.npy")
    assert found.pixels.shape == shape
    assert (found.pixels.reshape(-1) == array.reshape(-1)).all()
    agrees(tmp_path / "a.npy")


def test_arrays_that_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    for array, wrong in (
        (np.zeros(4), r"must be \[H, W\]"),
        (np.zeros((2, 2), "U3"), "must hold numbers"),
        (np.zeros((2, 2, 2, 9)), "at most 8 channels"),
        (np.full((2, 2), np.inf), "holds NaN or infinity"),
    ):
        np.save(file, array)
        with pytest.raises(HwsegError, match=wrong):
            read(file)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(("depth", "kind"), [(8, 0), (16, 2), (16, 0)])
def test_png_bombs_are_refused_by_their_headers(depth: int, kind: int, tmp_path: Path) -> None:
    file = tmp_path / "bomb.png"
    start = struct.pack(">IIBBBBB", 1 << 16, 1 << 16, depth, kind, 0, 0, 0)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", start) + chunk(b"IDAT", zlib.compress(bytes(1000))))
    assert "bomb.png" in sentence(file)


def test_tiff_bombs_are_refused(tmp_path: Path) -> None:
    """A size that no memory holds, and a strip that unpacks to far more than it says."""
    file = tmp_path / "bomb.tif"
    tifffile.imwrite(file, GREY, compression="zlib", metadata=None)
    content = bytearray(file.read_bytes())
    with tifffile.TiffFile(file) as tiff:
        tags = tiff.pages[0].tags
        places = {
            name: tags[name].valueoffset for name in ("ImageWidth", "ImageLength", "RowsPerStrip", "StripOffsets")
        }
        kinds = {name: tags[name].dtype for name in places}
    for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
        struct.pack_into("<I" if int(kinds[name]) == 4 else "<H", content, places[name], 60000)
    file.write_bytes(content)
    assert "must have at most" in sentence(file)
    tifffile.imwrite(file, np.zeros((8, 8), np.uint8), compression="zlib", metadata=None)
    content = bytearray(file.read_bytes())
    huge = zlib.compress(bytes(1 << 28))
    with tifffile.TiffFile(file) as tiff:
        for name, value in (("StripOffsets", len(content)), ("StripByteCounts", len(huge))):
            tag = tiff.pages[0].tags[name]
            wide = int(tag.dtype) == 4
            struct.pack_into("<I" if wide else "<H", content, tag.valueoffset, value if wide else min(value, 65535))
    file.write_bytes(bytes(content) + huge)
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(HwsegError):
        read_one(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def test_a_missing_package_is_named_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("nibabel", "pydicom"):
        pytest.importorskip(package)
        file = tmp_path / ("a.nii" if package == "nibabel" else "a.dcm")
        if package == "nibabel":
            files.nifti(file, VOLUME)
        else:
            files.dicom(file, GREY)
        monkeypatch.setitem(sys.modules, package, None)
        assert f"which needs the package {package}; pip install 'hwseg[formats]'" in sentence(file)
        monkeypatch.delitem(sys.modules, package)


def test_the_contents_decide_not_the_name(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.tif")
    assert (read_one(tmp_path / "a.tif").pixels[..., 0] == GREY).all()


def test_names_without_their_endings() -> None:
    assert [stem(Path(name)) for name in ("a.nii.gz", "b.ome.tif", "c.PNG")] == ["a", "b.ome", "c"]


def test_what_is_not_there(tmp_path: Path) -> None:
    assert "no such file" in sentence(tmp_path / "none.png")
    (tmp_path / "empty").mkdir()
    assert "must hold the files of one DICOM series" in sentence(tmp_path / "empty")


@pytest.mark.parametrize("limit", ["MAX_PIXELS", "MAX_BYTES"])
def test_limits_hold_for_every_format(limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("nibabel", "pydicom"):
        pytest.importorskip(package)
    Image.fromarray(GREY).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    np.save(tmp_path / "a.npy", GREY)
    files.nifti(tmp_path / "a.nii", VOLUME)
    files.dicom(tmp_path / "a.dcm", GREY)
    monkeypatch.setattr(formats, limit, 20)
    for name in ("a.png", "a.tif", "a.npy", "a.nii", "a.dcm"):
        with pytest.raises(HwsegError, match=r"must (have|hold) at most"):
            read(tmp_path / name)

"""`--measure` against objects whose size, place and brightness are known, in the picture's units."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import nibabel
import numpy as np
import onnx
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from hwseg.commands.segment import command
from tests.pictures.files import nifti, series
from tests.quant.handmade import Net

pytest.importorskip("skimage")

LIGHT, DARK = 200, 20
DISCS = ((20.0, 30.0, 9.0), (60.5, 25.0, 14.0), (50.0, 80.0, 3.0))
"""Row, column, radius."""


@pytest.fixture(scope="module")
def threshold(tmp_path_factory) -> Path:
    """A model whose mask is where a picture is above half of 8 bits, and of 16 if it is declared so."""
    folder = tmp_path_factory.mktemp("model")
    for bits in (8, 16):
        net = Net((1, 1, 16, 16))
        weights = net.const("w", np.ones((1, 1, 1, 1)))
        out = net.node("Conv", net.image(), net.quant(weights, bits=8, scale=1.0, name="w.quant"),
                       net.const("b", [-0.5]), name="head")  # fmt: skip
        model = net.model(out)
        values = f"range 0 {(1 << bits) - 1}"
        meaning = f'{{"format": 1, "values": "{values}", "bits": {bits}}}'
        onnx.helper.set_model_props(model, {"hwseg.input": meaning})
        (folder / f"{bits}.onnx").write_bytes(model.SerializeToString())
    return folder


def discs(size=(96, 100)) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    found = np.full(size, DARK, np.uint8)
    for number, (row, column, radius) in enumerate(DISCS):
        found[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = LIGHT + number
    return found


def table(model: Path, picture: Path, folder: Path, ending: str) -> list[dict[str, str]]:
    words = [str(model), str(picture), "-o", str(folder / f"mask{ending}"), "--measure", str(folder / "m.csv")]
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 0, done.exception
    return list(csv.DictReader((folder / "m.csv").open()))


def number_of(radius: float, row: float, column: float) -> int:
    """Pixels of a disc, counted one by one."""
    near = range(-40, 140)
    return sum((r - row) ** 2 + (c - column) ** 2 <= radius**2 for r in near for c in near)


def check_discs(rows: list[dict[str, str]], step: tuple[float, float], unit: str) -> None:
    assert len(rows) == len(DISCS)
    for number, (row, column, radius) in enumerate(DISCS):
        (found,) = (r for r in rows if float(r["mean"]) == LIGHT + number)
        count = number_of(radius, row, column)
        assert int(found["pixels"]) == count
        assert float(found["size"]) == pytest.approx(count * step[0] * step[1])
        assert abs(count / (math.pi * radius**2) - 1) < 0.1  # a disc it is
        assert found["unit"] == unit
        assert float(found["row"]) == pytest.approx(row, abs=1e-6)
        assert float(found["column"]) == pytest.approx(column, abs=1e-6)
        assert float(found["y"]) == pytest.approx(row * step[0], abs=1e-6)
        assert float(found["x"]) == pytest.approx(column * step[1], abs=1e-6)
        assert found["minimum"] == found["maximum"] == found["mean"]
        assert (found["class"], found["name"]) == ("1", "foreground")


def test_a_picture_without_a_spacing_is_measured_in_pixels(threshold, tmp_path):
    Image.fromarray(discs()).save(tmp_path / "a.png")
    check_discs(table(threshold / "8.onnx", tmp_path / "a.png", tmp_path, ".png"), (1, 1), "pixel")


def test_the_resolution_of_a_tiff_counts(threshold, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", discs(), resolution=(400, 250), resolutionunit="CENTIMETER")
    rows = table(threshold / "8.onnx", tmp_path / "a.tif", tmp_path, ".tif")
    check_discs(rows, (1 / 250, 1 / 400), rows[0]["unit"])
    assert rows[0]["unit"] in ("cm", "centimetre", "centimeter")
    with tifffile.TiffFile(tmp_path / "mask.tif") as file:
        tags = file.pages[0].tags
        assert [a / b for a, b in (tags["XResolution"].value, tags["YResolution"].value)] == [400, 250]
        assert tags["ResolutionUnit"].value == 3


def test_imagejs_micrometres_count(threshold, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", discs(), imagej=True, resolution=(4, 2), metadata={"unit": "um"})
    check_discs(table(threshold / "8.onnx", tmp_path / "a.tif", tmp_path, ".tif"), (0.5, 0.25), "um")


def test_omes_physical_sizes_count(threshold, tmp_path):
    sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", discs(), ome=True, metadata={"axes": "YX", **sizes})
    check_discs(table(threshold / "8.onnx", tmp_path / "a.ome.tif", tmp_path, ".tif"), (0.5, 0.25), "µm")


def test_a_resolution_without_a_unit_is_no_size(threshold, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", discs(), resolution=(3, 3), resolutionunit="NONE")
    check_discs(table(threshold / "8.onnx", tmp_path / "a.tif", tmp_path, ".tif"), (1, 1), "pixel")


def test_a_ball_in_a_volume_is_one_object_of_its_volume(threshold, tmp_path):
    """1.5 x 0.8 x 2 mm voxels: a ball of 6 mm radius, and a box of known corners."""
    zooms = (1.5, 0.8, 2.0)
    grid = [(np.arange(n) * zoom) for n, zoom in zip((30, 40, 20), zooms, strict=True)]
    x, y, z = np.meshgrid(*grid, indexing="ij")
    volume = np.full(x.shape, 1000, np.uint16)
    ball = (x - 18) ** 2 + (y - 12.8) ** 2 + (z - 16) ** 2 <= 36
    volume[ball] = 50_000
    volume[20:25, 30:36, 10:14] = 60_000
    affine = np.diag([*zooms, 1.0])
    nifti(tmp_path / "a.nii.gz", volume, affine)
    rows = table(threshold / "16.onnx", tmp_path / "a.nii.gz", tmp_path, ".nii.gz")
    assert len(rows) == 2
    one, box = sorted(rows, key=lambda row: float(row["mean"]))
    voxel = math.prod(zooms)
    assert int(one["pixels"]) == int(ball.sum())
    assert float(one["size"]) == pytest.approx(ball.sum() * voxel, rel=1e-6)
    assert float(one["size"]) == pytest.approx(4 / 3 * math.pi * 6**3, rel=0.1)
    assert one["unit"] == "mm"
    assert (int(box["pixels"]), float(box["mean"])) == (120, 60_000)
    assert float(box["size"]) == pytest.approx(120 * voxel, rel=1e-6)
    # The voxels' middles, in the order of slices, rows, columns that the picture is looked at.
    places = [float(box[name]) for name in ("slice", "row", "column")]
    assert any(sorted(places) == pytest.approx(sorted(p), abs=1e-6) for p in _looked_at(volume.shape))
    assert float(box["z"]) == pytest.approx(places[0] * zooms[2], rel=1e-5)
    mask = nibabel.load(tmp_path / "mask.nii.gz")
    assert np.allclose(mask.affine, affine)
    assert np.array_equal(np.asarray(mask.dataobj) > 0, volume > 32768)


def _looked_at(shape):
    """Middle of the box along each axis, turned round or not."""
    middle = (22.0, 32.5, 11.5)
    turned = tuple(n - 1 - m for n, m in zip(shape, middle, strict=True))
    return [(a, b, c) for a in (middle[0], turned[0]) for b in (middle[1], turned[1]) for c in (middle[2], turned[2])]


def test_a_dicom_series_is_measured_in_millimetres(threshold, tmp_path):
    pytest.importorskip("pydicom")
    volume = np.zeros((3, 40, 50), np.uint16)
    volume[:, 10:20, 30:40] = 40_000
    series(tmp_path / "ct", volume)
    rows = table(threshold / "16.onnx", tmp_path / "ct", tmp_path, ".tif")
    (row,) = rows
    assert int(row["pixels"]) == 300
    assert float(row["size"]) == pytest.approx(300 * 2.5 * 0.5 * 0.75)
    assert (float(row["slice"]), float(row["row"]), float(row["column"])) == (1, 14.5, 34.5)
    assert (float(row["z"]), float(row["y"]), float(row["x"])) == pytest.approx((2.5, 14.5 * 0.5, 34.5 * 0.75))
    assert row["unit"] == "mm"


def test_a_series_that_misses_a_slice_has_no_volume_in_millimetres(threshold, tmp_path):
    pytest.importorskip("pydicom")
    volume = np.zeros((5, 40, 50), np.uint16)
    volume[:, 10:20, 30:40] = 40_000
    series(tmp_path / "ct", volume)
    (tmp_path / "ct" / "03.dcm").unlink()  # the slice of number 2, by files.series
    (row,) = table(threshold / "16.onnx", tmp_path / "ct", tmp_path, ".tif")
    assert (row["pixels"], row["size"], row["unit"], row["row"]) == ("400", "400", "pixel", "14.5")


@pytest.mark.parametrize("z", [None, 3.0])
def test_a_stack_has_a_volume_where_its_file_says_how_far_slices_are_apart(z, threshold, tmp_path):
    stack = np.stack([discs((96, 100))] * 2)
    tifffile.imwrite(
        tmp_path / "a.tif", stack, resolution=(4, 2), resolutionunit="CENTIMETER", metadata={"axes": "ZYX"}
    )
    rows = table(threshold / "8.onnx", tmp_path / "a.tif", tmp_path, ".tif")
    assert {row["unit"] for row in rows} == {"pixel"}
    sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5} | ({} if z is None else {"PhysicalSizeZ": z})
    tifffile.imwrite(tmp_path / "b.ome.tif", stack, ome=True, metadata={"axes": "ZYX", **sizes})
    (tmp_path / "mask.tif").unlink()
    rows = table(threshold / "8.onnx", tmp_path / "b.ome.tif", tmp_path, ".tif")
    for row in rows:
        step, unit = (1, "pixel") if z is None else (z * 0.25 * 0.5, "µm")
        assert (float(row["size"]), row["unit"]) == (pytest.approx(int(row["pixels"]) * step), unit)


def test_pages_that_are_not_a_volume_are_measured_each(threshold, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([discs(), discs()]), metadata={"axes": "TYX"}, imagej=True)
    rows = table(threshold / "8.onnx", tmp_path / "a.tif", tmp_path, ".tif")
    assert [row["page"] for row in rows] == ["0"] * 3 + ["1"] * 3
    check_discs(rows[3:], (1, 1), "pixel")

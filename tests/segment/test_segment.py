"""`hwseg segment`: one mask for each picture, the same as the whole picture's, in its picture's format and geometry."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image

from hwseg import golden
from hwseg.errors import HwsegError
from hwseg.ir import Graph
from hwseg.pictures.labels import Labels
from hwseg.pictures.masks import read_mask
from hwseg.pictures.prepare import integers
from hwseg.pictures.read import read, read_one
from hwseg.pictures.source import choice_of, quantizer, read_input
from hwseg.quant.read.load import load
from hwseg.reach import reshaped
from hwseg.segment.engines import open_engine
from hwseg.segment.journal import UNFINISHED
from hwseg.segment.results import Options
from hwseg.segment.run import Segmented, segment
from tests.pictures.files import jpeg_turned, series
from tests.segment.networks import blobs, small

UNIT16 = json.dumps({"format": 1, "values": "percentile 1 99"})
STUDY = {
    "PatientID": "p", "PatientName": "N", "PatientBirthDate": "", "PatientSex": "", "AccessionNumber": "",
    "StudyInstanceUID": "1.2.7", "StudyDate": "20260101", "StudyTime": "101010", "StudyID": "1",
    "ReferringPhysicianName": "", "FrameOfReferenceUID": "1.2.9", "SliceThickness": 2.5, "Modality": "CT",
    "SeriesNumber": 3, "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return small(tmp_path_factory.mktemp("model") / "small.onnx", hwseg__input=UNIT16)


def masks(model: Path, inputs: list[Path], out: Path, tile: int | None = 20, **options) -> list[Segmented]:
    engine = open_engine(model, tile=None if tile is None else (tile, tile))
    return segment(engine, inputs, out, Options(**options))


def prepared(graph: Graph, path: Path, page: int | None = None) -> np.ndarray:
    """A picture's integers at its own size."""
    picture, kind = read_one(path, page), graph.types[graph.input]
    shape = (*picture.pixels.shape[:2], kind.shape[2])
    return integers(picture, choice_of(graph).meaning, shape, quantizer(kind))


def whole(model: Path, path: Path, page: int | None = None) -> np.ndarray:
    """The classes of a picture, extended as it must be and computed at once, by other code than the tiles'."""
    graph = load(model)
    exact = prepared(graph, path, page)
    height, width = exact.shape[:2]
    size = [max(24, n + n % 2) for n in (height, width)]
    pads = [(0, size[0] - height), (0, size[1] - width), (0, 0)]
    found = golden.run(reshaped(graph, tuple(size)), np.pad(exact, pads, mode="edge")).mask
    return found[:height, :width]


@pytest.mark.parametrize("size", [(24, 24), (5, 9), (61, 37), (40, 100)])
def test_a_picture_has_the_mask_that_it_has_as_a_whole(model, tmp_path, size):
    Image.fromarray(blobs(size)).save(tmp_path / "a.png")
    (found,) = masks(model, [tmp_path / "a.png"], tmp_path / "mask.png")
    mask = np.asarray(Image.open(tmp_path / "mask.png"))
    expected = whole(model, tmp_path / "a.png")
    assert np.array_equal(mask, expected * np.uint8(255))
    assert found.foreground == pytest.approx(expected.mean())
    assert found.computed == len(found.plan.grid) * np.prod(found.plan.grid.tile)
    assert not (tmp_path / f".mask.png{UNFINISHED}").exists()


def test_a_folder_becomes_a_folder_each_in_its_own_format(model, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(blobs((30, 40))).save(folder / "a.png")
    jpeg_turned(folder / "b.jpg", blobs((50, 30)), 6)
    tifffile.imwrite(folder / "c.tif", blobs((33, 40), 1, np.uint16), resolution=(300, 200), resolutionunit=3)
    np.save(folder / "d.npy", blobs((26, 26), 2))
    (folder / "notes.txt").write_text("no picture")
    masks(model, [folder], tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "c.tif", "d.npy"]
    for name, made in (("a.png", "a.png"), ("b.jpg", "b.png"), ("c.tif", "c.tif"), ("d.npy", "d.npy")):
        expected = whole(model, folder / name) * np.uint8(255)
        assert np.array_equal(read_one(tmp_path / "out" / made).pixels[..., 0], expected), name
    assert read_one(tmp_path / "out/b.png").pixels.shape[:2] == (30, 50)  # as it is to be seen
    assert read(tmp_path / "out/c.tif").geometry.spacing == read(folder / "c.tif").geometry.spacing


class TestTiff:
    def test_pages_axes_and_sizes_of_imagej_stay(self, model, tmp_path):
        stack = np.stack([blobs((30, 50), n) for n in range(3)])
        meta = {"axes": "ZYX", "spacing": 2.5, "unit": "um"}
        tifffile.imwrite(tmp_path / "s.tif", stack, imagej=True, resolution=(4, 2), metadata=meta)
        masks(model, [tmp_path / "s.tif"], tmp_path / "m.tif")
        before, after = (read(tmp_path / name).geometry for name in ("s.tif", "m.tif"))
        assert (before.axes, before.spacing, before.unit) == (after.axes, after.spacing, after.unit)
        for page in range(3):
            expected = whole(model, tmp_path / "s.tif", page) * np.uint8(255)
            assert np.array_equal(read(tmp_path / "m.tif", page).pixels[0, ..., 0], expected)

    def test_axes_and_physical_sizes_of_ome_stay(self, model, tmp_path):
        stack = np.stack([blobs((30, 50), n) for n in range(4)]).reshape(2, 2, 30, 50)
        meta = {"axes": "TZYX", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeZ": 2.0}
        tifffile.imwrite(tmp_path / "s.ome.tif", stack, ome=True, metadata=meta)
        masks(model, [tmp_path / "s.ome.tif"], tmp_path / "out")
        with tifffile.TiffFile(tmp_path / "out/s.ome.tif") as file:
            pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
            assert file.series[0].axes == "TZYX"
            assert file.series[0].shape == (2, 2, 30, 50)
            assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"], pixels["PhysicalSizeZ"]) == (0.25, "µm", 2.0)
        expected = whole(model, tmp_path / "s.ome.tif", 3) * np.uint8(255)
        assert np.array_equal(read(tmp_path / "out/s.ome.tif", 3).pixels[0, ..., 0], expected)

    def test_one_page_of_a_stack(self, model, tmp_path):
        tifffile.imwrite(tmp_path / "s.tif", np.stack([blobs((30, 50), n) for n in range(5)]))
        masks(model, [tmp_path / "s.tif"], tmp_path / "m.png", page=1)
        expected = whole(model, tmp_path / "s.tif", 1) * np.uint8(255)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "m.png")), expected)

    def test_a_turned_picture_and_its_resolution(self, model, tmp_path):
        tifffile.imwrite(tmp_path / "t.tif", blobs((30, 50)), resolution=(100, 200), extratags=[(274, "H", 1, 6, True)])
        masks(model, [tmp_path / "t.tif"], tmp_path / "m.tif")
        with tifffile.TiffFile(tmp_path / "m.tif") as file:
            assert file.pages[0].shape == (50, 30)
            assert file.pages[0].tags["XResolution"].value == (200, 1)
        expected = whole(model, tmp_path / "t.tif") * np.uint8(255)
        assert np.array_equal(read_one(tmp_path / "m.tif").pixels[..., 0], expected)


class TestClasses:
    labels = Labels(3, names=("rest", "cell", "wall"), colours=("#000000", "#00ff00", "#0000ff"))

    @pytest.mark.parametrize("ending", ["png", "tif", "npy"])
    def test_class_numbers_with_the_declared_palette_are_read_back(self, tmp_path, ending):
        model = small(tmp_path / "m.onnx", classes=3, hwseg__input=UNIT16, hwseg__labels=self.labels.text())
        Image.fromarray(blobs((40, 40))).save(tmp_path / "a.png")
        masks(model, [tmp_path / "a.png"], tmp_path / f"mask.{ending}")
        expected = whole(model, tmp_path / "a.png")
        assert len(np.unique(expected)) > 1
        assert np.array_equal(read_mask(tmp_path / f"mask.{ending}", self.labels), expected)
        if ending != "npy":
            palette = read(tmp_path / f"mask.{ending}").palette
            assert palette is not None
            assert palette[:3].tolist() == [[0, 0, 0], [0, 255, 0], [0, 0, 255]]


class TestNifti:
    @pytest.mark.parametrize("signs", [(-1, -1, 1), (1, 1, 1), (1, -1, -1)])
    @pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
    def test_the_affine_stays_and_every_voxel_is_where_its_slice_was(self, model, tmp_path, signs, axes):
        affine = np.zeros((4, 4))
        affine[axes, (0, 1, 2)] = np.array(signs) * (0.5, 0.7, 3)
        affine[:3, 3], affine[3, 3] = (10, -20, 30), 1
        volume = np.stack([blobs((26, 34), n) for n in range(3)], axis=2)
        image = nibabel.Nifti1Image(volume, affine)
        image.header["qform_code"], image.header["sform_code"] = 1, 2
        nibabel.save(image, tmp_path / "v.nii.gz")
        masks(model, [tmp_path / "v.nii.gz"], tmp_path / "out")
        made = nibabel.load(tmp_path / "out/v.nii.gz")
        assert np.array_equal(made.affine, nibabel.load(tmp_path / "v.nii.gz").affine)
        assert made.shape == volume.shape
        assert made.get_data_dtype() == np.uint8
        assert (int(made.header["qform_code"]), int(made.header["sform_code"])) == (1, 2)
        for page in range(3):
            expected = whole(model, tmp_path / "v.nii.gz", page) * np.uint8(255)
            assert np.array_equal(read(tmp_path / "out/v.nii.gz", page).pixels[0, ..., 0], expected)
        masks(model, [tmp_path / "v.nii.gz"], tmp_path / "one.nii", page=2)
        one = nibabel.load(tmp_path / "one.nii")
        where = [k for k in range(3) if np.allclose(one.affine, _shifted(made.affine, k))]
        assert len(where) == 1
        assert np.array_equal(np.asarray(one.dataobj)[..., 0], np.asarray(made.dataobj)[..., where[0]])
        assert np.array_equal(read(tmp_path / "one.nii", 0).pixels, read(tmp_path / "out/v.nii.gz", 2).pixels)


def _shifted(affine: np.ndarray, k: int) -> np.ndarray:
    moved = affine.copy()
    moved[:, 3] = affine @ (0, 0, k, 1)
    return moved


class TestDicom:
    def test_a_series_becomes_a_segmentation_object_that_pydicom_reads(self, model, tmp_path):
        volume = np.stack([blobs((32, 40), n, np.uint16) >> 4 for n in range(3)])
        series(tmp_path / "ct", volume, **STUDY)
        masks(model, [tmp_path / "ct"], tmp_path / "out")
        found = pydicom.dcmread(tmp_path / "out/ct.dcm")
        assert found.Modality == "SEG"
        assert (found.StudyInstanceUID, found.PatientID) == ("1.2.7", "p")
        assert [s.SegmentLabel for s in found.SegmentSequence] == ["foreground"]
        frames = found.pixel_array.reshape(-1, 32, 40)
        places = [
            float(f.PlanePositionSequence[0].ImagePositionPatient[2]) for f in found.PerFrameFunctionalGroupsSequence
        ]
        assert sorted(places) == [0, 2.5, 5]
        for frame, place in zip(frames, places, strict=True):
            assert np.array_equal(frame, whole(model, tmp_path / "ct", int(place / 2.5)))
        masks(model, [tmp_path / "ct"], tmp_path / "again")
        again = pydicom.dcmread(tmp_path / "again/ct.dcm")
        assert again.SOPInstanceUID == found.SOPInstanceUID

    def test_a_slice_of_it(self, model, tmp_path):
        volume = np.stack([blobs((32, 40), n, np.uint16) >> 4 for n in range(3)])
        series(tmp_path / "ct", volume, **STUDY)
        masks(model, [tmp_path / "ct"], tmp_path / "one.dcm", page=1)
        found = pydicom.dcmread(tmp_path / "one.dcm")
        assert np.array_equal(found.pixel_array.reshape(32, 40), whole(model, tmp_path / "ct", 1))
        position = found.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
        assert float(position[2]) == 2.5

    def test_pictures_without_what_it_needs_are_refused_with_a_way_out(self, model, tmp_path):
        series(tmp_path / "ct", np.stack([blobs((32, 40), n) for n in range(2)]))
        with pytest.raises(HwsegError, match=r"cannot be the source of a DICOM segmentation .*; name an output that"):
            masks(model, [tmp_path / "ct"], tmp_path / "out")
        assert not (tmp_path / "out").exists()  # it is told before the first tile
        masks(model, [tmp_path / "ct"], tmp_path / "ct.tif")
        assert read(tmp_path / "ct.tif").pixels.shape == (2, 32, 40, 1)


def test_a_network_of_scaled_pictures_is_not_tiled_and_its_classes_are_scaled_back(tmp_path):
    meaning = json.dumps({"format": 1, "values": "unit", "bits": 8, "fit": "resize"})
    model = small(tmp_path / "m.onnx", hwseg__input=meaning)
    Image.fromarray(blobs((60, 90))).save(tmp_path / "a.png")
    engine = open_engine(model)
    (found,) = segment(engine, [tmp_path / "a.png"], tmp_path / "mask.png")
    assert found.plan.scaled
    graph = load(model)
    small_mask = golden.run(graph, read_input(tmp_path / "a.png", graph)).mask
    rows, columns = (2 * np.arange(60) + 1) * 24 // 120, (2 * np.arange(90) + 1) * 24 // 180
    expected = small_mask[rows[:, None], columns] * np.uint8(255)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "mask.png")), expected)


def test_what_lies_beyond_a_picture_is_as_its_model_declares(tmp_path):
    found = {}
    for extend in ("edge", "zero"):
        meaning = json.dumps({"format": 1, "values": "unit", "bits": 8, "extend": extend})
        model = small(tmp_path / f"{extend}.onnx", hwseg__input=meaning)
        picture = blobs((5, 5)) | 128
        Image.fromarray(picture).save(tmp_path / "a.png")
        masks(model, [tmp_path / "a.png"], tmp_path / "m.png", tile=None)
        found[extend] = np.asarray(Image.open(tmp_path / "m.png"))
        graph = load(model)
        q = np.pad(prepared(graph, tmp_path / "a.png")[..., 0], (0, 19), mode="edge")
        if extend == "zero":
            q[5:], q[:, 5:] = 0, 0
        assert np.array_equal(found[extend], golden.run(graph, q[..., None]).mask[:5, :5] * np.uint8(255))
    assert not np.array_equal(found["edge"], found["zero"])

"""Pictures of any size: the driver's tiles against the whole picture in the golden model, and `hwseg segment`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hwseg.boards import load_board
from hwseg.boards.zynq7020.package import package
from hwseg.builds.build import compile_model
from hwseg.errors import HwsegError
from hwseg.pictures.raster import raster
from hwseg.pictures.whole import whole as prepared
from hwseg.quant.read.load import load
from hwseg.runtime import Accelerator, read_package
from hwseg.segment.engines import Golden, network_of
from hwseg.segment.run import segment
from tests.runtime.cases import reseal
from tests.runtime.fake import FakeBoard, LateBoard
from tests.segment.networks import blobs, small
from tests.segment.test_tiles import logits

SIZES = ((24, 24), (31, 53), (9, 40), (5, 7))
"""One tile; several; several in one direction and an extension in the other; less than one tile."""

SIMULATED = pytest.param("simulation", marks=pytest.mark.verilator)


def packaged(work: Path, **choices) -> SimpleNamespace:
    """A package of a network of depth 1 for 24x24 pixels, its graph and its file."""
    work.mkdir(exist_ok=True)
    model = small(work / "net.onnx", **choices)
    build = compile_model(model, array="8x1x1", out=work / "build")
    package([build.path], load_board("pynq-z2"), work / "package")
    return SimpleNamespace(folder=work / "package", graph=load(model), model=model)


@pytest.fixture(scope="module", params=[(1, 1), (2, 2)], ids=["one class", "two classes"])
def case(request, tmp_path_factory):
    channels, classes = request.param
    return packaged(tmp_path_factory.mktemp("tiles"), channels=channels, classes=classes)


@pytest.fixture(scope="module", params=["fake", SIMULATED])
def accelerator(request, case):
    if request.param == "fake":
        found = read_package(case.folder)
        opened = Accelerator(found, FakeBoard(found))
    else:
        pytest.importorskip("cocotb")
        opened = Accelerator.open(case.folder, request.param)
    with opened:
        yield opened


def picture(graph, size, seed=0):
    channels = graph.types[graph.input].shape[2]
    return blobs(size, seed, channels=channels if channels > 1 else 0)


def by_golden(graph, pixels, folder):
    """What `hwseg segment --on golden` writes."""
    file, out = folder / "picture.npy", folder / "mask.npy"
    np.save(file, pixels)
    network = network_of(graph, "")
    segment(Golden(graph, network), [file], out)
    return np.load(out)


@pytest.mark.parametrize("size", SIZES)
def test_no_logit_differs_from_the_whole_pictures_and_no_byte_from_hwseg_segment(accelerator, case, size, tmp_path):
    pixels = picture(case.graph, size)
    result = accelerator.segment(pixels)
    whole = network_of(case.graph, "").pixels
    grid = result.grid
    assert grid is not None
    assert len(grid) == {(24, 24): 1, (31, 53): 6, (9, 40): 2, (5, 7): 1}[size]
    integers = prepared(raster(pixels), whole, case.graph.types[case.graph.input].shape).window((0, 0), grid.whole)
    expected = logits(case.graph, integers)[: size[0], : size[1]]
    assert result.sums.shape == expected.shape
    assert int((result.sums != expected).sum()) == 0
    assert result.mask.dtype == np.uint8
    assert (result.model.pixels.labels.coded(result.mask) == by_golden(case.graph, pixels, tmp_path)).all()
    if size == (31, 53):
        assert 0 < result.mask.mean() < 1


def test_a_batch_of_pictures_of_different_sizes_gives_each_its_mask(accelerator, case):
    pictures = [picture(case.graph, size, seed) for seed, size in enumerate(SIZES)]
    found = accelerator.batch(pictures)
    for pixels, mask in zip(pictures, found, strict=True):
        alone = accelerator.segment(pixels)
        assert (mask.mask == alone.mask).all()
        assert (mask.sums == alone.sums).all()
        assert mask.mask.shape == pixels.shape[:2]


def test_cycles_and_counters_are_those_of_all_tiles(case):
    with fake(case) as accelerator:
        one, many = (accelerator.segment(picture(case.graph, size)) for size in ((24, 24), (31, 53)))
    assert many.cycles == 6 * one.cycles
    assert many.counters.keys() == one.counters.keys()


def fake(case, kind=FakeBoard, **options):
    found = read_package(case.folder)
    return Accelerator(found, kind(found, **options))


def test_the_next_tile_is_packed_while_one_is_computed(case):
    """At the moment of every start but the first, what is started was packed before the run before it ended."""
    with fake(case, LateBoard) as accelerator:
        loaded_at = []
        loaded = accelerator._prepared("", 8)
        pack, board = loaded.pack, accelerator.backend

        def packed(integers, out=None):
            loaded_at.append("busy" in accelerator.status())
            return pack(integers, out)

        loaded.pack = packed
        accelerator.segment(picture(case.graph, (31, 53)))
        assert loaded_at == [False] + 5 * [True]
        assert board.left <= 0


def test_a_stream_gives_the_results_in_order_and_stops_what_is_left_behind(case):
    network = network_of(case.graph, "")
    rng = np.random.default_rng(3)
    inputs = [rng.integers(0, 256, network.shape).astype(np.uint8) for _ in range(4)]
    with fake(case) as accelerator:
        for integers, found in zip(inputs, accelerator.stream(inputs), strict=True):
            assert (found.sums == logits(case.graph, integers)).all()
    with fake(case, LateBoard) as accelerator:
        stream = accelerator.stream(inputs)
        next(stream)
        assert accelerator.running is not None
        stream.close()
        assert accelerator.running is None
        assert (accelerator.segment(picture(case.graph, (24, 24))).mask.shape) == (24, 24)


def test_a_picture_that_is_refused_stops_the_run_of_the_one_before(case):
    good = picture(case.graph, (31, 53))
    with fake(case, LateBoard) as accelerator:
        with pytest.raises(HwsegError, match="must have 8 bits per channel"):
            accelerator.batch([good, good.astype(np.uint16)])
        assert accelerator.running is None
        assert accelerator.segment(good).mask.any()


def test_start_takes_one_tile(case):
    with fake(case) as accelerator:
        with pytest.raises(
            HwsegError, match=r"image: must be one tile of 24x24, has 31x53 pixels; use segment or batch"
        ):
            accelerator.start(picture(case.graph, (31, 53)))
        assert accelerator.start(picture(case.graph, (24, 24))).wait().mask.shape == (24, 24)
        assert accelerator.start(picture(case.graph, (31, 53)), fit="crop").wait().mask.shape == (24, 24)


def test_a_fit_computes_one_tile_as_it_always_did(case):
    pixels = picture(case.graph, (31, 53))
    with fake(case) as accelerator:
        for fit in ("crop", "resize"):
            result = accelerator.segment(pixels, fit=fit)
            assert result.mask.shape == (24, 24)
            assert result.grid is None
        assert (accelerator.segment(pixels[3:27, 14:38]).mask == accelerator.segment(pixels, fit="crop").mask).all()


def test_percentiles_are_the_whole_pictures(tmp_path):
    found = packaged(tmp_path / "work", hwseg__normalize="percentile 0.5 99.5")
    pixels = picture(found.graph, (40, 60))
    pixels[:24, :24] //= 3
    with fake(found) as accelerator:
        mask = accelerator.segment(pixels).mask
    expected = by_golden(found.graph, pixels, tmp_path)
    assert 0 < (expected > 0).mean() < 1
    assert (mask * np.uint8(255) == expected).all()


def test_a_network_of_scaled_pictures_gets_such_and_its_classes_are_scaled_back(tmp_path):
    found = packaged(tmp_path / "work", hwseg__normalize="none", hwseg__fit="resize")
    pixels = picture(found.graph, (50, 70))
    with fake(found) as accelerator:
        result = accelerator.segment(pixels)
        assert result.mask.shape == (50, 70)
        assert result.sums.shape == (24, 24, 1)
        assert result.grid is None
        assert accelerator.segment(pixels, fit="resize").mask.shape == (24, 24)
    assert (result.mask * np.uint8(255) == by_golden(found.graph, pixels, tmp_path)).all()


def changed(case, tmp_path, value):
    """A copy of the package whose model.json says something else of tiles."""
    copy = shutil.copytree(case.folder, tmp_path / "copy")
    path = copy / "models" / "net" / "model.json"
    content = json.loads(path.read_text())
    content["tiles"] = value
    path.write_text(json.dumps(content))
    reseal(copy)
    return SimpleNamespace(folder=copy, graph=case.graph)


def test_a_network_that_cannot_be_cut_takes_its_own_size_and_says_why(case, tmp_path):
    with fake(changed(case, tmp_path, {"refused": "dec/Add: joins maps of different scale"})) as accelerator:
        assert accelerator.segment(picture(case.graph, (24, 24))).mask.shape == (24, 24)
        with pytest.raises(HwsegError, match=r"image: must have 24x24 pixels, has 31x53; add fit=.*joins maps of diff"):
            accelerator.segment(picture(case.graph, (31, 53)))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "tiles: before must be two numbers"),
        ({"refused": 3}, "tiles.refused must be text"),
        ({"before": [6, 6], "after": [6, 6], "multiple": [7, 2]}, "before and after must be multiples of 7 and 2"),
        ({"before": [0, 0], "after": [0, 0], "multiple": [5, 2]}, "tiles.multiple: must divide 24x24 pixels"),
    ],
)
def test_what_cannot_be_is_refused(case, tmp_path, value, sentence):
    with pytest.raises(HwsegError, match=sentence):
        read_package(changed(case, tmp_path, value).folder).model("net")

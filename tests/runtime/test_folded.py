"""Pictures of few channels, stored folded: the driver packs them as the program reads them."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from hwseg import golden
from hwseg.boards import load_board
from hwseg.boards.zynq7020.package import package
from hwseg.builds.build import compile_model
from hwseg.errors import HwsegError
from hwseg.pictures.raster import raster
from hwseg.pictures.source import integers
from hwseg.pictures.table import normalize
from hwseg.runtime import Accelerator, read_package
from tests.compile.folding import force
from tests.quant.models import random_unet
from tests.runtime.fake import FakeBoard


@pytest.fixture(scope="module", params=[(2, 1), (2, 2)])
def case(request, tmp_path_factory):
    """A package of one network whose picture is folded, a picture, and the head and the mask that it should give."""
    work = tmp_path_factory.mktemp("folded")
    model = random_unet(2, work, height=12, width=24, channels=1)
    with pytest.MonkeyPatch.context() as patch:
        force(patch, request.param)
        build = compile_model(model, array="8x1x1", out=work / "build")
    package([build.path], load_board("pynq-z2"), work / "package")
    graph = build.program.graph
    kind = graph.types[graph.input]
    pixels = np.random.default_rng(0).integers(0, 256, kind.shape, np.uint8)
    q = integers(raster(pixels), graph)
    result = golden.run(graph, q)
    sums = result.tensors[graph.head.tensor]
    return SimpleNamespace(
        folder=work / "package", fold=request.param, shape=kind.shape, pixels=pixels, sums=sums, mask=result.mask
    )


@pytest.mark.parametrize("backend", ["fake", pytest.param("simulation", marks=pytest.mark.verilator)])
def test_a_picture_gives_the_golden_mask(case, backend):
    if backend == "simulation":
        pytest.importorskip("cocotb")
    described = read_package(case.folder)
    opened = (
        Accelerator(described, FakeBoard(described)) if backend == "fake" else Accelerator.open(case.folder, backend)
    )
    with opened as accelerator:
        model = accelerator.load()
        assert (model.input.shape, model.input.fold) == (case.shape, case.fold)
        result = accelerator.segment(case.pixels)
        assert (result.sums == case.sums).all()
        assert (result.mask == case.mask).all()
        if backend == "simulation":
            accelerator.skip = False
            assert accelerator.segment(case.pixels).cycles == model.cycles


def test_packages_of_older_versions_have_no_entry_and_newer_ones_are_refused(case, tmp_path):
    """A driver that does not know folding must not read a folded package: the version says so."""
    described = read_package(case.folder)
    name = described.models[0]
    target = tmp_path / "package"
    for file in (case.folder / "package.json", case.folder / "models" / name / "model.json"):
        content = json.loads(file.read_text())
        assert content["format"] == 4
        content["format"] = 1
        if "memory" in content:
            del content["memory"]["input"]["fold"], content["pixels"]
            content |= {"normalize": "percentile 10 90", "table": [255 - p for p in range(256)]}
        place = target / file.relative_to(case.folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(content))
    old = read_package(target).model(name)
    assert old.input.fold == (1, 1)
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 256, 1)
    found = old.pixels.integers(ramp, (1, 256, 1))
    assert (found == 255 - normalize(ramp, "percentile 10 90").astype(int)).all()
    (target / "package.json").write_text((target / "package.json").read_text().replace('"format": 1', '"format": 5'))
    with pytest.raises(HwsegError, match="must have format 4, has 5"):
        read_package(target)

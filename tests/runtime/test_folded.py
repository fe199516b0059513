"""Pictures of few channels, stored folded: the driver packs them as the program reads them."""

from __future__ import annotations

import json
import shutil
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
from hwseg.runtime import Accelerator, read_package
from tests.compile.folding import force
from tests.quant.models import random_unet
from tests.runtime.cases import reseal
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


def test_packages_of_other_versions_are_refused(case, tmp_path):
    """A driver that does not know folding must not read a folded package: the version says so."""
    target = shutil.copytree(case.folder, tmp_path / "package")
    name = read_package(target).models[0]
    places = (target / "package.json", target / "models" / name / "model.json")
    for version in (1, 2, 3, 5):
        for place in places:
            place.write_text(json.dumps(json.loads(place.read_text()) | {"format": version}))
        reseal(target)
        with pytest.raises(HwsegError, match=f"must have format 4, has {version}; .* make it again with hwseg package"):
            read_package(target)
    for place in places:
        content = json.loads(place.read_text()) | {"format": 4}
        if "memory" in content:
            content["memory"]["input"].pop("fold")
        place.write_text(json.dumps(content))
    reseal(target)
    with pytest.raises(HwsegError, match=r"input\.bytes must be"):
        read_package(target).model(name)

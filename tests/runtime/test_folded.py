"""Pictures of few channels, stored folded: the driver packs them as the program reads them."""

from __future__ import annotations

import contextlib
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
from hwseg.image import quantize_pixels
from hwseg.normalize import NONE, normalize
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
    q = quantize_pixels(normalize(pixels, graph.metadata.get("hwseg.normalize", NONE)), kind)
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


def test_packages_of_older_versions_are_read_where_they_have_what_is_needed(case, tmp_path):
    """A driver that does not know folding must not read a folded package: the version says so."""
    target = shutil.copytree(case.folder, tmp_path / "package")
    name = read_package(target).models[0]
    places = (target / "package.json", target / "models" / name / "model.json")
    for version, fold, sentence in ((2, True, ""), (2, False, ""), (1, False, "has 1; "), (4, False, "has 4; ")):
        for place in places:
            content = json.loads(place.read_text()) | {"format": version}
            if "memory" in content and not fold:
                content["memory"]["input"].pop("fold", None)
            place.write_text(json.dumps(content))
        reseal(target)
        if sentence:
            with pytest.raises(HwsegError, match=f"must have format 3, {sentence}"):
                read_package(target)
        else:
            with contextlib.nullcontext() if fold else pytest.raises(HwsegError, match=r"input\.bytes must be"):
                assert read_package(target).model(name).input.fold == case.fold

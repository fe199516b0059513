"""What was chosen at compile travels: to the report, to simulation and energy, to the package, to the driver."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("brevitas")

from hwseg.boards import load_board
from hwseg.boards.zynq7020.package import package
from hwseg.builds import again
from hwseg.builds.energy import read_images
from hwseg.builds.read import load_build, load_graph
from hwseg.commands.compile import command
from hwseg.pictures.meaning import NAMES, PIXEL, Meaning
from hwseg.pictures.raster import raster
from hwseg.pictures.source import choice_of, integers
from hwseg.runtime import Accelerator
from hwseg.runtime.cut import one
from hwseg.runtime.package import ALL_PLANES, read_package
from tests.quant.models import random_unet
from tests.runtime.fake import FakeBoard

CHOICES = {"none": "", "unit": "unit", "range": "range 20 180"}
MEANT = {"none": PIXEL, "unit": NAMES["unit"], "range": Meaning("range 20 180")}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = random_unet(2, tmp_path_factory.mktemp("model"), height=12, width=24, channels=1)
    content = onnx.load(path)
    assert not [p for p in content.metadata_props if p.key in ("hwseg.input", "hwseg.normalize")]
    return path


@pytest.fixture(scope="module", params=CHOICES)
def build(
    request: pytest.FixtureRequest, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, str]:
    folder = tmp_path_factory.mktemp(request.param) / "build"
    options = ["--input", CHOICES[request.param]] if CHOICES[request.param] else []
    result = CliRunner().invoke(command, [str(model), "-o", str(folder), "--array", "8x1x1", *options])
    assert result.exit_code == 0, result.output
    return request.param, folder, " ".join(result.output.split())


def test_the_report_says_it(build: tuple[str, Path, str], model: Path) -> None:
    name, folder, said = build
    report = json.loads((folder / "report.json").read_text())
    origin = "assumed" if name == "none" else "--input"
    assert report["input"]["origin"] == origin
    assert report["input"]["meaning"] == MEANT[name].text()
    sentence = (
        "does not say what the pixels of a picture are to it: its input is taken to be pixel / 256 of 8-bit pictures"
    )
    pages = " ".join((folder / "report.md").read_text().split()), (folder / "report.html").read_text()
    for text in (said, *pages):
        assert (sentence in text) == (name == "none")
    if name != "none":
        assert f"Input: {MEANT[name].sentence()}, as chosen with --input." in pages[0]
    assert (folder / "model.onnx").read_bytes() == model.read_bytes()


def test_simulation_energy_and_package_take_it(build: tuple[str, Path, str], tmp_path: Path) -> None:
    name, folder, _ = build
    pixels = np.random.default_rng(0).integers(0, 256, (12, 24), np.uint8)
    picture = tmp_path / "p.png"
    Image.fromarray(pixels).save(picture)
    wanted = {key: integers(raster(pixels), load_graph(folder)) for key in (name,)}[name]
    t = {"none": pixels / 256, "unit": pixels / 255, "range": np.clip((pixels - 20.0) / 160, 0, 1)}[name]
    kind = load_graph(folder).types[load_graph(folder).input]
    rounded = np.clip(np.rint(t / float(kind.scale[0])), kind.low, kind.high)
    assert np.abs(wanted[:, :, 0] - rounded).max() <= (0 if name != "range" else 1)
    for graph in (load_graph(folder), load_build(folder)[0]):
        assert choice_of(graph).meaning == MEANT[name]
        assert (read_images(picture, graph, True, "")[0] == wanted).all()
    assert again.estimated(folder, picture).report["input"]["meaning"] == MEANT[name].text()
    package([folder], load_board("pynq-z2"), tmp_path / "package")
    opened = read_package(tmp_path / "package")
    found = opened.model(opened.models[0])
    assert found.pixels.meaning == MEANT[name]
    assert (found.pixels.integers(pixels, found.input.shape) == wanted).all()
    large = np.random.default_rng(1).integers(0, 256, (31, 47), np.uint8)
    for fit in ("crop", "resize"):
        driven = found.pixels.integers(large, found.input.shape, fit)
        assert (driven == integers(raster(large), load_graph(folder), fit)).all()
    with Accelerator(opened, FakeBoard(opened)) as accelerator:
        loaded = accelerator._prepared("", ALL_PLANES)
        packed, again_packed = (loaded.pack(one(given, loaded.model)) for given in (pixels, pixels[..., None]))
    assert (packed == again_packed).all()

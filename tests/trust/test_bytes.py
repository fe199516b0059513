"""The same bytes in the golden model, in the program's instructions, and in the driver; packages and builds that carry
what was fitted, and those that do not.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from hwseg import golden
from hwseg.boards import load_board
from hwseg.boards.zynq7020.package import package
from hwseg.builds.build import compile_model
from hwseg.builds.read import judge_of_build, load_build
from hwseg.compile.lower.dial import turned
from hwseg.compile.program import Program
from hwseg.errors import HwsegError
from hwseg.machine.execute import execute
from hwseg.pictures.raster import Raster, raster
from hwseg.pictures.source import integers
from hwseg.quant.read.load import load
from hwseg.runtime import Accelerator, read_package
from hwseg.trust.fitted import TRUST, Trust
from hwseg.trust.graph import digest, judge_of, trust_of
from hwseg.trust.judge import Doubts
from tests.quant.models import random_unet
from tests.runtime.cases import ARRAY, reseal
from tests.runtime.fake import FakeBoard
from tests.trust.networks import SIDE, by_brightness

TEMPERATURES = {1: ("1.37",), 3: ("1.37", "0.9", "2.25")}


def fitted(path: Path, **changes: Any) -> Path:
    """The model's file with metadata that nobody fitted."""
    graph, model = load(path), onnx.load(path)
    channels = graph.types[graph.head.tensor].shape[2]
    trust = Trust(digest(graph), TEMPERATURES[channels], 60, "patch", "0.05", 3, "defer 0.12")
    model.metadata_props.add(key=TRUST, value=replace(trust, **changes).text())
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("builds")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, work: Path) -> Path:
    """A package of a network of one class, one of three, and one to which nothing was fitted."""
    models = [fitted(by_brightness(work, n, f"classes{n}")) for n in (1, 3)] + [by_brightness(work, 1, "plain")]
    builds = [compile_model(m, array=ARRAY, out=work / m.stem, allow_inexact=True).path for m in models]
    place = tmp_path_factory.mktemp("package") / "package"
    package(builds, load_board("pynq-z2"), place)
    return place


def picture(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    light = np.kron(random.integers(0, 256, (4, 4)), np.ones((8, 8))) + random.normal(0, 40, (SIDE, SIDE))
    return np.clip(light, 0, 255).astype(np.uint8)


def test_the_same_bytes_everywhere(folder: Path, work: Path) -> None:
    opened = read_package(folder)
    with Accelerator(opened, FakeBoard(opened)) as accelerator:
        for name in ("classes1", "classes3"):
            graph, program, _ = load_build(work / name)
            judge, seen = judge_of(graph), set()
            for seed in range(3):
                pixels = picture(seed)
                q = integers(raster(pixels), graph)
                result = golden.run(graph, q)
                own = judge.confidence(result.tensors[graph.head.tensor], result.mask)
                sums = head_of(program, q)
                executed = judge.confidence(sums, golden.mask(graph.head, sums))
                driven = accelerator.segment(pixels, name)
                assert driven.confidence.tobytes() == own.tobytes() == executed.tobytes()
                assert (driven.deferred == (own < 60)).all()
                assert driven.review == judge.review(own, result.mask)
                seen.update(np.unique(own).tolist())
            assert len(seen) > 50
        with pytest.raises(
            HwsegError, match=r"model plain: says nothing of doubt.*fit it with hwseg trust MODEL"
        ) as no:
            _ = accelerator.segment(picture(0), "plain").deferred
        assert "then compile and package it again" in no.value.cure


def head_of(program: Program, q: np.ndarray) -> np.ndarray:
    """The head's integers as the program's instructions leave them in memory."""
    return np.asarray(execute(program, q)[program.graph.head.tensor])


def test_confidence_of_a_picture_of_any_size(folder: Path) -> None:
    """Cut into tiles: as if the whole picture were computed at once."""
    opened = read_package(folder)
    large = np.concatenate([np.concatenate([picture(1), picture(2)], axis=1)] * 2)[:50, :45]
    with Accelerator(opened, FakeBoard(opened)) as accelerator:
        found = accelerator.segment(large, "classes1")
        assert found.confidence.shape == large.shape
        assert (found.mask[:16, :16] == accelerator.segment(large[:SIDE, :SIDE], "classes1").mask[:16, :16]).all()
        part = accelerator.segment(large[:SIDE, :SIDE], "classes1").confidence
        assert (found.confidence[:30, :30] == part[:30, :30]).all()


def test_metadata_of_another_network_are_refused_before_anything_is_compiled(tmp_path: Path) -> None:
    path = fitted(by_brightness(tmp_path), graph="0" * 64)
    with pytest.raises(HwsegError, match=r"was fitted to another network, 000000000000, not to this one"):
        compile_model(path, array=ARRAY, out=tmp_path / "build")
    assert not (tmp_path / "build").exists()
    path = fitted(by_brightness(tmp_path, 1, "few"), temperatures=("1", "1"))
    with pytest.raises(HwsegError, match=r"is for a head of 2 channels, the network has 1"):
        compile_model(path, array=ARRAY, out=tmp_path / "build")


def test_a_build_of_fewer_planes_has_no_trust_and_says_so(tmp_path: Path) -> None:
    path = fitted(by_brightness(tmp_path))
    graph = load(path)
    other = turned(graph, 4)
    if other is graph:  # nothing rounds between input and head: the network of 4 planes is the same one
        assert trust_of(other) == trust_of(graph)
    else:
        assert trust_of(other) is None
    path = random_unet(1, tmp_path)
    read, model = load(path), onnx.load(path)
    channels = read.types[read.head.tensor].shape[2]
    text = Trust(digest(read), ("1",) * channels, 60, "patch", "0.05").text()
    model.metadata_props.add(key=TRUST, value=text)
    onnx.save(model, path)
    assert trust_of(load(path)) is not None
    assert trust_of(turned(load(path), 3)) is None
    build = compile_model(path, array=ARRAY, out=tmp_path / "build", planes=3)
    assert "trust was fitted to all planes, so a build of 3 has none" in build.report["warnings"]
    assert TRUST not in json.loads((build.path / "graph.json").read_bytes())["metadata"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fitted": "{}"}, "must have format 1, has None"),
        ({"fitted": 7}, "trust.fitted must be text"),
        ({"scale": ["1/0"]}, "must be a fraction"),
        ({"scale": ["1e9"]}, "must be a fraction"),
        ({"scale": ["9" * 400]}, "must be a fraction"),
        ({"scale": []}, "must have 1 entries"),
        ({"offset": ["0", "0"]}, "must have 1 entries"),
        ({"offset": [0]}, "must be text"),
    ],
)
def test_a_damaged_package_is_refused(folder: Path, tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    copy = tmp_path / "package"
    shutil.copytree(folder, copy)
    place = copy / "models" / "classes1" / "model.json"
    content = json.loads(place.read_bytes())
    content["trust"] |= change
    place.write_text(json.dumps(content))
    reseal(copy)
    with pytest.raises(HwsegError, match=sentence):
        read_package(copy).model("classes1")


def test_the_notebook_shows_doubts_where_they_were_fitted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its cells, but for the first that opens a board, with a model to which something was fitted and one without."""
    cells = json.loads((folder / "notebooks" / "segment.ipynb").read_bytes())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    shown, doubted = (source for source in sources if "judge" in source)
    opened = read_package(folder)
    with Accelerator(opened, FakeBoard(opened)) as accelerator:
        for name, told in (("classes1", "of the pixels are deferred, black below"), ("plain", "nothing was fitted")):
            names = {"np": np, "model": accelerator.load(name), "result": accelerator.segment(picture(1), name)}
            names |= {"accelerator": accelerator, "pixels": picture(1)}
            exec(compile(shown, "cell", "exec"), names)
            assert told in capsys.readouterr().out
            assert (names["shown"] is None) == (name == "plain")
            exec(compile(doubted, "cell", "exec"), names)
            assert ("of the pixels are deferred" in capsys.readouterr().out) == (name == "classes1")


def test_the_notebook_makes_a_picture_worse_without_changing_what_it_means(folder: Path) -> None:
    """Its depth, rescaling and window; floats, too."""
    cells = json.loads((folder / "notebooks" / "segment.ipynb").read_bytes())["cells"]
    (source,) = ("".join(cell["source"]) for cell in cells if "accelerator.segment(worse" in "".join(cell["source"]))
    deep = picture(1).astype(np.uint16) * 16
    window = (Fraction(40), Fraction(400))
    for whole in (Raster(deep, 12, Fraction(2), Fraction(-1024), window), Raster(deep / np.float32(4096), 32)):
        given: list[Raster] = []

        def segment(image: Raster, given: list[Raster] = given) -> SimpleNamespace:
            given.append(image)
            return SimpleNamespace(review="review", deferred=np.zeros(1))

        names = {"np": np, "pixels": whole, "model": SimpleNamespace(judge=True)}
        exec(compile(source, "cell", "exec"), names | {"accelerator": SimpleNamespace(segment=segment)})
        (worse,) = given
        for name in ("bits", "slope", "offset", "window"):
            assert getattr(worse, name) == getattr(whole, name)
        assert worse.pixels.dtype == whole.pixels.dtype
        assert whole.pixels.min() <= worse.pixels.min() < worse.pixels.max() <= whole.pixels.max()
        assert (worse.pixels != whole.pixels).any()


def test_the_report_hatches_deferred_pixels(work: Path, folder: Path, tmp_path: Path) -> None:
    Image.fromarray(picture(2)).save(tmp_path / "p.png")
    for name in ("classes1", "plain"):
        model = work / f"{name}.onnx"
        found = compile_model(model, array=ARRAY, out=tmp_path / name, calibrate=tmp_path / "p.png")
        page = (found.path / "report.html").read_text()
        assert ("Hatched pixels are deferred to a person." in page) == (name == "classes1")


def test_a_build_says_what_to_do_where_nothing_was_fitted(work: Path, folder: Path) -> None:
    assert judge_of_build(work / "classes1").trust.bound == 60
    with pytest.raises(HwsegError, match=r"must have metadata hwseg.trust") as caught:
        judge_of_build(work / "plain")
    assert caught.value.cure == "fit it with hwseg trust MODEL --data DIR, then compile it again"


@pytest.mark.verilator
def test_the_simulated_engine_gives_the_same_bytes(work: Path, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("cocotb")
    from hwseg.cli import main

    Image.fromarray(picture(0)).save(tmp_path / "p.png")
    with pytest.raises(SystemExit) as done:
        main(["simulate", str(work / "classes1"), "--image", str(tmp_path / "p.png"), "--trust", "--pictures",
              str(tmp_path / "out")])  # fmt: skip
    assert done.value.code == 0
    graph = load_build(work / "classes1")[0]
    result = golden.run(graph, integers(raster(picture(0)), graph))
    own = Doubts.of(judge_of(graph), result.tensors[graph.head.tensor], result.mask)
    with Image.open(tmp_path / "out" / "confidence.png") as image:
        assert np.asarray(image).tobytes() == own.confidence.tobytes()
    assert json.loads((tmp_path / "out" / "simulation.json").read_bytes())["trust"] == own.json()

"""`--trust`: confidence beside the masks, the same whatever computes it and however it is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hwseg import golden
from hwseg.boards import load_board
from hwseg.boards.zynq7020.package import package
from hwseg.builds.build import compile_model
from hwseg.errors import HwsegError
from hwseg.pictures.raster import raster
from hwseg.pictures.source import integers
from hwseg.quant.read.load import load
from hwseg.reach import reshaped
from hwseg.runtime import Accelerator, read_package
from hwseg.segment.engines import open_engine
from hwseg.segment.packaged import Packaged, network_of
from hwseg.segment.results import Options
from hwseg.segment.run import segment
from hwseg.trust.graph import judge_of
from hwseg.trust.judge import Doubts
from tests.runtime.cases import ARRAY
from tests.runtime.fake import FakeBoard
from tests.trust.networks import by_brightness
from tests.trust.test_bytes import fitted

SIZE = (75, 52)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture, a model of three classes, and its build and package."""
    root = tmp_path_factory.mktemp("work")
    random = np.random.default_rng(0)
    light = np.kron(random.integers(0, 256, (15, 13)), np.ones((5, 4))) + random.normal(0, 30, SIZE)
    Image.fromarray(np.clip(light, 0, 255).astype(np.uint8)).save(root / "p.png")
    build = compile_model(fitted(by_brightness(root, 3)), array=ARRAY, out=root / "build", allow_inexact=True)
    package([build.path], load_board("pynq-z2"), root / "package")
    return root


def whole(folder: Path) -> Doubts:
    """The golden model's, of the whole picture at once."""
    graph = load(folder / "bright.onnx")
    with Image.open(folder / "p.png") as image:
        pixels = np.array(image)
    large = reshaped(graph, SIZE)
    result = golden.run(large, integers(raster(pixels), large))
    return Doubts.of(judge_of(graph), result.tensors[graph.head.tensor], result.mask)


def confidence(out: Path) -> np.ndarray:
    with Image.open(out / "p.confidence.png") as image:
        return np.array(image)


def test_confidence_does_not_depend_on_tiles_or_on_what_computes(folder: Path, tmp_path: Path) -> None:
    wanted = whole(folder)
    model, build = folder / "bright.onnx", folder / "build"
    opened = read_package(folder / "package")
    engines = {
        "golden": open_engine(model, trust=True),
        "small": open_engine(model, tile=(20, 24), trust=True),
        "build": open_engine(build, trust=True),
        "machine": open_engine(build, "machine", trust=True),
        "board": Packaged(
            Accelerator(opened, FakeBoard(opened)), "bright", network_of(opened.model("bright"), True), "fake"
        ),
    }
    plain = tmp_path / "plain"
    segment(open_engine(model), [folder / "p.png"], plain)
    assert not (plain / "p.confidence.png").exists()
    for name, engine in engines.items():
        (found,) = segment(engine, [folder / "p.png"], tmp_path / name, Options(overlay=True))
        engine.close()
        assert confidence(tmp_path / name).tobytes() == wanted.confidence.tobytes(), name
        assert found.reviews == (str(wanted.review),)
        assert (tmp_path / name / "p.png").read_bytes() == (plain / "p.png").read_bytes()
        assert {path.name for path in found.files} == {"p.png", "p.confidence.png", "p.overlay.png"}
    with Accelerator(opened, FakeBoard(opened)) as accelerator, Image.open(folder / "p.png") as image:
        driven = accelerator.segment(np.array(image))
        assert driven.confidence.tobytes() == wanted.confidence.tobytes()
        assert driven.review == wanted.review


def test_a_network_of_scaled_pictures_says_the_same_as_its_driver(folder: Path, tmp_path: Path) -> None:
    """Confidence is scaled back like the classes; what is said of the picture is said of the network's own map."""
    model = fitted(by_brightness(tmp_path, 1, "scaled", scaled=True))
    build = compile_model(model, array=ARRAY, out=tmp_path / "build").path
    package([build], load_board("pynq-z2"), tmp_path / "package")
    opened = read_package(tmp_path / "package")
    (found,) = segment(open_engine(model, trust=True), [folder / "p.png"], tmp_path / "out", Options(overlay=True))
    with Accelerator(opened, FakeBoard(opened)) as accelerator, Image.open(folder / "p.png") as image:
        driven = accelerator.segment(np.array(image))
    assert driven.confidence.shape == driven.mask.shape == driven.deferred.shape == SIZE
    assert confidence(tmp_path / "out").tobytes() == driven.confidence.tobytes()
    assert found.reviews == (str(driven.review),)


def test_an_interrupted_run_goes_on_with_confidence(folder: Path, tmp_path: Path) -> None:
    class Stopping:
        def __init__(self, after: int) -> None:
            self.engine, self.left = open_engine(folder / "bright.onnx", tile=(20, 24), trust=True), after

        def __getattr__(self, name: str) -> object:
            return getattr(self.engine, name)

        def each(self, inputs):  # type: ignore[no-untyped-def]
            for one in inputs:
                self.left -= 1
                if self.left < 0:
                    raise KeyboardInterrupt
                yield self.engine.classes(one)

    with pytest.raises(KeyboardInterrupt):
        segment(Stopping(3), [folder / "p.png"], tmp_path / "out")  # type: ignore[arg-type]
    again = segment(Stopping(99), [folder / "p.png"], tmp_path / "out", Options(resume=True))  # type: ignore[arg-type]
    assert again[0].resumed == 3
    assert confidence(tmp_path / "out").tobytes() == whole(folder).confidence.tobytes()
    plain = open_engine(folder / "bright.onnx", tile=(20, 24))
    with pytest.raises(KeyboardInterrupt):
        segment(Stopping(3), [folder / "p.png"], tmp_path / "other")  # type: ignore[arg-type]
    with pytest.raises(HwsegError, match="was begun with another picture, network or option"):
        segment(plain, [folder / "p.png"], tmp_path / "other", Options(resume=True))


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from hwseg.cli import main

    def run(*words: object) -> tuple[int | str | None, str]:
        with pytest.raises(SystemExit) as done:
            main(["segment", *map(str, words)])
        out = capsys.readouterr()
        return done.value.code, (out.out + out.err).replace("\n", " ")

    status, told = run(folder / "bright.onnx", folder / "p.png", "-o", tmp_path / "out", "--trust")
    assert (status, str(whole(folder).review) in told) == (0, True)
    by_brightness(tmp_path)
    status, told = run(tmp_path / "bright.onnx", folder / "p.png", "-o", tmp_path / "no", "--trust")
    assert status == 2
    assert "has no metadata hwseg.trust" in told
    assert "fit it with hwseg trust MODEL --data DIR" in told


def test_two_files_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("a.png", "a.confidence.png"):
        (tmp_path / name).write_bytes((folder / "p.png").read_bytes())
    engine = open_engine(folder / "bright.onnx", trust=True)
    with pytest.raises(HwsegError, match=r"would be the mask of .*a.confidence.png and the confidence of .*a.png"):
        segment(engine, [tmp_path / "a.confidence.png", tmp_path / "a.png"], tmp_path / "out")

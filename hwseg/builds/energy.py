"""From a build folder and pictures to its energy: what `hwseg report` calls."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from hwseg import golden
from hwseg.borders import given
from hwseg.builds.read import CALIBRATION as CALIBRATION
from hwseg.builds.read import load_build
from hwseg.compile.program import Program, Progress, silent
from hwseg.energy.frame import activity_of_program
from hwseg.errors import HwsegError, require
from hwseg.files import file_errors
from hwseg.ir import Graph
from hwseg.pictures.read import SUFFIXES, is_picture
from hwseg.pictures.source import read_input
from hwseg.power.activity import LayerActivity, SourceKind
from hwseg.power.coefficients import Coefficients, load
from hwseg.power.estimate import TEMPERATURE, EnergyReport, estimate

PICTURES = 4
"""Pictures of a folder that are looked at, spread over it by name, where not all are."""


def energy_of(
    build: Path,
    images: Path | None = None,
    *,
    full: bool = False,
    fit: str = "",
    page: int | None = None,
    temperature: float = TEMPERATURE,
    coefficients: Coefficients | None = None,
    progress: Progress = silent,
) -> EnergyReport:
    """Energy of a frame of a build folder; arguments as of `activity_of` and `hwseg.power.estimate.estimate`."""
    _, program, report = load_build(build)
    activities = _activity(build, program, images, full, fit, page, progress)
    return estimate(activities, coefficients or load(), float(report["clock_mhz"]), temperature)


def activity_of(
    build: Path,
    images: Path | None = None,
    *,
    full: bool = False,
    fit: str = "",
    page: int | None = None,
    progress: Progress = silent,
) -> tuple[LayerActivity, ...]:
    """Activity of a frame of a build folder: start-up, then every layer, as in report.json.

    images: a picture or a folder of pictures; without them the picture that `hwseg compile --calibrate` stored, and
    without that the default activity.  full: every picture, and every group of pixels, instead of a sample.  fit: how a
    picture of another size is brought to the model's, "crop" or "resize"; by default it is refused.  page: which one of
    a file that holds several.

    Raises HwsegError for a folder that is no build or was changed since, and for pictures that the model does not take.
    """
    _, program, _ = load_build(build)
    return _activity(build, program, images, full, fit, page, progress)


def _activity(
    build: Path, program: Program, images: Path | None, full: bool, fit: str, page: int | None, progress: Progress
) -> tuple[LayerActivity, ...]:
    stored = build / CALIBRATION
    source: SourceKind = "default"
    inputs: list[np.ndarray] = []
    if images is not None:
        inputs = read_images(images, program.graph, full, fit, page)
        source = "full" if full else "images"
    elif stored.is_file():
        inputs = [stored_picture(build)]
        source = "calibration"
    maps = []
    for number, picture in enumerate(inputs):
        progress(f"golden model, picture {number + 1} of {len(inputs)}")
        maps.append(golden.run(program.graph, picture).tensors)
    return activity_of_program(program, maps, source, full=full, progress=progress)


def stored_picture(build: Path) -> np.ndarray:
    """The picture of `hwseg compile --calibrate`, as integers [H, W, C]."""
    stored = build / CALIBRATION
    with given(stored, "the picture of a build", "compile the model again"):
        return np.asarray(np.load(stored, allow_pickle=False))


def read_images(path: Path, graph: Graph, full: bool, fit: str, page: int | None = None) -> list[np.ndarray]:
    """A picture's integers, or those of a folder's pictures: all, or `PICTURES` of them."""
    files = pictures_in(path)
    if not full and len(files) > PICTURES:
        files = [files[i * len(files) // PICTURES] for i in range(PICTURES)]
    return [read_fitting(file, graph, fit, page) for file in files]


def pictures_in(path: Path) -> list[Path]:
    """The file itself, or the pictures of a folder by name."""
    if not path.is_dir():
        return [path]
    with file_errors(path):
        files = sorted(f for f in path.iterdir() if is_picture(f))
    rule = f"must hold pictures ({', '.join(SUFFIXES)}), holds none"
    require(len(files) > 0, str(path), rule, "give a picture or a folder of them")
    return files


def read_fitting(path: Path, graph: Graph, fit: str = "", page: int | None = None) -> np.ndarray:
    """A picture's integers; without `fit` one of another size is refused."""
    try:
        return read_input(path, graph, fit, page)
    except HwsegError as error:
        if "--fit" in error.cure:
            raise HwsegError(error.place, error.rule, "crop or resize it first") from None
        raise


def npy_bytes(picture: np.ndarray) -> bytes:
    """A .npy file's content: the same integers give the same bytes."""
    content = io.BytesIO()
    np.save(content, picture, allow_pickle=False)
    return content.getvalue()

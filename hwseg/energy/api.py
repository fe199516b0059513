"""From a build folder to its energy: what `hwseg report` calls."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hwseg import golden
from hwseg.compile.activity import Skipping
from hwseg.compile.api import Program
from hwseg.compile.report import STARTUP
from hwseg.energy.data import Observed, observe
from hwseg.energy.engine import Data, events
from hwseg.energy.traffic import Traffic, startup, traffic
from hwseg.errors import HwsegError, require
from hwseg.files import file_errors
from hwseg.image import read_input
from hwseg.ir import Graph
from hwseg.power.activity import LayerActivity, SourceKind
from hwseg.power.coefficients import Coefficients, load
from hwseg.power.cores import CoreActivity, core_activity
from hwseg.power.estimate import TEMPERATURE, EnergyReport, estimate

Progress = Callable[[str], None]
Maps = Mapping[str, np.ndarray]

DEFAULT = Data(lane_toggles=0.18, feed_toggles=0.21, ones=0.17)
"""Where no picture was looked at: the mean over the layers of the shipped networks on the demo's picture."""

DEFAULT_ERROR = 0.5
"""Relative error of what follows from `DEFAULT`: those layers' feeds toggle between 0.07 and 0.47 of the time."""

CALIBRATION = "calibration.npy"
"""In a build folder: the integers [H, W, C] of the picture of `hwseg compile --calibrate`."""

PICTURES = 4
"""Pictures of a folder that are looked at, spread over it by name, where not all are."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".ppm", ".npy")


def _silent(_: str) -> None:
    """No progress."""


def energy_of(
    build: Path,
    images: Path | None = None,
    *,
    full: bool = False,
    fit: str = "",
    temperature: float = TEMPERATURE,
    coefficients: Coefficients | None = None,
    progress: Progress = _silent,
) -> EnergyReport:
    """Energy of a frame of a build folder; arguments as of `activity_of` and `hwseg.power.estimate.estimate`."""
    from hwseg.sim.simulate import load_build

    _, program, report = load_build(build)
    activities = _activity(build, program, images, full, fit, progress)
    return estimate(activities, coefficients or load(), float(report["clock_mhz"]), temperature)


def activity_of(
    build: Path, images: Path | None = None, *, full: bool = False, fit: str = "", progress: Progress = _silent
) -> tuple[LayerActivity, ...]:
    """Activity of a frame of a build folder: start-up, then every layer, as in report.json.

    images: a picture or a folder of pictures; without them the picture that `hwseg compile --calibrate` stored, and
    without that the default activity.  full: every picture, and every group of pixels, instead of a sample.  fit: how a
    picture of another size is brought to the model's, "crop" or "resize"; by default it is refused.

    Raises HwsegError for a folder that is no build or was changed since, and for pictures that the model does not take.
    """
    from hwseg.sim.simulate import load_build

    _, program, _ = load_build(build)
    return _activity(build, program, images, full, fit, progress)


def _activity(
    build: Path, program: Program, images: Path | None, full: bool, fit: str, progress: Progress
) -> tuple[LayerActivity, ...]:
    stored = build / CALIBRATION
    source: SourceKind = "default"
    inputs: list[np.ndarray] = []
    if images is not None:
        inputs = read_images(images, program.graph, full, fit)
        source = "full" if full else "images"
    elif stored.is_file():
        with file_errors(stored):
            inputs = [np.load(stored, allow_pickle=False)]
        source = "calibration"
    maps = []
    for number, picture in enumerate(inputs):
        progress(f"golden model, picture {number + 1} of {len(inputs)}")
        maps.append(golden.run(program.graph, picture).tensors)
    return activity_of_program(program, maps, source, full=full, progress=progress)


def read_images(path: Path, graph: Graph, full: bool, fit: str) -> list[np.ndarray]:
    """A picture's integers, or those of a folder's pictures: all, or `PICTURES` of them."""
    files = [path]
    if path.is_dir():
        with file_errors(path):
            files = sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES)
        rule = f"must hold pictures ({', '.join(SUFFIXES)}), holds none"
        require(len(files) > 0, str(path), rule, "give a picture or a folder of them")
        if not full and len(files) > PICTURES:
            files = [files[i * len(files) // PICTURES] for i in range(PICTURES)]
    return [read_fitting(file, graph, fit) for file in files]


def read_fitting(path: Path, graph: Graph, fit: str = "") -> np.ndarray:
    """A picture's integers; without `fit` one of another size is refused."""
    try:
        return read_input(path, graph, fit)
    except HwsegError as error:
        if "--fit" in error.cure:
            raise HwsegError(error.place, error.rule, "crop or resize it first") from None
        raise


def npy_bytes(picture: np.ndarray) -> bytes:
    """A .npy file's content: the same integers give the same bytes."""
    content = io.BytesIO()
    np.save(content, picture, allow_pickle=False)
    return content.getvalue()


def activity_of_program(
    program: Program,
    pictures: Sequence[Maps] = (),
    source: SourceKind = "default",
    *,
    full: bool = False,
    core: CoreActivity | None = None,
    skipping: Skipping | None = None,
    progress: Progress = _silent,
) -> tuple[LayerActivity, ...]:
    """As `activity_of`, of a program and the integers of every map on some pictures.

    core: of another netlist.  skipping: what is left out on such a picture; without it execution is dense.  Planes
    that are left out are zero, so what toggles is spread over those that remain.
    """
    timing, config = program.timing(saved=skipping.saved if skipping else None), program.config
    counts = traffic(program.program, timing, config)
    core = core or core_activity(config.core, config.lanes)
    first = startup(timing)
    still = events(config, first, Data(0.0, 0.0, 0.0), core)
    found = [LayerActivity(STARTUP, STARTUP, 0, 0, 0.0, first.cycles, 0, 0, still, source, 0.0)]
    for plan in program.plans:
        progress(f"activity of {plan.layer.name}, layer {plan.index + 1} of {len(program.plans)}")
        count = counts[plan.index]
        seen = Observed(DEFAULT, 0.0, DEFAULT_ERROR)
        if pictures:
            seen = observe(plan, pictures, config, count.last_steps / max(count.steps, 1), full)
        if skipping:
            count, seen = left_out(count, seen, skipping.planes[plan.index][1])
        found.append(
            LayerActivity(
                name=plan.layer.name,
                op=plan.layer.op + ("+pool" if plan.layer.pooled else "") + ("+head" if plan.layer.dot else ""),
                macs=plan.layer.macs,
                planes=max(s.planes for s in plan.sources),
                skipped_planes=seen.skipped_planes,
                cycles=count.cycles,
                ddr_read=8 * count.read_words,
                ddr_written=8 * count.written_words,
                events=events(config, count, seen.data, core),
                source=source,
                error=float(np.hypot(seen.error, core.fit_error)) if pictures else DEFAULT_ERROR,
            )
        )
    return tuple(found)


def left_out(count: Traffic, seen: Observed, planes: int) -> tuple[Traffic, Observed]:
    """A layer without so many plane cycles, in which nothing toggled."""
    executed = count.plane_cycles - planes
    more = count.plane_cycles / executed
    data = Data(*(min(1.0, more * rate) for rate in (seen.data.lane_toggles, seen.data.feed_toggles, seen.data.ones)))
    return replace(count, plane_cycles=executed), replace(seen, data=data)

"""A build's report made again: with the energy of given pictures, with what the simulation found, in a folder of its
own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hwseg import golden
from hwseg.builds.energy import CALIBRATION, energy_of, pictures_in, read_fitting, stored_picture
from hwseg.builds.files import json_bytes
from hwseg.builds.read import board_of, load_graph, read_report
from hwseg.builds.simulation import SIMULATION, simulation
from hwseg.clock.spans import record
from hwseg.clock.timeline import timeline
from hwseg.clock.timing import STARTUP
from hwseg.compile.lower.dial import turned
from hwseg.errors import require
from hwseg.files import build_folder, file_errors
from hwseg.power.coefficients import Coefficients
from hwseg.power.estimate import TEMPERATURE, EnergyReport
from hwseg.report.energy import has_energy, with_energy
from hwseg.report.html import CALIBRATED, Picture, html, segmented, timeline_svg
from hwseg.report.text import csv_text, markdown
from hwseg.rtl.config import parse_array

OWNER = "hwseg-report"
Progress = Callable[[str], None]


def _silent(_: str) -> None:
    """No progress."""


@dataclass(frozen=True)
class Report:
    """What a build's pages are made of.  report: as report.json holds it.  simulated: a sentence, or "".  energy: what
    the report's figures are from, where they were estimated anew.
    """

    build: Path
    report: Mapping[str, Any]
    pictures: tuple[Picture, ...] = ()
    simulated: str = ""
    energy: EnergyReport | None = None

    def beside(self, told: str, watts: Mapping[str, float], estimated: Mapping[str, float]) -> Report:
        """With the figures of a vendor's tool: a sentence, W by the rows of its summary, and our W of the same."""
        vivado = {"told": told, "watts": dict(watts), "estimated_watts": dict(estimated)}
        return replace(self, report={**self.report, "vivado": vivado})

    def contents(self, boundary: str) -> dict[str, bytes]:
        """Every file, by its name; `boundary`: of the energies that are shown first."""
        program = self.build / "program.bin"
        with file_errors(program):
            words = program.read_bytes()
        latency = board_of(self.build, self.report).ddr_latency
        names = [row["name"] for row in self.report["layers"] if row["op"] != STARTUP]
        found = timeline(record(words, parse_array(str(self.report["array"])), latency), names)
        pictures = list(self.pictures)
        if not pictures and (picture := calibrated(self.build, int(self.report.get("planes", 8)))):
            pictures = [picture]
        page = html(self.report, found, pictures, self.simulated, boundary)
        return {
            "report.json": json_bytes(self.report),
            "report.md": markdown(self.report, boundary).encode(),
            "report.csv": csv_text(self.report).encode(),
            "report.html": page.encode(),
            "timeline.svg": timeline_svg(self.report, found).encode(),
        }

    def write(self, folder: Path, boundary: str) -> None:
        """All files in `folder`, or none; an older report there is replaced, anything else refused."""
        contents = self.contents(boundary)
        with build_folder(folder, OWNER) as scratch:
            for name, content in contents.items():
                (scratch / name).write_bytes(content)


def read(build: Path) -> Report:
    """The report as it was compiled, with the mask of the last simulation of this very build."""
    report = read_report(build)
    require(
        "inputs" in report["layers"][-1] and has_energy(report),
        str(build),
        "was compiled by an older hwseg: its report has no energy",
        "compile it again",
    )
    found = simulation(build)
    if found is None:
        return Report(build, report)
    overlay = build / SIMULATION / "overlay.png"
    with file_errors(overlay):
        picture = Picture(overlay.read_bytes(), f"The mask that the simulated engine found in {found['image']}.")
    equal = "as predicted" if found["cycles"] == found["predicted_cycles"] else "which was not predicted"
    said = f"Simulated: {found['cycles']:,} cycles, {equal}, {found['mismatches']:,} wrong values in all feature maps."
    return Report(build, report, (picture,), said)


def estimated(
    build: Path,
    images: Path | None,
    *,
    full: bool = False,
    fit: str = "",
    page: int | None = None,
    temperature: float = TEMPERATURE,
    coefficients: Coefficients | None = None,
    progress: Progress = _silent,
) -> Report:
    """The report with the energy that `hwseg.energy.api.energy_of` finds; arguments as there."""
    start = read(build)
    pictures = start.pictures
    if images is not None:
        planes = int(start.report.get("planes", 8))
        pictures = (overlay_of(build, images, planes, fit, page, progress),)
    energy = energy_of(
        build,
        images,
        full=full,
        fit=fit,
        page=page,
        temperature=temperature,
        coefficients=coefficients,
        progress=progress,
    )
    return Report(build, with_energy(start.report, energy), pictures, start.simulated, energy)


def first_image(images: Path) -> Path:
    """The picture to show: the file itself, or the first of a folder by name."""
    return pictures_in(images)[0]


def overlay_of(
    build: Path,
    images: Path,
    planes: int = 8,
    fit: str = "",
    page: int | None = None,
    progress: Progress = _silent,
) -> Picture:
    """The golden model's mask on a picture, or on the first of a folder by name."""
    image = first_image(images)
    progress(f"mask of {image.name}")
    graph = turned(load_graph(build), planes)
    q = read_fitting(image, graph, fit, page)
    found = golden.run(graph, q, taps=())
    return segmented(graph, q, found, f"The mask that the exact integers find in {image.name}.")


def calibrated(build: Path, planes: int) -> Picture | None:
    """The mask on the picture of `hwseg compile --calibrate`; None without one."""
    stored = build / CALIBRATION
    if not stored.is_file():
        return None
    graph = turned(load_graph(build), planes)
    q = stored_picture(build)
    return segmented(graph, q, golden.run(graph, q, taps=()), CALIBRATED)

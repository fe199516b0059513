"""`hwseg report`: what a build costs and how fast it is, with the energy of given pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hwseg.commands.options import page_option

if TYPE_CHECKING:
    from hwseg.builds.again import Report


@click.command("report")
@click.argument("build", type=click.Path(path_type=Path))
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="A picture, or a folder of them: count the activity of their data.",
)
@click.option("--full", is_flag=True, help="Count everything in them, not samples.")
@click.option("--fit", type=click.Choice(["crop", "resize"]), help="Bring pictures to the model's size.")
@page_option()
@click.option("--boundary", metavar="NAME", help="Energy that is shown: core, pl, pl_ps or board.  [default: pl]")
@click.option("--temperature", type=float, help="Of the junction, in degrees Celsius.  [default: 50]")
@click.option("--coefficients", type=click.Path(path_type=Path), help="Energies per event; default: hwseg's own.")
@click.option("--vivado", "with_vivado", is_flag=True, help="Run Vivado's report_power with the activity, too (long).")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Folder for the files; with new energies BUILD/report."
)
@click.option("--json", "as_json", is_flag=True, help="Print report.json.")
def command(
    build: Path,
    images: Path | None,
    full: bool,
    fit: str | None,
    page: int | None,
    boundary: str | None,
    temperature: float | None,
    coefficients: Path | None,
    with_vivado: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Show the layers, totals, energy and resources of a BUILD folder; report.html in it has the charts.

    With --images (or another temperature or coefficients) the energy is estimated anew, and report.html, .md, .csv and
    .json are written.
    """
    from hwseg.builds import again as reports
    from hwseg.builds.files import json_bytes
    from hwseg.commands.tables import show, show_energy, show_energy_of_frame
    from hwseg.commands.terminal import Phases
    from hwseg.errors import require
    from hwseg.locks import in_use
    from hwseg.power.coefficients import load
    from hwseg.power.estimate import TEMPERATURE
    from hwseg.report.energy import chosen_boundary

    shown = chosen_boundary(boundary)
    require(images is not None or not full, "--full", "needs pictures to look at", "add --images")
    require(images is not None or page is None, "--page", "needs pictures to look at", "add --images")
    anew = with_vivado or images is not None or temperature is not None or coefficients is not None
    with Phases("reading the build") as phases, in_use(build, shared=True):
        if anew:
            found = reports.estimated(
                build,
                images,
                full=full,
                fit=fit or "",
                page=page,
                temperature=TEMPERATURE if temperature is None else temperature,
                coefficients=None if coefficients is None else load(coefficients),
                progress=phases,
            )
            if with_vivado:
                found = beside_vivado(found, images, fit or "", page, phases)
        else:
            found = reports.read(build)
        folder = build / "report" if out is None and anew else out
        if folder is not None:
            phases("writing the report")
            found.write(folder, shown)
    if as_json:
        click.echo(json_bytes(found.report).decode(), nl=False)
        return
    show(found.report)
    show_energy(found.report, shown)
    show_energy_of_frame(found.report)
    if found.simulated:
        click.echo(found.simulated)
    if with_vivado:
        click.echo(found.report["vivado"]["told"])
    click.echo(f"charts: {(folder or build) / 'report.html'}")


def beside_vivado(
    found: Report, images: Path | None, fit: str, page: int | None, progress: Callable[[str], None]
) -> Report:
    """The report with what Vivado says."""
    from hwseg.bench.vivado import compare

    assert found.energy is not None
    figures = compare(found.build, images, found.energy, progress, fit, page)
    return found.beside(figures.told, figures.vivado, figures.estimated.json())

"""`hwseg segment`: masks of pictures of any size, in their own format."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hwseg.commands.options import input_option, page_option

if TYPE_CHECKING:
    from hwseg.segment.engines import Engine
    from hwseg.segment.run import Segmented


@click.command("segment")
@click.argument("source", metavar="MODEL|BUILD", type=click.Path(path_type=Path))
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder for masks, or one mask's file."
)
@click.option(
    "--on",
    type=click.Choice(["golden", "machine", "simulation"]),
    help="What computes: the golden model, the program's instructions in NumPy, or the simulated engine.  [golden]",
)
@click.option("--tile", metavar="HxW", help="Size of the tiles of --on golden; default: about 1024x1024.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Tiles computed at once, by joblib.")
@click.option("--dask", metavar="ADDRESS", default="", help="Compute on the workers of a Dask scheduler.")
@click.option("--overlay", is_flag=True, help="Draw each mask's outline on its picture, too.")
@click.option(
    "--measure", type=click.Path(path_type=Path), help="CSV file for size, place and brightness of every object."
)
@click.option("--resume", is_flag=True, help="Go on with a run that was interrupted.")
@input_option()
@page_option()
def command(
    source: Path,
    inputs: tuple[Path, ...],
    out: Path,
    on: str | None,
    tile: str | None,
    jobs: int,
    dask: str,
    overlay: bool,
    measure: Path | None,
    resume: bool,
    meaning: str,
    page: int | None,
) -> None:
    """Segment pictures of any size by tiles that give the same as the whole picture computed at once.

    INPUT are files, folders of pictures, or folders with a DICOM series; of a file with several pictures, all are
    segmented unless --page chooses one.  A mask has its picture's format, size and geometry.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from hwseg.commands.terminal import console, visible
    from hwseg.locks import in_use
    from hwseg.quant.read.reshape import parse_size
    from hwseg.segment.engines import open_engine
    from hwseg.segment.results import Options
    from hwseg.segment.run import segment

    size = None if tile is None else parse_size(tile, "--tile")
    options = Options(page, jobs, dask, overlay, measure, resume)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ExitStack() as stack:
        if os.path.isdir(source):
            stack.enter_context(in_use(source, shared=True))
        engine = open_engine(source, on or "", meaning, size)
        stack.callback(engine.close)
        if engine.network.said:
            click.echo(visible(engine.network.said), err=True)
        bars = stack.enter_context(Progress(*columns, console=console(stderr=True), transient=True))
        task = bars.add_task("reading", total=None)

        def show(name: str, done: int, total: int) -> None:
            bars.update(task, completed=done, total=total, description=visible(name))

        found = segment(engine, inputs, out, options, show)
    report(engine, found, measure)


def report(engine: Engine, found: list[Segmented], measure: Path | None) -> None:
    """A line for each mask, and one for all."""
    from hwseg.commands.terminal import visible

    for one in found:
        item, grid = one.plan.item, one.plan.grid
        size = f"{item.size[0]}x{item.size[1]}" + (f", {len(item.pages)} pictures" if len(item.pages) > 1 else "")
        how = "scaled to the network's size, classes scaled back"
        if not one.plan.scaled:
            plural = "s" if one.plan.tiles > 1 else ""
            how = f"{one.plan.tiles} tile{plural} of {grid.tile[0]}x{grid.tile[1]}, "
            how += f"{grid.surplus:.1%} more pixels than its own"
        again = f", {one.resumed} of them finished before" if one.resumed else ""
        told = f"{item.source.name}: {size}, {how}{again}, foreground {one.foreground:.1%}: {item.out}"
        click.echo(visible(told))
    seconds, computed = sum(one.seconds for one in found), sum(one.computed for one in found)
    speed = f", {computed / seconds / 1e6:.2f} million pixels a second" if seconds > 0 and computed else ""
    click.echo(f"{len(found)} mask{'s' if len(found) != 1 else ''} on {engine.on} in {seconds:.1f} s{speed}")
    if measure is not None:
        click.echo(visible(f"objects: {measure}"))

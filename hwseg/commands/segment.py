"""`hwseg segment`: masks of pictures of any size, in their own format."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import click

from hwseg.commands.options import input_option, output_option, page_option


@click.command("segment")
@click.argument("source", metavar="MODEL|BUILD|PACKAGE", type=click.Path(path_type=Path))
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder for masks, or one mask's file."
)
@click.option(
    "--on",
    type=click.Choice(["golden", "machine", "simulation", "board"]),
    help="What computes: the golden model, the program's instructions in NumPy, the simulated engine, or the board "
    "that this runs on.  [golden; of a package the board]",
)
@click.option("--tile", metavar="HxW", help="Size of the tiles of --on golden; default: about 1024x1024.")
@click.option("--model", default="", help="Which model of a package.  [its first]")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Tiles computed at once, by joblib.")
@click.option("--dask", metavar="ADDRESS", default="", help="Compute on the workers of a Dask scheduler.")
@click.option("--overlay", is_flag=True, help="Draw each mask's outline on its picture, too.")
@click.option(
    "--measure", type=click.Path(path_type=Path), help="CSV file for size, place and brightness of every object."
)
@click.option("--trust", is_flag=True, help="Write NAME.confidence.png, hatch deferred pixels, say what to review.")
@click.option("--resume", is_flag=True, help="Go on with a run that was interrupted.")
@input_option()
@output_option()
@page_option()
def command(
    source: Path,
    inputs: tuple[Path, ...],
    out: Path,
    on: str | None,
    tile: str | None,
    model: str,
    jobs: int,
    dask: str,
    overlay: bool,
    measure: Path | None,
    trust: bool,
    resume: bool,
    meaning: str,
    output: str,
    page: int | None,
) -> None:
    """Segment pictures of any size by tiles that give the same as the whole picture computed at once.

    INPUT are files, folders of pictures, or folders with a DICOM series; of a file with several pictures, all are
    segmented unless --page chooses one.  A mask has its picture's format, size and geometry.  On a board, the wheel of
    a package has this command for packages.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from hwseg.commands.terminal import console, visible
    from hwseg.locks import in_use
    from hwseg.quant.read.reshape import parse_size
    from hwseg.segment.engines import open_engine
    from hwseg.segment.results import Options
    from hwseg.segment.run import segment
    from hwseg.segment.told import lines

    size = None if tile is None else parse_size(tile, "--tile")
    options = Options(page, jobs, dask, overlay, measure, resume)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ExitStack() as stack:
        if os.path.isdir(source):
            stack.enter_context(in_use(source, shared=True))
        engine = open_engine(source, on or "", meaning, size, model, trust, output)
        stack.callback(engine.close)
        if engine.network.said:
            click.echo(visible(engine.network.said), err=True)
        bars = stack.enter_context(Progress(*columns, console=console(stderr=True), transient=True))
        task = bars.add_task("reading", total=None)

        def show(name: str, done: int, total: int) -> None:
            bars.update(task, completed=done, total=total, description=visible(name))

        found = segment(engine, inputs, out, options, show)
    for line in lines(engine.on, found, measure):
        click.echo(visible(line.replace("\n", "\\n")))  # a name's line break is not one of ours

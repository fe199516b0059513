"""What `hwseg eval --trust` prints and writes, and how far it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwseg.commands.terminal import console, visible

if TYPE_CHECKING:
    from hwseg.datasets.pairs import Pair
    from hwseg.ir import Graph
    from hwseg.trust.fitting.evaluate import Evaluation
    from hwseg.trust.fitting.observe import Progress

ROWS = {
    "error": "wrong pixels",
    "calibration_error_before": "calibration error before",
    "calibration_error": "after fitting",
    "calibration_error_softmax": "of the float softmax",
    "area": "area under risk-coverage",
    "auroc": "AUROC for wrong pixels",
    "removed_at_5": "errors removed, deferring 5 %",
    "removed_at_12": "deferring 12 %",
    "removed_at_20": "deferring 20 %",
    "deferred": "deferred by the bound",
    "removed": "errors removed by it",
    "remaining": "wrong pixels left",
}
"""Figures of a part, for people."""


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Pictures that are done, on standard error: `with progress_bar() as progress: progress("fitting", 3, 8)`."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Bars(*columns, console=console(stderr=True), transient=True) as bars:
        task = bars.add_task("reading", total=None)

        def progress(doing: str, done: int, total: int) -> None:
            bars.update(task, description=visible(doing), completed=done, total=total)

        yield progress


def measure_trust(
    graph: Graph, parts: Mapping[str, Sequence[Pair]], others: Sequence[str], scaling: str, dice: float, folder: Path
) -> None:
    """Measure, print, and write trust.json and trust.png into `folder`."""
    from hwseg.files import file_errors, write_whole
    from hwseg.trust.fitting.draw import figure_png
    from hwseg.trust.fitting.evaluate import evaluate

    with progress_bar() as progress:
        found = evaluate(graph, parts, others, scaling, dice, progress)
    show(found)
    content: dict[str, Any] = {"model": graph.name, **found.json()}
    with file_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "trust.json", (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    write_whole(folder / "trust.png", figure_png(found))
    click.echo(visible(f"{folder / 'trust.json'}, {folder / 'trust.png'}"))


def show(found: Evaluation) -> None:
    """Tables: pixels, pictures, witnesses; intervals are 95 % bootstrap over pictures."""
    from rich.table import Table

    out = console()
    pixels = Table(box=None, pad_edge=False)
    pixels.add_column("pixels")
    for part in found.parts:
        pixels.add_column(f"{part.name} ({len(part.pictures)} pictures)", justify="right")
    for name, words in ROWS.items():
        if name in found.parts[0].figures:
            pixels.add_row(words, *(str(part.figures[name]) for part in found.parts))
    out.print(pixels)
    pictures = Table(box=None, pad_edge=False)
    pictures.add_column("pictures")
    for part in found.parts:
        pictures.add_column(f"{part.name}: rank correlation", justify="right")
        pictures.add_column(f"AUROC, Dice < {found.dice:g} ({part.bad})", justify="right")
    if found.shift:
        pictures.add_column("AUROC, shifted", justify="right")
    for score in found.parts[0].scores:
        cells = [str(part.scores[score][key]) for part in found.parts for key in ("rank", "bad")]
        chosen = " (chosen)" if score == found.score else ""
        pictures.add_row(score + chosen, *cells, *([str(found.shift[score])] if found.shift else []))
    out.print(pictures)
    for one in found.witnesses:
        table = Table(box=None, pad_edge=False)
        table.add_column(f"{one.name}: {one.cycles:,} cycles a picture, {one.cycles / one.own:.2f} of {one.own:,}")
        for part in found.parts:
            table.add_column(part.name, justify="right")
        for name in ("auroc", "area", "removed_at_5", "removed_at_12", "calibration_error"):
            table.add_row(ROWS[name], *(str(one.figures[part.name][name]) for part in found.parts))
        out.print(table)

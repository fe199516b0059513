"""`hwseg compare`: builds side by side."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hwseg.report.compare import Comparison

SUFFIXES = (".html", ".md", ".csv", ".json")


@click.command("compare")
@click.argument("builds", nargs=-1, type=click.Path(path_type=Path))
@click.option("--boundary", metavar="NAME", help="Energy that is shown: core, pl, pl_ps or board.  [default: pl]")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), multiple=True, help="File to write: .html, .md, .csv or .json."
)
def command(builds: tuple[Path, ...], boundary: str | None, out: tuple[Path, ...]) -> None:
    """Compare BUILDS, each a build folder or what `hwseg report -o` wrote; ratios are to the first."""
    from hwseg.builds import again as reports
    from hwseg.errors import require
    from hwseg.files import write_whole
    from hwseg.locks import in_use
    from hwseg.report.compare import compare
    from hwseg.report.energy import chosen_boundary

    shown = chosen_boundary(boundary)
    for path in out:
        rule = f"must end in {', '.join(SUFFIXES)}"
        require(path.suffix in SUFFIXES, str(path), rule, f"use {path.with_suffix('.html').name}")
    with ExitStack() as locks:
        for build in builds:
            locks.enter_context(in_use(build, shared=True))
        found = compare([_name(b.resolve()) for b in builds], [reports.read(build).report for build in builds])
    contents = {path: _content(found, path.suffix, shown) for path in out}
    show(found, shown)
    for path, content in contents.items():
        write_whole(path, content)
        click.echo(f"wrote {path}")


def _name(folder: Path) -> str:
    """A build's folder; for its `report` folder the build's."""
    return folder.parent.name if folder.name == "report" else folder.name


def _content(found: Comparison, suffix: str, boundary: str) -> bytes:
    from hwseg.builds.files import json_bytes
    from hwseg.report.compare import as_json, csv_table, markdown_table
    from hwseg.report.pages.compare_view import compare_html

    if suffix == ".json":
        return json_bytes(as_json(found))
    if suffix == ".csv":
        return csv_table(found).encode()
    return (markdown_table if suffix == ".md" else compare_html)(found, boundary).encode()


def show(found: Comparison, boundary: str) -> None:
    """The table on the terminal; what is better than in the first build is green."""
    from rich.table import Table
    from rich.text import Text

    from hwseg.commands.terminal import console
    from hwseg.report.compare import LARGE, NEITHER, ratio_text, shown

    out = console()
    for name, model in zip(found.names, found.models, strict=True):
        out.print(f"{name}: {model}", highlight=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("figure", overflow="fold")
    for i, name in enumerate(found.names):
        table.add_column(name, justify="right", overflow="fold")
        if i:
            table.add_column("ratio", justify="right")
    for figure in shown(found, boundary):
        cells: list[str | Text] = [figure.texts[0]]
        for text, ratio in zip(figure.texts[1:], figure.ratios[1:], strict=True):
            told = ratio_text(ratio)
            better = ratio is not None and ((ratio > 1) == (figure.better == LARGE)) and told != "1.00x"
            cells += [text, Text(told, "green") if better and figure.better != NEITHER else told]
        table.add_row(figure.name, *cells)
    out.print(table)
    for note in found.notes:
        out.print(note, style="yellow")

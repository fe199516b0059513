"""`hwseg package`: one archive of a build for a board project."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("package")
@click.argument("build", type=click.Path(path_type=Path))
@click.option("--board", default="zynq7020", show_default=True, help="Board that the build was compiled for.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="The archive; default BUILD.zip.")
def command(build: Path, board: str, out: Path | None) -> None:
    """Put Verilog, program, weights, register and memory map of BUILD into one reproducible archive.

    The engine without the top level around the PS7: it makes no bitstream yet.
    """
    from hwseg.boards import load_board
    from hwseg.boards.zynq7020.package import package

    archive = out or build.with_name(build.name + ".zip")
    names = package(build, load_board(board), archive)
    click.echo(f"wrote {archive}: {', '.join(names)}")

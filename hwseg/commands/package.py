"""`hwseg package`: builds and everything that a board needs to run them, in one folder."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click


@click.command("package")
@click.argument("builds", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--board", required=True, help="A board that there is: a name (a wrong one lists them), or a board file (.toml)."
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="The folder; default: the first build's name and the board's."
)
@click.option("--archive", is_flag=True, help="Also write it as one ZIP file, the same byte for byte.")
@click.option("--bitstream", is_flag=True, help="Make the bitstream now, with the open tools (an hour or so).")
@click.option("--chipdb", type=click.Path(path_type=Path), help="nextpnr-xilinx's database of the part.")
@click.option("--prjxray-db", type=click.Path(path_type=Path), help="The folder zynq7 of prjxray's database.")
def command(
    builds: tuple[Path, ...],
    board: str,
    out: Path | None,
    archive: bool,
    bitstream: bool,
    chipdb: Path | None,
    prjxray_db: Path | None,
) -> None:
    """Put BUILDS of one array into a folder with top level, constraints, scripts, driver and notebook for a board.

    Several builds share one bitstream; only program and weights differ.
    """
    from hwseg.boards import find_board
    from hwseg.boards.zynq7020.bitstream import make_bitstream, require_tools
    from hwseg.boards.zynq7020.package import archive as write_archive
    from hwseg.boards.zynq7020.package import package
    from hwseg.files import Sealed
    from hwseg.locks import in_use

    target = find_board(board)
    folder = out or builds[0].with_name(f"{builds[0].name}-{target.name}")
    if bitstream:
        require_tools(chipdb, prjxray_db)
    with ExitStack() as locks:
        locks.enter_context(in_use(folder))
        for build in builds:
            locks.enter_context(in_use(build, shared=True))
        clocked = package(builds, target, folder)
        if bitstream:
            assert chipdb is not None
            assert prjxray_db is not None
            make_bitstream(folder, clocked, chipdb, prjxray_db, lambda step: click.echo(step, err=True))
        count = len(Sealed.of(folder).digests) + 1
        click.echo(f"wrote {folder}: {count} files for the {target.title} at {clocked.ps.fclk.mhz:.3f} MHz")
        if archive:
            zipped = folder.with_name(folder.name + ".zip")
            write_archive(folder, zipped)
            click.echo(f"wrote {zipped}")

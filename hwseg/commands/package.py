"""`hwseg package`: builds and everything that a board needs to run them, in one folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hwseg.boards import Board


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
@click.option("--seed", type=click.IntRange(1, 1 << 30), default=1, show_default=True, help="Of the placement.")
@click.option("--seeds", type=click.IntRange(1, 1000), default=1, help="Try so many from --seed on, take the fastest.")
@click.option("--time-limit", type=click.FloatRange(0, min_open=True), help="Minutes for the bitstream.  [none]")
@click.option("--require-clock", is_flag=True, help="Fail if the clock is missed, instead of taking a slower one.")
@click.option("--chipdb", type=click.Path(path_type=Path), help="nextpnr-xilinx's database of the part.")
@click.option("--prjxray-db", type=click.Path(path_type=Path), help="The folder zynq7 of prjxray's database.")
def command(
    builds: tuple[Path, ...],
    board: str,
    out: Path | None,
    archive: bool,
    bitstream: bool,
    seed: int,
    seeds: int,
    time_limit: float | None,
    require_clock: bool,
    chipdb: Path | None,
    prjxray_db: Path | None,
) -> None:
    """Put BUILDS of one array into a folder with top level, constraints, scripts, driver and notebook for a board.

    Several builds share one bitstream; only program and weights differ.  A bitstream that misses the clock is kept: the
    models are compiled for the nearest clock that it can have.
    """
    from hwseg.boards import find_board
    from hwseg.boards.zynq7020.package import archive as write_archive
    from hwseg.boards.zynq7020.package import package, packaged
    from hwseg.errors import require
    from hwseg.files import Sealed
    from hwseg.locks import in_use
    from hwseg.runtime.fpga import BIT

    plain = seed == seeds == 1 and time_limit is None and not require_clock
    rule = "go with --bitstream alone"
    require(bitstream or plain, "--seed, --seeds, --time-limit and --require-clock", rule, "add --bitstream")
    finite = time_limit is None or isfinite(time_limit)
    require(finite, "--time-limit", f"must be a number of minutes, is {time_limit}", "leave it out for none")
    target = find_board(board)
    first = named(builds[0])
    folder = named(out) if out else first.with_name(f"{first.name}-{target.name}")
    if bitstream:
        ready(builds, chipdb, prjxray_db)
    with ExitStack() as locks:
        locks.enter_context(in_use(folder))
        for build in builds:
            locks.enter_context(in_use(build, shared=True))
        # A bitstream that was routed is not given up before there is another.
        files: Mapping[str, bytes] | None = None
        if bitstream and (folder / BIT).is_file():
            files, clocked = packaged(builds, target)
        else:
            clocked = package(builds, target, folder)
        if bitstream:
            assert chipdb is not None
            assert prjxray_db is not None
            tries = range(seed, seed + seeds)
            clocked = made(builds, folder, files, clocked, chipdb, prjxray_db, tries, time_limit, require_clock)
        count = len(Sealed.of(folder).digests) + 1
        click.echo(f"wrote {folder}: {count} files for the {target.title} at {clocked.ps.fclk.mhz:.3f} MHz")
        if archive:
            zipped = folder.with_name(folder.name + ".zip")
            write_archive(folder, zipped)
            click.echo(f"wrote {zipped}")


def named(folder: Path) -> Path:
    """The same folder by a path that ends in its name, also where it is `.` or `..`: others lie beside it."""
    from hwseg.errors import require

    found = folder if folder.name not in ("", "..") else Path(os.path.realpath(folder))
    require(bool(found.name), str(folder), "must be a folder that has a name", "choose another folder")
    return found


def ready(builds: Sequence[Path], chipdb: Path | None, database: Path | None) -> None:
    """Refuse what would be found wrong after hours."""
    from hwseg.boards.zynq7020.bitstream import require_tools
    from hwseg.builds.clock import require_same_engine

    require_tools(chipdb, database)
    for build in builds:
        require_same_engine(build)


def made(
    builds: Sequence[Path],
    folder: Path,
    files: Mapping[str, bytes] | None,
    board: Board,
    chipdb: Path,
    database: Path,
    seeds: Sequence[int],
    minutes: float | None,
    require_clock: bool,
) -> Board:
    """The bitstream, in the package, with `files` as of `make_bitstream`; the board at the clock that this has now."""
    from hwseg.boards import NEXTPNR
    from hwseg.boards.zynq7020.bitstream import Effort, make_bitstream
    from hwseg.boards.zynq7020.package import packaged
    from hwseg.builds.clock import compiled_at
    from hwseg.builds.read import read_report
    from hwseg.commands.terminal import Steps, visible
    from hwseg.rtl.config import parse_array
    from hwseg.target.array import smaller_that_fits
    from hwseg.toolchain.running import Limit

    config = parse_array(str(read_report(builds[0])["array"]))
    limit = Limit(None if minutes is None else 60 * minutes)
    effort = Effort(seeds, limit, require_clock, smaller_that_fits(config, board, NEXTPNR))
    with Steps() as steps, TemporaryDirectory(prefix="hwseg-clock-") as scratch:

        def slower(clock_mhz: float, note: str) -> Mapping[str, bytes]:
            def say(phrase: str) -> None:
                steps(f"compiling for {clock_mhz:.3f} MHz", phrase)

            again = [compiled_at(b, clock_mhz, Path(scratch) / str(n), note, say).path for n, b in enumerate(builds)]
            return packaged(again, board, note)[0]

        found = make_bitstream(folder, board, chipdb, database, steps, slower, effort, files)
    click.echo(visible(found.told))
    return found.board

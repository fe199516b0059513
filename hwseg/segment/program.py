"""`hwseg segment PACKAGE` on a board, which has neither click nor rich: the same words, the same run, the same masks.

hwseg segment PACKAGE INPUT... -o OUT              where the package's wheel is installed
python3 -m hwseg.segment PACKAGE INPUT... -o OUT   the same
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic

import hwseg
from hwseg.errors import HwsegError, from_os_error, has_cure, printable
from hwseg.interrupts import Terminated, exit_status, terminable
from hwseg.segment.packaged import BOARD, SIMULATION, open_package
from hwseg.segment.results import Options
from hwseg.segment.run import segment
from hwseg.segment.told import lines

BETWEEN = 0.5
"""Seconds between two lines of progress."""


def parser() -> argparse.ArgumentParser:
    """The arguments of `hwseg segment` that go with a package."""
    whole = argparse.ArgumentParser("hwseg", description="The driver of a package.")
    whole.add_argument("--version", action="version", version=f"hwseg {hwseg.__version__}")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    told = "Segment pictures of any size, files, folders and volumes, by exact tiles."
    one = commands.add_parser("segment", help=told, description=told)
    one.add_argument("package", type=Path, metavar="PACKAGE", help="a folder of hwseg package")
    one.add_argument("inputs", type=Path, nargs="+", metavar="INPUT", help="pictures, and folders of them")
    one.add_argument("-o", "--out", type=Path, required=True, help="folder for masks, or one mask's file")
    one.add_argument("--on", choices=(BOARD, SIMULATION), default=BOARD, help="what computes [%(default)s]")
    one.add_argument("--model", default="", help="which model of the package [its first]")
    one.add_argument("--overlay", action="store_true", help="draw each mask's outline on its picture, too")
    one.add_argument("--measure", type=Path, help="CSV file for size, place and brightness of every object")
    told = "write NAME.confidence.png, hatch deferred pixels, say what to review"
    one.add_argument("--trust", action="store_true", help=told)
    one.add_argument("--resume", action="store_true", help="go on with a run that was interrupted")
    one.add_argument("--page", type=_page, help="which picture of a file that holds several, from 0")
    return whole


def _page(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it.  The exit status is 0, 2 (bad input), 130 (Ctrl-C) or 143 (SIGTERM), as of every command of hwseg."""
    given = parser().parse_args(arguments)
    try:
        with terminable():
            _segment(given)
    except HwsegError as error:
        return _failed(str(error), 2)
    except KeyboardInterrupt as stop:
        said = f"interrupted by {stop}" if isinstance(stop, Terminated) else "interrupted"
        return _failed(said, exit_status(stop))
    except OSError as error:
        if not has_cure(error):
            raise
        return _failed(str(from_os_error(error)), 2)
    return 0


def _segment(given: argparse.Namespace) -> None:
    options = Options(given.page, overlay=given.overlay, measure=given.measure, resume=given.resume)
    with (
        closing(open_package(given.package, given.on, given.model, given.trust)) as engine,
        closing(Progress()) as show,
    ):
        found = segment(engine, given.inputs, given.out, options, show)
    for line in lines(engine.on, found, given.measure):
        print(printable(line))


class Progress:
    """Tiles that are done, on one line of a terminal's standard error."""

    def __init__(self) -> None:
        self._last, self._shown = 0.0, 0

    def __call__(self, name: str, done: int, total: int) -> None:
        if sys.stderr.isatty() and monotonic() - self._last > BETWEEN:
            line = f"{printable(name, 40)}: {done} of {total} tiles"
            print("\r" + line.ljust(self._shown), end="", file=sys.stderr, flush=True)
            self._last, self._shown = monotonic(), len(line)

    def close(self) -> None:
        """The line goes."""
        if self._shown:
            print("\r" + " " * self._shown + "\r", end="", file=sys.stderr, flush=True)


def _failed(sentence: str, status: int) -> int:
    print(f"hwseg: {sentence}", file=sys.stderr)
    return status

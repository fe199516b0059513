"""The command line: one file of `hwseg/commands` per command, imported when it is called.

An `HwsegError` is one line on standard error and exit code 2; a traceback is a bug.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import click

from hwseg import __version__
from hwseg.errors import HwsegError, from_os_error, has_cure
from hwseg.interrupts import Terminated, exit_status, terminable

COMMANDS: Mapping[str, str] = {
    "data": "Look at a data set: sizes, labels, shares, copies, all that is wrong, a contact sheet.",
    "train": "Train a quantized U-Net on a folder of pictures and masks.",
    "quantize": "Turn a trained float network into integers, without training it again.",
    "adapt": "Adapt a trained network to other pictures with few parameters, then quantize it.",
    "search": "Choose the bits of every layer against predicted cycles.",
    "export": "Write a trained network as QONNX.",
    "trust": "Fit where a model's masks may be wrong and which pictures to review.",
    "eval": "Measure Dice, IoU, HD95 and NSD of a model's integers on a data set.",
    "golden": "Run a model in exact integers and compare it with other executors.",
    "segment": "Segment pictures of any size, files, folders and volumes, by exact tiles.",
    "compile": "Turn a QONNX model into Verilog, program, weights and a report.",
    "simulate": "Run a build in Verilator and compare every feature map with the golden model.",
    "report": "Show what a build costs and how fast it is, layer by layer.",
    "compare": "Put builds side by side: speed, energy, resources, and their ratios.",
    "package": "Put builds and everything that a board needs to run them into one folder.",
    "doctor": "List the external tools, their versions, and the cure for what is missing.",
    "demo": "Segment a real microscopy picture by tiles, one of them in simulated hardware.",
    "bench": "Run the benchmarks and print their figures.",
}
"""Name and summary of each command, in the order of a user's work; `hwseg/commands/<name>.py` holds it as `command`."""


class LazyGroup(click.Group):
    """A group whose commands are listed from `COMMANDS` and imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if _exists(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS or not _exists(cmd_name):
            return None
        command = importlib.import_module(f"hwseg.commands.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # click would take it for our own output's and end with 1, without a word
            raise RuntimeError("a process that hwseg started does not read any more") from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if rows := [(name, COMMANDS[name]) for name in self.list_commands(ctx)]:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def _exists(name: str) -> bool:
    return os.path.isfile(os.path.join(os.path.dirname(__file__), "commands", f"{name}.py"))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="hwseg")
def group() -> None:
    """From a quantized PyTorch U-Net to Verilog that a simulator proves right."""


def main(arguments: Sequence[str] | None = None) -> Any:
    """Run one command.

    The exit status is 0, 1 (a comparison failed), 2 (bad input), 130 (Ctrl-C) or 143 (SIGTERM).  Who reads the output
    may stop reading: the command goes on and ends as it would have.
    """
    os.environ.pop("MPLBACKEND", None)  # a notebook's, whose module need not be installed here; hwseg draws into files
    with _patient_streams():
        status = _status(arguments)
        for stream in filter(None, (sys.stdout, sys.stderr)):
            try:
                stream.flush()
            except OSError as error:
                status = 2
                with suppress(OSError):
                    _say(str(from_os_error(error)))
    sys.exit(status)


def _status(arguments: Sequence[str] | None) -> int:
    try:
        with terminable():
            status = group.main(arguments, prog_name="hwseg", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except HwsegError as error:
        _say(str(error))
        return 2
    except (KeyboardInterrupt, click.Abort) as stop:
        cause = stop.__cause__ if isinstance(stop, click.Abort) else stop
        _say(f"interrupted by {cause}" if isinstance(cause, Terminated) else "interrupted")
        return exit_status(cause)
    except OSError as error:
        if not has_cure(error):
            raise
        _say(str(from_os_error(error)))
        return 2


def _say(sentence: str) -> None:
    click.echo(f"hwseg: {sentence}", err=True)


class _Patient(io.RawIOBase):
    """A standard stream; what nobody reads any more (`| head`) is dropped, and so is what follows a fault."""

    def __init__(self, handle: int, name: str) -> None:
        self._handle, self._name, self._lost = handle, name, False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._handle

    def isatty(self) -> bool:
        return os.isatty(self._handle)

    def write(self, data: Any) -> int:
        if not self._lost:
            try:
                return os.write(self._handle, data)
            except BrokenPipeError:
                self._lost = True
            except OSError as error:
                self._lost = True
                error.filename = self._name
                raise
        return memoryview(data).nbytes


@contextmanager
def _patient_streams() -> Iterator[None]:
    """Standard output and error that can write any character and outlive their readers, unless a test has replaced
    them.

    A stream that is closed is opened on nothing, lest the next file that is opened take its place.
    """
    for handle in range(3):
        try:
            os.fstat(handle)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    out, err = sys.stdout, sys.stderr
    if out is sys.__stdout__ and out is not None:
        sys.stdout = _patient(out.encoding, 1, "standard output", "replace")
    if err is sys.__stderr__ and err is not None:
        sys.stderr = _patient(err.encoding, 2, "standard error", "backslashreplace")
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _patient(encoding: str, handle: int, name: str, errors: str) -> TextIO:
    raw = _Patient(handle, name)
    lines = raw.isatty() or handle == 2
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=lines)

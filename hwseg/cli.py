"""The command line: one file of `hwseg/commands` per command, imported when it is called.

An `HwsegError` is one line on standard error and exit code 2; a traceback is a bug.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from hwseg import __version__
from hwseg.errors import HwsegError

COMMANDS: Mapping[str, str] = {
    "train": "Train a quantized U-Net on a folder of pictures and masks.",
    "adapt": "Adapt a trained network to other pictures with few parameters, then quantize it.",
    "search": "Choose the bits of every layer against predicted cycles.",
    "export": "Write a trained network as QONNX.",
    "eval": "Measure Dice, IoU, HD95 and NSD of a model's integers on a data set.",
    "golden": "Run a model in exact integers and compare it with other executors.",
    "segment": "Segment pictures of any size, files, folders and volumes, by exact tiles.",
    "compile": "Turn a QONNX model into Verilog, program, weights and a report.",
    "simulate": "Run a build in Verilator and compare every feature map with the golden model.",
    "report": "Show what a build costs and how fast it is, layer by layer.",
    "compare": "Put builds side by side: speed, energy, resources, and their ratios.",
    "package": "Put builds and everything that a board needs to run them into one folder.",
    "doctor": "List the external tools, their versions, and the cure for what is missing.",
    "demo": "Segment a real microscopy picture in simulated hardware.",
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
    """Run one command; the exit status is 0, 1 (a comparison failed), 2 (bad input) or 130 (interrupted)."""
    try:
        status = group.main(arguments, prog_name="hwseg", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except HwsegError as error:
        _say(str(error))
        status = 2
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        status = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        from hwseg.files import from_os_error

        _say(str(from_os_error(error)))
        status = 2
    sys.exit(status if isinstance(status, int) else 0)


def _say(sentence: str) -> None:
    click.echo(f"hwseg: {sentence}", err=True)

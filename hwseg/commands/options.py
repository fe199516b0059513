"""Options that several commands share, and the sentence that says what a model's pixels are taken for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwseg.errors import require

if TYPE_CHECKING:
    from hwseg.ir import Graph

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def input_option() -> Decorator:
    """--input NAME|FILE, as `meaning`."""
    return click.option(
        "--input",
        "meaning",
        metavar="NAME|FILE",
        default="",
        help="What pixels are to a model whose file does not say: unit, unit16, imagenet, pixel/256, 'range LOW HIGH', "
        "'window CENTRE WIDTH', 'percentile LOW HIGH', or a JSON or TOML file.",
    )


def output_option() -> Decorator:
    """--output NAME."""
    return click.option(
        "--output",
        metavar="NAME",
        default="",
        help="Which of a model file's outputs, or of all tensors that it computes.  [its only one]",
    )


def tool_option() -> Decorator:
    """--for TOOL, as `tool`."""
    return click.option(
        "--for",
        "tool",
        type=click.Choice(["vivado", "nextpnr-xilinx"]),
        help="Tool for place and route: --array auto takes no more than it is known to route, and another array that "
        "is more is told.  [the board's, for auto]",
    )


def page_option() -> Decorator:
    """--page N."""
    return click.option("--page", type=click.IntRange(0), help="Which picture of a file that holds several, from 0.")


def label_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--labels CODING|FILE and --ignore N."""
    command = click.option("--ignore", type=click.IntRange(1, 65535), help="Mask value that is in no loss or score.")(
        command
    )
    return click.option(
        "--labels",
        metavar="CODING|FILE",
        default="",
        help="What mask values are: binary, nonzero, instances, 'from N', 'values A B ...', classes, or a JSON or TOML "
        "file.  [what the data says; binary, or classes of several channels]",
    )(command)


def chosen_labels(source: Path, channels: int, text: str, ignore: int | None, known: Any = None) -> Any:
    """What masks are: as asked for, else as the data say, else as the network (`known`) or its channels do."""
    from hwseg.datasets import data
    from hwseg.pictures.choice import named_labels
    from hwseg.pictures.labels import Labels

    if text:
        return named_labels(text, channels, ignore)
    found = data.labels_of(source, channels)
    if found is not None and known is not None and found.names and known.names:
        rule = f"names the classes {', '.join(found.names)}, the network has {', '.join(known.names)}"
        require(found.names == known.names, str(source), rule, "bring the labels into the network's order")
    found = found or known or Labels(channels)
    return found if ignore is None else replace(found, ignore=ignore)


def say_input(graph: Graph) -> None:
    """One sentence, where a model's file does not say what pixels are to it."""
    from hwseg.commands.terminal import visible
    from hwseg.pictures.choice import ASSUMED
    from hwseg.pictures.source import choice_of

    found = choice_of(graph)
    if found.origin == ASSUMED:
        click.echo(visible(found.sentence(graph.name)), err=True)

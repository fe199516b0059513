"""Options that several commands share, and the sentence that says what a model's pixels are taken for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

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


def say_input(graph: Graph) -> None:
    """One sentence, where a model's file does not say what pixels are to it."""
    from hwseg.commands.terminal import visible
    from hwseg.pictures.choice import ASSUMED
    from hwseg.pictures.source import choice_of

    found = choice_of(graph)
    if found.origin == ASSUMED:
        click.echo(visible(found.sentence(graph.name)), err=True)

"""`hwseg eval`: how good the integers of a model are on a data set."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwseg.commands.options import chosen_labels, input_option, label_options, say_input
from hwseg.errors import HwsegError, require

if TYPE_CHECKING:
    from hwseg.ir import Graph
    from hwseg.quant.train.evaluate import Segment


@click.command("eval")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Folder with images/ and masks/, or a CSV file."
)
@click.option(
    "--split", default="test", show_default=True, help="Part of the data: val, test, or another of its split."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split, where the data has none.")
@click.option(
    "--planes",
    type=click.IntRange(2, 8),
    multiple=True,
    default=[8],
    show_default=True,
    help="Most activation planes (the accuracy dial); repeated, Dice for each setting is printed.",
)
@click.option("--layer-planes", multiple=True, metavar="NAME=N", help="The same for one activation, or a pattern; the "
              "others have the --planes.")  # fmt: skip
@click.option("--fit", type=click.Choice(["resize"]), help="Scale pictures of another size to the model's.")
@input_option()
@label_options
@click.option("--execute", metavar="ARRAY", help="Compile for this array and let the program's instructions compute "
              "every mask, all maps compared with the golden model.")  # fmt: skip
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write every picture's metrics here.")
def command(
    model: Path,
    data: Path,
    split: str,
    seed: int,
    planes: tuple[int, ...],
    layer_planes: tuple[str, ...],
    fit: str | None,
    meaning: str,
    labels: str,
    ignore: int | None,
    execute: str | None,
    out: Path | None,
) -> None:
    """Dice, IoU, HD95 and NSD at 2 pixels of MODEL's exact integers, each mean with a 95 % bootstrap interval.

    A model trained on scaled pictures scales them, and their masks, again; others need pictures of their own size.
    """
    require(model.is_file(), str(model), "does not exist", "give a .onnx file of `hwseg export`")
    warnings.filterwarnings("ignore", "fast_hadamard_transform")  # Brevitas, on import
    try:
        from hwseg.datasets import data as sets
        from hwseg.pictures.source import chosen, labels_of
        from hwseg.quant.read.load import load
        from hwseg.quant.train.evaluate import evaluate
    except ModuleNotFoundError as error:
        raise HwsegError("hwseg eval", f"needs the package {error.name}", "pip install 'hwseg[train]'") from error
    graph = chosen(load(model), meaning)
    say_input(graph)
    channels = graph.types[graph.input].shape[2]
    classes = graph.types[graph.head.tensor].shape[2]
    meant = chosen_labels(data, classes, labels, ignore, labels_of(graph))
    parts = sets.load(data, channels, classes, seed, extra=split, labels=meant)
    require(bool(parts.get(split)), str(data), f"has no {split} pictures", f"it has {', '.join(parts)}")
    limits = [dial(graph, count, layer_planes) for count in planes]
    require(limits == [8] or not execute, "--execute", "takes all planes", "leave out --planes and --layer-planes")
    segment = _executed(graph, execute) if execute else None
    found = [evaluate(graph, parts[split], limit, fit or "", segment) for limit in limits]
    for count, evaluation in zip(planes, found, strict=True):
        for name, score in evaluation.means.items():
            click.echo(f"{f'{count} planes: ' if len(planes) > 1 else ''}{name:5} {score}")
    if execute:
        click.echo(f"{len(parts[split])} pictures executed by the program for {execute}: no value of any map differs")
    if out is not None:
        from hwseg.files import write_whole

        settings = [{"planes": count, **one.to_dict()} for count, one in zip(planes, found, strict=True)]
        values: dict[str, Any] = {"model": model.name, "split": split, "layer_planes": list(layer_planes)}
        values |= settings[0] if len(settings) == 1 else {"settings": settings}
        write_whole(out, (json.dumps(values, indent=1) + "\n").encode())


def _executed(graph: Graph, array: str) -> Segment:
    """The compiled program as it segments an image."""
    from hwseg.boards import load_board
    from hwseg.compile.program import compile_graph
    from hwseg.machine.execute import checked
    from hwseg.target.array import choose_array

    board = load_board("zynq7020")
    program = compile_graph(graph, choose_array(array, "table", board), board)
    return lambda image: checked(program, image)


def dial(graph: Graph, planes: int, layers: Sequence[str]) -> int | dict[str, int]:
    """Planes for `golden.run`: one number, or a number for each activation where some have their own."""
    if not layers:
        return planes
    from hwseg.ops import ROUNDING

    limits = {node.output: planes for node in graph.nodes if isinstance(node.op, ROUNDING)}
    for text in layers:
        pattern, _, count = text.partition("=")
        matches = [name for name in limits if fnmatchcase(name, pattern)]
        number = count.isascii() and count.isdigit() and 2 <= int(count) <= 8
        require(number, "--layer-planes", f"must be NAME=N with N from 2 to 8, not {text!r}")
        require(bool(matches), "--layer-planes", f"{pattern!r} matches no activation", f"they are {', '.join(limits)}")
        limits.update(dict.fromkeys(matches, int(count)))
    return limits

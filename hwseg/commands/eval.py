"""`hwseg eval`: how good the integers of a model are on a data set."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwseg.commands.options import chosen_labels, input_option, label_options, output_option, say_input
from hwseg.commands.terminal import visible
from hwseg.errors import HwsegError, require

if TYPE_CHECKING:
    from hwseg.datasets.faults import Faults
    from hwseg.datasets.pairs import Pair
    from hwseg.datasets.seen import Seen
    from hwseg.ir import Graph
    from hwseg.pictures.labels import Labels
    from hwseg.pictures.meaning import Meaning
    from hwseg.quant.train.evaluate import Segment


@click.command("eval")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Folder with images/ and masks/, or a CSV file."
)
@click.option(
    "--split", default="test", show_default=True, help="Part of the data: val, test, or another of its split."
)
@click.option(
    "--seed", type=click.IntRange(0), help="Of the split, where neither the data nor the model's run has one.  [0]"
)
@click.option("--seen", "insist", is_flag=True, help="Score pictures that the model was trained on, too, and say so.")
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
@output_option()
@label_options
@click.option("--execute", metavar="ARRAY", help="Compile for this array and let the program's instructions compute "
              "every mask, all maps compared with the golden model.")  # fmt: skip
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write every picture's metrics here.")
@click.option("--trust", type=click.Path(path_type=Path), metavar="FOLDER", help="Measure instead what hwseg trust has "
              "fitted; trust.json and trust.png go there.")  # fmt: skip
@click.option("--shifted", metavar="SPLIT", default="", help="With --trust: a part of other origin, beside --split.")
@click.option("--witness", multiple=True, metavar="flips2|flips4|flips8|planes4|MODEL", help="With --trust: another "
              "sign of doubt, with its cycles; may be repeated.")  # fmt: skip
@click.option("--bad", type=click.FloatRange(0, 1), default=0.8, show_default=True, help="With --trust: pictures of "
              "less Dice are bad.")  # fmt: skip
def command(
    model: Path,
    data: Path,
    split: str,
    seed: int | None,
    insist: bool,
    planes: tuple[int, ...],
    layer_planes: tuple[str, ...],
    fit: str | None,
    meaning: str,
    output: str,
    labels: str,
    ignore: int | None,
    execute: str | None,
    out: Path | None,
    trust: Path | None,
    shifted: str,
    witness: tuple[str, ...],
    bad: float,
) -> None:
    """Dice, IoU, HD95 and NSD at 2 pixels of MODEL's exact integers, each mean with a 95 % bootstrap interval.

    MODEL is a .onnx file or the folder of a run, whose split is then that of the data.  A model trained on scaled
    pictures scales them, and their masks, again; others need pictures of their own size.
    """
    if model.is_dir():
        model = model / "model.onnx"
        require(model.is_file(), str(model), "does not exist", f"write it with hwseg export {model.parent}")
    require(model.is_file(), str(model), "does not exist", "give a .onnx file of `hwseg export`, or a run's folder")
    warnings.filterwarnings("ignore", "fast_hadamard_transform")  # Brevitas, on import
    try:
        from hwseg.datasets.seen import declared
        from hwseg.pictures.source import choice_of, chosen, labels_of
        from hwseg.quant.read.load import load
        from hwseg.quant.train.evaluate import evaluate
    except ModuleNotFoundError as error:
        raise HwsegError("hwseg eval", f"needs the package {error.name}", "pip install 'hwseg[train]'") from error
    graph = chosen(load(model, output), meaning)
    say_input(graph)
    channels = graph.types[graph.input].shape[2]
    classes = graph.types[graph.head.tensor].shape[2]
    meant = chosen_labels(data, classes, labels, ignore, labels_of(graph))
    source = model.parent, channels, meant, choice_of(graph).meaning
    pairs = pictures_of(data, split, seed, *source)
    known = _known(declared(graph.metadata, model.name), pairs, model, split, insist)
    if trust is not None:
        from hwseg.commands.doubts import measure_trust

        whole = planes == (8,) and not (layer_planes or execute or out)
        require(whole, "--trust", "goes without --planes, --layer-planes, --execute and --json", "leave them out")
        parts = {split: pairs} | ({shifted: pictures_of(data, shifted, seed, *source)} if shifted else {})
        measure_trust(graph, parts, witness, fit or "", bad, trust)
        return
    require(not (shifted or witness), "--shifted", "and --witness go with --trust", "add --trust FOLDER")
    limits = [dial(graph, count, layer_planes) for count in planes]
    require(limits == [8] or not execute, "--execute", "takes all planes", "leave out --planes and --layer-planes")
    segment = _executed(graph, execute) if execute else None
    found = [evaluate(graph, pairs, limit, fit or "", segment) for limit in limits]
    mark = " of pictures it was trained on" if known.get("trained_on") else ""
    for count, evaluation in zip(planes, found, strict=True):
        for name, score in evaluation.means.items():
            click.echo(f"{f'{count} planes: ' if len(planes) > 1 else ''}{name:5} {score}{mark}")
    if execute:
        click.echo(f"{len(pairs)} pictures executed by the program for {execute}: no value of any map differs")
    if out is not None:
        from hwseg.files import write_whole

        settings = [{"planes": count, **one.to_dict()} for count, one in zip(planes, found, strict=True)]
        values: dict[str, Any] = {"model": model.name, "split": split, "layer_planes": list(layer_planes)} | known
        values |= settings[0] if len(settings) == 1 else {"settings": settings}
        write_whole(out, (json.dumps(values, indent=1) + "\n").encode())


def pictures_of(
    data: Path, part: str, seed: int | None, folder: Path, channels: int, labels: Labels, meaning: Meaning
) -> list[Pair]:
    """Pairs of a part, all of them sound: of the data's own split, else of the split of the run that the model lies in,
    else drawn.
    """
    from hwseg.commands.looking import looking
    from hwseg.datasets import data as sets
    from hwseg.datasets import split
    from hwseg.datasets.faults import Faults
    from hwseg.datasets.look import look

    faults = Faults()
    parts = sets.load(data, channels, labels.channels, seed or 0, extra=part, labels=labels, faults=faults)
    run = None if sets.is_split(data) else split.of_run(folder)
    with looking() as told:
        looked = look(parts if run else {part: parts.get(part, [])}, meaning, told=told)
    wrong = {id(one.pair): one.faults for found in looked.values() for one in found}
    unread = [one for found in looked.values() for one in found if not one.digest]
    _refuse(faults, [one.faults for one in unread], data)  # they may be of any part
    if run is not None and run.knows([pair for pairs in parts.values() for pair in pairs]):
        rule = f"is {seed}, and the run {folder} has split this data with seed {run.seed}"
        require(seed in (None, run.seed) or not run.drawn, "--seed", rule, "leave it out: the run's split is used")
        parts, changes = run.arrange(parts)
        for sentence in changes.sentences():
            click.echo(visible(sentence), err=True)
    require(bool(parts.get(part)), str(data), f"has no {part} pictures", f"it has {', '.join(parts)}")
    _refuse(faults, [wrong[id(pair)] for pair in parts[part]], data)
    return parts[part]


def _refuse(faults: Faults, more: Sequence[Sequence[HwsegError]], data: Path) -> None:
    """Everything that is wrong, in one table if it is more than one."""
    from hwseg.commands.looking import show_faults

    for fault in (fault for found in more for fault in found):
        faults.add(fault)
    show_faults(faults.found if len(faults.found) > 1 else (), str(data), "wrong")
    faults.refuse(str(data))


def _known(seen: Seen, pairs: Sequence[Pair], model: Path, part: str, insist: bool) -> dict[str, list[str]]:
    """Names of the pictures that the model was trained on, which are refused unless the user insists, or chosen by."""
    from hwseg.datasets.seen import named

    trained, chose = seen.of_training(pairs), seen.of_validation(pairs)
    rule = f"was trained on {len(trained)} of the {len(pairs)} {part} pictures: {named(trained)}"
    require(not trained or insist, str(model), rule, "choose other pictures, or add --seen to score them all the same")
    if trained:
        click.echo(visible(f"{model.name} {rule}; the score says little about new pictures"), err=True)
    if chose:
        rule = f"was chosen by {len(chose)} of the {len(pairs)} {part} pictures: {named(chose)}"
        click.echo(visible(f"{model.name} {rule}; their score is a little too good"), err=True)
    if not seen.known and (seen.train or seen.val):
        click.echo(
            visible(f"{model.name} does not say all that it has seen: it began with a network that did not"), err=True
        )
    found = {"trained_on": trained, "chosen_by": chose}
    return {key: [pair.name for pair in listed] for key, listed in found.items() if listed}


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

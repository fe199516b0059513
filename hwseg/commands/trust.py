"""`hwseg trust`: fit what a model's integers say of doubt, and write it into the model's file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hwseg.commands.doubts import progress_bar
from hwseg.commands.options import chosen_labels, input_option, label_options, output_option, say_input
from hwseg.errors import HwsegError, require
from hwseg.files import require_unread

if TYPE_CHECKING:
    from hwseg.trust.fitting.fit import Fit


@click.command("trust")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Folder with images/ and masks/, or a CSV file."
)
@click.option("--split", default="val", show_default=True, help="Part of the data to fit on; not one that trained.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="The model's file with what was fitted.")
@click.option("--in-place", is_flag=True, help="Write it into MODEL itself.")
@click.option("--defer", type=float, metavar="SHARE", help="Share of the pixels to defer to a person.  [0.12]")
@click.option("--error", type=float, metavar="SHARE", help="Instead: share of wrong ones among the pixels kept.")
@click.option("--dice", type=float, default=0.8, show_default=True, help="Pictures below it are to be reviewed.")
@click.option(
    "--seed", type=click.IntRange(0), help="Of the split, where neither the data nor the model's run has one.  [0]"
)
@click.option("--fit", "scaling", type=click.Choice(["resize"]), help="Scale pictures of another size to the model's.")
@input_option()
@output_option()
@label_options
def command(
    model: Path,
    data: Path,
    split: str,
    out: Path | None,
    in_place: bool,
    defer: float | None,
    error: float | None,
    dice: float,
    seed: int | None,
    scaling: str | None,
    meaning: str,
    output: str,
    labels: str,
    ignore: int | None,
) -> None:
    """Fit confidence, deferral and review of MODEL's masks on validation pictures.

    What is fitted becomes metadata of the file (hwseg.trust), which builds and packages carry; the network in it stays
    as it is, byte for byte.
    """
    require((out is None) == in_place, "-o", "or --in-place must be given, and not both", "for example -o OUT.onnx")
    rule = "is fitted to one output of the file, so that the file must have no other"
    require(not (in_place and output), "--output", rule, "write another file: -o OUT.onnx")
    if model.is_dir():
        model = model / "model.onnx"
    require(model.is_file(), str(model), "does not exist", "give a .onnx file of `hwseg export`, or a run's folder")
    if out is not None:
        require_unread(out, [model, data], "choose another -o, or give --in-place instead")
    warnings.filterwarnings("ignore", "fast_hadamard_transform")  # Brevitas, on import
    try:
        from hwseg.commands.eval import pictures_of
        from hwseg.datasets import seen
        from hwseg.files import write_whole
        from hwseg.pictures.source import choice_of, chosen, labels_of
        from hwseg.quant.read.load import load
        from hwseg.trust.fitting.file import with_trust
        from hwseg.trust.fitting.fit import DEFER, Wanted, fit, require_apart
    except ModuleNotFoundError as missing:
        raise HwsegError("hwseg trust", f"needs the package {missing.name}", "pip install 'hwseg[train]'") from missing
    wanted = Wanted(DEFER if defer is None and error is None else defer, error, dice)
    graph = chosen(load(model, output), meaning)
    say_input(graph)
    channels, classes = graph.types[graph.input].shape[2], graph.types[graph.head.tensor].shape[2]
    meant = chosen_labels(data, classes, labels, ignore, labels_of(graph))
    args = model.parent, channels, meant, choice_of(graph).meaning
    pairs = pictures_of(data, split, seed, *args)
    if seen.SEEN in graph.metadata:
        trained = seen.declared(graph.metadata, model.name).of_training(pairs)
    else:
        trained = pairs if split == "train" else pictures_of(data, "train", seed, *args)
    require_apart(pairs, trained, f"{data}, {split}")
    with progress_bar() as progress:
        found = fit(graph, pairs, wanted, scaling or "", progress)
    target = model if out is None else out
    write_whole(target, with_trust(model, found.trust, in_place, output))
    show(found)
    from hwseg.commands.terminal import visible

    click.echo(visible(f"{target}: metadata hwseg.trust; compile the model again for builds and packages"))


def show(found: Fit) -> None:
    """What was fitted, in words."""
    from hwseg.trust.fitting import measures
    from hwseg.trust.judge import REVIEW
    from hwseg.trust.scores import WORDS

    trust, counts = found.trust, found.after
    errors = measures.calibration_error(found.before), measures.calibration_error(counts)
    click.echo(
        f"temperature {', '.join(trust.temperatures)}: calibration error {errors[0]:.4f} before, {errors[1]:.4f} after"
    )
    shares = [
        f"{100 * share:.{digits}f} %"
        for share, digits in (
            (measures.deferred(counts, trust.bound), 1),
            (measures.removed_by(counts, trust.bound), 1),
            (measures.error(counts), 2),
            (measures.remaining(counts, trust.bound), 2),
        )
    ]
    click.echo(
        f"confidence below {trust.bound} is deferred: {shares[0]} of the pixels of {trust.pictures} pictures, with "
        f"{shares[1]} of the wrong ones; {shares[2]} are wrong before, {shares[3]} of those kept"
    )
    ranks = ", ".join(f"{name} {value:.2f}" for name, value in found.correlations.items())
    click.echo(f"rank correlation with Dice over {found.copies} pictures, copies made worse included: {ranks}")
    click.echo(
        f"{REVIEW} where {WORDS[trust.score]} is above {float(trust.limit):.3g} "
        f"({found.bad} of {found.copies} pictures are below the Dice asked for)"
    )

"""`hwseg trust`: fit what a model's integers say of doubt, and write it into the model's file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hwseg.commands.options import input_option, label_options, say_input
from hwseg.errors import HwsegError, require

if TYPE_CHECKING:
    from hwseg.trust.fitting.fit import Fit
    from hwseg.trust.fitting.observe import Progress


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
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split, where the data has none.")
@click.option("--fit", "scaling", type=click.Choice(["resize"]), help="Scale pictures of another size to the model's.")
@input_option()
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
    seed: int,
    scaling: str | None,
    meaning: str,
    labels: str,
    ignore: int | None,
) -> None:
    """Fit confidence, deferral and review of MODEL's masks on validation pictures.

    What is fitted becomes metadata of the file (hwseg.trust), which builds and packages carry; the network in it stays as it
    is, byte for byte.
    """
    require((out is None) == in_place, "-o", "or --in-place must be given, and not both", "for example -o OUT.onnx")
    require(model.is_file(), str(model), "does not exist", "give a .onnx file of `hwseg export`")
    warnings.filterwarnings("ignore", "fast_hadamard_transform")  # Brevitas, on import
    try:
        from hwseg.commands.train import chosen_labels
        from hwseg.files import write_whole
        from hwseg.pictures.source import chosen, labels_of
        from hwseg.quant.read.load import load
        from hwseg.quant.train import data as sets
        from hwseg.trust.fitting.file import with_trust
        from hwseg.trust.fitting.fit import DEFER, Wanted, fit, require_apart
    except ModuleNotFoundError as missing:
        raise HwsegError("hwseg trust", f"needs the package {missing.name}", "pip install 'hwseg[train]'") from missing
    wanted = Wanted(DEFER if defer is None and error is None else defer, error, dice)
    graph = chosen(load(model), meaning)
    say_input(graph)
    channels, classes = graph.types[graph.input].shape[2], graph.types[graph.head.tensor].shape[2]
    meant = chosen_labels(data, classes, labels, ignore, labels_of(graph))
    parts = sets.load(data, channels, classes, seed, extra=split, labels=meant)
    require(bool(parts.get(split)), str(data), f"has no {split} pictures", f"it has {', '.join(parts)}")
    require(split != "train", "--split", "must not be train: a network is surer of what it was trained on", "use val")
    require_apart(parts[split], parts["train"], split, "train")
    with progress_bar() as progress:
        found = fit(graph, parts[split], wanted, scaling or "", progress)
    target = model if out is None else out
    write_whole(target, with_trust(model, found.trust, in_place))
    show(found)
    from hwseg.commands.terminal import visible

    click.echo(visible(f"{target}: metadata hwseg.trust; compile the model again for builds and packages"))


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Pictures that are done, on standard error: `with progress_bar() as progress: progress("fitting", 3, 8)`."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    from hwseg.commands.terminal import console, visible

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Bars(*columns, console=console(stderr=True), transient=True) as bars:
        task = bars.add_task("reading", total=None)

        def progress(doing: str, done: int, total: int) -> None:
            bars.update(task, description=visible(doing), completed=done, total=total)

        yield progress


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
    click.echo(
        f"confidence below {trust.bound} is deferred: {100 * measures.deferred(counts, trust.bound):.1f} % of the pixels of "
        f"{trust.pictures} pictures, with {100 * measures.removed_by(counts, trust.bound):.1f} % of the wrong ones; "
        f"errors {100 * measures.error(counts):.2f} % before, {100 * measures.remaining(counts, trust.bound):.2f} % after"
    )
    ranks = ", ".join(f"{name} {value:.2f}" for name, value in found.correlations.items())
    click.echo(f"rank correlation with Dice over {found.copies} pictures, copies made worse included: {ranks}")
    click.echo(
        f"{REVIEW} where {WORDS[trust.score]} is above {float(trust.limit):.3g} "
        f"({found.bad} of {found.copies} pictures are below the Dice asked for)"
    )

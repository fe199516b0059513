"""`hwseg eval`: how good the integers of a model are on a data set."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import click

from hwseg.errors import HwsegError, require


@click.command("eval")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Folder with images/ and masks/, or a CSV file."
)
@click.option(
    "--split", default="test", show_default=True, help="Part of the data: val, test, or another of its split."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split, where the data has none.")
@click.option("--planes", type=click.IntRange(2, 8), default=8, show_default=True, help="Activation planes (the dial).")
@click.option("--fit", type=click.Choice(["resize"]), help="Scale pictures of another size to the model's.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write every picture's metrics here.")
def command(model: Path, data: Path, split: str, seed: int, planes: int, fit: str | None, out: Path | None) -> None:
    """Dice, IoU, HD95 and NSD at 2 pixels of MODEL's exact integers, each mean with a 95 % bootstrap interval.

    A model trained on scaled pictures scales them, and their masks, again; others need pictures of their own size.
    """
    require(model.is_file(), str(model), "does not exist", "give a .onnx file of `hwseg export`")
    warnings.filterwarnings("ignore", "fast_hadamard_transform")  # Brevitas, on import
    try:
        from hwseg.quant import data as sets
        from hwseg.quant.evaluate import evaluate
        from hwseg.quant.load import load
    except ModuleNotFoundError as error:
        raise HwsegError("hwseg eval", f"needs the package {error.name}", "pip install 'hwseg[train]'") from error
    graph = load(model)
    channels = graph.types[graph.input].shape[2]
    classes = graph.types[graph.head.tensor].shape[2]
    parts = sets.load(data, channels, classes, seed, extra=split)
    require(bool(parts.get(split)), str(data), f"has no {split} pictures", f"it has {', '.join(parts)}")
    found = evaluate(graph, parts[split], planes, fit or "")
    for name, score in found.means.items():
        click.echo(f"{name:5} {score}")
    if out is not None:
        from hwseg.files import write_whole

        values = {"model": model.name, "split": split, "planes": planes, **found.to_dict()}
        write_whole(out, (json.dumps(values, indent=1) + "\n").encode())

"""`hwseg quantize`: a trained float network becomes a model of integers, without being trained again."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import click

from hwseg.commands.options import chosen_labels, label_options
from hwseg.errors import HwsegError, require
from hwseg.power.band import OBJECTIVES


@click.command("quantize")
@click.argument("model")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of pictures, or a data set with "
              "masks, or a CSV file.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="ONNX file to write; .json, "
              ".html and .pt go beside it.")  # fmt: skip
@click.option("--weights", type=click.Path(path_type=Path), help="State dict (.pt, .pth) or .safetensors of "
              "module:callable.")  # fmt: skip
@click.option("--normalize", default="", help="What pixels are to the network: unit, imagenet, 'range LOW HIGH', "
              "'percentile LOW HIGH', or a JSON or TOML file.  [what model or data say]")  # fmt: skip
@click.option("--size", help="Height x width of the pictures.  [of the ONNX file, or of all pictures]")
@click.option("--resize", type=click.IntRange(0), default=0, help="Side to which whole pictures are scaled first.  [0]")
@click.option("--in-channels", type=click.IntRange(1), help="Of a picture.  [those of the first convolution]")
@click.option("--bits", default="8", show_default=True, help="8, 4 (but first and last weights), mixed, or a "
              "TOML file with the tables [weights] and [activations] of layer = bits.  mixed: fewest predicted cycles "
              "(--objective) with which masks are the float network's within --budget; weights keep 8.")  # fmt: skip
@click.option("--objective", type=click.Choice(list(OBJECTIVES)), help="What --bits mixed makes least: the predicted "
              "cycles of a frame, or its energy (programmable logic, processing system, DDR).  [cycles]")  # fmt: skip
@click.option("--budget", type=click.FloatRange(0, 1), help="Dice between float and integer masks, below that at 8 "
              "bits, that --bits mixed may give away on the pictures that calibrate, before --distill.  "
              "[0.01]")  # fmt: skip
@click.option("--scales", type=click.Choice(["power_of_two", "float"]), default="power_of_two", show_default=True)
@click.option("--strict", is_flag=True, help="Refuse what the engine has not, instead of replacing it.")
@click.option("--pictures", "most", type=click.IntRange(1), default=50, show_default=True, help="Most that calibrate.")
@click.option("--split", "held", default="test", show_default=True, help="Part of the data to measure with.")
@click.option("--shifted", multiple=True, help="A further part to measure with; may be repeated.")
@click.option("--distill", "steps", type=click.IntRange(0), default=0, show_default=True, help="Steps in which the "
              "quantized network learns what the float one says.")  # fmt: skip
@click.option("--batch", type=click.IntRange(1), default=4, show_default=True, help="Pictures of a step.")
@click.option("--lr", type=float, default=1e-3, show_default=True, help="Highest learning rate of --distill.")
@click.option("--resume", is_flag=True, help="Go on with a distillation that was stopped.")
@click.option("--array", default="auto", show_default=True, help="Array of the engine, as in `hwseg compile`.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of samples, splits and steps.")
@label_options
def command(model: str, out: Path, **options: Any) -> int:
    """Quantize MODEL, a float ONNX file or module:callable, on pictures, and tell what that costs.

    The callable is your own code and is run; of --weights only numbers are read.  Layers that the engine has not are
    replaced by the nearest that it has, and listed.  Masks are not needed; with them, Dice and HD95 are measured, too.
    """
    warnings.filterwarnings("ignore", "fast_hadamard_transform")  # Brevitas, on import
    try:
        from hwseg.conversion.bits import Mixed
        from hwseg.conversion.run import Options, convert_files
        from hwseg.quant.convert.distill import DistillConfig
    except ModuleNotFoundError as error:
        raise HwsegError("hwseg quantize", f"needs the package {error.name}", "pip install 'hwseg[train]'") from error
    from hwseg.quant.read.reshape import parse_size

    data, text, ignore = options["data"], options["labels"], options["ignore"]
    chosen = {name: options[name] for name in ("objective", "budget") if options[name] is not None}
    mixed = options["bits"] == "mixed"
    rule = f"has a meaning for --bits mixed, not for --bits {options['bits']}"
    require(mixed or not chosen, f"--{next(iter(chosen), '')}", rule, "add --bits mixed, or leave it out")
    bits = _bits("8" if mixed else options["bits"])
    found = Options(
        model, data, out, options["weights"], options["normalize"],
        parse_size(options["size"]) if options["size"] else None, options["resize"], options["in_channels"] or 0,
        bits["weights"], bits["activations"], Mixed(**chosen) if mixed else None,
        options["scales"], options["strict"], options["most"], options["held"],
        options["shifted"], DistillConfig(options["steps"], options["batch"], options["lr"], seed=options["seed"]),
        options["resume"], options["seed"], options["array"],
        lambda channels, known: chosen_labels(data, channels, text, ignore, known),
    )  # fmt: skip
    if ":" in model and not model.lower().endswith(".onnx"):
        click.echo(f"{model} is your code, and is run", err=True)
    outcome = _followed(found, convert_files)
    _tell(outcome)
    return 0


def _bits(text: str) -> dict[str, Any]:
    """Bits of weights and of activations: a number, or numbers by layer from a TOML file."""
    from hwseg.pictures.choice import table

    if text.isascii() and text.isdigit():
        require(2 <= int(text) <= 8, "--bits", f"must be from 2 to 8, not {text}", "use 8 or 4")
        return {"weights": int(text), "activations": int(text)}
    path = Path(text)
    require(path.is_file(), "--bits", f"must be a number or a TOML file, not {text!r}", "use 8, 4 or mixed")
    found = table(path, "bits")
    known = isinstance(found, dict) and set(found) <= {"weights", "activations"}
    require(known, text, "must have the tables [weights] and [activations]", 'for example [weights] "*" = 4')
    for name, given in found.items():
        whole = isinstance(given, dict) and all(type(v) is int and 2 <= v <= 8 for v in given.values())
        require(whole or type(given) is int, text, f"{name} must be bits from 2 to 8 by layer", 'for example "*" = 4')
    return {"weights": found.get("weights", 8), "activations": found.get("activations", 8)}


def _followed(found: Any, convert_files: Any) -> Any:
    """Convert with a line that says what is going on, and a bar while it is distilled."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from hwseg.commands.terminal import console, visible

    shown = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task("starting", total=None)
        try:
            return convert_files(
                found, lambda phrase: bar.update(task, description=visible(phrase), total=None, completed=0),
                lambda step, loss: bar.update(
                    task, description=f"distilling, loss {loss:.4f}", total=found.distill.steps, completed=step + 1
                ),
            )  # fmt: skip
        except KeyboardInterrupt:
            state = found.out.with_suffix(".distill.pt")
            if state.exists():
                shown.print(f"{state} keeps what was distilled; add --resume to go on", highlight=False)
            raise


def _tell(outcome: Any) -> None:
    from rich.table import Table

    from hwseg.commands.terminal import console
    from hwseg.conversion.page import counted
    from hwseg.quant.convert.reading import Reading

    out, report, found = console(), outcome.report, outcome.comparison
    if report["input_assumed"]:
        said = f"nothing says what pixels are to the network: {report['input']} is assumed; say it with --normalize"
        console(stderr=True).print(said, highlight=False)
    groups: dict[tuple[str, str, str], list[str]] = {}
    for one in report["replaced"]:
        groups.setdefault((one["what"], one["instead"], one["why"]), []).append(one["layer"])
    if groups:
        table = Table(title="replaced", title_justify="left", title_style="bold", box=None, pad_edge=False)
        for name in ("layers", "what", "instead", "because"):
            table.add_column(name, overflow="fold")
        for (what, instead, why), layers in groups.items():
            named = layers[0] + (f" and {len(layers) - 1} more" if len(layers) > 1 else "")
            table.add_row(named, what, instead, why)
        out.print(table)
    reading = Reading(**report["reading"])
    out.print(reading.sentence(), style="" if reading.against else "yellow", highlight=False)
    out.print(f"Dice between float and integer masks: {found.agree}", highlight=False)
    for who in ("float", "integer"):
        for name in ("dice", "hd95"):
            score = found.score(who, name)
            if score is not None:
                out.print(f"{name} of {who} masks: {score}", highlight=False)
    search = report["search"]
    if search is not None:
        key, row = OBJECTIVES[search["objective"]], search["points"][search["chosen"]]
        out.print(f"bits chosen: {row[key] / search['points'][0][key]:.3f} of the {search['objective']} at 8 bits, "
                  f"activations with {counted(row['bits'])}", highlight=False)  # fmt: skip
    price = report["costs"]
    out.print(f"{price['cycles']:,} cycles on {price['array']}, {price['frames_per_second']:.1f} frames per second, "
              f"{price['energy_mj']['mid']:.3g} mJ", highlight=False)  # fmt: skip
    for line in report["advice"]:
        out.print(line, style="yellow", highlight=False)
    out.print(f"wrote {outcome.model}; {outcome.model.with_suffix('.html')} tells more", highlight=False)
    out.print(f"next: {report['next']}", highlight=False)

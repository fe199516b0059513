"""`hwseg search`: bits of every layer against the cycles or the energy that are predicted, then fine-tuning."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from hwseg.commands.follow import Wanted, follow, pictures, side_of
from hwseg.commands.options import chosen_labels, label_options
from hwseg.errors import HwsegError, require
from hwseg.files import write_whole
from hwseg.locks import in_use
from hwseg.power.band import BOUNDARIES, OBJECTIVES


@click.command("search")
@click.argument("base", type=click.Path(path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Folder with images/ and masks/, or a CSV file."
)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder of the search.")
@click.option(
    "--objective", type=click.Choice(list(OBJECTIVES)), default="cycles", show_default=True, help="What to save."
)
@click.option("--share", "--cycles", "share", type=click.FloatRange(0, 1, min_open=True), help="Share of the base's "
              "cycles, or of its energy, to stay within.")  # fmt: skip
@click.option(
    "--boundary", type=click.Choice(BOUNDARIES), default="pl_ps", show_default=True, help="Where energy is counted."
)
@click.option("--budget", type=click.FloatRange(0, 1), default=0.01, show_default=True, help="Loss of validation Dice "
              "before fine-tuning that is allowed, without --share.")  # fmt: skip
@click.option("--weight-price", type=click.FloatRange(0), default=0.0, show_default=True, help="Cycles, or "
              "nanojoules, that a byte of packed weights is worth; 0 leaves weights alone: their bits cost no "
              "cycles.")  # fmt: skip
@click.option("--array", default="auto", show_default=True, help="Array of the engine, as in `hwseg compile`.")
@click.option("--size", help="Height x width of the pictures.  [as trained]")
@click.option("--resize", type=int, help="Side to which whole pictures are scaled first.  [as trained]")
@click.option("--augment", type=click.Choice(["turn", "mild", "none"]), default="turn", help="For fine-tuning.  [turn]")
@click.option("--steps", type=int, default=500, show_default=True, help="Of fine-tuning; 0 for none.")
@click.option("--lr", type=float, default=1e-3, show_default=True, help="Highest learning rate of fine-tuning.")
@click.option("--ema", type=float, default=0.0, help="Decay of averaged weights; 0 for none.  [0]")
@click.option("--points", type=click.IntRange(2, 64), default=16, show_default=True, help="Of the front to measure.")
@click.option("--jobs", type=int, default=1, show_default=True, help="Processes that measure.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, help="Of the split, where the data has none, and of fine-tuning.  [0]"
)
@label_options
def command(base: Path, data: Path, out: Path, **options: Any) -> int:
    """Choose bits for the quantized network BASE and fine-tune it with them.

    BASE is a run, or a checkpoint of `hwseg train` or `hwseg quantize`.

    OUT receives search.json (measurements; a search that was interrupted goes on from them), front.json, front.png,
    config.toml with the chosen bits, and the run of fine-tuning in run/.  Test pictures are not looked at.
    """
    warnings.filterwarnings("ignore", "fast_hadamard_transform")  # Brevitas, on import
    try:
        from hwseg.quant.train.checkpoint import load_network
    except ModuleNotFoundError as error:
        raise HwsegError("hwseg search", f"needs the package {error.name}", "pip install 'hwseg[train]'") from error
    checkpoint = base / "best.pt" if base.is_dir() else base
    model, meta = load_network(checkpoint)
    usable = bool(meta["quantized"]) and model.folded
    require(usable, str(checkpoint), "must be a quantized, folded network", "train with a preset other than float")
    resize = side_of(meta, checkpoint) if options["resize"] is None else options["resize"]
    picture = meta["picture"] if resize == meta["resize"] else (resize or meta["size"],) * 2
    meta = {
        **meta,
        "resize": resize,
        "picture": picture,
        "input": replace(meta["input"], fit="resize" if resize else ""),
    }
    meta["labels"] = chosen_labels(
        data, model.config.out_channels, options.pop("labels"), options.pop("ignore"), meta["labels"]
    )
    wanted = Wanted(
        data, model.config, meta["labels"], meta["input"], options["seed"], meta["excluded"],
        0 if resize else meta["size"], meta["seen"], checkpoint.parent,
    )  # fmt: skip
    parts, _ = pictures(wanted)
    with in_use(out):
        chosen = _search(model, meta, parts, out, options)
        if not options["steps"]:
            return 0
        return _tune(checkpoint, chosen, meta, data, parts, out, options)


def _search(model: Any, meta: Mapping[str, Any], parts: Any, out: Path, options: Mapping[str, Any]) -> Any:
    from hwseg import codesign
    from hwseg.quant.read.reshape import parse_size
    from hwseg.quant.train import plots, search
    from hwseg.quant.train.config import to_toml

    config = model.config
    known = [search.Set.of(parts[p], meta["input"], config, meta["resize"]) for p in ("train", "val")]
    both = search.Set(known[0].batches + known[1].batches)
    out.mkdir(parents=True, exist_ok=True)
    size = parse_size(options["size"]) if options["size"] else meta["picture"]
    subject = codesign.subject_of(model, size, meta["input"], meta["labels"], out / "base.onnx")
    engine = codesign.Costs(subject, options["array"], options["objective"], options["boundary"])
    base = search.Base.of(model)
    key = {
        config.table: config.to_dict(),
        "parameters": base.digest,
        "pictures": both.digest,
        "size": list(engine.size),
        "array": engine.config.name,
    }
    if not meta["input"].before:
        key |= {"input": meta["input"].text(), "labels": meta["labels"].text()}
    memory = search.Memory(out / "search.json", key)
    click.echo(f"array {engine.config.name}, {len(both.batches)} pictures, {options['jobs']} processes")
    rows: list[dict[str, Any]] = []
    for row in codesign.explored(
        engine, base, both, known[1], memory, options["points"], options["weight_price"], options["jobs"], _told
    ):
        rows.append(row)
        told = f"{row['cycles']:,} cycles, {row['energy_mj']:.4g} mJ"
        click.echo(f"{told}, loss {row['loss']:.4f}, validation Dice {row['dice']:.4f}")
    saved = OBJECTIVES[options["objective"]]
    number = codesign.choose(rows, options["share"], options["budget"], saved)
    result = search.with_bits(config, rows[number]["bits"])
    front = {"array": engine.config.name, "size": list(engine.size), "objective": engine.objective,
             "boundary": engine.boundary, "clock_mhz": engine.board.clock_mhz, "chosen": number,
             "points": rows}  # fmt: skip
    write_whole(out / "front.json", (json.dumps(front, indent=1) + "\n").encode())
    write_whole(out / "config.toml", to_toml({result.table: result.settings()}).encode())
    plots.pareto(rows, number, out / "front.png", saved)
    shares = ", ".join(
        f"{rows[number][key] / rows[0][key]:.3f} of the base's {what}" for what, key in OBJECTIVES.items()
    )
    click.echo(f"chosen: {rows[number]['cycles']:,} cycles; {shares}; bits in {out / 'config.toml'}")
    return result


def _told(what: str, text: str) -> None:
    click.echo(f"measured {what}: {text}")


def _tune(
    checkpoint: Path,
    architecture: Any,
    meta: Mapping[str, Any],
    data: Path,
    parts: Any,
    out: Path,
    options: Mapping[str, Any],
) -> int:
    from hwseg.quant.train.config import TrainConfig, meant
    from hwseg.quant.train.run import Run, train

    if (out / "run" / "last.pt").exists():
        run = Run.resume(out / "run")
        same = run.architecture == architecture
        require(same, str(out / "run"), "was trained with other bits", "remove it, or choose another folder")
    else:
        config = TrainConfig(
            steps=options["steps"], lr=options["lr"], float_part=0.0, quantized_part=0.0, init=str(checkpoint),
            **meant(meta["input"]), size=meta["size"], resize=meta["resize"], exclude=tuple(meta["excluded"]),
            augment=options["augment"], ema=options["ema"], seed=options["seed"], threads=options["jobs"],
        )  # fmt: skip
        run = Run(out / "run", architecture, config)
    click.echo(json.dumps(run.architecture.settings()["activation_bits"]))
    result = follow(run, data, train, meta["labels"], every=parts)
    if result.interrupted:
        return int(result.status)
    click.echo(f"next: hwseg export {run.folder}")
    return 0

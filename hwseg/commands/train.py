"""`hwseg train`: a folder of pictures and masks becomes a quantized network."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from hwseg.commands.follow import follow, require_new_run, side_of
from hwseg.commands.options import chosen_labels, label_options
from hwseg.errors import HwsegError, require


@click.command("train")
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option("--data", type=click.Path(path_type=Path), help="Folder with images/ and masks/, or a CSV file.")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option("--model", type=click.Choice(["unet", "resunet"]), help="Plain or residual blocks.  [unet]")
@click.option("--preset", type=click.Choice(["w8a8", "w4a4", "mixed", "float"]), help="Bits of weights, activations.")
@click.option("--depth", type=int, help="Number of poolings.  [3]")
@click.option("--width", type=int, help="Channels of the first level.  [8]")
@click.option("--upsampling", type=click.Choice(["nearest", "transposed", "bilinear"]), help="Decoder.  [nearest]")
@click.option("--scales", type=click.Choice(["power_of_two", "float"]), help="Kind of scales.  [power_of_two]")
@click.option("--in-channels", type=int, help="1 for grey, 3 for colour.  [1]")
@click.option("--out-channels", type=int, help="1 for foreground or not, else the number of labels.  [1]")
@click.option("--init", help="Checkpoint to start from; its layers, any bits.  One of `hwseg quantize` says what "
              "pixels, --size and --resize are, and is trained in integers from the first step, with --lr "
              "0.001.")  # fmt: skip
@click.option("--size", type=int, help="Side of the square training crops.  [128]")
@click.option("--resize", type=int, help="Side to which whole pictures are scaled first; 0 for none.  [0]")
@click.option("--augment", type=click.Choice(["turn", "mild", "none"]), help="How crops are varied.  [turn]")
@click.option("--steps", type=int, help="Gradient steps in all.  [2000]")
@click.option("--batch", type=int, help="Crops per step.  [8]")
@click.option("--loss", type=click.Choice(["dice_ce", "poly_dice", "boundary"]), help="What is minimized.  [dice_ce]")
@click.option("--class-weights", metavar="auto|A,B,...", help="Of the cross-entropy, the background first; auto: by "
              "their shares.  [all 1]")  # fmt: skip
@click.option("--lr", type=float, help="Highest learning rate.  [0.004]")
@click.option("--float-part", type=float, help="Share of steps in floating point.  [0.4]")
@click.option("--quantized-part", type=float, help="Share of steps quantized, before folding.  [0.2]")
@click.option("--ema", type=float, help="Decay of averaged weights; 0 for none.  [0]")
@click.option("--patience", type=int, help="Validations without a better Dice before stopping; 0: never.  [0]")
@click.option("--rounding", type=int, help="Fewest planes of random rounding, so that the dial degrades gently.  [0]")
@click.option("--seed", type=click.IntRange(0), help="Seed of weights, crops and split.  [0]")
@click.option("--normalize", help="What pixels are: unit, imagenet, 'range LOW HIGH', 'window CENTRE WIDTH', "
              "'percentile LOW HIGH', or a JSON or TOML file.  [what the data says; percentile 0.5 99.5]")  # fmt: skip
@label_options
@click.option("--exclude", multiple=True, metavar="NAME", help="Picture to leave out; may be given again.")
@click.option("--device", help="cpu, cuda, or auto.  [cpu]")
@click.option("--devices", type=int, help="Processors of that kind; `torchrun` works, too.  [1]")
@click.option("--precision", type=click.Choice(["32-true", "bf16-mixed", "16-mixed"]), help="On a GPU.  [32-true]")
@click.option("--threads", type=int, help="Processor threads; 0 for all.  [0]")
@click.option("--tensorboard", is_flag=True, default=None, help="Write events for TensorBoard, too.")
@click.option("--resume", is_flag=True, help="Go on with the run in OUT, with the options that it began with.")
def command(config: Path | None, data: Path | None, out: Path, resume: bool, **options: Any) -> int:
    """Train a U-Net, or with --init any network of `hwseg quantize`, quantization-aware and keep the best one.

    CONFIG is a TOML file with tables [data], [unet] or [network], and [train]; options come before what it says.
    OUT receives config.toml, last.pt (to resume), best.pt (to export), metrics.csv, curves.png and result.json.
    Ctrl-C keeps a checkpoint.
    """
    labelled = options.pop("labels"), options.pop("ignore")
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if resume:
        require(labelled == ("", None), "--resume", "takes no other options", "they are those of the run")
        require(not given, "--resume", "takes no other options", "they are those of the run")
    else:
        taken = (out / "last.pt").exists()
        require(not taken, str(out), "already holds a run", "add --resume to go on, or choose another folder")
    warnings.filterwarnings("ignore", "fast_hadamard_transform")  # Brevitas, on import
    try:
        from hwseg.quant.train import run as training
    except ModuleNotFoundError as error:
        raise HwsegError("hwseg train", f"needs the package {error.name}", "pip install 'hwseg[train]'") from error
    tables = training.read_toml(config) if config else {}
    begun = given.get("init", tables.get("train", {}).get("init"))
    if not resume:
        require_new_run(out, [config, begun])
    source = data or _data_of(config, tables)
    base = None if resume else _converted(begun)
    run = training.Run.resume(out) if resume else _new_run(out, tables, _with_meaning(given, tables, source), base)
    known = base.meta["labels"] if base else None
    labels = run.labels if resume else chosen_labels(source, run.architecture.out_channels, *labelled, known)
    return _train(run, source, labels)


def _data_of(config: Path | None, tables: dict[str, dict[str, Any]]) -> Path:
    table = tables.get("data", {})
    require(set(table) <= {"path"}, str(config), f"[data] has path only, not {', '.join(table)}")
    path = table.get("path")
    require(isinstance(path, str), "--data", "is needed", "name a folder or a CSV file, here or as path in [data]")
    assert config is not None
    return config.parent / str(path)


def _with_meaning(given: dict[str, Any], tables: dict[str, dict[str, Any]], source: Path) -> dict[str, Any]:
    """The options with what pixels are: as asked for, else as the configuration or the data say."""
    from hwseg.datasets import data
    from hwseg.pictures.choice import named
    from hwseg.quant.train.config import meant

    if "normalize" in given:
        text = given["normalize"]
        return given | meant(named(text)) if os.path.isfile(text) else given
    declared = data.meaning_of(source)
    if declared is None or "normalize" in tables.get("train", {}):
        return given
    return given | meant(declared)


FINE = {"float_part": 0.0, "quantized_part": 0.0, "lr": 1e-3}
"""How a network of `hwseg quantize` is trained where nothing else is said: as `hwseg search` fine-tunes."""


@dataclass(frozen=True)
class Converted:
    """A network of `hwseg quantize` that a run begins with.  meta: as `load_network` has it."""

    place: Path
    network: Any
    meta: dict[str, Any]

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        """How it was made, where `given` does not say it otherwise."""
        from hwseg.quant.train.config import meant

        side = {} if "resize" in given else {"resize": side_of(self.meta, self.place)}
        return {**FINE, **meant(self.meta["input"]), "size": self.meta["size"], **side, **given}

    def at(self, unet: dict[str, Any], table: dict[str, Any], preset: str | None) -> Any:
        """The same network at other bits: those of a preset, or of the table [network]."""
        rule = f"is of `hwseg quantize` and has layers of its own; {', '.join(unet)} would change them"
        require(not unet, str(self.place), rule, "leave these options out")
        if preset:
            return self.network.at(preset)
        known = ("weight_bits", "activation_bits")
        rule = f"has {' and '.join(known)} only, not {', '.join(table)}"
        require(set(table) <= set(known), "[network]", rule, "leave the others out")
        return self.network.with_bits(*(table.get(name, getattr(self.network, name)) for name in known))


def _converted(init: Any) -> Converted | None:
    """What `init` names, if it is of `hwseg quantize`."""
    from hwseg.quant.networks.layered import NetworkConfig
    from hwseg.quant.train.checkpoint import load_network

    if not init or not isinstance(init, str):
        return None
    model, meta = load_network(Path(init))
    return Converted(Path(init), model.config, meta) if isinstance(model.config, NetworkConfig) else None


def _new_run(out: Path, tables: dict[str, dict[str, Any]], given: dict[str, Any], base: Converted | None) -> Any:
    from hwseg.quant.networks.unet import UNetConfig, preset
    from hwseg.quant.train.run import Run, TrainConfig

    unet, train = dict(tables.get("unet", {})), dict(tables.get("train", {}))
    kind = given.pop("model", None)
    if kind:
        unet["residual"] = kind == "resunet"
    for name in ("depth", "width", "upsampling", "scales", "in_channels", "out_channels"):
        if name in given:
            unet[name] = given.pop(name)
    bits = given.pop("preset", None)
    if bits == "float":
        bits, given = None, {"float_part": 1.0, "quantized_part": 0.0, **given}
    options, table = {**train, **given}, tables.get("network", {})
    if base is not None:
        return Run(out, base.at(unet, table, bits), TrainConfig.from_dict(base.options(options)))
    rule = "is for a network of `hwseg quantize`"
    require(not table, "[network]", rule, "name its checkpoint as init, or leave the table out")
    shape = preset(bits, **_checked(unet, UNetConfig)) if bits else UNetConfig.from_dict(unet)
    return Run(out, shape, TrainConfig.from_dict(options))


def _train(run: Any, source: Path, labels: Any) -> int:
    from hwseg.quant.train.run import train

    result = follow(run, source, train, labels)
    if result.interrupted:
        return int(result.status)
    if not run.config.float_only:
        click.echo(f"next: hwseg export {run.folder}")
    return 0


def _checked(unet: dict[str, Any], kind: Any) -> dict[str, Any]:
    kind.from_dict(unet)
    return unet

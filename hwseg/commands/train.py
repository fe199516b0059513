"""`hwseg train`: a folder of pictures and masks becomes a quantized U-Net."""

from __future__ import annotations

import tomllib
import warnings
from pathlib import Path
from typing import Any

import click

from hwseg.errors import HwsegError, require

_INTERRUPTED = 130


@click.command("train")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder with images/ and masks/.")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with tables [unet] and [train].")
@click.option("--model", type=click.Choice(["unet"]), default="unet", show_default=True, help="Kind of network.")
@click.option("--preset", type=click.Choice(["w8a8", "w4a4", "mixed"]), help="Bits of weights and activations.")
@click.option("--depth", type=int, help="Number of poolings.  [3]")
@click.option("--width", type=int, help="Channels of the first level.  [8]")
@click.option("--upsampling", type=click.Choice(["nearest", "transposed"]), help="How the decoder goes up.  [nearest]")
@click.option("--scales", type=click.Choice(["power_of_two", "float"]), help="Kind of scales.  [power_of_two]")
@click.option("--in-channels", type=int, help="1 for grey, 3 for colour.  [1]")
@click.option("--out-channels", type=int, help="1 for foreground or not, else the number of labels.  [1]")
@click.option("--size", type=int, help="Side of the square training crops.  [128]")
@click.option("--steps", type=int, help="Gradient steps in all.  [2000]")
@click.option("--batch", type=int, help="Crops per step.  [8]")
@click.option("--lr", type=float, help="Highest learning rate.  [0.004]")
@click.option("--seed", type=int, help="Seed of weights, crops and split.  [0]")
@click.option("--normalize", help='"none" or "percentile LOW HIGH".  [percentile 0.5 99.5]')
@click.option("--exclude", multiple=True, metavar="NAME", help="Picture to leave out; may be given again.")
@click.option("--device", help="cpu, cuda, or auto.  [cpu]")
@click.option("--threads", type=int, help="Processor threads; 0 for all.  [0]")
@click.option("--resume", is_flag=True, help="Go on with the run in OUT, with the options that it began with.")
def command(data: Path, out: Path, config: Path | None, model: str, resume: bool, **options: Any) -> int:
    """Train a U-Net quantization-aware and keep the best one.

    OUT receives last.pt (to resume), best.pt (to export), metrics.csv and result.json.  Ctrl-C keeps a checkpoint.
    """
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if resume:
        require(not given and config is None, "--resume", "takes no other options", "they are those of the run")
    else:
        taken = (out / "last.pt").exists()
        require(not taken, str(out), "already holds a run", "add --resume to go on, or choose another folder")
    warnings.filterwarnings("ignore", "fast_hadamard_transform")  # Brevitas, on import
    try:
        from hwseg.quant import train as training
    except ModuleNotFoundError as error:
        raise HwsegError("hwseg train", f"needs the package {error.name}", "pip install 'hwseg[train]'") from error
    run = training.Run.resume(out) if resume else _new_run(out, config, given)
    return _train(run, data)


def _new_run(out: Path, config: Path | None, given: dict[str, Any]) -> Any:
    from hwseg.quant.train import Run, TrainConfig
    from hwseg.quant.unet import UNetConfig, preset

    tables = _read(config) if config else {}
    unet, train = tables.get("unet", {}), tables.get("train", {})
    for name in ("depth", "width", "upsampling", "scales", "in_channels", "out_channels"):
        if name in given:
            unet[name] = given.pop(name)
    bits = given.pop("preset", None)
    shape = preset(bits, **_checked(unet, UNetConfig)) if bits else UNetConfig.from_dict(unet)
    return Run(out, shape, TrainConfig.from_dict({**train, **given}))


def _train(run: Any, folder: Path) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from hwseg.quant import data
    from hwseg.quant.train import train

    unet, config = run.unet, run.config
    parts = data.load_folder(folder, unet.in_channels, unet.out_channels, config.seed, config.exclude)
    console = Console()
    counts = ", ".join(f"{len(pairs)} {part}" for part, pairs in parts.items())
    console.print(f"{counts} pictures; {config.steps} steps on {run.device}", highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console) as bar:
        task = bar.add_task(run.stage, total=config.steps, completed=run.step, note="")

        def show(p: Any) -> None:
            bar.update(task, completed=p.step, description=p.stage, note=f"loss {p.loss:.4f}")
            if p.val_dice is not None:
                console.print(
                    f"step {p.step}, {p.stage}: loss {p.loss:.4f}, validation Dice {p.val_dice:.4f}", highlight=False
                )

        result = train(run, parts, show)
    if result.interrupted:
        console.print(f"stopped after step {result.step}; add --resume to go on", highlight=False)
        return _INTERRUPTED
    for part, score in result.scores.items():
        console.print(f"Dice on {part}: {score}", highlight=False)
    console.print(f"next: hwseg export {run.folder} -o model.onnx", highlight=False)
    return 0


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HwsegError(str(path), f"is not readable TOML: {error}") from error
    for name, table in tables.items():
        known = name in ("unet", "train") and isinstance(table, dict)
        require(known, str(path), f"has tables [unet] and [train] only, not {name!r}")
    return tables


def _checked(unet: dict[str, Any], kind: Any) -> dict[str, Any]:
    kind.from_dict(unet)
    return unet

"""`hwseg adapt`: a trained network learns other pictures with few parameters, and ends in integers."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from hwseg.commands.follow import follow, require_new_run
from hwseg.commands.options import chosen_labels, label_options
from hwseg.errors import HwsegError, require
from hwseg.files import write_whole
from hwseg.locks import in_use


@click.command("adapt")
@click.option("--base", type=click.Path(path_type=Path), help="Checkpoint of the trained network.")
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Folder with images/ and masks/, or a CSV file."
)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option("--preset", type=click.Choice(["w8a8", "w4a4", "mixed"]), help="Bits afterwards.  [the base's]")
@click.option("--rank", type=int, help="Triplets per convolution to begin with.  [3]")
@click.option("--final-rank", type=float, help="Triplets per convolution in the end, on average.  [2]")
@click.option("--fewer", type=float, help="At least so many times fewer parameters than full fine-tuning.  [16.6]")
@click.option("--steps", type=int, help="Gradient steps in all.  [2000]")
@click.option("--float-part", type=float, default=0.6, show_default=True, help="Share of steps of stage 1.")
@click.option("--size", type=int, help="Side of the square training crops.  [128]")
@click.option("--resize", type=int, help="Side to which whole pictures are scaled first; 0 for none.  [0]")
@click.option("--augment", type=click.Choice(["turn", "mild", "none"]), help="How crops are varied.  [turn]")
@click.option("--batch", type=int, help="Crops per step.  [8]")
@click.option("--lr", type=float, help="Highest learning rate.  [0.004]")
@click.option("--ema", type=float, help="Decay of averaged weights; 0 for none.  [0]")
@click.option("--seed", type=click.IntRange(0), help="Seed of adapters, crops and split.  [0]")
@click.option("--device", help="cpu, cuda, or auto.  [cpu]")
@click.option("--threads", type=int, help="Processor threads; 0 for all.  [0]")
@click.option("--split", multiple=True, default=["test"], show_default=True, help="Part to report; may be repeated.")
@click.option("--against", type=click.Path(path_type=Path), help=".onnx file of full fine-tuning to compare with.")
@click.option("--resume", is_flag=True, help="Go on with the run in OUT.")
@label_options
def command(
    base: Path | None, data: Path, out: Path, split: tuple[str, ...], against: Path | None, resume: bool, **options: Any
) -> int:
    """Adapt a network with low-rank changes of its convolutions (AdaLoRA-QAT), then quantize and merge it.

    OUT receives what `hwseg train` writes, model.onnx, and adapt.json: trainable parameters, Dice before, in float32
    and in integers with the Wilcoxon p-value, and the size of the weight image.
    """
    warnings.filterwarnings("ignore", "fast_hadamard_transform")  # Brevitas, on import
    try:
        from hwseg.quant.train.adapt import AdaptRun
        from hwseg.quant.train.run import train
    except ModuleNotFoundError as error:
        raise HwsegError("hwseg adapt", f"needs the package {error.name}", "pip install 'hwseg[train]'") from error
    labelled = options.pop("labels"), options.pop("ignore")
    if resume:
        run = AdaptRun.resume(out)
    else:
        require(base is not None, "--base", "is needed", "name a checkpoint, such as float.pt of a run")
        require(
            not (out / "last.pt").exists(), str(out), "already holds a run", "add --resume, or choose another folder"
        )
        require_new_run(out, [base, against])
        run = _new(out, base, {k: v for k, v in options.items() if v is not None})
    labels = chosen_labels(data, run.architecture.out_channels, *labelled, run.labels if resume else _labels(base))
    result = follow(run, data, train, labels, split)
    if result.interrupted:
        return int(result.status)
    with in_use(out):
        report = _report(run, data, split, against)
        write_whole(out / "adapt.json", (json.dumps(report, indent=1) + "\n").encode())
    _print(report)
    return 0


def _new(out: Path, base: Any, options: dict[str, Any]) -> Any:
    from hwseg.quant.train.adapt import AdaptConfig, AdaptRun
    from hwseg.quant.train.checkpoint import load_network
    from hwseg.quant.train.config import TrainConfig, meant

    model, meta = load_network(base)
    architecture = model.config
    if bits := options.pop("preset", None):
        architecture = architecture.at(bits)
    adapt = AdaptConfig(**{k: options.pop(k) for k in ("rank", "final_rank", "fewer") if k in options})
    pixels = meant(meta["input"])
    config = TrainConfig.from_dict({**options, **pixels, "quantized_part": 0.0, "init": str(base)})
    return AdaptRun(out, architecture, config, adapt)


def _labels(base: Any) -> Any:
    """What the base says of its labels, or None."""
    from hwseg.quant.train.checkpoint import load_network

    return load_network(base)[1]["labels"]


def _report(run: Any, data: Path, split: tuple[str, ...], against: Path | None) -> dict[str, Any]:
    from hwseg.datasets import data as sets
    from hwseg.quant.read.load import load
    from hwseg.quant.train import adapt, metrics
    from hwseg.quant.train.checkpoint import load_network
    from hwseg.quant.train.evaluate import dices
    from hwseg.quant.train.export import export_qonnx
    from hwseg.quant.train.run import dice

    config, network = run.config, run.architecture
    final, meta = load_network(run.folder / "best.pt")
    size = (config.resize or config.size,) * 2
    file = run.folder / "model.onnx"
    export_qonnx(final, file, size, run.meaning, run.labels, "model", meta["seen"])
    graph = load(file)
    rows: dict[str, Any] = {}
    loaded = sets.load(data, network.in_channels, network.out_channels, config.seed, config.exclude, split, run.labels)
    parts, _ = run.data.arrange(loaded)
    for part in split:
        pairs = parts[part]
        options = run.meaning, run.device, config.resize
        before, floats = (
            dice(load_network(path)[0].to(run.device), pairs, *options)
            for path in (Path(config.init), run.folder / "float.pt")
        )
        integers = dices(graph, pairs)
        change, p = metrics.paired(integers, floats)
        means = {"before": before, "float32": floats, "integers": integers}
        rows[part] = {name: asdict(metrics.summarize(scores)) for name, scores in means.items()}
        rows[part] |= {"integers - float32": asdict(change), "Wilcoxon p": p}
        if against is not None:
            other = dices(load(against), pairs)
            change, p = metrics.paired(integers, other)
            rows[part]["full fine-tuning"] = asdict(metrics.summarize(other))
            rows[part] |= {"integers - full": asdict(change), "Wilcoxon p against full": p}
    full = run.started["all"]
    return {
        "trainable": {"begin": run.started["trainable"], "end": adapt.trainable(run.model), "full": full},
        "ranks": run.ranks(),
        "importance": run.importances(),
        "weight_bytes": _sizes(graph, final),
        "dice": rows,
    }


def _sizes(graph: Any, model: Any) -> dict[str, int]:
    """Bytes of the weights: float32, packed to their bits, and as the engine's image for the default array."""
    from hwseg.boards import load_board
    from hwseg.compile.program import compile_graph
    from hwseg.target.array import choose_array

    board = load_board("zynq7020")
    program = compile_graph(replace(graph), choose_array("auto", "table", board), board)
    config = model.config
    counts = {name: model.weight_of(name).numel() for name in config.convolutions}
    bits = sum(count * config.weight_bits_of(name) for name, count in counts.items())
    return {"float32": 4 * sum(counts.values()), "packed": (bits + 7) // 8, "image": len(program.weights)}


def _print(report: dict[str, Any]) -> None:
    counts, size = report["trainable"], report["weight_bytes"]
    click.echo(
        f"trainable parameters: {counts['begin']:,} at first, {counts['end']:,} in the end, {counts['full']:,} for "
        f"full fine-tuning ({counts['full'] / counts['begin']:.1f} and {counts['full'] / counts['end']:.1f} times more)"
    )
    click.echo(f"weights: {size['float32']:,} bytes in float32, {size['packed']:,} packed, {size['image']:,} as image")
    for part, row in report["dice"].items():
        for name, value in row.items():
            shown = f"{value:.3g}" if isinstance(value, float) else _interval(value)
            click.echo(f"{part}, {name}: {shown}")


def _interval(value: dict[str, Any]) -> str:
    return f"{value['mean']:.4f} (95 % interval {value['low']:.4f} to {value['high']:.4f})"

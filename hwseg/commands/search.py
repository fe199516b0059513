"""`hwseg search`: bits of every layer against the cycles that the compiler predicts, then fine-tuning."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from hwseg.commands.train import follow
from hwseg.errors import HwsegError, require


@click.command("search")
@click.argument("base", type=click.Path(path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Folder with images/ and masks/, or a CSV file."
)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder of the search.")
@click.option("--cycles", type=click.FloatRange(0, 1, min_open=True), help="Share of the base's cycles to stay within.")
@click.option("--budget", type=click.FloatRange(0, 1), default=0.01, show_default=True, help="Loss of validation Dice "
              "before fine-tuning that is allowed, without --cycles.")  # fmt: skip
@click.option("--weight-price", type=click.FloatRange(0), default=0.0, show_default=True, help="Cycles that a byte of "
              "packed weights is worth; 0 leaves weights alone, since their bits cost no cycles.")  # fmt: skip
@click.option("--array", default="auto", show_default=True, help="Array of the engine, as in `hwseg compile`.")
@click.option("--size", help="Height x width of the pictures.  [as trained]")
@click.option("--resize", type=int, help="Side to which whole pictures are scaled first.  [as trained]")
@click.option("--augment", type=click.Choice(["turn", "mild", "none"]), default="turn", help="For fine-tuning.  [turn]")
@click.option("--steps", type=int, default=500, show_default=True, help="Of fine-tuning; 0 for none.")
@click.option("--lr", type=float, default=1e-3, show_default=True, help="Highest learning rate of fine-tuning.")
@click.option("--ema", type=float, default=0.0, help="Decay of averaged weights; 0 for none.  [0]")
@click.option("--points", type=click.IntRange(2, 64), default=16, show_default=True, help="Of the front to measure.")
@click.option("--jobs", type=int, default=1, show_default=True, help="Processes that measure.")
@click.option("--seed", type=int, default=0, help="Of the split, where the data has none, and of fine-tuning.  [0]")
def command(base: Path, data: Path, out: Path, **options: Any) -> int:
    """Choose bits for the quantized network BASE (a run or a checkpoint) and fine-tune it with them.

    OUT receives search.json (measurements; a search that was interrupted goes on from them), front.json, front.png,
    config.toml with the chosen bits, and the run of fine-tuning in run/.  Test pictures are not looked at.
    """
    warnings.filterwarnings("ignore", "fast_hadamard_transform")  # Brevitas, on import
    try:
        from hwseg.quant.checkpoint import load_network
    except ModuleNotFoundError as error:
        raise HwsegError("hwseg search", f"needs the package {error.name}", "pip install 'hwseg[train]'") from error
    checkpoint = base / "best.pt" if base.is_dir() else base
    model, meta = load_network(checkpoint)
    usable = bool(meta["quantized"]) and model.folded
    require(usable, str(checkpoint), "must be a quantized, folded network", "train with a preset other than float")
    meta = {**meta, "resize": meta["resize"] if options["resize"] is None else options["resize"]}
    chosen = _search(model, meta, data, out, options)
    if not options["steps"]:
        return 0
    return _tune(checkpoint, chosen, meta, data, out, options)


def _search(model: Any, meta: Mapping[str, Any], source: Path, out: Path, options: Mapping[str, Any]) -> Any:
    from hwseg.files import write_whole
    from hwseg.quant import data as sets
    from hwseg.quant import plots, search
    from hwseg.quant.config import to_toml

    unet = model.config
    parts = sets.load(source, unet.in_channels, unet.out_channels, options["seed"], meta["excluded"])
    known = [search.Set.of(parts[p], meta["normalize"], unet.multiple, meta["resize"]) for p in ("train", "val")]
    both = search.Set(known[0].batches + known[1].batches)
    engine = _Engine(model, meta, out, options)
    base = search.Base.of(model)
    key = {
        "unet": unet.to_dict(),
        "parameters": base.digest,
        "pictures": len(both.batches),
        "size": list(engine.size),
        "array": engine.config.name,
    }
    memory = search.Memory(out / "search.json", key)
    click.echo(f"array {engine.config.name}, {len(both.batches)} pictures, {options['jobs']} processes")
    weights = options["weight_price"] > 0
    table = search.sensitivity(memory, base, both, weights, options["jobs"], lambda s: _told("losses", s))
    cost = engine.cost(memory, table, options["jobs"], options["weight_price"])
    best = search.front(table, cost)
    first = search.Point({knob: max(losses) for knob, losses in table.items()}, 0.0, 0.0)
    points = [first, *(p for p in search.spread(best, options["points"] - 1) if p.bits != first.bits)]
    rows: list[dict[str, Any]] = []
    for point in points:
        exact = engine.cycles(point.bits)
        network = base.network(point.bits)
        (loss, _), (_, dice) = both.measure(network), known[1].measure(network)
        rows.append({"cycles": exact.total, "estimated": round(cost(point.bits)), "loss": loss, "dice": dice,
                     "packed_bytes": engine.packed(point.bits), "bits": point.bits})  # fmt: skip
        click.echo(f"{exact.total:,} cycles, loss {loss:.4f}, validation Dice {dice:.4f}")
    number = choose(rows, options["cycles"], options["budget"])
    result = search.with_bits(unet, rows[number]["bits"])
    front = {"array": engine.config.name, "size": list(engine.size), "chosen": number, "points": rows}
    write_whole(out / "front.json", (json.dumps(front, indent=1) + "\n").encode())
    write_whole(out / "config.toml", to_toml({"unet": result.to_dict()}).encode())
    plots.pareto(rows, number, out / "front.png")
    share = rows[number]["cycles"] / rows[0]["cycles"]
    click.echo(f"chosen: {rows[number]['cycles']:,} cycles, {share:.3f} of the base's; bits in {out / 'config.toml'}")
    return result


def choose(rows: list[dict[str, Any]], cycles: float | None, budget: float) -> int:
    """The least loss within a share of the first row's cycles, or the fewest cycles within a loss of Dice."""
    if cycles is not None:
        fits = [i for i, row in enumerate(rows) if row["cycles"] <= cycles * rows[0]["cycles"]]
        least = min(row["cycles"] for row in rows) / rows[0]["cycles"]
        require(bool(fits), "--cycles", f"must be at least {least:.3f} here, not {cycles:g}", "try a smaller --array")
        return min(fits, key=lambda i: rows[i]["loss"])
    fits = [i for i, row in enumerate(rows) if row["dice"] >= rows[0]["dice"] - budget]
    return min(fits, key=lambda i: rows[i]["cycles"])


class _Engine:
    """The compiler as a source of costs."""

    def __init__(self, model: Any, meta: Mapping[str, Any], out: Path, options: Mapping[str, Any]) -> None:
        from hwseg.boards import load_board
        from hwseg.compile.activation_cost import activation_nodes
        from hwseg.compile.array import choose_array
        from hwseg.quant.export import export_qonnx, parse_size
        from hwseg.quant.load import load

        self.unet = model.config
        side = int(meta["resize"] or meta["size"])
        self.size = parse_size(options["size"]) if options["size"] else (side, side)
        out.mkdir(parents=True, exist_ok=True)
        export_qonnx(model, out / "base.onnx", self.size, meta["normalize"], "base", "resize" if meta["resize"] else "")
        self.graph = load(out / "base.onnx")
        self.board = load_board("zynq7020")
        self.config = choose_array(options["array"], "table", self.board)
        widths = [self.graph.types[node.output].bits for node in activation_nodes(self.graph)]
        assert widths == [self.unet.activation_bits_of(name) for name in self.unet.activations]
        self.counts = {
            name: int(
                model.get_submodule(name.replace("/", ".") + (".conv" if name[:2] == "up" else "")).weight.numel()
            )
            for name in self.unet.convolutions
        }

    def cycles(self, bits: Mapping[str, int]) -> Any:
        """Exact prediction of a choice."""
        from hwseg.compile.activation_cost import cycles
        from hwseg.quant.search import with_bits

        chosen = with_bits(self.unet, bits)
        widths = [chosen.activation_bits_of(name) for name in chosen.activations]
        return cycles(self.graph, widths, self.config, self.board)

    def layers(self, bits: Mapping[str, int]) -> dict[str, int]:
        """Cycles of each layer."""
        found: dict[str, int] = self.cycles(bits).layers
        return found

    def packed(self, bits: Mapping[str, int]) -> int:
        """Bytes of all weights, each in its own bits."""
        from hwseg.quant.search import with_bits

        chosen = with_bits(self.unet, bits)
        return sum((count * chosen.weight_bits_of(name) + 7) // 8 for name, count in self.counts.items())

    def cost(self, memory: Any, table: Mapping[str, Mapping[int, float]], jobs: int, price: float) -> Any:
        """A quick estimate: a layer takes the most that any knob makes it take with all others at two bits."""
        from hwseg.quant.search import LOWEST

        activations = [knob for knob in table if knob.startswith("a:")]
        low = dict.fromkeys(activations, LOWEST)
        tasks = {f"cycles {k} {b}": ({**low, k: b},) for k in activations for b in table[k]}
        memory.fill(tasks, self.layers, jobs, lambda s: _told("cycles", s))
        seen = {(k, b): memory.values[f"cycles {k} {b}"] for k in activations for b in table[k]}
        names = list(next(iter(seen.values())))

        def cost(bits: Mapping[str, int]) -> float:
            rows = [seen[k, bits[k]] for k in activations]
            total = sum(max(row[name] for row in rows) for name in names)
            return float(total + price * self.packed(bits))

        return cost


def _told(what: str, text: str) -> None:
    click.echo(f"measured {what}: {text}")


def _tune(
    checkpoint: Path, unet: Any, meta: Mapping[str, Any], data: Path, out: Path, options: Mapping[str, Any]
) -> int:
    from hwseg.quant.config import TrainConfig
    from hwseg.quant.train import Run, train

    if (out / "run" / "last.pt").exists():
        run = Run.resume(out / "run")
        same = run.unet == unet
        require(same, str(out / "run"), "was trained with other bits", "remove it, or choose another folder")
    else:
        config = TrainConfig(
            steps=options["steps"], lr=options["lr"], float_part=0.0, quantized_part=0.0, init=str(checkpoint),
            normalize=meta["normalize"], size=meta["size"], resize=meta["resize"], exclude=tuple(meta["excluded"]),
            augment=options["augment"], ema=options["ema"], seed=options["seed"], threads=options["jobs"],
        )  # fmt: skip
        run = Run(out / "run", unet, config)
    click.echo(json.dumps(asdict(run.unet)["activation_bits"]))
    result = follow(run, data, train)
    if result.interrupted:
        return 130
    click.echo(f"next: hwseg export {run.folder}")
    return 0

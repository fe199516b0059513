"""Adaptation against full fine-tuning over several seeds: the one evaluation that ends docs/training.md's protocol.

    python -m benchmarks.adaptation --data cxr-lungs --full full-1 full-2 --adapted adapted-1 adapted-2

A run's network is exported and evaluated as integers; its float32 form is what it was at the end of the first stage.  A
picture's Dice is the mean over an arm's seeds; differences are paired by picture.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import table
from hwseg.datasets import data as sets
from hwseg.datasets.pairs import Pair
from hwseg.errors import HwsegError
from hwseg.quant.read.load import load
from hwseg.quant.train import metrics
from hwseg.quant.train.checkpoint import load_network
from hwseg.quant.train.evaluate import dices
from hwseg.quant.train.export import export_qonnx
from hwseg.quant.train.run import dice


def scores(run: Path, pairs: Sequence[Pair]) -> tuple[list[float], list[float]]:
    """Dice of each picture: the float32 form, and the exported integers."""
    import torch

    model, meta = load_network(run / "best.pt")
    side = int(meta["resize"] or meta["size"])
    file = run / "model.onnx"
    if not file.is_file():
        export_qonnx(model, file, (side, side), meta["input"], meta["labels"], "model")
    first, _ = load_network(run / "float.pt")
    floats = dice(first, list(pairs), meta["input"], torch.device("cpu"), meta["resize"])
    return floats, dices(load(file), pairs)


def compared(full: Sequence[Path], adapted: Sequence[Path], pairs: Sequence[Pair]) -> dict[str, Any]:
    """Means of runs and arms, and paired differences with Wilcoxon's p-value, as plain values."""
    arms = {"full": full, "adapted": adapted}
    found = {arm: np.array([scores(run, pairs) for run in runs]) for arm, runs in arms.items()}
    means = {arm: values.mean(axis=0) for arm, values in found.items()}  # [float32 or integers, picture]
    differences = {
        "adapted: integers - float32": metrics.paired(means["adapted"][1], means["adapted"][0]),
        "adapted - full": metrics.paired(means["adapted"][1], means["full"][1]),
    }
    return {
        "runs": {
            run.name: values.mean(axis=1).tolist()
            for arm in arms
            for run, values in zip(arms[arm], found[arm], strict=True)
        },
        "arms": {arm: [vars(metrics.summarize(row.tolist())) for row in values] for arm, values in means.items()},
        "differences": {name: {**vars(score), "p": p} for name, (score, p) in differences.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--full", nargs="+", type=Path, required=True)
    parser.add_argument("--adapted", nargs="+", type=Path, required=True)
    parser.add_argument("--split", nargs="+", default=["test", "external_covid"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", "fast_hadamard_transform")  # Brevitas, on import
    results = {}
    for split in options.split:
        results[split] = found = compared(options.full, options.adapted, sets.load(options.data, extra=split)[split])
        rows = [(name, *(f"{value:.4f}" for value in values)) for name, values in found["runs"].items()]
        rows += [(f"{arm}, mean of seeds", *(shown(score) for score in both)) for arm, both in found["arms"].items()]
        print(table((split, "float32", "integers"), rows))
        for name, score in found["differences"].items():
            print(f"{name}: {shown(score)}, Wilcoxon p {score['p']:.2g}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


def shown(score: dict[str, Any]) -> str:
    return f"{score['mean']:.4f} ({score['low']:.4f} to {score['high']:.4f})"


if __name__ == "__main__":
    try:
        main()
    except HwsegError as error:
        raise SystemExit(str(error)) from error

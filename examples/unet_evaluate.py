"""Measure a model's exact integers on a data set, with all activation planes and with fewer: behind `hwseg eval`.

    python examples/unet_evaluate.py MODEL.onnx DATA

DATA holds images/ and masks/ (the same file names), and optionally split.json.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hwseg.datasets import data
from hwseg.quant.read.load import load
from hwseg.quant.train.evaluate import Evaluation, evaluate


def main(model: Path, folder: Path, part: str = "test") -> dict[int, Evaluation]:
    """Every metric at 8 planes, Dice alone below."""
    graph = load(model)
    pairs = data.load(folder, extra=part)[part]
    found = {planes: evaluate(graph, pairs, planes, fit="resize") for planes in (8, 6, 4, 3)}
    for name, score in found[8].means.items():
        print(f"{name}: {score}")
    for planes, evaluation in found.items():
        print(f"Dice at {planes} planes: {evaluation.means['dice']}")
    return found


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))

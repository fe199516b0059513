"""docs/trust.png: two test pictures with confidence, deferred pixels, and where the mask is wrong.

    python docs/make_trust_picture.py MODEL.onnx DATA NAME NAME

MODEL is what `hwseg trust` wrote; DATA the folder nuclei-dsb2018, whose pictures are CC0.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from hwseg.datasets.data import load as load_data
from hwseg.datasets.pairs import Pair
from hwseg.ir import Graph
from hwseg.pictures.draw import overlay_png
from hwseg.pictures.source import choice_of, quantizer
from hwseg.quant.read.load import load
from hwseg.trust.fitting.observe import observe
from hwseg.trust.graph import judge_of
from hwseg.trust.judge import Doubts

TITLES = ("picture", "confidence", "mask, deferred pixels hatched", "wrong pixels: found by deferral, missed")


def views(graph: Graph, pair: Pair) -> tuple[list[np.ndarray], str]:
    """Four views of a picture, and a sentence."""
    (seen,) = observe(graph, [pair])
    doubts = Doubts.of(judge_of(graph), seen.sums, seen.mask)
    kind = graph.types[graph.input]
    q = pair.prepared(choice_of(graph).meaning)[0].integers(quantizer(kind))
    grey = ((q[:, :, 0].astype(int) - kind.low) * 255 // (kind.high - kind.low)).astype(np.uint8)
    overlay = np.array(Image.open(io.BytesIO(overlay_png(q, kind, seen.mask, deferred=doubts.deferred))).convert("RGB"))
    wrong = np.repeat(grey[:, :, None] // 3, 3, axis=2)
    wrong[seen.wrong & doubts.deferred] = (0, 158, 115)
    wrong[seen.wrong & ~doubts.deferred] = (230, 80, 0)
    return [grey, doubts.confidence, overlay, wrong], f"Dice {seen.dice:.2f}; {doubts.sentence()}"


def main() -> None:
    model, data, *names = sys.argv[1:]
    graph = load(model)
    pairs = {pair.name: pair for pair in load_data(data)["test"]}
    figure = Figure(figsize=(12, 3.4 * len(names)), layout="constrained")
    parts = figure.subfigures(len(names), 1)
    for part, name in zip(parts, names, strict=True):
        row = part.subplots(1, 4)
        shown, sentence = views(graph, pairs[name])
        for axis, view, title in zip(row, shown, TITLES, strict=True):
            axis.imshow(view, cmap="gray", vmin=0, vmax=255)
            axis.set_title(title, fontsize=9)
            axis.axis("off")
        part.suptitle(sentence, fontsize=10, x=0.01, ha="left")
    target = Path(__file__).parent / "trust.png"
    figure.savefig(target, dpi=90)
    picture = Image.open(target).convert("RGB").quantize(128)
    picture.save(target, optimize=True)


if __name__ == "__main__":
    main()

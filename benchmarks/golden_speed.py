"""The golden model against the qonnx executor on one network and picture, in one process, taking turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from benchmarks.measure import machine, table, verdict
from benchmarks.networks import MIDDLE
from hwseg import golden
from hwseg.image import to_floats
from hwseg.quant.load import load, load_with_origins
from hwseg.quant.referee import judge, run_qonnx

TARGET = 20
ROUNDS = 3


def seconds(body: Callable[[], object]) -> float:
    started = time.perf_counter()
    body()
    return time.perf_counter() - started


def main() -> None:
    path = MIDDLE.file()
    graph = load(path)
    kind = graph.types[graph.input]
    image = np.random.default_rng(0).integers(kind.low, kind.high + 1, kind.shape)
    x = to_floats(graph, image)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        theirs.append(seconds(lambda: run_qonnx(path, x)))
        ours += [seconds(lambda: golden.run(graph, image)) for _ in range(5)]
    report = judge(*load_with_origins(path), image, "qonnx", run_qonnx(path, x))
    a, b = statistics.median(ours), statistics.median(theirs)
    print(machine())
    print()
    print(
        table(
            ["network", "golden, s", "qonnx executor, s", "ratio", "target", ""],
            [[MIDDLE.name, f"{a:.3f}", f"{b:.2f}", f"{b / a:.0f}", f"{TARGET}", verdict(b / a >= TARGET)]],
        )
    )
    print()
    print(f"{report.different} of {report.activations} activations differ.")


if __name__ == "__main__":
    main()

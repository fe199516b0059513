"""The golden model against the qonnx executor on one network and picture, in one process, taking turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from benchmarks.measure import machine, table, verdict
from benchmarks.networks import MIDDLE
from hwseg import golden
from hwseg.pictures.source import to_floats
from hwseg.quant.read.load import load, load_with_origins
from hwseg.quant.read.referee import judge, run_qonnx

TARGET = 20
ROUNDS = 5


def timed(body: Callable[[], object]) -> tuple[float, float]:
    """Wall clock and processor time of all threads; the second hardly changes when others use the machine."""
    started, used = time.perf_counter(), time.process_time()
    body()
    return time.perf_counter() - started, time.process_time() - used


def main() -> None:
    path = MIDDLE.file()
    graph = load(path)
    kind = graph.types[graph.input]
    image = np.random.default_rng(0).integers(kind.low, kind.high + 1, kind.shape)
    x = to_floats(graph, image)
    verdict_of = judge(*load_with_origins(path), image, "qonnx", run_qonnx(path, x))
    ours, theirs = [], []
    for _ in range(ROUNDS):
        theirs.append(timed(lambda: run_qonnx(path, x)))
        ours.append(timed(lambda: golden.run(graph, image)))
    rows = []
    for i, clock in enumerate(("wall clock", "processor time")):
        a, b = (statistics.median(run[i] for run in runs) for runs in (ours, theirs))
        rows.append([clock, f"{a:.3f} s", f"{b:.3f} s", f"{b / a:.1f}", f"{TARGET}", verdict(b / a >= TARGET)])
    print(machine())
    print()
    print(table([MIDDLE.name, "golden", "qonnx executor", "ratio", "target", ""], rows))
    print()
    print(f"{verdict_of.different} of {verdict_of.activations} activations differ.")


if __name__ == "__main__":
    main()

"""A whole U-Net in Verilator: compiling the simulator in an empty cache and in a filled one, and the run itself."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measure import machine, table, verdict
from benchmarks.networks import SMALL
from hwseg.quant.read.load import load

RUN_SECONDS, COLD_SECONDS, WARM_SECONDS = 90, 240, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--array", default="sim")
    array = parser.parse_args().array
    graph = load(SMALL.file())
    kind = graph.types[graph.input]
    image = np.random.default_rng(0).integers(kind.low, kind.high + 1, kind.shape)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = f"{scratch}/cache"
        from hwseg.builds.build import compile_model
        from hwseg.builds.simulation import simulate

        build = compile_model(SMALL.file(), array=array, out=Path(scratch) / "build")
        cold, warm = simulate(build.path, image), simulate(build.path, image)
    rows = []
    for name, result, bound in (("empty", cold, COLD_SECONDS), ("filled", warm, WARM_SECONDS)):
        seconds = result.build_seconds
        rows.append([f"simulator, {name} cache", f"{seconds:.1f} s", f"{bound} s", verdict(seconds < bound)])
    for name, result in (("first run", cold), ("second run", warm)):
        rate = f"{result.seconds:.1f} s, {result.cycles / result.seconds / 1e3:.0f} k cycles/s"
        rows.append([name, rate, f"{RUN_SECONDS} s", verdict(result.seconds < RUN_SECONDS)])
    print(machine())
    print()
    print(table([f"{SMALL.name} on {build.report['array']}", "measured", "target", ""], rows))
    print()
    print(f"{cold.cycles:,} cycles, {cold.predicted_cycles:,} predicted, {cold.mismatches} mismatches.")


if __name__ == "__main__":
    main()

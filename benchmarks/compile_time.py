"""`hwseg compile` from the shell, imports included: seconds and peak memory against the targets.

The engine's Verilog depends on the array alone and is cached per machine; both cases are measured.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.measure import machine, run, table, verdict
from benchmarks.networks import LARGE, MIDDLE, Network

TARGETS: dict[Network, tuple[float, float | None]] = {MIDDLE: (10, None), LARGE: (60, 4e9)}
"""Seconds, bytes."""


def measure(network: Network, cache: str) -> list[list[str]]:
    """The first run in an empty cache, the second in a filled one."""
    most_seconds, most_bytes = TARGETS[network]
    rows = []
    for state in ("empty", "filled"):
        with tempfile.TemporaryDirectory() as scratch:
            arguments = ["compile", str(network.file()), "-o", str(Path(scratch) / "build")]
            result = run(arguments, {"XDG_CACHE_HOME": f"{cache}/{network.name}"})
        good = result.seconds < most_seconds and (most_bytes is None or result.peak_bytes < most_bytes)
        bound = f"{most_seconds:g} s" + (f", {most_bytes / 1e9:g} GB" if most_bytes else "")
        rows.append(
            [
                network.name,
                state,
                f"{result.seconds:.1f}",
                f"{result.cpu_seconds:.1f}",
                f"{result.peak_bytes / 1e9:.2f}",
                bound,
                verdict(good),
            ]
        )
    return rows


def main() -> None:
    with tempfile.TemporaryDirectory() as cache:
        rows = [row for network in TARGETS for row in measure(network, cache)]
    print(machine())
    print()
    print(table(["network", "cache", "seconds", "CPU seconds", "peak GB", "target", ""], rows))


if __name__ == "__main__":
    main()

"""The engine's Verilog from nothing: seconds and megabytes for each preset, against the targets for the largest."""

from __future__ import annotations

import time

from benchmarks.measure import machine, table, verdict
from hwseg.rtl.config import PRESETS, EngineConfig
from hwseg.rtl.engine import verilog

SECONDS, MEGABYTES = 20.0, 3.0


def measure(name: str, config: EngineConfig) -> list[str]:
    """Elaboration by Amaranth and conversion by Yosys, without a cache."""
    started, used = time.perf_counter(), time.process_time()
    size = len(verilog(config).encode()) / 1e6
    seconds, own = time.perf_counter() - started, time.process_time() - used
    good = seconds < SECONDS and size < MEGABYTES
    return [name, config.name, f"{seconds:.1f}", f"{own:.1f}", f"{size:.2f}", verdict(good)]


def main() -> None:
    rows = [measure(name, config) for name, config in PRESETS.items()]
    print(machine())
    print()
    print(
        table(["preset", "array", "seconds", "of which Python", "MB", f"under {SECONDS:g} s, {MEGABYTES:g} MB"], rows)
    )


if __name__ == "__main__":
    main()

"""Whole engines synthesized with yosys `synth_xilinx`, beside what `hwseg.target.resources` estimates (minutes)."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.measure import machine, table
from hwseg.builds.build import measure
from hwseg.rtl.config import parse_array
from hwseg.target.engine_text import engine_verilog
from hwseg.target.resources import estimate
from hwseg.toolchain import yosys


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arrays", nargs="*", default=["8x4x4", "16x8x8"], metavar="ARRAY")
    rows = []
    for name in parser.parse_args().arrays:
        config = parse_array(name)
        with tempfile.TemporaryDirectory() as scratch:
            top = Path(scratch) / "top.v"
            top.write_text(engine_verilog(config))
            measured = measure(top)
        estimated = estimate(config)
        for resource, found in measured.items():
            error = 100 * (estimated[resource] / found - 1)
            rows.append([name, resource, f"{found:,}", f"{estimated[resource]:,}", f"{error:+.1f} %"])
    print(f"{machine()}, pyosys {yosys.version()}")
    print()
    print(table(["array", "resource", "measured", "estimated", "error"], rows))


if __name__ == "__main__":
    main()

"""Simulate a build from Python and look at the proof: the library behind `hwseg simulate`.

    python examples/unet_simulate.py BUILD PICTURE MASK.png

BUILD is a folder of `hwseg compile`; PICTURE is cut to the model's size about its middle.  The simulator is compiled
first, which takes minutes unless one of the same array is cached.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hwseg.builds.simulation import simulate
from hwseg.pictures.draw import mask_png
from hwseg.pictures.source import labels_of, read_input
from hwseg.quant.read.load import load
from hwseg.sim.simulate import Simulation


def main(build: Path, picture: Path, mask: Path) -> Simulation:
    """Run the engine; print where it differs from the golden model, which is nowhere."""
    graph = load(build / "model.onnx")
    result = simulate(build, read_input(picture, graph, "crop"))
    for layer in result.layers:
        print(f"{layer.name:16} {layer.mismatches} mismatches, {layer.cycles:,} of {layer.predicted_cycles:,} cycles")
    mask.write_bytes(mask_png(result.mask, labels_of(graph)))
    verdict = "passed" if result.passed else "FAILED"
    print(f"{verdict}: {result.mismatches} mismatches, {result.cycles:,} cycles; wrote {mask}")
    return result


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(not main(*map(Path, sys.argv[1:])).passed)

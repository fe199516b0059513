"""Compile a model from Python and read the prediction: the library behind `hwseg compile`.

    python examples/unet_compile.py BUILD [MODEL.onnx] [ARRAY]

MODEL is a QONNX file, by default the shipped nuclei-mixed; ARRAY is output channels x pixels x input channels.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hwseg import models
from hwseg.builds.build import Build, compile_model


def main(folder: Path, model: Path, array: str = "8x4x4") -> Build:
    """Write the build folder; print what every layer will cost before anything is simulated."""
    build = compile_model(model, array=array, out=folder)
    timing = build.program.timing()
    for plan in build.program.plans:
        cycles, walking = timing.layers[plan.index], timing.walking[plan.index]
        print(f"{plan.layer.name:16} {cycles:>9,} cycles, array at work in {100 * walking // cycles} %")
    slower = build.program.timing(latency=2 * build.program.board.ddr_latency).total
    print(f"{timing.total:,} cycles; {slower:,} with a memory of twice the latency")
    print(f"wrote {build.path}")
    return build


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3, 4):
        sys.exit(__doc__)
    chosen = Path(sys.argv[2]) if len(sys.argv) > 2 else models.path("nuclei-mixed")
    main(Path(sys.argv[1]), chosen, *sys.argv[3:])

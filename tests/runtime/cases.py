"""The package that the driver's tests run, with pictures and the heads that the golden model gives.

python -m tests.runtime.cases FOLDER      writes one for a board: copy it there and name it in HWSEG_PACKAGE
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

EXPECTED = "expected.npz"
"""Beside the package's own files; arrays NAME/pixels and NAME/sums of several pictures."""

ARRAY = "8x1x1"
PICTURES = 3


def make_package(folder: Path, work: Path, array: str = ARRAY, board: str = "pynq-z2") -> Path:
    """Two small random networks for one array."""
    from hwseg import golden
    from hwseg.boards import load_board
    from hwseg.boards.zynq7020.package import package
    from hwseg.builds.build import compile_model
    from hwseg.pictures.raster import raster
    from hwseg.pictures.source import integers
    from tests.quant.models import random_unet

    expected: dict[str, Any] = {}
    builds = []
    for seed in (1, 7):
        model = random_unet(seed, work)
        build = compile_model(model, array=array, out=work / f"build-{seed}")
        builds.append(build.path)
        graph = build.program.graph
        kind = graph.types[graph.input]
        pixels = np.random.default_rng(seed).integers(0, 256, (PICTURES, *kind.shape), np.uint8)
        results = [golden.run(graph, integers(raster(p), graph)) for p in pixels]
        sums = [result.tensors[graph.head.tensor] for result in results]
        expected[f"{build.report['model']}/pixels"] = pixels
        expected[f"{build.report['model']}/sums"] = np.array(sums)
        expected[f"{build.report['model']}/masks"] = np.array([golden.mask(graph.head, s) for s in sums])
    package(builds, load_board(board), folder)
    np.savez(folder / EXPECTED, **expected)
    return folder


def reseal(folder: Path) -> None:
    """Write the manifest anew: whoever damages a package by intent does that, too."""
    from hwseg.files import MANIFEST, manifest_text

    (folder / MANIFEST).write_text(manifest_text(folder))


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        print(make_package(Path(sys.argv[1]), Path(scratch)))

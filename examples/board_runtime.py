"""Segment a picture with a package, on the board or in simulation: the library behind the example notebook.

    python examples/board_runtime.py PACKAGE PICTURE MASK.png [simulation]

PACKAGE is a folder of `hwseg package`; PICTURE has any size, and is cut into tiles as `hwseg segment` does.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from hwseg.pictures.read import read_one
from hwseg.runtime import Accelerator, Mask


def main(package: Path, picture: Path, mask: Path, backend: str = "board") -> Mask:
    """Run the package's first model on a picture and write the mask, in the one coding of its labels."""
    with Accelerator.open(package, backend) as accelerator:
        result = accelerator.segment(read_one(picture))
        milliseconds = result.cycles / accelerator.package.board.clock_mhz / 1000
    labels = result.model.pixels.labels
    written = Image.fromarray(labels.coded(result.mask))
    if labels.channels > 1:
        written.putpalette(labels.palette().reshape(-1).tolist())
    written.save(mask)
    tiles = 1 if result.grid is None else len(result.grid)
    print(f"{result.model.name}: {tiles} tiles, {result.cycles:,} cycles, {milliseconds:.2f} ms; wrote {mask}")
    return result


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:4]), *sys.argv[4:])

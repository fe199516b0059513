"""Segment a picture with a package, on the board or in simulation: the library behind the example notebook.

    python examples/board_runtime.py PACKAGE PICTURE MASK.png [simulation]

PACKAGE is a folder of `hwseg package`; PICTURE is resized to the model's size.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from hwseg.runtime import Accelerator, Mask


def main(package: Path, picture: Path, mask: Path, backend: str = "board") -> Mask:
    """Run the package's first model on a picture and write the mask, as bright as classes allow."""
    with Accelerator.open(package, backend) as accelerator:
        height, width, channels = accelerator.load().input.shape
        image = Image.open(picture).convert("L" if channels == 1 else "RGB").resize((width, height))
        result = accelerator.segment(np.asarray(image).reshape(height, width, channels))
        milliseconds = result.cycles / accelerator.package.board.clock_mhz / 1000
    classes = max(1, int(result.mask.max()))
    Image.fromarray(result.mask * np.uint8(255 // classes)).save(mask)
    print(f"{result.model.name}: {result.cycles:,} cycles, {milliseconds:.2f} ms; wrote {mask}")
    return result


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:4]), *sys.argv[4:])

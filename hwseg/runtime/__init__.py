"""The driver, the same on a board and in simulation.

    from hwseg.runtime import Accelerator

    with Accelerator.open("package") as accelerator:          # or open("package", backend="simulation")
        mask = accelerator.segment(pixels).mask               # uint8 [H, W] from uint8 [H, W] or [H, W, C]

It needs NumPy, and of hwseg only `errors`, `files`, `layout` and the part of `pictures` that needs NumPy alone;
`hwseg package` puts these few modules into the package's `python` folder, for boards with Python 3.10.

    package.py       what a package says, and images that are what they claim to be
    accelerator.py   loading, starting, waiting, counters
    backend.py       what is asked of a board, a simulator or a fake
    board.py         registers through UIO or /dev/mem, memory through pynq or u-dma-buf
    fpga.py          bitstreams, clocks and port widths
"""

from hwseg.runtime.accelerator import Accelerator, Mask, Run
from hwseg.runtime.package import Model, Package, read_package

__all__ = ["Accelerator", "Mask", "Model", "Package", "Run", "read_package"]

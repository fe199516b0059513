"""The driver, the same on a board and in simulation.

    from hwseg.runtime import Accelerator

    with Accelerator.open("package") as accelerator:          # or open("package", backend="simulation")
        mask = accelerator.segment(pixels).mask               # uint8 [H, W] from [H, W] or [H, W, C] of any size

It needs NumPy, and of hwseg only `borders`, `errors`, `files`, `layout`, `locks` and the part of `pictures` that needs
NumPy alone; `hwseg package` puts these few modules, and what `hwseg segment` needs of a package, into the package's
`python` folder and into a wheel there, for boards with Python 3.10.

    package.py       what a package says of board and registers, read through its manifest
    model.py         what it says of one network, and images that are what they claim to be
    entries.py       JSON that is what it must be, or a sentence
    accelerator.py   one run, one thread and one process at a time; pictures in, masks out
    cut.py           a picture of any size: its tiles, and the result that they are put together to
    run.py           a tile under way, and what came of it
    loaded.py        a model in memory: pictures are packed into it, sums read from it
    engine.py        registers by name: start, stop, wait, counters
    backend.py       what is asked of a board, a simulator or a fake
    board.py         registers through UIO or /dev/mem, memory through pynq or u-dma-buf
    fpga.py          bitstreams, clocks and port widths
"""

from hwseg.runtime.accelerator import Accelerator
from hwseg.runtime.model import Model
from hwseg.runtime.package import Package, read_package
from hwseg.runtime.run import Mask, Run

__all__ = ["Accelerator", "Mask", "Model", "Package", "Run", "read_package"]

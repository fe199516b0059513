"""Which sizes of the input would do, for sentences about maps that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from hwseg.errors import HwsegError
from hwseg.quant.read.onnx_file import OnnxFile


class UnfitSizeError(HwsegError):
    """A map's size does not suit its reader; `load` looks for sizes of the input with which it does.

    cure: where there are none.
    """


def nearest_sizes(file: OnnxFile, fits: Callable[[int, int], bool]) -> str:
    """Input sizes near the given one that every pooling divides, and that do when they are tried; nothing if the given
    one is such a size, so that no other will help.
    """
    factor = _factor(file)
    _, _, height, width = file.shape
    near = [[n for n in (size // factor * factor, -(-size // factor) * factor) if n > 0] for size in (height, width)]
    others = [size for size in dict.fromkeys(product(*near)) if size != (height, width)]
    good = [f"{h}x{w}" for h, w in others if fits(h, w)]
    given = f"the input is {height}x{width}"
    if good:
        return f"{given}, the nearest {'sizes that fit are' if good[1:] else 'size that fits is'} {', '.join(good)}"
    if height % factor == 0 and width % factor == 0:
        return ""
    # Sizes of this one that stand in the file as constants: it fits no other.
    such = " or ".join(f"{h}x{w}" for h, w in others)
    return f"{given}; export the model with an input that {factor} divides, such as {such}"


def _factor(file: OnnxFile) -> int:
    """What divides the sizes that suit all poolings."""
    depth, halved = {file.input: 0}, [0]
    for node in file.nodes:
        strides = node.attributes.get("strides", (1, 1))
        down = node.op in ("MaxPool", "AveragePool", "Conv") and strides == (2, 2)
        up = node.op in ("Resize", "Upsample", "ConvTranspose")
        reached = max((depth[name] for name in node.inputs if name in depth), default=None)
        if reached is not None:
            depth.update((output, reached + down - up) for output in node.outputs)
            if node.op == "Conv":
                gaps = node.attributes.get("dilations", (1, 1))
                halved.append(reached + _halvings(node.attributes.get("kernel_shape", ()), gaps))
    return 1 << min(max(*depth.values(), *halved), 20)


def _halvings(kernel: tuple[int, ...], gaps: tuple[int, ...]) -> int:
    """Kernels beyond 3x3 read two by two pixels as one, beyond 5x5 four by four."""
    extent = max(((n - 1) * gap + 1 for n, gap in zip(kernel, gaps, strict=False)), default=1)
    return 0 if extent <= 3 else 1 if extent <= 5 else 2

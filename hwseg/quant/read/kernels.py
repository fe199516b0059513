"""Kernels of any form as square ones in the middle of their pixel: with gaps, of two sizes, moved to one side.

A tap that reads row s * o + a * d - p, with a from 0 to k - 1, is one of a kernel whose middle is row s * o; all others
are zero.  That is exact, and the zeros are not counted (`Conv2d.taps`).  The farthest tap says how large the kernel is:

    kernel 3, dilation 2, padding 2      rows -2, 0, 2          5x5
    kernel 3, dilation 4, padding 4      rows -4, 0, 4          9x9
    kernel 4, stride 2, padding 1        rows -1, 0, 1, 2       5x5
    kernel 2, stride 2                   rows 0, 1              3x3
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.onnx_file import MAX_ELEMENTS, OnnxNode
from hwseg.quant.read.sizes import UnfitSizeError

FARTHEST = {1: 4, 2: 3}
"""Rows from the middle to a tap at most, by stride."""
SMALLER = "use 3x3 kernels, more than one, or a dilation of 1, 2 or 4"


@dataclass(frozen=True)
class Axis:
    """One of rows and columns: taps, the distance of two, zeros before and behind, pixels."""

    taps: int
    gap: int
    before: int
    behind: int
    size: int
    stride: int

    @property
    def reach(self) -> int:
        """From the middle to the farthest tap."""
        return max(self.before, self.last, 0)

    @property
    def last(self) -> int:
        """Where the last tap is."""
        return (self.taps - 1) * self.gap - self.before

    @property
    def keeps_size(self) -> bool:
        """Whether there are as many results as there are pixels, or half of them."""
        room = self.size + self.before + self.behind - ((self.taps - 1) * self.gap + 1)
        return room >= 0 and room // self.stride == (self.size - 1) // self.stride


def centred(node: OnnxNode, weights: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, int, int]:
    """Weights of a square kernel of odd size, its stride, and how many of its taps are the model's (0: all)."""
    height, width = weights.shape[2:]
    found = attributes(
        node, kernel_shape=[(height, width)], pads=tuple, strides=[(1, 1), (2, 2)], dilations=tuple, group=int,
        auto_pad=["NOTSET"],
    )  # fmt: skip
    stride, gaps = found.get("strides", (1, 1))[0], found.get("dilations", (1, 1))
    require(len(gaps) == 2 and min(gaps) > 0, node.name, f"dilations must be two, are {list(gaps)[:8]}", SMALLER)
    pads = found.get("pads", (0,) * 4)
    form = _form(height, width, gaps)
    wanted = [(n - 1) * gap // 2 for n, gap in zip((height, width), gaps, strict=True)]
    even = height % 2 == width % 2 == 1 or stride == 2
    cure = (
        f"use padding={wanted[0] if wanted[0] == wanted[1] else tuple(wanted)}" if even else "use kernels of odd size"
    )
    rule = f"padding of a {form} must be {wanted * 2}, not {list(pads)[:8]}"
    require(len(pads) == 4 and min(pads) >= 0, node.name, rule, cure)
    axes = [Axis(weights.shape[2 + i], gaps[i], pads[i], pads[i + 2], size[i], stride) for i in (0, 1)]
    if list(pads) == wanted * 2:
        rule = f"a {form} with padding {list(pads)} must make a map of its input's size, or half of it"
    if not all(axis.keeps_size for axis in axes):
        if list(pads) == wanted * 2 and stride == 2:
            raise UnfitSizeError(node.name, rule, "use maps of even size")
        raise HwsegError(node.name, rule, cure)
    reach, most = max(axis.reach for axis in axes), FARTHEST[stride]
    far = f"a {form} with padding {list(pads)} reads pixels up to {reach} away, at most {most} with stride {stride}"
    require(reach <= most, node.name, far, SMALLER)
    kernel = 2 * reach + 1
    if weights.shape[2:] == (kernel, kernel):
        return weights, stride, 0
    small = weights.shape[0] * weights.shape[1] * kernel**2 <= MAX_ELEMENTS
    require(small, node.name, f"weights must be at most {MAX_ELEMENTS} with zeros between", "use fewer channels")
    whole = np.zeros((*weights.shape[:2], kernel, kernel), weights.dtype)
    rows, columns = (slice(reach - axis.before, reach + axis.last + 1, axis.gap) for axis in axes)
    whole[:, :, rows, columns] = weights
    return whole, stride, height * width


def _form(height: int, width: int, gaps: tuple[int, ...]) -> str:
    return f"{height}x{width} kernel" + (f" of dilation {max(gaps)}" if max(gaps) > 1 else "")


def require_divided(node: OnnxNode, kernel: tuple[int, int], stride: int, fold: int, size: tuple[int, int]) -> None:
    """Kernels that see far read several pixels as one.  kernel: rows and columns of the model's."""
    if size[0] % fold or size[1] % fold:
        gaps, given = node.attributes.get("dilations", (1, 1)), f"{size[0]}x{size[1]}"
        rule = f"a {_form(*kernel, gaps)} and stride {stride} wants maps that {fold} divides, not {given}"
        raise UnfitSizeError(node.name, rule, "use a dilation of 1" if max(gaps) > 1 else "use kernels of 3x3")

"""Where the channels, rows and columns of a map are among the axes of an ONNX tensor.

Each axis is the text of what it counts, outermost first: [1, C, H, W] is ("", "C", "H", "W"), its pixels in one row
[1, H * W, C] are ("", "HW", "C").  Transpose moves axes; Reshape and their like join them and take them apart, as long
as channels, rows and columns stay whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from hwseg.ir import AXES, Axes
from hwseg.ops import Shape

LAST: Axes = ("", "H", "W", "C")
"""Channels last."""
KEEPS = (
    "Quant", "QuantizeLinear", "Clip", "DequantizeLinear", "Identity", "Dropout", "Relu", "Add", "Sub", "Mul", "Div",
)  # fmt: skip
"""Operations that qonnx moves a Transpose of the picture past."""


def lengths(axes: Axes, shape: Shape) -> tuple[int, ...]:
    """The tensor's sizes, of a map (height, width, channels)."""
    sizes = dict(zip("HWC", shape, strict=True))
    return tuple(prod(sizes[letter] for letter in axis) for axis in axes)


def same(axes: Axes, others: Axes, shape: Shape) -> bool:
    """Whether both are one order, whatever is said of sizes of 1."""
    return _essential(axes, shape) == _essential(others, shape)


def counts(axis: str, letter: str, shape: Shape) -> bool:
    """Whether an axis counts `letter` alone."""
    (found,) = _essential((axis,), shape)
    return found == letter


def _essential(axes: Axes, shape: Shape) -> Axes:
    ones = {letter for letter, size in zip("HWC", shape, strict=True) if size == 1}
    return tuple("".join(letter for letter in axis if letter not in ones) for axis in axes)


def permuted(axes: Axes, order: Sequence[int]) -> Axes:
    """Transpose."""
    return tuple(axes[i] for i in order)


def regrouped(axes: Axes, shape: Shape, sizes: Sequence[int]) -> Axes | None:
    """Reshape to `sizes`, of as many elements; None where it takes channels, rows or columns apart."""
    letters, each = list("".join(axes)), dict(zip("HWC", shape, strict=True))
    found = []
    for size in sizes:
        axis = ""
        while letters and prod(each[letter] for letter in axis + letters[0]) <= size:
            axis += letters.pop(0)
            if size == each[axis[-1]] == 1:
                break
        if prod(each[letter] for letter in axis) != size:
            return None
        found.append(axis)
    if letters:  # of size 1, as nothing else is left
        found[-1] += "".join(letters)
    return tuple(found)


def planes(found: np.ndarray, axes: Axes, shape: Shape) -> np.ndarray:
    """[1, C, H, W] of a tensor in another order."""
    sizes = dict(zip("HWC", shape, strict=True))
    letters = "".join(axes)
    apart = found.reshape([sizes[letter] for letter in letters])
    return apart.transpose([letters.index(letter) for letter in "CHW"])[None]


def picture_last(nodes: Sequence[tuple[str, Sequence[str], Sequence[str], bool]], picture: str) -> bool:
    """Whether the picture is [1, H, W, C]: what takes such maps reads it, perhaps behind what keeps axes.

    nodes: of each its operation, inputs, outputs, and whether it takes such maps.
    """
    names, readers = {picture}, list(nodes)
    while readers:
        found = [node for node in readers if names & set(node[1])]
        if any(last for *_, last in found):
            return True
        readers = [node for node in readers if node not in found]
        new = {name for op, _, outputs, _ in found if op in KEEPS for name in outputs} - names
        if not new:
            break
        names |= new
    return False


def channels_first(axes: Axes, shape: Shape) -> bool:
    """Is it [1, C, H, W]?"""
    return same(axes, AXES, shape)


def channels_last(axes: Axes, shape: Shape) -> bool:
    """Is it [1, H, W, C]?"""
    return same(axes, LAST, shape)

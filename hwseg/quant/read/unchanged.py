"""Operations that change nothing: Identity, Dropout, and the crops by nothing of U-Nets for any size."""

from __future__ import annotations

from typing import Any

from hwseg.errors import HwsegError, require
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.fold import slices
from hwseg.quant.read.onnx_file import EXPORT, OnnxNode
from hwseg.quant.read.sizes import UnfitSizeError


def identity(b: Builder, node: OnnxNode) -> None:
    """Identity, and Dropout as it is after training: another name for whatever it reads."""
    if node.op == "Dropout":
        attributes(node, ratio=float, seed=int, is_test=[1])
        mode = node.input(2)
        inference = not mode or (mode in b.constants and not b.constants[mode].any())
        require(inference, node.name, "training_mode must be false", "call model.eval() before the export")
    else:
        attributes(node)
    name, output = node.input(0), node.outputs[0]
    tables: tuple[dict[str, Any], ...] = (b.constants, b.quantized, b.integers, b.values, b.padded)
    for table in tables:
        if name in table:
            table[output] = table[name]


def crop(b: Builder, node: OnnxNode) -> None:
    """A crop to the size that the map has already, as U-Nets for any size contain it."""
    attributes(node, starts=tuple, ends=tuple, axes=tuple)
    value = b.value(node)
    height, width, channels = value.shape
    given = range(1, len(node.inputs))
    inputs = [None, *(b.constant(node, i, "range") if node.input(i) else None for i in given)]
    try:
        taken = slices(node, inputs, 4)
    except (ValueError, IndexError):
        raise HwsegError(node.name, "ranges of Slice must fit the map", EXPORT) from None
    sizes = (1, channels, height, width)
    whole = all(range(n)[part] == range(n) for part, n in zip(taken, sizes, strict=True) if part.step != 0)
    whole = whole and all(part.step != 0 for part in taken)
    if not whole:
        raise UnfitSizeError(node.name, "cropping a map is not supported", "crop the picture, not maps of the network")
    b.values[node.outputs[0]] = value

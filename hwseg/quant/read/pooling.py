"""Pooling.  Maxima of activations are taken at once, of what is not quantized yet after its quantizer; averages are
sums of activations, which wait for theirs.
"""

from __future__ import annotations

from hwseg.errors import require
from hwseg.ops import AveragePool2d, MaxPool2d
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.moving import move_map
from hwseg.quant.read.onnx_file import OnnxNode
from hwseg.quant.read.sizes import UnfitSizeError
from hwseg.quant.read.wide import sums_of_8_bits


def max_pooling(b: Builder, node: OnnxNode) -> None:
    """MaxPool: 2x2, or 3x3 with padding 1, of stride 2, of maps of even size."""
    three = node.attributes.get("kernel_shape") == (3, 3)
    attributes(
        node, kernel_shape=[(3, 3) if three else (2, 2)], strides=[(2, 2)], pads=[(1,) * 4 if three else (0,) * 4],
        dilations=[(1, 1)], ceil_mode=[0] if three else [0, 1], storage_order=[0],
        auto_pad=["NOTSET"] if three else ["NOTSET", "VALID"],
    )  # fmt: skip
    given = not three or "pads" in node.attributes
    require(given, node.name, "pooling 3x3 must have padding 1", "use MaxPool2d(3, 2, 1), or MaxPool2d(2)")
    _require_halves(b, node, "MaxPool2d(2)")
    move_map(b, node, MaxPool2d(3 if three else 2))


def average_pooling(b: Builder, node: OnnxNode) -> None:
    """AveragePool: 2x2 of stride 2, of maps of even size.  Without padding there is none to count."""
    attributes(
        node, kernel_shape=[(2, 2)], strides=[(2, 2)], pads=[(0, 0, 0, 0)], dilations=[(1, 1)], ceil_mode=[0, 1],
        count_include_pad=[0, 1], auto_pad=["NOTSET", "VALID"],
    )  # fmt: skip
    _require_halves(b, node, "AvgPool2d(2)")
    sums_of_8_bits(b, node, AveragePool2d())


def _require_halves(b: Builder, node: OnnxNode, instead: str) -> None:
    given = all(key in node.attributes for key in ("kernel_shape", "strides"))
    require(given, node.name, "must be 2x2 with stride 2", f"use {instead}")
    height, width, _ = b.value(node).shape
    if height % 2 or width % 2:
        rule = f"pooling by 2 must divide the map, which is {height}x{width}"
        raise UnfitSizeError(node.name, rule, "pool fewer times")

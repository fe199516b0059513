"""DepthToSpace and SpaceToDepth by 2: convolutions with a single tap of 1 for each channel, none of them counted.

Pixel shuffling is the transposed 2x2 convolution that puts four channels where four pixels are; its inverse is a 3x3 of
stride 2.  The sums are the numbers that were read, so that they need no quantizer.
"""

from __future__ import annotations

import numpy as np

from hwseg.errors import require
from hwseg.ir import Node, TensorType
from hwseg.ops import Conv2d, ConvTranspose2d
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.onnx_file import MAX_ELEMENTS, OnnxNode
from hwseg.quant.read.sizes import UnfitSizeError
from hwseg.quant.read.values import Value


def depth_to_space(b: Builder, node: OnnxNode) -> None:
    """DepthToSpace, as PixelShuffle is exported (CRD), and in ONNX's own order (DCR)."""
    found = attributes(node, blocksize=[2], mode=["DCR", "CRD"])
    _require_two(node)
    x = b.activation(node)
    channels = b.types[x].shape[2]
    rule = f"{channels} channels must be four for each of the result's"
    require(channels % 4 == 0, node.name, rule, "use a convolution with as many channels before it")
    outs = channels // 4
    _require_small(node, outs * channels * 4)
    weights = np.zeros((outs, channels, 2, 2), np.int8)
    for number, (row, column) in enumerate(np.ndindex(2, 2)):
        for out in range(outs):
            source = 4 * out + number if found.get("mode") == "CRD" else number * outs + out
            weights[out, source, row, column] = 1
    _moved(b, node, x, ConvTranspose2d(outs, extra=channels), weights)


def space_to_depth(b: Builder, node: OnnxNode) -> None:
    """SpaceToDepth."""
    attributes(node, blocksize=[2])
    _require_two(node)
    x = b.activation(node)
    height, width, channels = b.types[x].shape
    if height % 2 or width % 2:
        raise UnfitSizeError(node.name, f"two must divide the map, which is {height}x{width}", "leave it out")
    _require_small(node, 4 * channels * channels * 9)
    weights = np.zeros((4 * channels, channels, 3, 3), np.int8)
    for number, (row, column) in enumerate(np.ndindex(2, 2)):
        block = weights[number * channels : (number + 1) * channels, :, 1 + row, 1 + column]
        block[:] = np.eye(channels, dtype=np.int8)
    _moved(b, node, x, Conv2d(3, 4 * channels, 2, extra=channels), weights)


def _require_two(node: OnnxNode) -> None:
    require("blocksize" in node.attributes, node.name, "blocksize must be 2, is missing", "use PixelShuffle(2)")


def _require_small(node: OnnxNode, count: int) -> None:
    rule = f"channels must make at most {MAX_ELEMENTS} weights of ones, they make {count}"
    require(count <= MAX_ELEMENTS, node.name, rule, "use fewer channels")


def _moved(b: Builder, node: OnnxNode, x: str, op: Conv2d | ConvTranspose2d, weights: np.ndarray) -> None:
    kind, output = b.types[x], node.outputs[0]
    b.append(Node(b.fresh(node.name), op, (x,), output, weights))
    b.record(node.name, output, TensorType(op.shape(kind.shape), kind.low, kind.high, kind.scale))
    b.values[output] = Value((b.part(output),))

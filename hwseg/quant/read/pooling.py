"""MaxPool: activations are pooled at once, what is not quantized yet after its quantizer."""

from __future__ import annotations

from hwseg.errors import HwsegError, require
from hwseg.ops import MaxPool2d
from hwseg.quant.read.attributes import attributes
from hwseg.quant.read.builder import Builder
from hwseg.quant.read.moving import move_map
from hwseg.quant.read.onnx_file import OnnxNode
from hwseg.quant.read.sizes import nearest_sizes


def max_pooling(b: Builder, node: OnnxNode) -> None:
    """MaxPool: 2x2 of stride 2, of maps of even size."""
    attributes(
        node, kernel_shape=[(2, 2)], strides=[(2, 2)], pads=[(0, 0, 0, 0)], dilations=[(1, 1)], ceil_mode=[0, 1],
        storage_order=[0], auto_pad=["NOTSET", "VALID"],
    )  # fmt: skip
    given = all(key in node.attributes for key in ("kernel_shape", "strides"))
    require(given, node.name, "must be 2x2 with stride 2", "use MaxPool2d(2)")
    height, width, _ = b.value(node).shape
    if height % 2 or width % 2:
        raise HwsegError(
            node.name, f"pooling 2x2 must divide the map, which is {height}x{width}", nearest_sizes(b.file)
        )
    move_map(b, node, MaxPool2d())

"""A float ONNX file becomes a `Network`."""

from __future__ import annotations

from pathlib import Path

import torch

from hwseg.errors import require
from hwseg.quant.convert.onnx_reader import AGAIN, Reader
from hwseg.quant.convert.onnx_rules import RULES
from hwseg.quant.networks.graph import Network
from hwseg.quant.read.onnx_file import OnnxFile

QUANTIZED = ("Quant", "QuantizeLinear", "DequantizeLinear", "BipolarQuant", "QLinearConv")


def from_file(file: OnnxFile) -> Network:
    """What the file computes; HwsegError where it is quantized already, or has what there is no layer for."""
    for node in file.nodes:
        rule = f"has {node.op}: it is quantized already"
        require(node.op not in QUANTIZED, file.path.name, rule, f"hwseg compile {file.path.name}")
        rule = f"{node.op} must have maps [1, C, H, W], not [1, H, W, C]"
        require(not node.channels_last, node.name, rule, "export the network as PyTorch has it")
    reader = Reader(file, RULES)
    with torch.no_grad():
        for node in file.nodes:
            reader.read(node)
    rule = "the output must depend on the image, is a constant"
    require(file.output not in reader.constants, file.path.name, rule, AGAIN)
    made_so = reader.views[file.output].op if file.output in reader.views else ""
    rule = f"must give [1, C, H, W], ends with {made_so}"
    require(file.output in reader.values, file.path.name, rule, "leave the last operations out")
    shape = reader.shapes[reader.values[file.output]]
    require(len(shape) == 4, file.path.name, f"must give [1, C, H, W], gives {list(shape)}", "leave the last ones out")
    return Network(tuple(reader.layers), reader.values[file.output], file.shape[1], reader.tensors).pruned()


def load(path: Path, file: OnnxFile | None = None) -> Network:
    """The network of a float ONNX file."""
    from hwseg.quant.read.onnx_file import read

    return from_file(file or read(path))

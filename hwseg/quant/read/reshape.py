"""A model file for pictures of another size: only sizes change, and what it computes is proven to stay."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from hwseg.errors import HwsegError, require
from hwseg.ir import Graph
from hwseg.pictures.tiles import Size
from hwseg.quant.read.load import load
from hwseg.quant.read.onnx_file import read, self_contained
from hwseg.reach import reshaped


def reshaped_file(path: Path, size: Size, output: str = "") -> tuple[bytes, Graph]:
    """The file's bytes and graph for pictures of `size`, whether its own size is fixed or open.  output: the only one
    that they have, if it is chosen.

    HwsegError where the file does not load at that size, or is then another network than it was.
    """
    require(path.is_file(), str(path), "must be an ONNX file, but there is no such file", "check the path")
    known = None if is_open(path) else load(path, output)
    last = known is not None and read(path, output).channels_last
    rule = "the picture must be [1, C, H, W] to be of another size, is [1, H, W, C]"
    require(not last, path.name, rule, "leave make_input_channels_last out where it is made, or compile its own size")
    model = onnx.ModelProto()
    model.ParseFromString(self_contained(path, output))
    old = None if known is None else known.types[known.input].shape[:2]
    content = with_size(model, old, size).SerializeToString(deterministic=True)
    with tempfile.TemporaryDirectory(prefix="hwseg-size-") as folder:
        target = Path(folder) / path.name
        target.write_bytes(content)
        graph = load(target)
    if known is not None:
        rule = f"is another network at {size[0]}x{size[1]} than at {old[0]}x{old[1]}" if old else ""
        require(same(graph, reshaped(known, size)), path.name, rule, "export it for that size")
    return content, graph


def is_open(path: Path) -> bool:
    """Whether the input's height or width is not fixed in the file."""
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception:  # `load` has the sentence for it
        return False
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in given]
    dims = inputs[0].type.tensor_type.shape.dim if len(inputs) == 1 else ()
    return len(dims) == 4 and not all(dim.HasField("dim_value") for dim in dims[2:])


def with_size(model: onnx.ModelProto, old: Size | None, size: Size) -> onnx.ModelProto:
    """A copy whose input is of `size`: no shapes of what lies between, constant sizes of enlargings in proportion."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    del graph.value_info[:]
    given = {tensor.name for tensor in graph.initializer}
    for value in (*(i for i in graph.input if i.name not in given), *graph.output):
        dims = value.type.tensor_type.shape.dim
        if len(dims) == 4:
            for dim, new in zip(dims[2:], size, strict=True):
                dim.dim_value = new
    if old is not None:
        _scale_sizes(graph, old, size)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if "hwseg.size" in metadata:
        helper.set_model_props(result, metadata | {"hwseg.size": f"{size[0]}x{size[1]}"})
    return result


def _scale_sizes(graph: onnx.GraphProto, old: Size, size: Size) -> None:
    """The fourth input of Resize, [N, C, H, W], where it is a constant."""
    names = {node.input[3] for node in graph.node if node.op_type == "Resize" and len(node.input) > 3}
    tensors = [tensor for tensor in graph.initializer if tensor.name in names]
    for node in graph.node:
        if node.op_type == "Constant" and names & set(node.output):
            tensors += [attribute.t for attribute in node.attribute if attribute.name == "value"]
    for tensor in tensors:
        sizes = numpy_helper.to_array(tensor).reshape(-1).astype(np.int64)
        if len(sizes) != 4:
            continue
        new = [int(n) * to // own for n, to, own in zip(sizes[2:], size, old, strict=True)]
        scaled = np.array([*sizes[:2], *new], np.int64)
        tensor.CopyFrom(numpy_helper.from_array(scaled, tensor.name))


def same(one: Graph, other: Graph) -> bool:
    """Whether two graphs are one network, to the last weight; names of files aside."""
    if (one.input, one.nodes, one.types, one.head) != (other.input, other.nodes, other.types, other.head):
        return False
    pairs = [(a.weights, b.weights) for a, b in zip(one.nodes, other.nodes, strict=True)]
    return all(a is b or (a is not None and b is not None and np.array_equal(a, b)) for a, b in pairs)


def check_size(size: Size, multiple: int) -> None:
    """Refuse what the poolings cannot halve."""
    for side, length in zip(("height", "width"), size, strict=True):
        nearest = max(multiple, round(length / multiple) * multiple)
        require(
            length > 0 and length % multiple == 0,
            "--size",
            f"{side} must be a multiple of {multiple}, not {length}",
            f"{nearest} fits",
        )


def parse_size(text: str, option: str = "--size") -> Size:
    """(height, width) of "128" or "128x96"."""
    parts = text.lower().split("x")
    short = all(part.isascii() and part.isdigit() and len(part) < 7 and int(part) > 0 for part in parts)
    if len(parts) > 2 or not short:
        raise HwsegError(option, f"must be HEIGHTxWIDTH, not {text!r}", "for example 128x128")
    return int(parts[0]), int(parts[-1])

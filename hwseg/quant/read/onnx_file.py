"""An ONNX file as checked records: nodes in execution order, constants as arrays, one input, one output.

Everything that a damaged or hostile file can do ends here: the protobuf is decoded, every size is compared with the
bytes that are really there, external data stays inside the model's folder, names resolve, and cycles are refused.  What
leaves this module is trusted in form; `hwseg.quant.read.load` judges its meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from hwseg.errors import HwsegError, file_errors, require
from hwseg.quant.read.axes import picture_last
from hwseg.quant.read.instead import instead_of
from hwseg.quant.read.outputs import chosen, give, remembered

MAX_FILE_BYTES = (1 << 31) - 1
MAX_ELEMENTS = 1 << 28
"""Elements of one tensor: 256 Mi is 64 channels at 2048 x 2048."""

MAX_NODES = 5_000
SIZES = "Shape", "Size"
"""Operations that read nothing of a map but its sizes."""
CHANNELS_LAST = "Conv", "MaxPool", "BatchNormalization"
"""Operations that qonnx has for maps [1, H, W, C]."""
EXPORT = "export the model again with brevitas.export.export_qonnx(model, args=x, export_path=f, dynamo=False)"

_DTYPES: Mapping[int, tuple[str, str]] = {
    onnx.TensorProto.FLOAT: ("<f4", "float_data"),
    onnx.TensorProto.DOUBLE: ("<f8", "double_data"),
    onnx.TensorProto.INT64: ("<i8", "int64_data"),
    onnx.TensorProto.INT32: ("<i4", "int32_data"),
    onnx.TensorProto.INT8: ("<i1", "int32_data"),
    onnx.TensorProto.UINT8: ("<u1", "int32_data"),
    onnx.TensorProto.INT16: ("<i2", "int32_data"),
    onnx.TensorProto.UINT16: ("<u2", "int32_data"),
    onnx.TensorProto.BOOL: ("<u1", "int32_data"),
}


@dataclass(frozen=True)
class OnnxNode:
    """One operation; an input that is left out is the empty name."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict, compare=False)
    channels_last: bool = False
    """Its maps are [1, H, W, C]: of qonnx's domain for those."""

    def input(self, index: int) -> str:
        return self.inputs[index] if index < len(self.inputs) else ""


class Unreadable:
    """An attribute that is neither numbers nor text: a graph, a sparse tensor, a type."""

    def __str__(self) -> str:
        return "a graph, or another thing that is neither numbers nor text"


@dataclass(frozen=True)
class OnnxFile:
    """One image in, of sizes [1, C, H, W] = `shape`, one tensor out; `nodes` are those the output needs, in order."""

    path: Path
    nodes: tuple[OnnxNode, ...]
    constants: Mapping[str, np.ndarray]
    input: str
    shape: tuple[int, int, int, int]
    output: str
    opset: int
    metadata: Mapping[str, str]
    channels_last: bool = False
    """Whether the file's own picture is [1, H, W, C], as qonnx may make it."""


def read(path: str | Path, output: str = "") -> OnnxFile:
    """Read and check the file; raises `HwsegError` whatever its bytes are.  output: the tensor that it shall give."""
    path = Path(path)
    model = _decode(path)
    try:
        return _convert(path, model, output)
    except UnicodeDecodeError:
        raise HwsegError(path.name, "a text in it is not UTF-8: the file is damaged", EXPORT) from None


def self_contained(path: str | Path, output: str = "") -> bytes:
    """The file's bytes; external data is moved inside, so that the copy needs no other file.

    output: the tensor that the copy gives, and no other, if it is chosen.
    """
    path = Path(path)
    model = _decode(path)
    if output:
        give(model, output)
    tensors = [*model.graph.initializer, *(a.t for node in model.graph.node for a in node.attribute if a.HasField("t"))]
    outside = [tensor for tensor in tensors if tensor.data_location == onnx.TensorProto.EXTERNAL]
    for tensor in outside:
        data = _array(_text(tensor.name), tensor, path).tobytes()
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
        tensor.raw_data = data
    if not outside and not output:
        with file_errors(path):
            return path.read_bytes()
    size = model.ByteSize()
    cure = "use a smaller network"
    require(size <= MAX_FILE_BYTES, path.name, f"must have at most {MAX_FILE_BYTES} bytes with its external data", cure)
    return bytes(model.SerializeToString(deterministic=True))


def _decode(path: Path) -> onnx.ModelProto:
    try:
        require(path.is_file(), str(path), "must be an ONNX file, but there is no such file", "check the path")
        size = path.stat().st_size
        require(0 < size <= MAX_FILE_BYTES, path.name, f"must have 1 to {MAX_FILE_BYTES} bytes, has {size}", EXPORT)
        data = path.read_bytes()
    except OSError as error:
        raise HwsegError(str(path), f"cannot be read: {error.strerror}", "check the path and its permissions") from None
    except ValueError:  # a NUL in the path
        raise HwsegError(repr(str(path)), "is not a file name", "check the path") from None
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except DecodeError:
        raise HwsegError(path.name, "is not an ONNX file, or is truncated or damaged", EXPORT) from None
    known = model.HasField("graph") and len(model.graph.node) > 0
    require(known, path.name, "is not an ONNX file: no graph with nodes in it", EXPORT)
    return model


def _convert(path: Path, model: onnx.ModelProto, wanted: str) -> OnnxFile:
    place = path.name
    graph = model.graph
    most = f"must have at most {MAX_NODES} nodes, has {len(graph.node)}"
    require(len(graph.node) <= MAX_NODES, place, most, "use a smaller network")
    require(not graph.sparse_initializer, place, "sparse initializers are not supported", "store them as plain tensors")
    opset = _opset(place, model)
    constants: dict[str, np.ndarray] = {}
    for tensor in graph.initializer:
        name = _text(tensor.name)
        require(
            name != "" and name not in constants, name or place, "initializers must have names of their own", EXPORT
        )
        constants[name] = _array(name, tensor, path)
    functions = {(_text(function.domain), _text(function.name)) for function in model.functions}
    nodes = []
    for number, proto in enumerate(graph.node):
        operation = _text(proto.domain), _text(proto.op_type)
        rule = f"{operation[1]} is a function of the file, which is not supported"
        inline = "inline it: onnx.inliner.inline_local_functions(model)"
        require(operation not in functions, _text(proto.name) or operation[1], rule, inline)
        node = _node(number, proto, path)
        if node.op == "Constant":
            require(node.outputs[0] not in constants, node.name, f"tensor {node.outputs[0]} is produced twice", EXPORT)
            constants[node.outputs[0]] = _constant_value(node)
        else:
            nodes.append(node)
    inputs = {_text(value.name): value for value in graph.input if _text(value.name) not in constants}
    many = f"must have one input, has {len(inputs)}: {', '.join(inputs)}"
    require(len(inputs) == 1 and "" not in inputs, place, many, "export one image input")
    ((input_name, image),) = inputs.items()
    names = [_text(value.name) for value in graph.output]
    reads = (((() if node.op in SIZES else node.inputs), node.outputs) for node in nodes)
    output = chosen(place, names, reads, input_name, wanted)
    last = picture_last([(n.op, n.inputs, n.outputs, _takes_last(n)) for n in nodes], input_name)
    metadata = {_text(entry.key): _text(entry.value) for entry in model.metadata_props}
    return OnnxFile(
        path=path,
        nodes=_live_in_order(place, nodes, constants.keys() | {input_name}, output),
        constants=constants,
        input=input_name,
        shape=_image_shape(input_name, image, last),
        output=output,
        opset=opset,
        metadata=remembered(metadata, output, wanted),
        channels_last=last,
    )


def _text(text: str | bytes) -> str:
    """A string of the file; protobuf hands out the bytes of one that is not UTF-8."""
    return text if isinstance(text, str) else bytes(text).decode("utf-8")


def _opset(place: str, model: onnx.ModelProto) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    require(len(versions) == 1, place, "must name one version of the ONNX operator set", EXPORT)
    require(9 <= versions[0] <= 26, place, f"operator set must be 9 to 26, not {versions[0]}", EXPORT)
    return int(versions[0])


def _node(number: int, proto: onnx.NodeProto, path: Path) -> OnnxNode:
    inputs, outputs = (tuple(map(_text, names)) for names in (proto.input, proto.output))
    op, domain = _text(proto.op_type), _text(proto.domain)
    name = _text(proto.name) or next((output for output in outputs if output), f"{op}_{number}")
    require(outputs[:1] not in ((), ("",)), name, "must have an output", EXPORT)
    standard = domain in ("", "ai.onnx")
    last = domain.endswith("channels_last") and op in CHANNELS_LAST
    known = standard or last or op in ("Quant", "IntQuant")
    require(known, name, f"operation {domain}.{op} is not supported", instead_of(op, domain))
    attributes: dict[str, Any] = {}
    for attribute in proto.attribute:
        value = _attribute(name, attribute, path)
        key = _text(attribute.name)
        require(key not in attributes, name, f"attribute {key} must stand once", EXPORT)
        attributes[key] = value
    return OnnxNode(name, "Quant" if op == "IntQuant" else op, inputs, outputs, attributes, last)


def _attribute(name: str, attribute: onnx.AttributeProto, path: Path) -> Any:
    kinds = onnx.AttributeProto
    if attribute.type == kinds.INT:
        return int(attribute.i)
    if attribute.type == kinds.FLOAT:
        return float(attribute.f)
    if attribute.type == kinds.STRING:
        return bytes(attribute.s).decode("utf-8")
    if attribute.type == kinds.INTS:
        return tuple(int(i) for i in attribute.ints)
    if attribute.type == kinds.FLOATS:
        return tuple(float(f) for f in attribute.floats)
    if attribute.type == kinds.TENSOR:
        return _array(name, attribute.t, path)
    return Unreadable()


def _constant_value(node: OnnxNode) -> np.ndarray:
    for key, dtype in (("value", None), ("value_float", "<f4"), ("value_int", "<i8")):
        if isinstance(node.attributes.get(key), int | float | tuple | np.ndarray):
            return np.asarray(node.attributes[key], dtype)
    for key, dtype in (("value_floats", "<f4"), ("value_ints", "<i8")):
        if key in node.attributes and isinstance(node.attributes[key], tuple):
            return np.asarray(node.attributes[key], dtype)
    raise HwsegError(node.name, "Constant must hold a tensor of numbers", EXPORT)


def _array(name: str, tensor: onnx.TensorProto, path: Path) -> np.ndarray:
    """The tensor's numbers; as many as its shape says, or an error."""
    require(tensor.data_type in _DTYPES, name, f"element type {tensor.data_type} is not supported", "use float32")
    dtype, typed = _DTYPES[tensor.data_type]
    dims = tuple(int(d) for d in tensor.dims)
    small = len(dims) <= 8 and all(0 <= d <= MAX_ELEMENTS for d in dims) and prod(dims) <= MAX_ELEMENTS
    require(small, name, f"shape {list(dims)[:9]} must have at most 8 sizes and {MAX_ELEMENTS} elements in all", EXPORT)
    count = prod(dims)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        data = _external(name, tensor, path, count * np.dtype(dtype).itemsize)
        return np.frombuffer(data, dtype).reshape(dims)
    if tensor.HasField("raw_data"):
        found = len(tensor.raw_data) // np.dtype(dtype).itemsize
        exact = len(tensor.raw_data) == count * np.dtype(dtype).itemsize
        require(exact, name, f"shape {list(dims)} needs {count} numbers, the file holds {found}", EXPORT)
        return np.frombuffer(tensor.raw_data, dtype).reshape(dims)
    numbers = getattr(tensor, typed)
    require(
        len(numbers) == count, name, f"shape {list(dims)} needs {count} numbers, the file holds {len(numbers)}", EXPORT
    )
    wide = np.asarray(list(numbers), np.float64 if dtype[1] == "f" else np.int64)
    with np.errstate(over="ignore"):
        array = wide.astype(dtype)
    require(dtype[1] == "f" or bool(np.array_equal(array, wide)), name, "numbers must fit the element type", EXPORT)
    return array.reshape(dims)


def _external(name: str, tensor: onnx.TensorProto, path: Path, size: int) -> bytes:
    """`size` bytes from a file beside the model: never outside its folder, never more than are there."""
    entries = {_text(entry.key): _text(entry.value) for entry in tensor.external_data}
    location = entries.get("location", "")
    folder = path.parent.resolve()
    cure = "keep the external data in the model's folder, or save the model with its weights inside"
    plain = location != "" and "\0" not in location and len(location) < 1024
    require(plain, name, f"external data must name a file, not {location[:40]!r}", cure)
    try:
        target = (folder / location).resolve()
        inside = target.is_relative_to(folder)
        require(inside, name, f"external data must lie in the model's folder, not at {location!r}", cure)
        require(target.is_file(), name, f"external data file {location!r} is missing", cure)
        offset, length = (int(entries.get(key, default)) for key, default in (("offset", "0"), ("length", str(size))))
        there = target.stat().st_size
        fits = offset >= 0 and length == size and offset + size <= there
        require(fits, name, f"external data needs {size} bytes at {offset} of {location!r}, which has {there}", cure)
        with target.open("rb") as file:
            file.seek(offset)
            data: bytes = file.read(size)
    except (ValueError, RuntimeError):  # numbers that are none; links that form a loop
        raise HwsegError(name, f"external data entry for {location!r} is damaged", cure) from None
    except OSError as error:
        raise HwsegError(name, f"external data {location!r} cannot be read: {error.strerror}", cure) from None
    require(len(data) == size, name, f"external data {location!r} ended early", cure)
    return data


def _takes_last(node: OnnxNode) -> bool:
    """Does it read maps [1, H, W, C]?"""
    return node.channels_last or (node.op == "Transpose" and node.attributes.get("perm") == (0, 3, 1, 2))


def _image_shape(place: str, value: onnx.ValueInfoProto, last: bool) -> tuple[int, int, int, int]:
    kind = value.type.tensor_type
    require(
        kind.elem_type == onnx.TensorProto.FLOAT, place, f"input must be float32, not type {kind.elem_type}", EXPORT
    )
    require(kind.HasField("shape"), place, "input must have a fixed shape [1, C, H, W], has none", EXPORT)
    dims = kind.shape.dim
    require(len(dims) == 4, place, f"input must be [1, C, H, W], has {len(dims)} dimensions", EXPORT)
    sizes = []
    for letter, dim in zip("NHWC" if last else "NCHW", dims, strict=True):
        what = (
            f"dynamic ({_text(dim.dim_param)})" if dim.dim_param else "dynamic" if not dim.HasField("dim_value") else ""
        )
        require(what == "", place, f"{letter} must be a fixed size, is {what}", "export without dynamic axes")
        require(dim.dim_value > 0, place, f"{letter} must be positive, is {dim.dim_value}", EXPORT)
        sizes.append(int(dim.dim_value))
    require(sizes[0] == 1, place, f"batch must be 1, not {sizes[0]}", "export with one image")
    require(prod(sizes) <= MAX_ELEMENTS, place, f"size {sizes} must have at most {MAX_ELEMENTS} elements", "use a crop")
    return (1, sizes[3], sizes[1], sizes[2]) if last else (1, sizes[1], sizes[2], sizes[3])


def _live_in_order(place: str, nodes: list[OnnxNode], given: Iterable[str], output: str) -> tuple[OnnxNode, ...]:
    """Nodes the output needs, each after those it reads (Kahn); cycles and names without a source are refused."""
    given = set(given)
    producer: dict[str, OnnxNode] = {}
    for node in nodes:
        for name in filter(None, node.outputs):
            fresh = name not in producer and name not in given
            require(fresh, node.name, f"tensor {name} is produced twice", EXPORT)
            producer[name] = node
    require(output in producer, place, f"output {output!r} is produced by no node", EXPORT)
    live: set[int] = set()
    waiting = [producer[output]]
    while waiting:
        node = waiting.pop()
        if id(node) in live:
            continue
        live.add(id(node))
        for name in filter(None, node.inputs):
            known = name in given or name in producer
            require(known, node.name, f"input {name!r} is neither a node's output nor an initializer", EXPORT)
            if name not in given:
                waiting.append(producer[name])
    return _in_order([node for node in nodes if id(node) in live], producer)


def _in_order(nodes: list[OnnxNode], producer: Mapping[str, OnnxNode]) -> tuple[OnnxNode, ...]:
    """Each node after those it reads; of those that may come next, the first in the file (Kahn)."""
    number = {id(node): i for i, node in enumerate(nodes)}
    sources = [{number[id(producer[name])] for name in node.inputs if name in producer} for node in nodes]
    readers: list[list[int]] = [[] for _ in nodes]
    for i, read_by in enumerate(sources):
        for source in read_by:
            readers[source].append(i)
    missing = [len(read_by) for read_by in sources]
    ready = [i for i, count in enumerate(missing) if count == 0]
    order: list[OnnxNode] = []
    while ready:
        i = heappop(ready)
        order.append(nodes[i])
        for reader in readers[i]:
            missing[reader] -= 1
            if missing[reader] == 0:
                heappush(ready, reader)
    if len(order) < len(nodes):
        i, seen = next(i for i, count in enumerate(missing) if count), set()
        while i not in seen:  # every node that is left waits for another one that is left
            seen.add(i)
            i = min(source for source in sources[i] if missing[source])
        raise HwsegError(nodes[i].name, "is part of a cycle", EXPORT)
    return tuple(order)

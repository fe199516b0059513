"""From a trained network to a QONNX file: readable names, fixed size, and the same bytes for the same network.

The metadata says what a picture must go through before the first quantizer:

    hwseg.input     what pixels are (`hwseg.pictures.meaning`)       hwseg.channels  "1"
    hwseg.labels    what classes are (`hwseg.pictures.labels`)       hwseg.classes   "1" (threshold) or more (argmax)
    hwseg.size      "128x128" (height x width)                       hwseg.seen      pictures it was trained on

Checkpoints of an older hwseg are exported as it did, with hwseg.normalize and hwseg.fit.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from brevitas.export import export_qonnx as brevitas_export
from onnx import helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_shapes import InferShapes

from hwseg.borders import REPORT, given, tool
from hwseg.datasets.seen import SEEN, Seen
from hwseg.errors import require
from hwseg.files import read_file, write_whole
from hwseg.pictures.labels import LABELS, Labels
from hwseg.pictures.meaning import NAMES, Meaning
from hwseg.quant.networks.architecture import Quantized
from hwseg.quant.networks.layered import MULTIPLE
from hwseg.quant.networks.unet import UNetConfig
from hwseg.quant.read.onnx_file import MAX_FILE_BYTES
from hwseg.quant.read.reshape import check_size, with_size

OPSET = 11
_SCOPES = {"export_handler", "act_quant", "activation_impl"}
_KEPT_OPERATIONS = {"Relu": "relu", "Add": "add"}
_QUANT_INPUTS = ("scale", "zero_point", "bits")


def export_qonnx(
    model: Quantized,
    path: Path | str,
    size: tuple[int, int],
    pixels: Meaning = NAMES["unit"],
    labels: Labels | None = None,
    name: str = "unet",
    saw: Seen | None = None,
) -> onnx.ModelProto:
    """Write `model` for pictures of `size` (height, width) to `path`, whole or not at all.

    pixels, labels: what pictures and classes are to it.  saw: which it was trained on.  `load_network` says all three.
    """
    result = model_of(model, size, pixels, labels, name, saw)
    write_whole(path, result.SerializeToString(deterministic=True))
    return result


def model_of(
    model: Quantized,
    size: tuple[int, int],
    pixels: Meaning = NAMES["unit"],
    labels: Labels | None = None,
    name: str = "unet",
    saw: Seen | None = None,
) -> onnx.ModelProto:
    """The QONNX graph that `export_qonnx` writes."""
    config = model.config
    check_size(size, config.multiple)
    metadata = {
        "hwseg.channels": str(config.in_channels),
        "hwseg.size": f"{size[0]}x{size[1]}",
        "hwseg.classes": str(config.out_channels),
        **config.metadata(),
        **pixels.check(config.in_channels).metadata(),
    }
    if labels is not None:
        metadata[LABELS] = labels.text()
    if saw is not None and (saw.train or saw.val):
        metadata[SEEN] = saw.text()
    return to_onnx(model, (1, config.in_channels, *size), name, metadata)


def to_onnx(
    model: torch.nn.Module, shape: tuple[int, int, int, int], name: str, metadata: Mapping[str, str]
) -> onnx.ModelProto:
    """The QONNX graph of any Brevitas network, cleaned."""
    with tool("brevitas", "exporting the network", REPORT), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = brevitas_export(
            model, args=torch.zeros(shape), export_path=None, dynamo=False, opset_version=OPSET, input_names=["image"],
            output_names=["logits"],
        )  # fmt: skip
    return clean(raw, name, metadata)


def clean(raw: onnx.ModelProto, name: str, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """The same network with names from its modules and nothing about the machine or the tools that wrote it."""
    graph = raw.graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    inputs = [i for i in graph.input if i.name not in initializers]
    renamed = _node_names(graph)
    tensors = {graph_output.name: graph_output.name for graph_output in graph.output}
    for node, new in zip(graph.node, renamed, strict=True):
        for i, output in enumerate(node.output):
            tensors.setdefault(output, new if i == 0 else f"{new}:{i}")
    kept: dict[str, onnx.TensorProto] = {}
    origin: dict[str, str] = {}
    nodes = []
    for node, new in zip(graph.node, renamed, strict=True):
        names = []
        for i, source in enumerate(node.input):
            target = tensors.get(source, source)
            if source in initializers:
                parameter = node.op_type == "Quant" and i > 0
                target = f"{new}/{_QUANT_INPUTS[i - 1]}" if parameter else _constant_name(source, new)
                if origin.setdefault(target, source) != source and not parameter:
                    target = f"{target}~{i}"
                kept[target] = onnx.TensorProto()
                kept[target].CopyFrom(initializers[source])
                kept[target].name = target
            names.append(target)
        copy = helper.make_node(node.op_type, names, [tensors[o] for o in node.output], name=new, domain=node.domain)
        copy.attribute.extend(sorted(node.attribute, key=lambda a: a.name))
        nodes.append(copy)
    for tensor in kept.values():
        tensor.doc_string = ""
    new_graph = helper.make_graph(nodes, name, inputs, list(graph.output), initializer=list(kept.values()))
    result = helper.make_model(new_graph, opset_imports=list(raw.opset_import), ir_version=raw.ir_version)
    result.producer_name = "hwseg"
    helper.set_model_props(result, dict(sorted(metadata.items())))
    return infer_shapes(result)


def infer_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with the shape of every tensor written down, in the order of the nodes."""
    with tool("qonnx", "inferring shapes", REPORT):
        inferred = {v.name: v for v in ModelWrapper(model).transform(InferShapes()).graph.value_info}
    outputs = {output.name for output in model.graph.output}
    del model.graph.value_info[:]
    for node in model.graph.node:
        model.graph.value_info.extend(inferred[name] for name in node.output if name not in outputs)
    return model


def resize(model: onnx.ModelProto, size: tuple[int, int]) -> onnx.ModelProto:
    """The same exported network for pictures of another size; its weights do not depend on it."""
    metadata, cure = {p.key: p.value for p in model.metadata_props}, "export again from the training code"
    if MULTIPLE in metadata:
        with given(MULTIPLE, "a number that hwseg wrote", cure):
            check_size(size, int(metadata[MULTIPLE]))
    else:
        require("hwseg.config" in metadata, "--size", "only works on files that hwseg exported", cure)
        with given("hwseg.config", "what hwseg exports", cure):
            check_size(size, UNetConfig.from_dict(json.loads(metadata["hwseg.config"])).multiple)
    return infer_shapes(with_size(model, None, size))


def resize_file(source: Path, path: Path, size: tuple[int, int]) -> tuple[int, int]:
    """`resize` from file to file; the size written."""
    content = read_file(source, MAX_FILE_BYTES)
    with given(source, "an ONNX file", "export the network again"):
        model = onnx.load_from_string(content)
    write_whole(path, resize(model, size).SerializeToString(deterministic=True))
    return size


def _node_names(graph: onnx.GraphProto) -> list[str]:
    names: list[str] = []
    for node in graph.node:
        *scope, operation = node.name.strip("/").split("/")
        parts = [part for part in scope if part not in _SCOPES]
        kind = operation.rsplit("_", 1)[0] if operation.rsplit("_", 1)[-1].isdigit() else operation
        if kind in _KEPT_OPERATIONS or not parts:
            parts.append(_KEPT_OPERATIONS.get(kind, kind.lower()))
        base = "/".join(parts)
        used = sum(1 for name in names if name == base or name.startswith(f"{base}~"))
        names.append(f"{base}~{used}" if used else base)
    return names


def _constant_name(source: str, node: str) -> str:
    """A parameter's own name, or one made from the node that reads it."""
    return f"{node}/constant" if "/" in source or "onnx::" in source or source.isdigit() else source

"""A float ONNX file becomes a `Network`: one rule for each operation, on the checked records of `hwseg.quant.read`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwseg.errors import HwsegError, require
from hwseg.quant.convert.from_torch import OPERATIONS, one
from hwseg.quant.convert.graph import INPUT, Layer, Network, unique
from hwseg.quant.convert.operations import compute
from hwseg.quant.read.fold import folded, slices
from hwseg.quant.read.onnx_file import OnnxFile, OnnxNode

QUANTIZED = ("Quant", "QuantizeLinear", "DequantizeLinear", "BipolarQuant", "QLinearConv")


def from_file(file: OnnxFile) -> Network:
    """What the file computes; HwsegError where it is quantized already, or has what there is no layer for."""
    for node in file.nodes:
        rule = f"has {node.op}: it is quantized already"
        require(node.op not in QUANTIZED, file.path.name, rule, f"hwseg compile {file.path.name}")
    reader = _Reader(file)
    with torch.no_grad():
        for node in file.nodes:
            reader.read(node)
    rule = "the output must depend on the image, is a constant"
    require(file.output in reader.values, file.path.name, rule, "export the network again")
    shape = reader.shapes[reader.values[file.output]]
    require(len(shape) == 4, file.path.name, f"must give [1, C, H, W], gives {list(shape)}", "leave the last ones out")
    return Network(tuple(reader.layers), reader.values[file.output], file.shape[1], reader.tensors).pruned()


@dataclass
class _Reader:
    """values: layer by ONNX tensor.  shapes: of what a layer gives."""

    file: OnnxFile
    layers: list[Layer] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values[self.file.input] = INPUT
        self.shapes[INPUT] = self.file.shape
        self.constants = dict(self.file.constants)

    def read(self, node: OnnxNode) -> None:
        """Add what a node computes, or keep it as a constant."""
        if node.op == "Shape" and node.input(0) in self.values:
            sizes = np.array(self.shape(node), np.int64)
            self.constants[node.outputs[0]] = sizes[node.attributes.get("start", 0) : node.attributes.get("end")]
            return
        names = [name for name in node.inputs if name]
        if names and all(name in self.constants for name in names):
            result = folded(node, [self.constants[name] if name else None for name in node.inputs])
            if result is not None:
                self.constants[node.outputs[0]] = result
                return
        if node.op in ("Identity", "Cast") and node.input(0) in self.constants:
            self.constants[node.outputs[0]] = self.constants[node.input(0)]
            return
        rule = RULES.get(node.op)
        if rule is None:
            raise HwsegError(
                node.name, f"operation {node.op} is not supported", f"leave it out, or replace it; {OPERATIONS}"
            )
        self.values[node.outputs[0]] = rule(self, node)

    def value(self, node: OnnxNode, index: int = 0) -> str:
        """The layer whose value an input is."""
        name = node.input(index)
        rule = f"input {index} must come from the picture"
        require(name in self.values, node.name, rule, "compute constants before the export")
        return self.values[name]

    def shape(self, node: OnnxNode, index: int = 0) -> tuple[int, ...]:
        """Of an input."""
        return self.shapes[self.value(node, index)]

    def constant(self, node: OnnxNode, index: int) -> np.ndarray | None:
        """An input that must be a constant, if it is given."""
        name = node.input(index)
        if not name:
            return None
        rule = f"input {index} must be a constant"
        require(name in self.constants, node.name, rule, "fix it before the export")
        return self.constants[name]

    def tensor(self, node: OnnxNode, index: int) -> Tensor | None:
        """The same as float32."""
        array = self.constant(node, index)
        return None if array is None else torch.from_numpy(array.astype(np.float32))

    def add(self, node: OnnxNode, op: str, inputs: tuple[str, ...], options: Mapping[str, Any] | None = None,
            **tensors: Tensor | None) -> str:  # fmt: skip
        """A layer with the node's name, whose result is computed once for its shape."""
        name = unique(node.name.strip("/").replace(".", "/") or op, (layer.name for layer in self.layers))
        given = {role: tensor for role, tensor in tensors.items() if tensor is not None}
        layer = Layer(name, op, inputs, dict(options or {}), tuple(given))
        self.tensors |= {f"{name}.{role}": tensor.clone() for role, tensor in given.items()}
        self.layers.append(layer)
        alone = Network((layer,), name, 1, {k: v for k, v in self.tensors.items() if k.startswith(f"{name}.")})
        try:
            found = (
                compute(alone, layer, [torch.zeros(self.shapes[x], device="meta") for x in inputs])
                if not given
                else compute(_on_meta(alone), layer, [torch.zeros(self.shapes[x], device="meta") for x in inputs])
            )
        except (RuntimeError, ValueError, IndexError) as error:
            rule = f"does not fit its inputs: {str(error).splitlines()[0][:200]}"
            raise HwsegError(node.name, rule, "export the network again") from None
        self.shapes[name] = tuple(found.shape)
        return name


def _on_meta(network: Network) -> Network:
    tensors = {name: tensor.to("meta") for name, tensor in network.tensors.items()}
    return Network(network.layers, network.output, network.channels, tensors)


def _pads(r: _Reader, node: OnnxNode, kernel: int, dilation: int) -> int:
    if node.attributes.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        return dilation * (kernel - 1) // 2
    return one(node.attributes.get("pads", (0,) * 4), node.name, "padding")


def _conv(r: _Reader, node: OnnxNode) -> str:
    weight, found = r.tensor(node, 1), node.attributes
    good = weight is not None and weight.ndim == 4
    require(good, node.name, "must be a convolution of two dimensions", "export the network again")
    assert weight is not None
    kernel = one(tuple(weight.shape[2:]), node.name, "kernel")
    dilation = one(found.get("dilations", 1), node.name, "dilation")
    options = {"kernel": kernel, "stride": one(found.get("strides", 1), node.name, "stride"),
               "padding": _pads(r, node, kernel, dilation), "dilation": dilation,
               "groups": found.get("group", 1)}  # fmt: skip
    if node.op == "ConvTranspose":
        options["output_padding"] = one(found.get("output_padding", 0), node.name, "output padding")
    op = "conv" if node.op == "Conv" else "conv_transpose"
    return r.add(node, op, (r.value(node),), options, weight=weight, bias=r.tensor(node, 2))


def _batch_norm(r: _Reader, node: OnnxNode) -> str:
    names = ("weight", "bias", "mean", "variance")
    tensors = {name: r.tensor(node, i) for i, name in enumerate(names, 1)}
    return r.add(node, "batch_norm", (r.value(node),), {"eps": node.attributes.get("epsilon", 1e-5)}, **tensors)


def _instance_norm(r: _Reader, node: OnnxNode) -> str:
    options = {"eps": node.attributes.get("epsilon", 1e-5)}
    return r.add(node, "instance_norm", (r.value(node),), options, weight=r.tensor(node, 1), bias=r.tensor(node, 2))


def _pool(op: str) -> Callable[[_Reader, OnnxNode], str]:
    def rule(r: _Reader, node: OnnxNode) -> str:
        found = node.attributes
        require(not found.get("ceil_mode", 0), node.name, "ceil_mode must be 0", "choose a --size that divides")
        kernel = one(found.get("kernel_shape", ()), node.name, "kernel")
        options = {"kernel": kernel, "stride": one(found.get("strides", 1), node.name, "stride"),
                   "padding": _pads(r, node, kernel, 1)}  # fmt: skip
        return r.add(node, op, (r.value(node),), options)

    return rule


def _global_mean(r: _Reader, node: OnnxNode) -> str:
    if node.op == "ReduceMean":
        listed = r.constant(node, 1)
        axes = node.attributes.get("axes", ()) if listed is None else listed.reshape(-1).tolist()
        fits = {int(axis) % 4 for axis in axes} == {2, 3} and node.attributes.get("keepdims", 1)
        require(
            fits, node.name, "a mean must be of each channel's map, and keep its dimensions", "use GlobalAveragePool"
        )
    return r.add(node, "global_mean", (r.value(node),))


def _resize(r: _Reader, node: OnnxNode) -> str:
    found, before = node.attributes, r.shape(node)
    index = 1 if node.op == "Upsample" or r.file.opset == 10 else 2
    listed = found.get("scales") or r.constant(node, index)
    if listed is not None and np.size(listed):
        scales = [float(s) for s in np.reshape(listed, -1)]
    else:
        sizes = r.constant(node, 3)
        require(sizes is not None and sizes.size == 4, node.name, "sizes must be four numbers", "export again")
        assert sizes is not None
        scales = [float(s) / b for s, b in zip(sizes.reshape(-1), before, strict=True)]
    whole = len(scales) == 4 and scales[:2] == [1, 1] and scales[2] == scales[3] and scales[2] == int(scales[2])
    require(whole, node.name, f"must enlarge both sides by one whole number, not {scales}", "use scale_factor=2")
    mode = found.get("mode", "nearest")
    coordinates = found.get("coordinate_transformation_mode", "half_pixel")
    if mode == "nearest":
        return r.add(node, "nearest", (r.value(node),), {"factor": int(scales[2])})
    known = mode == "linear" and coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners")
    require(known, node.name, f"enlarging {mode} with {coordinates} is not supported", "use nearest or bilinear")
    options = {"factor": int(scales[2]), "align_corners": coordinates == "align_corners"}
    return r.add(node, "bilinear", (r.value(node),), options)


def _concat(r: _Reader, node: OnnxNode) -> str:
    require(node.attributes.get("axis") in (1, -3), node.name, "must concatenate channels", "use dim=1")
    return r.add(node, "concat", tuple(r.value(node, i) for i in range(len(node.inputs))))


def _arithmetic(r: _Reader, node: OnnxNode) -> str:
    maps = [name in r.values for name in node.inputs]
    if all(maps):
        rule = f"{node.op} of two maps is not supported"
        require(node.op in ("Add", "Mul"), node.name, rule, "add them, and turn the weights' sign")
        return r.add(node, "add" if node.op == "Add" else "multiply", (r.value(node, 0), r.value(node, 1)))
    first = maps[0]
    constant, channels = r.tensor(node, 1 if first else 0), r.shape(node, 0 if first else 1)[1]
    assert constant is not None
    fits = constant.numel() == 1 or (constant.shape[-3:] == (channels, 1, 1) and constant.numel() == channels)
    require(fits, node.name, f"a constant {list(constant.shape)} must be of each channel", "use one for each")
    c, ones = constant.reshape(-1).expand(channels), torch.ones(channels)
    require(first or node.op != "Div", node.name, "a quotient by a map is not supported", "leave it out")
    weight, bias = {
        "Add": (ones, c), "Sub": (ones if first else -ones, -c if first else c), "Mul": (c, 0 * ones),
        "Div": (1 / c, 0 * ones),
    }[node.op]  # fmt: skip
    return r.add(node, "scale", (r.value(node, 0 if first else 1),), weight=weight, bias=bias)


def _same(r: _Reader, node: OnnxNode) -> str:
    return r.value(node)


def _softmax(r: _Reader, node: OnnxNode) -> str:
    last = node.outputs[0] == r.file.output and node.attributes.get("axis", -1) in (1, -3)
    require(last, node.name, "Softmax must be the network's end, of axis 1", "leave it out")
    return r.value(node)


def _pad(r: _Reader, node: OnnxNode) -> str:
    listed = node.attributes.get("pads")
    widths = [int(w) for w in (r.constant(node, 1) if listed is None else np.array(listed)).reshape(-1)]  # type: ignore[union-attr]
    if not any(widths):
        return r.value(node)
    mode, value = node.attributes.get("mode", "constant"), r.constant(node, 2)
    zero = mode == "constant" and (value is None or not value.any()) and not node.attributes.get("value", 0)
    flat = len(widths) == 8 and not any((*widths[:2], *widths[4:6]))
    require(zero and flat, node.name, f"padding {widths} of mode {mode} is not zeros of height and width", "use zeros")
    return r.add(node, "pad", (r.value(node),), {"pads": (widths[3], widths[7], widths[2], widths[6])})


def _slice(r: _Reader, node: OnnxNode) -> str:
    given = range(1, len(node.inputs))
    inputs = [None, *(r.constant(node, i) if node.input(i) else None for i in given)]
    taken, sizes = slices(node, inputs, 4), r.shape(node)
    if all(range(n)[part] == range(n) for part, n in zip(taken, sizes, strict=True)):
        return r.value(node)
    ranges = [range(n)[part] for part, n in zip(taken, sizes, strict=True)]
    plain = ranges[1] == range(sizes[1]) and all(part.step == 1 for part in ranges)
    require(plain, node.name, "must crop height and width alone", "leave other slices out")
    options = {"rows": (ranges[2].start, ranges[2].stop), "columns": (ranges[3].start, ranges[3].stop)}
    return r.add(node, "crop", (r.value(node),), options)


def _prelu(r: _Reader, node: OnnxNode) -> str:
    slope = r.tensor(node, 1)
    assert slope is not None
    return r.add(node, "prelu", (r.value(node),), {"count": slope.numel()}, slope=slope.reshape(-1))


def _plain(op: str, **options: tuple[str, Any]) -> Callable[[_Reader, OnnxNode], str]:
    def rule(r: _Reader, node: OnnxNode) -> str:
        found = {name: node.attributes.get(key, default) for name, (key, default) in options.items()}
        return r.add(node, op, (r.value(node),), found)

    return rule


def _shuffle(r: _Reader, node: OnnxNode) -> str:
    require(node.attributes.get("mode") == "CRD", node.name, "mode of DepthToSpace must be CRD", "use PixelShuffle")
    return r.add(node, "pixel_shuffle", (r.value(node),), {"factor": node.attributes["blocksize"]})


def _clip(r: _Reader, node: OnnxNode) -> str:
    low = node.attributes.get("min", r.constant(node, 1))
    high = node.attributes.get("max", r.constant(node, 2))
    ends = [None if x is None else float(np.asarray(x)) for x in (low, high)]
    require(ends[0] == 0 and ends[1] in (None, 6), node.name, f"Clip must be ReLU or ReLU6, not {ends}", "use ReLU")
    return r.add(node, "relu" if ends[1] is None else "relu6", (r.value(node),))


RULES: Mapping[str, Callable[[_Reader, OnnxNode], str]] = {
    "Conv": _conv,
    "ConvTranspose": _conv,
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "Relu": _plain("relu"),
    "LeakyRelu": _plain("leaky_relu", slope=("alpha", 0.01)),
    "PRelu": _prelu,
    "Sigmoid": _plain("sigmoid"),
    "Clip": _clip,
    "HardSwish": _plain("hardswish"),
    "HardSigmoid": _plain("hardsigmoid"),
    "Tanh": _plain("tanh"),
    "Elu": _plain("elu", alpha=("alpha", 1.0)),
    "Gelu": _plain("gelu", approximate=("approximate", "none")),
    "MaxPool": _pool("max_pool"),
    "AveragePool": _pool("avg_pool"),
    "GlobalAveragePool": _global_mean,
    "ReduceMean": _global_mean,
    "Resize": _resize,
    "Upsample": _resize,
    "Concat": _concat,
    "Add": _arithmetic,
    "Sub": _arithmetic,
    "Mul": _arithmetic,
    "Div": _arithmetic,
    "Identity": _same,
    "Dropout": _same,
    "Cast": _same,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Pad": _pad,
    "Slice": _slice,
    "DepthToSpace": _shuffle,
}
"""By ONNX operation."""


def load(path: Path, file: OnnxFile | None = None) -> Network:
    """The network of a float ONNX file."""
    from hwseg.quant.read.onnx_file import read

    return from_file(file or read(path))

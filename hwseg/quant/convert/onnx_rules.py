"""What each operation of ONNX is as a layer: one rule for each, which reads all that the node says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwseg.errors import require
from hwseg.quant.convert.onnx_enlarging import resize
from hwseg.quant.convert.onnx_reader import AGAIN, FLOATS, Reader, View
from hwseg.quant.convert.torch_reader import one
from hwseg.quant.read.fold import slices
from hwseg.quant.read.onnx_file import OnnxNode

Rule = Callable[[Reader, OnnxNode], "str | None"]
AUTO = ["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]
SIXTH = 1 / 6
PER_CHANNEL, PER_AXIS = 21, 13
"""Operator sets since which GroupNormalization has numbers of channels, and Softmax is of one axis."""


def _padding(node: OnnxNode, given: Mapping[str, Any], totals: Callable[[], list[int]]) -> int:
    """On every side.  totals: by SAME, of height and width."""
    pads, way = given["pads"] or (0,) * 4, given["auto_pad"]
    if way == "NOTSET":
        return one(pads, node.name, "padding")
    require(not any(pads), node.name, f"must have pads {list(pads)} or auto_pad {way}, has both", "give pads alone")
    if way == "VALID":
        return 0
    found = totals()
    rule = f"auto_pad {way} pads height and width by {found} in all, which is not the same on all sides"
    even = found[0] >= 0 and found[0] == found[1] and found[0] % 2 == 0
    require(even, node.name, rule, "give the padding as numbers, the same on all sides")
    return found[0] // 2


def _window(r: Reader, node: OnnxNode, given: Mapping[str, Any], kernel: int) -> dict[str, int]:
    """Stride, padding and dilation of a window that moves over a map."""
    stride = one(given["strides"] or 1, node.name, "stride")
    dilation = one(given["dilations"] or 1, node.name, "dilation")
    span = dilation * (kernel - 1) + 1

    def totals() -> list[int]:
        return [max((-(-n // stride) - 1) * stride + span - n, 0) for n in r.shape(node)[2:]]

    padding = _padding(node, given, totals)
    return {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}


def _weight(r: Reader, node: OnnxNode, given: Mapping[str, Any]) -> tuple[Tensor, int]:
    weight = r.needed(node, 1)
    require(weight.ndim == 4, node.name, "must be a convolution of two dimensions", AGAIN)
    shape = tuple(weight.shape[2:])
    rule = f"kernel_shape must be that of its weights, {shape}, not {given['kernel_shape']}"
    require(given["kernel_shape"] in ((), shape), node.name, rule, AGAIN)
    return weight, one(shape, node.name, "kernel")


def _conv(r: Reader, node: OnnxNode) -> str:
    given = r.attributes(node, 3, auto_pad=AUTO, kernel_shape=(), strides=(), pads=(), dilations=(), group=1)
    weight, kernel = _weight(r, node, given)
    options = {**_window(r, node, given, kernel), "groups": given["group"]}
    return r.add(node, "conv", (r.value(node),), options, weight=weight, bias=r.tensor(node, 2))


def _conv_transpose(r: Reader, node: OnnxNode) -> str:
    given = r.attributes(node, 3, auto_pad=AUTO, kernel_shape=(), strides=(), pads=(), dilations=(), group=1,
                         output_padding=(), output_shape=())  # fmt: skip
    weight, kernel = _weight(r, node, given)
    stride, dilation = (one(given[name] or 1, node.name, name[:-1]) for name in ("strides", "dilations"))
    more = one(given["output_padding"] or 0, node.name, "output padding")
    before, wanted = r.shape(node)[2:], given["output_shape"]

    def totals() -> list[int]:
        after = wanted or [n * stride for n in before]
        return [stride * (n - 1) + more + dilation * (kernel - 1) + 1 - m for n, m in zip(before, after, strict=True)]

    if wanted:
        require(len(wanted) == 2, node.name, f"output_shape must be height and width, is {wanted}", "leave it out")
        given["pads"] = ()
        given["auto_pad"] = "SAME_UPPER" if given["auto_pad"] == "NOTSET" else given["auto_pad"]
    options = {"kernel": kernel, "stride": stride, "padding": _padding(node, given, totals), "dilation": dilation,
               "groups": given["group"], "output_padding": more}  # fmt: skip
    return r.add(node, "conv_transpose", (r.value(node),), options, weight=weight, bias=r.tensor(node, 2))


def _batch_norm(r: Reader, node: OnnxNode) -> str:
    given = r.attributes(node, 5, epsilon=1e-5, momentum=0.9, training_mode=[0])
    tensors = {name: r.needed(node, i) for i, name in enumerate(("weight", "bias", "mean", "variance"), 1)}
    return r.add(node, "batch_norm", (r.value(node),), {"eps": given["epsilon"]}, **tensors)


def _instance_norm(r: Reader, node: OnnxNode) -> str | None:
    given = r.attributes(node, 3, epsilon=1e-5)
    weight, bias = r.needed(node, 1), r.needed(node, 2)
    view = r.views.get(node.input(0))
    if view is None or not view.shape:
        return r.add(node, "instance_norm", (r.value(node),), {"eps": given["epsilon"]}, weight=weight, bias=bias)
    channels, groups = r.shapes[view.value][1], view.shape[1]  # as exporters write group normalization
    fits = view.shape[0] == 1 and groups > 0 and channels % groups == 0 and weight.numel() == bias.numel() == groups
    require(fits, node.name, f"must be of groups of {channels} channels, is of {list(view.shape)}", "leave it out")
    each = (tensor.reshape(-1).repeat_interleave(channels // groups) for tensor in (weight, bias))
    options = {"groups": groups, "eps": given["epsilon"]}
    value = r.add(node, "group_norm", (view.value,), options, **dict(zip(("weight", "bias"), each, strict=True)))
    r.views[node.outputs[0]] = replace(view, value=value)
    return None


def _group_norm(r: Reader, node: OnnxNode) -> str:
    given = r.attributes(node, 3, epsilon=1e-5, num_groups=0, stash_type=1)
    groups, channels = given["num_groups"], r.shape(node)[1]
    require(groups > 0 and channels % groups == 0, node.name, f"num_groups must divide {channels}, is {groups}", AGAIN)
    tensors = {name: r.needed(node, i) for i, name in enumerate(("weight", "bias"), 1)}
    for name, tensor in tensors.items():
        wanted = channels if r.file.opset >= PER_CHANNEL else groups
        rule = f"{name} of operator set {r.file.opset} must be {wanted} numbers, is {tensor.numel()}"
        require(tensor.numel() == wanted, node.name, rule, AGAIN)
        tensors[name] = tensor.reshape(-1).repeat_interleave(channels // wanted)
    return r.add(node, "group_norm", (r.value(node),), {"groups": groups, "eps": given["epsilon"]}, **tensors)


def _pool(r: Reader, node: OnnxNode) -> str:
    """ceil_mode, and what padding counts as, are read where they change nothing."""
    maximum = node.op == "MaxPool"
    more: dict[str, Any] = {"storage_order": 0} if maximum else {"count_include_pad": [0, 1]}
    given = r.attributes(node, 1, auto_pad=AUTO, ceil_mode=[0, 1], kernel_shape=(), strides=(), pads=(), dilations=(),
                         **more)  # fmt: skip
    options = _window(r, node, given, one(given["kernel_shape"], node.name, "kernel"))
    dilation = options.pop("dilation")
    require(dilation == 1, node.name, f"dilation of a pooling must be 1, is {dilation}", "pool without dilation")
    counts = maximum or options["padding"] == 0 or given["count_include_pad"] == 1
    require(
        counts,
        node.name,
        "count_include_pad must be 1 where there is padding, is 0",
        "use AvgPool2d with count_include_pad=True",
    )
    spans = [n + 2 * options["padding"] - options["kernel"] for n in r.shape(node)[2:]]
    whole = not given["ceil_mode"] or all(span % options["stride"] == 0 for span in spans)
    require(whole, node.name, "ceil_mode must be 0, or change nothing", "choose a --size that the strides divide")
    return r.add(node, "max_pool" if maximum else "avg_pool", (r.value(node),), options)


def _global_mean(r: Reader, node: OnnxNode) -> str:
    r.attributes(node, 1)
    return r.add(node, "global_mean", (r.value(node),))


def _mean(r: Reader, node: OnnxNode) -> str:
    given = r.attributes(node, 2, axes=(), keepdims=[1], noop_with_empty_axes=0)
    axes = {int(axis) % 4 for axis in (*given["axes"], *r.numbers(node, 1))}
    require(axes == {2, 3}, node.name, "a mean must be of each channel's map", "use GlobalAveragePool")
    return r.add(node, "global_mean", (r.value(node),))


def _concat(r: Reader, node: OnnxNode) -> str:
    axis = r.attributes(node, len(node.inputs), axis=0)["axis"]
    require(axis in (1, -3), node.name, f"must concatenate channels, not axis {axis}", "use dim=1")
    return r.add(node, "concat", tuple(r.value(node, i) for i in range(len(node.inputs))))


def _arithmetic(r: Reader, node: OnnxNode) -> str:
    """Sums and products of two maps, or of a map and a constant: one number, or one of each channel."""
    r.attributes(node, 2)
    first, second = (name not in r.constants for name in (node.input(0), node.input(1)))
    require(not second or node.op != "Div", node.name, "a quotient by a map is not supported", "leave it out")
    if first and second:
        left, right = r.value(node, 0), r.value(node, 1)
        if node.op == "Mul":
            return r.add(node, "multiply", (left, right))
        if node.op == "Sub":
            right = _scaled(r, node, right, -torch.ones(r.shapes[right][1]), part="negative")
        return r.add(node, "add", (left, right))
    index = 0 if first else 1
    x, constant, channels = r.value(node, index), r.needed(node, 1 - index), r.shape(node, index)[1]
    require(_of_channels(constant, channels), node.name,
            f"a constant {list(constant.shape)} must be of each channel", "use one for each")  # fmt: skip
    c, ones = constant.reshape(-1).expand(channels), torch.ones(channels)
    weight, bias = {
        "Add": (ones, c), "Sub": (ones if first else -ones, -c if first else c), "Mul": (c, 0 * ones),
        "Div": (1 / c, 0 * ones),
    }[node.op]  # fmt: skip
    return _scaled(r, node, x, weight, bias)


def _of_channels(constant: Tensor, channels: int) -> bool:
    each = constant.shape[-3:] == (channels, 1, 1) and constant.numel() == channels
    return constant.ndim <= 4 and (constant.numel() == 1 or each)


def _scaled(r: Reader, node: OnnxNode, x: str, weight: Tensor, bias: Tensor | float = 0.0, part: str = "") -> str:
    named = replace(node, name=f"{node.name}/{part}") if part else node
    return r.add(named, "scale", (x,), weight=weight, bias=torch.zeros_like(weight) + bias)


def _negative(r: Reader, node: OnnxNode) -> str:
    r.attributes(node, 1)
    return _scaled(r, node, r.value(node), -torch.ones(r.shape(node)[1]))


def _same(r: Reader, node: OnnxNode) -> str:
    r.attributes(node, 1)
    return r.value(node)


def _dropout(r: Reader, node: OnnxNode) -> str:
    given = r.attributes(node, 3, ratio=0.5, seed=0)
    ratio = r.numbers(node, 1) or [given["ratio"]]
    random = any(r.numbers(node, 2)) and any(ratio)
    require(not random, node.name, "Dropout is random (training_mode)", "call model.eval() before the export")
    return r.value(node)


def _cast(r: Reader, node: OnnxNode) -> str:
    to = r.attributes(node, 1, to=0, saturate=1)["to"]
    require(to in FLOATS, node.name, f"Cast must be to float32 or float64, not to element type {to}", "leave it out")
    return r.value(node)


def _softmax(r: Reader, node: OnnxNode) -> str | None:
    """Over channels, at the end: the mask is that of the logits."""
    axis = r.attributes(node, 1, axis=-1 if r.file.opset >= PER_AXIS else 1)["axis"] % 4
    view = r.views.get(node.input(0))
    turned = view is not None and bool(view.axes)
    value = view.value if view is not None and turned else r.value(node)
    axis_of = view.axes[axis] if view is not None and turned else axis
    alone = r.file.opset >= PER_AXIS or axis == 3  # before, it is of this axis and all behind it
    require(axis_of == 1 and alone, node.name, f"{node.op} must be of axis 1 alone", "use dim=1, or leave it out")
    rule = f"{node.op} of one channel is the same everywhere"
    require(r.shapes[value][1] > 1, node.name, rule, "use Sigmoid, or leave it out")
    r.ends[node.outputs[0]] = node.op
    if view is not None and turned:
        r.views[node.outputs[0]] = view
        return None
    return value


def _transpose(r: Reader, node: OnnxNode) -> str | None:
    perm = r.attributes(node, 1, perm=())["perm"] or (3, 2, 1, 0)
    view = r.views.get(node.input(0))
    value, axes = (r.value(node), tuple(range(4))) if view is None or not view.axes else (view.value, view.axes)
    require(sorted(perm) == [0, 1, 2, 3], node.name, f"perm must be of four axes, is {perm}", "leave it out")
    made, end = tuple(axes[p] for p in perm), r.ends.get(node.input(0))
    if end is not None:
        r.ends[node.outputs[0]] = end
    if made == (0, 1, 2, 3):
        return value
    r.views[node.outputs[0]] = View(node.op, value, axes=made)
    return None


def _reshape(r: Reader, node: OnnxNode) -> str | None:
    zeros = r.attributes(node, 2, allowzero=[0, 1])["allowzero"]
    view = r.views.get(node.input(0))
    value, before = (r.value(node), r.shape(node)) if view is None or not view.shape else (view.value, view.shape)
    sizes = [int(n) for n in r.numbers(node, 1)]
    sizes = [before[i] if n == 0 and not zeros and i < len(before) else n for i, n in enumerate(sizes)]
    known = int(np.prod([n for n in sizes if n != -1]))
    shape = tuple(int(np.prod(before)) // max(known, 1) if n == -1 else n for n in sizes)
    rule = f"a map {list(before)} cannot be of shape {sizes}"
    require(int(np.prod(shape)) == int(np.prod(before)), node.name, rule, AGAIN)
    if shape == r.shapes[value]:
        return value
    r.views[node.outputs[0]] = View(node.op, value, shape=shape)
    return None


def _pad(r: Reader, node: OnnxNode) -> str:
    """Padding with zeros; by less than nothing, it cuts off."""
    given = r.attributes(node, 4, mode=["constant", "reflect", "edge", "wrap"], pads=(), value=0.0)
    listed = [int(w) for w in (given["pads"] or r.numbers(node, 1))]
    axes = [int(axis) % 4 for axis in r.numbers(node, 3)] or [0, 1, 2, 3]
    fits = len(listed) == 2 * len(axes) and len(set(axes)) == len(axes)
    require(fits, node.name, f"must have two pads for each axis, has {listed}", AGAIN)
    begin, end = ({axis: listed[i + at] for i, axis in enumerate(axes)} for at in (0, len(axes)))
    widths = [side.get(axis, 0) for side in (begin, end) for axis in range(4)]
    found, mode = r.value(node), given["mode"]
    if not any(widths):
        return found
    zero = mode == "constant" and not any(r.numbers(node, 2)) and given["value"] == 0
    flat = not any((*widths[:2], *widths[4:6]))
    require(zero and flat, node.name, f"padding {widths} of mode {mode} is not zeros of height and width", "use zeros")
    top, left, bottom, right = widths[2], widths[3], widths[6], widths[7]
    if min(widths) < 0:
        rows, columns = ((max(-a, 0), max(-b, 0)) for a, b in ((top, bottom), (left, right)))
        found = r.add(node, "crop", (found,), {"rows": rows, "columns": columns})
    if max(widths) > 0:
        found = r.add(node, "pad", (found,), {"pads": tuple(max(p, 0) for p in (left, right, top, bottom))})
    return found


def _slice(r: Reader, node: OnnxNode) -> str:
    r.attributes(node, 5, starts=(), ends=(), axes=())
    given = range(1, len(node.inputs))
    inputs = [None, *(r.constant(node, i) if node.input(i) else None for i in given)]
    taken, sizes = slices(node, inputs, 4), r.shape(node)
    if all(range(n)[part] == range(n) for part, n in zip(taken, sizes, strict=True)):
        return r.value(node)
    ranges = [range(n)[part] for part, n in zip(taken, sizes, strict=True)]
    plain = ranges[1] == range(sizes[1]) and all(part.step == 1 for part in ranges)
    require(plain, node.name, "must crop height and width alone", "leave other slices out")
    margins = [(part.start, n - part.stop) for part, n in zip(ranges[2:], sizes[2:], strict=True)]
    return r.add(node, "crop", (r.value(node),), {"rows": margins[0], "columns": margins[1]})


def _prelu(r: Reader, node: OnnxNode) -> str:
    r.attributes(node, 2)
    slope, channels = r.needed(node, 1), r.shape(node)[1]
    rule = f"slopes {list(slope.shape)} must be one, or one of each of {channels} channels"
    require(_of_channels(slope, channels), node.name, rule, "use PReLU(1) or PReLU(channels)")
    return r.add(node, "prelu", (r.value(node),), {"count": slope.numel()}, slope=slope.reshape(-1))


def _hard_sigmoid(r: Reader, node: OnnxNode) -> str:
    """max(0, min(1, alpha x + beta)); PyTorch's is of 1/6 and 1/2."""
    given = r.attributes(node, 1, alpha=0.2, beta=0.5)
    alpha, beta, x = given["alpha"], given["beta"], r.value(node)
    if abs(alpha - SIXTH) > 1e-6 or beta != 0.5:
        weight = torch.full((r.shape(node)[1],), 6 * alpha)
        x = _scaled(r, node, x, weight, 6 * (beta - 0.5), part="slope")
    return r.add(node, "hardsigmoid", (x,))


def _plain(op: str, **options: tuple[str, Any]) -> Rule:
    """options: the attribute that each is, and its default, or a list of all that it may be."""

    def rule(r: Reader, node: OnnxNode) -> str:
        given = r.attributes(node, 1, **dict(options.values()))
        return r.add(node, op, (r.value(node),), {name: given[key] for name, (key, _) in options.items()})

    return rule


def _shuffle(r: Reader, node: OnnxNode) -> str:
    given = r.attributes(node, 1, mode=["DCR", "CRD"], blocksize=0)
    require(given["mode"] == "CRD", node.name, "mode of DepthToSpace must be CRD, is DCR", "use PixelShuffle")
    return r.add(node, "pixel_shuffle", (r.value(node),), {"factor": given["blocksize"]})


def _clip(r: Reader, node: OnnxNode) -> str:
    given = r.attributes(node, 3, min=-np.inf, max=np.inf)
    low, high = (float((r.numbers(node, i) or [given[name]])[0]) for i, name in ((1, "min"), (2, "max")))
    known = low == 0 and high in (6, np.inf)
    require(known, node.name, f"Clip must be ReLU or ReLU6, not from {low} to {high}", "use ReLU")
    return r.add(node, "relu" if high == np.inf else "relu6", (r.value(node),))


RULES: Mapping[str, Rule] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm,
    "Relu": _plain("relu"),
    "LeakyRelu": _plain("leaky_relu", slope=("alpha", 0.01)),
    "PRelu": _prelu,
    "Sigmoid": _plain("sigmoid"),
    "Clip": _clip,
    "HardSwish": _plain("hardswish"),
    "HardSigmoid": _hard_sigmoid,
    "Tanh": _plain("tanh"),
    "Elu": _plain("elu", alpha=("alpha", 1.0)),
    "Gelu": _plain("gelu", approximate=("approximate", ["none", "tanh"])),
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _global_mean,
    "ReduceMean": _mean,
    "Resize": resize,
    "Upsample": resize,
    "Concat": _concat,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _arithmetic),
    "Neg": _negative,
    "Identity": _same,
    "Dropout": _dropout,
    "Cast": _cast,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Pad": _pad,
    "Slice": _slice,
    "DepthToSpace": _shuffle,
}
"""By ONNX operation."""

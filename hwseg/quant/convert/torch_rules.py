"""What each operation of PyTorch (ATen) is as a layer: one rule for each, which reads all that the call says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from hwseg.errors import HwsegError, require
from hwseg.quant.convert.torch_reader import Node, Reader, Value, one, sizes

Rule = Callable[[Reader, Node], str | Value]


def _conv(r: Reader, node: Node) -> str:
    a, place = r.arguments(node, "weight", "bias", "stride", "padding", "dilation", "groups"), r.place(node)
    weight = r.tensor(node, a["weight"], "weight")
    assert weight is not None
    kernel, dilation = one(tuple(weight.shape[2:]), place, "kernel"), one(a["dilation"], place, "dilation")
    padding = a["padding"]
    if isinstance(padding, str):
        span = 0 if padding == "valid" else dilation * (kernel - 1)
        rule = f"padding {padding!r} is not the same on all sides for a kernel of {kernel}"
        require(span % 2 == 0, place, rule, "use an odd kernel, or give the padding as a number")
        padding = span // 2
    options = {
        "kernel": kernel, "stride": one(a["stride"], place, "stride"), "padding": one(padding, place, "padding"),
        "dilation": dilation, "groups": a["groups"],
    }  # fmt: skip
    return r.add(node, "conv", (r.value(node),), options, weight=weight, bias=r.tensor(node, a["bias"], "bias"))


def _conv_transpose(r: Reader, node: Node) -> str:
    names = ("weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
    a, place = r.arguments(node, *names), r.place(node)
    weight = r.tensor(node, a["weight"], "weight")
    assert weight is not None
    numbers = ("stride", "padding", "output_padding", "dilation")
    options = {"kernel": one(tuple(weight.shape[2:]), place, "kernel"), "groups": a["groups"]}
    options |= {name: one(a[name], place, name.replace("_", " ")) for name in numbers}
    bias = r.tensor(node, a["bias"], "bias")
    return r.add(node, "conv_transpose", (r.value(node),), options, weight=weight, bias=bias)


def _batch_norm(r: Reader, node: Node) -> str:
    """With its running statistics; also what instance normalization is that has them."""
    names = ("weight", "bias", "running_mean", "running_var", "eps", "training", "use_input_stats")
    a = r.arguments(node, *names, "momentum", "cudnn_enabled")
    tensors = {name: r.tensor(node, a[name], name) for name in names[:4]}
    mean, variance = tensors["running_mean"], tensors["running_var"]
    if mean is None or variance is None:
        raise HwsegError(r.place(node), "batch norm has no running statistics", "train with track_running_stats=True")
    rule = "batch norm takes the statistics of each picture (training=True)"
    require(not a.get("training", False), r.place(node), rule, "give it training=self.training")
    return r.add(
        node, "batch_norm", (r.value(node),), {"eps": a["eps"]}, mean=mean, variance=variance,
        weight=tensors["weight"], bias=tensors["bias"],
    )  # fmt: skip


def _instance_norm(r: Reader, node: Node) -> str:
    ignored = ("running_mean", "running_var", "momentum", "cudnn_enabled")
    a = r.arguments(node, "weight", "bias", "eps", "use_input_stats", *ignored)
    if not a["use_input_stats"]:
        return _batch_norm(r, node)
    tensors = {name: r.tensor(node, a[name], name) for name in ("weight", "bias")}
    return r.add(node, "instance_norm", (r.value(node),), {"eps": a["eps"]}, **tensors)


def _group_norm(r: Reader, node: Node) -> str:
    a = r.arguments(node, "num_groups", "weight", "bias", "eps", "cudnn_enabled")
    options = {"groups": a["num_groups"], "eps": a["eps"]}
    tensors = {name: r.tensor(node, a[name], name) for name in ("weight", "bias")}
    return r.add(node, "group_norm", (r.value(node),), options, **tensors)


def _pool(op: str) -> Rule:
    def rule(r: Reader, node: Node) -> str:
        """ceil_mode, and what padding counts as, are read where they change nothing."""
        a = r.arguments(node, "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override",
                        dilation=(1, [1, 1], [1]))  # fmt: skip
        place = r.place(node)
        kernel, padding = one(a["kernel_size"], place, "kernel"), one(a["padding"], place, "padding")
        stride = one(a["stride"] or kernel, place, "stride")
        floor = tuple((n + 2 * padding - kernel) // stride + 1 for n in sizes(r.first(node))[2:])
        said = f"ceil_mode=True gives {sizes(node)[2:]}, without it {floor}"
        require(floor == sizes(node)[2:], place, said, "leave it out, or choose a --size that the strides divide")
        counts = padding == 0 or a.get("count_include_pad", True)
        require(counts, place, "count_include_pad must be True where there is padding", "leave it out")
        divisor = a.get("divisor_override")
        said = f"divisor_override must be {kernel * kernel}, not {divisor}"
        require(divisor in (None, kernel * kernel), place, said, "leave it out, and put the factor into the weights")
        return r.add(node, op, (r.value(node),), {"kernel": kernel, "stride": stride, "padding": padding})

    return rule


def _enlarge(op: str) -> Rule:
    def rule(r: Reader, node: Node) -> str:
        a = r.arguments(node, "output_size", "scale_factors", "align_corners")
        before, after = sizes(r.first(node))[2:], sizes(node)[2:]
        whole = all(n % m == 0 for m, n in zip(before, after, strict=True))
        factors = {n // m for m, n in zip(before, after, strict=True)}
        said = f"must enlarge both sides by one whole number, not {before} to {after}"
        require(whole and len(factors) == 1, r.place(node), said, "choose a --size that the poolings divide")
        factor, given = factors.pop(), a["scale_factors"]
        said = f"enlarges {before} to {after}, but takes its pixels from where a factor of {given} has them"
        cure = f"use scale_factor={factor}, or recompute_scale_factor=True"
        require(given is None or set(given) == {factor}, r.place(node), said, cure)
        if factor == 1:
            return r.value(node)
        options = {"factor": factor} | ({"align_corners": bool(a["align_corners"])} if op == "bilinear" else {})
        return r.add(node, op, (r.value(node),), options)

    return rule


def _concat(r: Reader, node: Node) -> str:
    dimension = r.arguments(node, "dim")["dim"]
    require(dimension in (1, -3), r.place(node), f"must concatenate channels, not dimension {dimension}", "use dim=1")
    parts = r.first(node)
    names = tuple(name for part in parts if (name := r.named(node, part)) is not None)
    fits = len(names) == len(parts)
    require(fits, r.place(node), "must concatenate maps of the picture, not constants", "leave constants out")
    return r.add(node, "concat", names)


def _scaled(r: Reader, node: Node, x: str, weight: Tensor, bias: Tensor | float = 0.0) -> str:
    return r.add(node, "scale", (x,), weight=weight, bias=torch.zeros_like(weight) + bias)


def _arithmetic(op: str) -> Rule:
    """Sums and products of two maps, or of a map and a constant: one number, or one of each channel."""

    def rule(r: Reader, node: Node) -> str:
        a = r.arguments(node, "self", "other", "alpha")
        alpha, place, ones = float(a.get("alpha", 1)), r.place(node), torch.ones(sizes(node)[1])
        left, right = (r.named(node, given) for given in (a["self"], a["other"]))
        first, second, minus = a["self"], a["other"], -alpha if op in ("sub", "rsub") else alpha
        if op == "rsub":
            left, right, first, second = right, left, second, first
        require(right is None or op != "div", place, "a quotient by a map is not supported", "leave it out")
        if left is not None and right is not None:
            if op == "mul":
                return r.add(node, "multiply", (left, right))
            turned = torch.full((sizes(second)[1],), minus)
            return r.add(node, "add", (left, right if minus == 1 else _scaled(r, node, right, turned)))
        if left is not None:
            c = _of_channels(r, node, first, second)
            weight, bias = {"mul": (c, 0.0), "div": (1 / c, 0.0)}.get(op, (ones, minus * c))
            return _scaled(r, node, left, weight, bias)
        assert right is not None
        c = _of_channels(r, node, second, first)
        return _scaled(r, node, right, *((c, 0.0) if op == "mul" else (minus * ones, c)))

    return rule


def _of_channels(r: Reader, node: Node, of: Node, given: Any) -> Tensor:
    """A constant as one number of each channel of a map, `of`, that it leaves as large as it was."""
    constant, channels = torch.as_tensor(given, dtype=torch.float32), sizes(node)[1]
    each = constant.shape[-3:] == (channels, 1, 1) and constant.numel() == channels
    fits = (constant.numel() == 1 or each) and sizes(of) == sizes(node)
    said = f"a constant {tuple(constant.shape)} must be of each channel"
    require(fits, r.place(node), said, "use one number for each")
    return constant.reshape(-1).expand(channels)


def _negative(r: Reader, node: Node) -> str:
    r.arguments(node)
    return _scaled(r, node, r.value(node), -torch.ones(sizes(node)[1]))


def _plain(op: str, **names: str) -> Rule:
    """names: the arguments that are read, by the layer's options."""

    def rule(r: Reader, node: Node) -> str:
        a = r.arguments(node, *names.values())
        return r.add(node, op, (r.value(node),), {option: a[name] for option, name in names.items()})

    return rule


def _prelu(r: Reader, node: Node) -> str:
    slope = r.tensor(node, r.arguments(node, "weight")["weight"], "weight")
    assert slope is not None
    return r.add(node, "prelu", (r.value(node),), {"count": slope.numel()}, slope=slope.reshape(-1))


def _clip(low: str, high: str) -> Rule:
    def rule(r: Reader, node: Node) -> str:
        a = r.arguments(node, low, high)
        ends = [a.get(low), a.get(high)]
        known = not any(isinstance(end, (Tensor, fx.Node)) for end in ends) and ends[0] == 0 and ends[1] in (None, 6)
        require(known, r.place(node), f"a clip must be ReLU or ReLU6, not {ends}", "use ReLU")
        return r.add(node, "relu" if ends[1] is None else "relu6", (r.value(node),))

    return rule


def _mean(r: Reader, node: Node) -> str:
    a = r.arguments(node, "dim", "keepdim", dtype=(None, torch.float32))
    dimensions = {d % 4 for d in a.get("dim") or ()}
    said = "a mean must be of each channel's whole map, and keep its dimensions"
    require(dimensions == {2, 3} and a["keepdim"], r.place(node), said, "use mean((2, 3), keepdim=True)")
    return r.add(node, "global_mean", (r.value(node),))


def _adaptive(r: Reader, node: Node) -> str:
    size = list(r.arguments(node, "output_size")["output_size"])
    require(set(size) == {1}, r.place(node), f"an adaptive pooling must be to 1x1, not {size}", "use AvgPool2d(2)")
    return r.add(node, "global_mean", (r.value(node),))


def _pad(r: Reader, node: Node) -> str:
    """Padding with zeros; by less than nothing, it cuts off."""
    a = r.arguments(node, "pad", "mode", "value")
    pads, value = [int(p) for p in a["pad"]], a["value"] or 0
    if not any(pads):
        return r.value(node)
    said = f"padding {pads} with {a['mode']} {value if a['mode'] == 'constant' else ''}".strip()
    require(a["mode"] == "constant" and value == 0, r.place(node), f"{said} is not zeros", "pad with zeros")
    require(not any(pads[4:]), r.place(node), f"{said} is not of height and width", "pad these alone")
    left, right, top, bottom = [*pads, 0, 0][:4]
    found = r.value(node)
    if min(pads) < 0:
        rows, columns = ((max(-a, 0), max(-b, 0)) for a, b in ((top, bottom), (left, right)))
        found = r.add(node, "crop", (found,), {"rows": rows, "columns": columns})
    if max(pads) > 0:
        found = r.add(node, "pad", (found,), {"pads": tuple(max(p, 0) for p in (left, right, top, bottom))})
    return found


def _final(op: str) -> Rule:
    """Softmax over channels: the mask is that of the logits."""

    def rule(r: Reader, node: Node) -> Value:
        dimension = r.arguments(node, "dim", dtype=(None, torch.float32))["dim"]
        require(dimension in (1, -3), r.place(node), f"{op} must be of dim=1, not {dimension}", "use dim=1")
        said = f"{op} of one channel is the same everywhere"
        require(sizes(node)[1] > 1, r.place(node), said, "use sigmoid, or leave it out")
        return Value(r.value(node), op)

    return rule


RULES: Mapping[str, Rule] = {
    "conv2d": _conv,
    "conv_transpose2d": _conv_transpose,
    "batch_norm": _batch_norm,
    "instance_norm": _instance_norm,
    "group_norm": _group_norm,
    "relu": _plain("relu"),
    "relu6": _plain("relu6"),
    "hardtanh": _clip("min_val", "max_val"),
    "clamp": _clip("min", "max"),
    "clamp_min": _clip("min", "max"),
    "leaky_relu": _plain("leaky_relu", slope="negative_slope"),
    "prelu": _prelu,
    "sigmoid": _plain("sigmoid"),
    "silu": _plain("silu"),
    "gelu": _plain("gelu", approximate="approximate"),
    "tanh": _plain("tanh"),
    "hardsigmoid": _plain("hardsigmoid"),
    "hardswish": _plain("hardswish"),
    "elu": _plain("elu", alpha="alpha"),
    "max_pool2d": _pool("max_pool"),
    "avg_pool2d": _pool("avg_pool"),
    "adaptive_avg_pool2d": _adaptive,
    "mean": _mean,
    "upsample_nearest2d": _enlarge("nearest"),
    "_upsample_nearest_exact2d": _enlarge("nearest"),
    "upsample_bilinear2d": _enlarge("bilinear"),
    **dict.fromkeys(("cat", "concat", "concatenate"), _concat),
    "add": _arithmetic("add"),
    **dict.fromkeys(("sub", "subtract"), _arithmetic("sub")),
    "rsub": _arithmetic("rsub"),
    **dict.fromkeys(("mul", "multiply"), _arithmetic("mul")),
    **dict.fromkeys(("div", "divide", "true_divide"), _arithmetic("div")),
    **dict.fromkeys(("neg", "negative"), _negative),
    "pixel_shuffle": _plain("pixel_shuffle", factor="upscale_factor"),
    "pad": _pad,
    "softmax": _final("softmax"),
    "log_softmax": _final("log-softmax"),
}
"""By name of ATen's operation, without what it ends in when it is in place."""

"""What each layer of a float network computes, in PyTorch: one function for each operation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hwseg.quant.networks.graph import INPUT, Layer, Network

Tensors = Callable[[str], Tensor | None]


def run(network: Network, x: Tensor, taps: Collection[str] = ()) -> dict[str, Tensor]:
    """The network's output and the values in `taps`, from a batch of pictures."""
    wanted = {*taps, network.output}
    last = {name: layer.name for layer in network.layers for name in layer.inputs}
    values = {INPUT: x}
    for layer in network.layers:
        values[layer.name] = compute(network, layer, [values[name] for name in layer.inputs])
        for name in set(layer.inputs) - wanted:
            if last[name] == layer.name:
                del values[name]
    return {name: value for name, value in values.items() if name in wanted}


def compute(network: Network, layer: Layer, inputs: list[Tensor]) -> Tensor:
    """The value of one layer."""

    def tensor(role: str) -> Tensor | None:
        return network.tensors.get(f"{layer.name}.{role}")

    return OPERATIONS[layer.op](inputs, layer.options, tensor)


def _conv(x: list[Tensor], o: Mapping[str, Any], t: Tensors) -> Tensor:
    weight = t("weight")
    assert weight is not None
    return functional.conv2d(x[0], weight, t("bias"), o["stride"], o["padding"], o["dilation"], o["groups"])


def _conv_transpose(x: list[Tensor], o: Mapping[str, Any], t: Tensors) -> Tensor:
    weight = t("weight")
    assert weight is not None
    return functional.conv_transpose2d(
        x[0], weight, t("bias"), o["stride"], o["padding"], o["output_padding"], o["groups"], o["dilation"]
    )


def _scale(x: list[Tensor], o: Mapping[str, Any], t: Tensors) -> Tensor:
    weight, bias = t("weight"), t("bias")
    assert weight is not None
    assert bias is not None
    return x[0] * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)


def _batch_norm(x: list[Tensor], o: Mapping[str, Any], t: Tensors) -> Tensor:
    return functional.batch_norm(x[0], t("mean"), t("variance"), t("weight"), t("bias"), False, 0.0, o["eps"])


def _max_pool(x: list[Tensor], o: Mapping[str, Any], t: Tensors) -> Tensor:
    return functional.max_pool2d(x[0], o["kernel"], o["stride"], o["padding"])


def _avg_pool(x: list[Tensor], o: Mapping[str, Any], t: Tensors) -> Tensor:
    return functional.avg_pool2d(x[0], o["kernel"], o["stride"], o["padding"])


def _nearest(x: list[Tensor], o: Mapping[str, Any], t: Tensors) -> Tensor:
    return functional.interpolate(x[0], scale_factor=float(o["factor"]), mode="nearest")


def _bilinear(x: list[Tensor], o: Mapping[str, Any], t: Tensors) -> Tensor:
    corners = bool(o["align_corners"])
    return functional.interpolate(x[0], scale_factor=float(o["factor"]), mode="bilinear", align_corners=corners)


def _sum(x: list[Tensor], o: Mapping[str, Any], t: Tensors) -> Tensor:
    return x[0] + x[1]


def _product(x: list[Tensor], o: Mapping[str, Any], t: Tensors) -> Tensor:
    return x[0] * x[1]


def _crop(x: list[Tensor], o: Mapping[str, Any], t: Tensors) -> Tensor:
    (top, bottom), (left, right) = o["rows"], o["columns"]
    height, width = x[0].shape[2:]
    return x[0][:, :, top : height - bottom, left : width - right]


def _prelu(x: list[Tensor], o: Mapping[str, Any], t: Tensors) -> Tensor:
    slope = t("slope")
    assert slope is not None
    return functional.prelu(x[0], slope)


OPERATIONS: Mapping[str, Callable[[list[Tensor], Mapping[str, Any], Tensors], Tensor]] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "scale": _scale,
    "batch_norm": _batch_norm,
    "instance_norm": lambda x, o, t: functional.instance_norm(x[0], None, None, t("weight"), t("bias"), eps=o["eps"]),
    "group_norm": lambda x, o, t: functional.group_norm(x[0], o["groups"], t("weight"), t("bias"), o["eps"]),
    "relu": lambda x, o, t: functional.relu(x[0]),
    "relu6": lambda x, o, t: functional.relu6(x[0]),
    "leaky_relu": lambda x, o, t: functional.leaky_relu(x[0], o["slope"]),
    "prelu": _prelu,
    "sigmoid": lambda x, o, t: torch.sigmoid(x[0]),
    "silu": lambda x, o, t: functional.silu(x[0]),
    "gelu": lambda x, o, t: functional.gelu(x[0], approximate=o.get("approximate", "none")),
    "tanh": lambda x, o, t: torch.tanh(x[0]),
    "hardsigmoid": lambda x, o, t: functional.hardsigmoid(x[0]),
    "hardswish": lambda x, o, t: functional.hardswish(x[0]),
    "elu": lambda x, o, t: functional.elu(x[0], o.get("alpha", 1.0)),
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "global_mean": lambda x, o, t: x[0].mean(dim=(2, 3), keepdim=True),
    "nearest": _nearest,
    "bilinear": _bilinear,
    "concat": lambda x, o, t: torch.cat(x, dim=1),
    "add": _sum,
    "multiply": _product,
    "pixel_shuffle": lambda x, o, t: functional.pixel_shuffle(x[0], o["factor"]),
    "crop": _crop,
    "pad": lambda x, o, t: functional.pad(x[0], o["pads"]),
    "requantize": lambda x, o, t: x[0],
}
"""By name, from inputs, options and tensors."""

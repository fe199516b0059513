"""What the engine takes, asked of the compiler's own reader: a tiny network with the layer in it is exported and read.

So what is replaced here is never more than what `hwseg.quant.read` refuses, and nothing when it learns to take it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hwseg.errors import HwsegError
from hwseg.pictures.meaning import NAMES
from hwseg.quant.networks.graph import CONVOLUTIONS, INPUT, Layer, Network
from hwseg.quant.networks.layered import NetworkConfig, QuantizedNetwork
from hwseg.quant.read.load import load
from hwseg.quant.train.export import model_of

ALWAYS = frozenset(("relu", "concat", "requantize"))
"""What is never asked about."""
SIDE, CHANNELS = 32, 4
FOLDED = frozenset(("batch_norm", "scale"))


def refused(network: Network, layer: Layer, spread: bool = False) -> HwsegError | None:
    """Why the reader does not take a layer, or None if it does.

    spread: whether a sum or a product has operands of different sizes.
    """
    if layer.op in ALWAYS or (layer.op == "add" and not spread):
        return None
    options = dict(layer.options)
    if layer.op in CONVOLUTIONS:
        options["groups"] = min(options["groups"], 2)
    key = tuple(sorted((name, tuple(v) if isinstance(v, list) else v) for name, v in options.items()))
    slopes = network.tensor(layer, "slope").numel() if layer.op == "prelu" else 0
    found = _asked(layer.op, key, len(layer.inputs), spread, slopes)
    return None if found is None else HwsegError(layer.name, *found)


@lru_cache(maxsize=256)
def _asked(
    op: str, options: tuple[tuple[str, Any], ...], count: int, spread: bool, slopes: int
) -> tuple[str, str] | None:
    try:
        _read(op, dict(options), count, spread, slopes)
    except HwsegError as error:
        return error.rule, error.cure
    return None


def _read(op: str, options: dict[str, Any], count: int, spread: bool, slopes: int) -> None:
    first = {"kernel": 1, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    layers, tensors = list[Layer](), dict[str, Tensor]()

    def convolution(name: str, source: str, ins: int, outs: int) -> None:
        layers.append(Layer(name, "conv", (source,), first, ("weight", "bias")))
        tensors.update({f"{name}.weight": torch.ones(outs, ins, 1, 1) / ins, f"{name}.bias": torch.zeros(outs)})

    names = []
    activation = op in ("relu6", "leaky_relu", "prelu", "elu", "silu", "gelu", "tanh", "sigmoid", "hardsigmoid",
                        "hardswish")  # fmt: skip
    for i in range(count):
        outs = 1 if spread and i else CHANNELS
        convolution(f"before{i}", INPUT, 1, outs)
        if activation:
            names.append(f"before{i}")
        else:
            layers.append(Layer(f"relu{i}", "relu", (f"before{i}",)))
            names.append(f"relu{i}")
    roles: tuple[str, ...] = ()
    outs = CHANNELS
    if op in CONVOLUTIONS:
        groups, k = options["groups"], options["kernel"]
        roles = ("weight", "bias")
        tensors.update({"it.weight": torch.ones(CHANNELS, CHANNELS // groups, k, k), "it.bias": torch.zeros(CHANNELS)})
    if op == "prelu":
        options = {"count": CHANNELS if slopes > 1 else 1}
        roles, tensors["it.slope"] = ("slope",), torch.full((options["count"],), 0.25)
    if op == "pixel_shuffle":
        outs = CHANNELS // options["factor"] ** 2
    if op in FOLDED:
        roles = ("weight", "bias")
    layers.append(Layer("it", op, tuple(names), options, roles))
    last = "it"
    if op in CONVOLUTIONS:
        layers.append(Layer("after", "relu", ("it",)))
        last = "after"
    convolution("head", last, max(outs, 1), 1)
    network = Network(tuple(layers), "head", 1, tensors)
    probe(network, "power_of_two", (SIDE, SIDE))


def probe(network: Network, scales: str, size: tuple[int, int], names: Mapping[str, str] | None = None) -> None:
    """Export the network, uncalibrated, and read it; raises what the reader refuses it for."""
    config = NetworkConfig.of(network, scales, 0, 1)
    content = model_of(QuantizedNetwork(replace(config), network.tensors), size, replace(NAMES["unit"], mean=()))
    with tempfile.TemporaryDirectory(prefix="hwseg-taken-") as folder:
        path = Path(folder) / "asked.onnx"
        path.write_bytes(content.SerializeToString())
        load(path)

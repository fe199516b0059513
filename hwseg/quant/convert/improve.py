"""What brings a calibrated network closer to the float one without training it: Brevitas's own graph tools.

Cross-layer equalization (Nagel et al., ICCV 2019) evens out what channels reach, in the float network; bias correction
takes the mean error out of every layer; GPTQ (Frantar et al., 2022) rounds weights one after the other, so that later
ones make good for earlier ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from hwseg.borders import REPORT, tool
from hwseg.quant.networks.graph import CONVOLUTIONS, INPUT, Layer, Network
from hwseg.quant.networks.layered import Operation, QuantizedNetwork

ITERATIONS = 20


def equalized(network: Network) -> Network:
    """The same function with the ranges of channels evened out between a layer and the next."""
    from brevitas.graph.equalize import EqualizeGraph

    graph = graph_module(network)
    with tool("brevitas", "equalizing the network", REPORT), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        graph = EqualizeGraph(iterations=ITERATIONS, merge_bias=True).apply(graph)
    tensors = dict(network.tensors)
    for layer in network.layers:
        if layer.op in CONVOLUTIONS:
            module: Any = graph.get_submodule(_attribute(layer.name))
            for role in layer.roles:
                tensors[f"{layer.name}.{role}"] = getattr(module, role).detach().clone()
    return replace(network, tensors=tensors)


def _attribute(name: str) -> str:
    return name.replace("/", "__").replace(".", "_")


def graph_module(network: Network) -> fx.GraphModule:
    """The float network in PyTorch's own modules, as Brevitas's graph tools know them."""
    root, graph = nn.Module(), fx.Graph()
    values = {INPUT: graph.placeholder("x")}
    for layer in network.layers:
        inputs = [values[name] for name in layer.inputs]
        if layer.op == "concat":
            values[layer.name] = graph.call_function(torch.cat, (inputs, 1))
        elif layer.op == "add":
            values[layer.name] = graph.call_function(torch.add, tuple(inputs))
        else:
            root.add_module(_attribute(layer.name), _module(network, layer))
            values[layer.name] = graph.call_module(_attribute(layer.name), tuple(inputs))
    graph.output(values[network.output])
    return fx.GraphModule(root, graph)


def _module(network: Network, layer: Layer) -> nn.Module:
    o = layer.options
    if layer.op in CONVOLUTIONS:
        weight = network.tensor(layer, "weight")
        shared = {key: o[key] for key in ("stride", "padding", "dilation", "groups")}
        bias = "bias" in layer.roles
        made: nn.Module
        if layer.op == "conv":
            made = nn.Conv2d(weight.shape[1] * o["groups"], weight.shape[0], o["kernel"], bias=bias, **shared)
        else:
            made = nn.ConvTranspose2d(
                weight.shape[0], weight.shape[1] * o["groups"], o["kernel"], bias=bias,
                output_padding=o["output_padding"], **shared,
            )  # fmt: skip
        with torch.no_grad():
            for role in layer.roles:
                made.get_parameter(role).copy_(network.tensor(layer, role))
        return made
    if layer.op == "relu":
        return nn.ReLU()
    if layer.op == "leaky_relu":
        return nn.LeakyReLU(o["slope"])
    if layer.op == "prelu":
        slopes = nn.PReLU(o["count"])
        with torch.no_grad():
            slopes.weight.copy_(network.tensor(layer, "slope"))
        return slopes
    if layer.op == "max_pool":
        return nn.MaxPool2d(o["kernel"], o["stride"], o["padding"])
    if layer.op == "avg_pool":
        return nn.AvgPool2d(o["kernel"], o["stride"], o["padding"])
    if layer.op == "nearest":
        return nn.Upsample(scale_factor=o["factor"], mode="nearest")
    return Operation(layer)


def correct_biases(quantized: QuantizedNetwork, pictures: Sequence[Tensor]) -> None:
    """Take each layer's mean error over the pictures out of its bias."""
    from brevitas.graph.calibrate import bias_correction_mode

    with tool("brevitas", "correcting biases", REPORT), torch.no_grad(), bias_correction_mode(quantized):
        for batch in pictures:
            quantized(batch)


def gptq(quantized: QuantizedNetwork, pictures: Sequence[Tensor]) -> None:
    """Round weights one after the other, each with what earlier ones left."""
    from brevitas.graph.gptq import gptq_mode

    with tool("brevitas", "rounding weights", REPORT), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        with gptq_mode(quantized, use_quant_activations=True, create_weight_orig=False) as rounding:
            for _ in range(rounding.num_layers):
                for batch in pictures:
                    rounding.model(batch)
                rounding.update()

"""Whether layers that a file lists fit together, found without memory for their maps and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hwseg.quant.networks.graph import CONVOLUTIONS, INPUT, RESERVED, Layer, multiple_of
from hwseg.quant.networks.operations import OPERATIONS

LARGEST = 1 << 36
"""Numbers of a map of one picture: more is no network but a trap."""
SIDE = 512
"""Sides of that picture, or the next multiple of what the network needs."""
MULTIPLES = range(1, 1 << 12)


def check(
    layers: Sequence[Layer], shapes: Mapping[str, tuple[int, ...]], output: str, in_channels: int, out_channels: int
) -> None:
    """Raise ValueError, or what PyTorch raises, unless `output` is a map of `out_channels`.

    shapes: of the weights of each convolution.
    """
    _check_names(layers)
    multiple = multiple_of(layers)
    _require(multiple in MULTIPLES, f"pictures would be multiples of {multiple}")
    side = multiple * -(-SIDE // multiple)
    values = {INPUT: torch.empty(1, in_channels, side, side, device="meta")}
    for layer in layers:
        found = _map(layer, [values[name] for name in layer.inputs], shapes.get(layer.name, ()))
        _require(found.ndim == 4 and 0 < found.numel() <= LARGEST, f"{layer.name} is a map of {list(found.shape)}")
        values[layer.name] = found
    made = values[output].shape
    _require(made[1] == out_channels, f"{output} has {made[1]} channels, not {out_channels}")
    wanted = {layer.name for layer in layers if layer.op in CONVOLUTIONS}
    _require(wanted == set(shapes), "shapes are not those of its convolutions")


def _check_names(layers: Sequence[Layer]) -> None:
    known = {INPUT}
    for layer in layers:
        fresh = layer.name and "." not in layer.name and layer.name not in known | RESERVED
        _require(bool(fresh), f"{layer.name!r} cannot be the name of a layer")
        _require(layer.op in OPERATIONS, f"{layer.op!r} is no operation")
        _require(bool(layer.inputs) and set(layer.inputs) <= known, f"{layer.name} reads what is not there")
        known.add(layer.name)


def _map(layer: Layer, inputs: list[Tensor], shape: tuple[int, ...]) -> Tensor:
    """The layer's map, without its numbers."""
    options = layer.options
    if layer.op in CONVOLUTIONS:
        square = len(shape) == 4 and shape[2:] == (options["kernel"],) * 2
        _require(square and min(shape) > 0, f"{layer.name} has weights of {list(shape)}")
    outs = shape[0] if layer.op == "conv" else shape[1] * options["groups"] if layer.op == "conv_transpose" else 0

    def tensor(role: str) -> Tensor | None:
        _require(layer.op in CONVOLUTIONS or layer.op == "prelu", f"{layer.op} has no numbers here")
        sizes = {"weight": shape, "bias": (outs,), "slope": (options.get("count", 0),)}[role]
        return torch.empty(sizes, device="meta")

    return OPERATIONS[layer.op](inputs, options, tensor)


def _require(fits: bool, rule: str) -> None:
    if not fits:
        raise ValueError(rule)

"""The quantized network: any list of layers, with quantizers of Brevitas where integers are to be.

A value that a convolution, an addition, a mean or a product gives is *raw*: it waits for its quantizer, and only an
activation function may come before that.  Poolings of maxima, nearest enlargings and concatenations choose among
integers.  Branches that meet in a concatenation have one quantizer, so that they have one scale by construction.
Convolutions have biases of 32 bits on their accumulator's scale, as `hwseg.quant.networks.layers` has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import brevitas.nn as qnn
import torch
from torch import Tensor, nn

from hwseg.errors import HwsegError, require
from hwseg.pictures.table import Quantizer
from hwseg.quant.networks import layers as kinds
from hwseg.quant.networks.architecture import Quantized
from hwseg.quant.networks.graph import ACTIVATIONS, BENDING, CONVOLUTIONS, INPUT, MOVES, Layer, Network, multiple_of
from hwseg.quant.networks.layers import plain
from hwseg.quant.networks.maps import check
from hwseg.quant.networks.operations import OPERATIONS

BITS = range(2, 9)
PRESETS = {"w8a8": 8, "w4a4": 4}
MULTIPLE = "hwseg.multiple"
"""Key of the metadata of an exported file: sides of pictures must be multiples of it."""


@dataclass(frozen=True)
class NetworkConfig:
    """Layers, and how each is quantized.

    weight_bits: by convolution.  activation_bits: by quantizer (`quantizers`).  shapes: of the weights, by convolution.
    """

    table: ClassVar[str] = "network"

    layers: tuple[Layer, ...]
    output: str
    in_channels: int
    out_channels: int
    shapes: Mapping[str, tuple[int, ...]]
    scales: str = "power_of_two"
    input_bound: int = 0
    weight_bits: Mapping[str, int] = field(default_factory=dict)
    activation_bits: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.scales in kinds.SCALES, "--scales", f"must be {' or '.join(kinds.SCALES)}, not {self.scales!r}")
        for names, given in ((self.convolutions, self.weight_bits), (self.quantizers, self.activation_bits)):
            for name, bits in given.items():
                require(name in names, "--bits", f"{name!r} is no layer", f"layers are {', '.join(names)}")
                require(bits in BITS, "--bits", f"bits of {name} must be from 2 to 8, not {bits}")

    @classmethod
    def of(cls, network: Network, scales: str, input_bound: int, classes: int) -> NetworkConfig:
        """Of a float network that was made fit, at 8 bits."""
        shapes = {x.name: tuple(network.tensor(x, "weight").shape) for x in network.layers if x.op in CONVOLUTIONS}
        return cls(network.layers, network.output, network.channels, classes, shapes, scales, input_bound)

    @property
    def multiple(self) -> int:
        """Sides of pictures must be multiples of it."""
        return multiple_of(self.layers)

    @property
    def fewest(self) -> int:
        """Its weights and slopes."""
        slopes = sum(int(layer.options["count"]) for layer in self.layers if layer.op == "prelu")
        return slopes + sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def convolutions(self) -> tuple[str, ...]:
        """Layers with weights, in execution order."""
        return tuple(layer.name for layer in self.layers if layer.op in CONVOLUTIONS)

    @property
    def settled(self) -> dict[str, str]:
        """The quantizer, by its name, of every value that is quantized; a name is that of its first value."""
        return _settled(self.layers, self.output)

    @property
    def quantizers(self) -> tuple[str, ...]:
        """Their names, in execution order; the picture's own is not among them."""
        return tuple(name for name in dict.fromkeys(self.settled.values()) if name != INPUT)

    @property
    def activations(self) -> tuple[str, ...]:
        """What has activation bits of its own, as `hwseg.quant.train.search` asks for it."""
        return self.quantizers

    @property
    def shared_activations(self) -> Mapping[str, str]:
        """None: branches that meet have one quantizer already."""
        return {}

    @property
    def unsigned(self) -> frozenset[str]:
        """Quantizers of values that are never negative."""
        positive, settled = _positive(self.layers), self.settled
        signed = {settled[name] for name in settled if name in _raw(self.layers) and name not in positive}
        return frozenset(self.quantizers) - signed

    def weight_bits_of(self, name: str) -> int:
        """Bits of a convolution's weights."""
        return self.weight_bits.get(name, 8)

    def activation_bits_of(self, name: str) -> int:
        """Bits of a quantizer."""
        return self.activation_bits.get(name, 8)

    @property
    def input_quantizer(self) -> Quantizer:
        """The first quantizer."""
        return kinds.pixel_quantizer(self.input_bound)

    def build(self) -> QuantizedNetwork:
        """A network of it."""
        return QuantizedNetwork(self)

    def with_bits(self, weights: int | Mapping[str, int], activations: int | Mapping[str, int]) -> NetworkConfig:
        """The same network at other bits: one number, of which the first and the last convolution's weights keep 8,
        or numbers by name, where a later pattern wins.
        """
        names = self.convolutions
        for wanted in (weights, activations):
            known = isinstance(wanted, (int, Mapping)) and not isinstance(wanted, bool)
            require(known, "--bits", f"must be a number, or numbers by layer, not {wanted!r}", "for example 4")
        if isinstance(weights, int):
            weights = {"*": weights, names[0]: 8, names[-1]: 8}
        quantizers = self.quantizers
        if isinstance(activations, int):
            activations = {"*": activations} if quantizers else {}
        return replace(self, weight_bits=_matched(names, weights), activation_bits=_matched(quantizers, activations))

    def at(self, preset: str) -> NetworkConfig:
        """The same network at the bits of a preset: `w8a8` or `w4a4`."""
        cure = "choose bits by layer: hwseg search, or a [network] table"
        require(preset in PRESETS, "--preset", f"must be {' or '.join(PRESETS)} for a converted network", cure)
        return self.with_bits(PRESETS[preset], PRESETS[preset])

    def settings(self) -> dict[str, Any]:
        """Its bits: all that can be chosen of it."""
        weights = {name: self.weight_bits_of(name) for name in self.convolutions}
        return {
            "weight_bits": weights,
            "activation_bits": {name: self.activation_bits_of(name) for name in self.quantizers},
        }

    def metadata(self) -> dict[str, str]:
        """What an exported file says of it."""
        return {MULTIPLE: str(self.multiple)}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and checkpoints."""
        return {
            "layers": [layer.to_dict() for layer in self.layers], "output": self.output,
            "in_channels": self.in_channels, "out_channels": self.out_channels,
            "scales": self.scales, "input_bound": self.input_bound,
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "weight_bits": dict(self.weight_bits), "activation_bits": dict(self.activation_bits),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> NetworkConfig:
        """The inverse of `to_dict`.  Raises ValueError where layers do not fit together, whatever wrote them."""
        values = dict(content)
        values["layers"] = tuple(Layer.from_dict(layer) for layer in content["layers"])
        values["shapes"] = {name: tuple(shape) for name, shape in content["shapes"].items()}
        check(values["layers"], values["shapes"], content["output"], content["in_channels"], content["out_channels"])
        return cls(**values)


def _matched(names: tuple[str, ...], wanted: Mapping[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for pattern, bits in wanted.items():
        matching = _matching(names, pattern)
        require(bool(matching), "--bits", f"{pattern!r} matches no layer", f"layers are {', '.join(names)}")
        found.update(dict.fromkeys(matching, bits))
    return {name: found[name] for name in names if name in found}


def _matching(names: tuple[str, ...], pattern: str) -> list[str]:
    """A layer's name means that layer, whatever is in it; anything else is a pattern."""
    return [pattern] if pattern in names else [name for name in names if fnmatchcase(name, pattern)]


def _raw(layers: tuple[Layer, ...]) -> set[str]:
    return {layer.name for layer in layers if layer.op not in MOVES}


def _settled(layers: tuple[Layer, ...], output: str) -> dict[str, str]:
    raw = _raw(layers)
    read: dict[str, list[Layer]] = {}
    for layer in layers:
        for name in layer.inputs:
            read.setdefault(name, []).append(layer)
    found = {INPUT: INPUT}

    def root(name: str) -> str:
        while found[name] != name:
            name = found[name]
        return name

    for layer in layers:
        if layer.name in raw:
            readers = read.get(layer.name, [])
            only = all(reader.op in ACTIVATIONS - BENDING for reader in readers)
            is_end = layer.name == output
            if (readers and not only) or (is_end and layer.op not in CONVOLUTIONS):
                found[layer.name] = layer.name
            continue
        first = root(layer.inputs[0])
        for name in layer.inputs[1:]:
            found[root(name)] = first
        found[layer.name] = first
    return {name: root(name) for name in found}


def _positive(layers: tuple[Layer, ...]) -> set[str]:
    """Values that are never negative."""
    found: set[str] = set()
    for layer in layers:
        always = layer.op in ("relu", "relu6", "sigmoid", "hardsigmoid")
        keeps = layer.op in (*MOVES, "bilinear", "avg_pool", "add", "multiply", "requantize")
        if always or (keeps and all(name in found for name in layer.inputs)):
            found.add(layer.name)
    return found


class Operation(nn.Module):
    """An operation without weights; a module only so that the exported node has its name."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *inputs: Any) -> Any:
        return OPERATIONS[self.layer.op](list(inputs), self.layer.options, _nothing)


class Slopes(nn.Module):
    """PReLU."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.full((count,), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.prelu(x, self.slope)


def _nothing(role: str) -> None:
    return None


class QuantizedNetwork(Quantized):
    """The network of `config`; it has no batch normalization to fold."""

    config: NetworkConfig

    def __init__(self, config: NetworkConfig, tensors: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.config = config
        self.settled = config.settled
        unsigned = config.unsigned
        self.raw = _raw(config.layers)
        self.input = kinds.pixel_input(config.input_bound)
        for layer in config.layers:
            self.add_module(layer.name, self._module(layer, tensors or {}))
        for name in config.quantizers:
            bits = config.activation_bits_of(name)
            made = (kinds.unsigned_identity if name in unsigned else kinds.signed_identity)(bits, config.scales)
            taken = f"{name}/quantizer" in self._modules
            require(not taken, f"{name}/quantizer", "is the name of a quantizer", "give the layer another name")
            self.add_module(f"{name}/quantizer", made)
        self.eval()

    def weight_of(self, convolution: str) -> Tensor:
        weight: Tensor = self.get_submodule(convolution).weight  # type: ignore[assignment]
        return weight

    def _module(self, layer: Layer, tensors: Mapping[str, Tensor]) -> nn.Module:
        module: nn.Module
        if layer.op in CONVOLUTIONS:
            module = _convolution(layer, self.config)
            roles: tuple[str, ...] = ("weight", "bias")
        elif layer.op == "prelu":
            roles = ("slope",)
            module = Slopes(layer.options["count"])
        else:
            return Operation(layer)
        with torch.no_grad():
            for role in roles:
                given = tensors.get(f"{layer.name}.{role}")
                if given is not None:
                    module.get_parameter(role).copy_(given)
                elif role == "bias":
                    module.get_parameter(role).zero_()
        return module

    def quantizer(self, name: str) -> nn.Module:
        """A quantizer of `config.quantizers`, by name."""
        return self._modules[f"{name}/quantizer"]  # type: ignore[return-value]

    def forward(self, x: Tensor) -> Tensor:
        return self.values(x, ())[self.config.output]

    def values(self, x: Tensor, taps: tuple[str, ...]) -> dict[str, Tensor]:
        """The logits and the values in `taps`, raw ones as they are before their quantizer."""
        whole: dict[str, Any] = {INPUT: self.input(x)}
        raw: dict[str, Any] = {}
        for layer in self.config.layers:
            module = self._modules[layer.name]
            assert module is not None
            takes_raw = layer.op in ACTIVATIONS - BENDING
            inputs = [raw[n] if takes_raw and n in raw else whole[n] for n in layer.inputs]
            if layer.op not in MOVES and layer.op not in CONVOLUTIONS:
                inputs = [plain(value) for value in inputs]
            y = module(*inputs)
            if layer.name not in self.raw:
                whole[layer.name] = y
                continue
            raw[layer.name] = plain(y)
            if layer.name in self.settled:
                whole[layer.name] = self.quantizer(self.settled[layer.name])(raw[layer.name])
        output = self.config.output
        found = {name: plain(raw[name] if name in raw else whole[name]) for name in taps}
        found[output] = plain(whole[output] if output in self.settled else raw[output])
        return found


def _convolution(layer: Layer, config: NetworkConfig) -> nn.Module:
    o, shape = layer.options, config.shapes[layer.name]
    options = kinds.parameters(config.weight_bits_of(layer.name), config.scales, per_channel=True)
    if o["groups"] < 1:
        raise HwsegError(layer.name, f"groups must be positive, are {o['groups']}", "use a dense convolution")
    shared = {"stride": o["stride"], "padding": o["padding"], "dilation": o["dilation"], "groups": o["groups"]}
    if layer.op == "conv":
        made: nn.Module = qnn.QuantConv2d(shape[1] * o["groups"], shape[0], o["kernel"], bias=True, **shared, **options)
        return made
    made = qnn.QuantConvTranspose2d(
        shape[0],
        shape[1] * o["groups"],
        o["kernel"],
        output_padding=o["output_padding"],
        bias=True,
        **shared,
        **options,
    )
    return made

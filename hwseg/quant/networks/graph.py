"""A float network as a list of layers: what other people's modules and files become first.

Each layer is one operation of a fixed set, on values that have the names of the layers that made them; numbers that
were learned are kept apart, by `NAME.ROLE`.  So a network can be rewritten, kept in a file and built anew.

    conv, conv_transpose       kernel, stride, padding, dilation, groups, and output_padding
    scale                      weight * x + bias, of each channel
    batch_norm, instance_norm, group_norm
                               eps; weight and bias; mean and variance, of batch_norm
    relu, relu6, leaky_relu, prelu, sigmoid, silu, gelu, tanh, hardsigmoid, hardswish, elu
    max_pool, avg_pool         kernel, stride, padding
    global_mean                of each channel
    nearest, bilinear          factor; align_corners
    concat, add, multiply      of values; `add` and `multiply` may spread a map of one channel or of one pixel
    pixel_shuffle, pad, crop   factor; pads; how much is cut off, before and after: rows and columns
    requantize                 nothing but another quantizer
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from torch import Tensor, nn

from hwseg.errors import require

ACTIVATIONS = frozenset(
    ("relu", "relu6", "leaky_relu", "prelu", "sigmoid", "silu", "gelu", "tanh", "hardsigmoid", "hardswish", "elu")
)
"""Functions of one number."""

BENDING = frozenset(("silu", "gelu", "hardswish"))
"""Those that fall and rise: a quantizer must come before them."""

MOVES = frozenset(("max_pool", "nearest", "concat", "pixel_shuffle", "crop", "pad"))
"""Operations whose results are among their operands' numbers."""

CONVOLUTIONS = frozenset(("conv", "conv_transpose"))

INPUT = "image"

RESERVED = frozenset((*dir(nn.Module()), "_module", "config", "folded", "fold", "input", "quantizer", "raw", "settled",
                      "values", "weight_of"))  # fmt: skip
"""Names that no layer has, since `QuantizedNetwork` has them."""


@dataclass(frozen=True)
class Layer:
    """One operation.  options: what its kind has, of plain values.  roles: of its tensors."""

    name: str
    op: str
    inputs: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    roles: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        options = {key: list(v) if isinstance(v, tuple) else v for key, v in self.options.items()}
        return {"name": self.name, "op": self.op, "inputs": list(self.inputs), "options": options,
                "roles": list(self.roles)}  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Layer:
        """The inverse of `to_dict`."""
        options = {key: tuple(v) if isinstance(v, list) else v for key, v in content["options"].items()}
        return cls(content["name"], content["op"], tuple(content["inputs"]), options, tuple(content["roles"]))


@dataclass(frozen=True)
class Network:
    """Layers in an order in which they can be computed, from a picture of `channels` to the value `output`."""

    layers: tuple[Layer, ...]
    output: str
    channels: int
    tensors: Mapping[str, Tensor]

    def __getitem__(self, name: str) -> Layer:
        return next(layer for layer in self.layers if layer.name == name)

    def tensor(self, layer: Layer, role: str) -> Tensor:
        """Learned numbers of a layer."""
        return self.tensors[f"{layer.name}.{role}"]

    def readers(self, name: str) -> list[Layer]:
        """Layers that read a value."""
        return [layer for layer in self.layers if name in layer.inputs]

    def with_layer(self, old: str, new: Iterable[Layer], tensors: Mapping[str, Tensor] | None = None) -> Network:
        """The network with other layers in the place of one; the last of them, if any, has its name or gets its
        readers.
        """
        made = tuple(new)
        layers: list[Layer] = []
        for layer in self.layers:
            layers += made if layer.name == old else (layer,)
        result = replace(self, layers=tuple(layers), tensors={**self.tensors, **(tensors or {})})
        return result if not made or made[-1].name == old else result.reading(old, made[-1].name)

    def reading(self, old: str, new: str) -> Network:
        """The network in which whoever read one value reads another."""

        def renamed(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(new if name == old else name for name in names)

        layers = tuple(replace(x, inputs=renamed(x.inputs)) if x.name != new else x for x in self.layers)
        return replace(self, layers=layers, output=new if self.output == old else self.output)

    def without(self, name: str) -> Network:
        """The network without a layer; its readers read what it read."""
        layer = self[name]
        kept = replace(self, layers=tuple(x for x in self.layers if x.name != name))
        return kept.reading(name, layer.inputs[0])

    def pruned(self) -> Network:
        """Only what the output needs."""
        wanted, kept = {self.output}, []
        for layer in reversed(self.layers):
            if layer.name in wanted:
                wanted.update(layer.inputs)
                kept.append(layer)
        layers = tuple(reversed(kept))
        names = {f"{layer.name}.{role}" for layer in layers for role in layer.roles}
        return replace(self, layers=layers, tensors={k: v for k, v in self.tensors.items() if k in names})

    @property
    def parameters(self) -> int:
        """Learned numbers in all."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    @property
    def multiple(self) -> int:
        """Sides of pictures must be multiples of this."""
        return multiple_of(self.layers)


def multiple_of(layers: Iterable[Layer]) -> int:
    """What sides of pictures must be multiples of, so that every map has a whole size."""
    sizes, most = {INPUT: Fraction(1)}, 1
    for layer in layers:
        size = min(sizes[name] for name in layer.inputs)
        if layer.op in ("conv", "max_pool", "avg_pool"):
            size /= layer.options["stride"]
        if layer.op in ("conv_transpose", "nearest", "bilinear", "pixel_shuffle"):
            size *= layer.options.get("factor", layer.options.get("stride", 1))
        if layer.op != "global_mean":
            sizes[layer.name] = size
        else:
            sizes[layer.name] = sizes[layer.inputs[0]]
        most = max(most, sizes[layer.name].denominator)
    return most


def unique(name: str, taken: Iterable[str]) -> str:
    """The name, with a number behind it if it is taken: by a layer, or by what every module has."""
    names, number = {INPUT, *RESERVED, *taken}, 2
    found = name
    while found in names:
        found, number = f"{name}_{number}", number + 1
    return found


def require_finite(network: Network) -> None:
    """Refuse weights that are no numbers."""
    for name, tensor in network.tensors.items():
        wrong = int((~tensor.isfinite()).sum())
        rule = f"{wrong} of {tensor.numel()} numbers are NaN or infinite"
        require(not wrong, name, rule, "training has diverged: take an earlier checkpoint")

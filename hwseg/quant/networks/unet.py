"""The U-Net that hwseg trains: two 3x3 convolutions per level, max-pool down, three ways up, skips.

Both branches of a concat pass through one quantizer, the same module, so they have one scale by construction and the
concat moves no data in hardware.  Layers are named as in the exported file: `enc0/conv0`, `bottom/conv1`, `up2`,
`dec2/conv0`, `head`; bits are given per layer by these names, with `*` as a wildcard.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hwseg.errors import HwsegError, require
from hwseg.pictures.table import Quantizer
from hwseg.quant.networks import layers
from hwseg.quant.networks.architecture import Quantized
from hwseg.quant.networks.layers import plain

UPSAMPLINGS = ("nearest", "bilinear", "transposed")
PRESETS = ("w8a8", "w4a4", "mixed")
Bits = int | Mapping[str, int]


@dataclass(frozen=True)
class UNetConfig:
    """What the network is: `depth` poolings, so `depth` + 1 levels, of `width`, 2 `width`, ... channels or `widths`.

    `weight_bits` and `activation_bits`: one number for all layers, or bits by layer name, where a later pattern wins
    and layers without a match have 8.  One number leaves the first and the last convolution at 8-bit weights.  An
    activation has the name of the convolution that it follows; the sum of a residual block is `<block>/add`.
    `input_bound`: 0 for inputs from 0 to 1; a power of two for signed ones, such as those less a mean over a deviation.
    """

    table: ClassVar[str] = "unet"

    depth: int = 3
    width: int = 8
    widths: tuple[int, ...] = ()
    in_channels: int = 1
    out_channels: int = 1
    upsampling: str = "nearest"
    weight_bits: Bits = 8
    activation_bits: Bits = 8
    scales: str = "power_of_two"
    per_channel: bool = False
    residual: bool = False
    batch_norm: bool = True
    input_bound: int = 0

    def __post_init__(self) -> None:
        _whole("depth", self.depth, 1, 8)
        object.__setattr__(self, "widths", tuple(self.widths) or _doubling(self.width, self.depth))
        require(
            len(self.widths) == self.depth + 1,
            "UNetConfig.widths",
            f"must have depth + 1 = {self.depth + 1} entries, not {len(self.widths)}",
        )
        for width in self.widths:
            _whole("widths", width, 1, 4096)
        object.__setattr__(self, "width", self.widths[0])
        _whole("in_channels", self.in_channels, 1, 64)
        _whole("out_channels", self.out_channels, 1, 256)
        bound = self.input_bound
        whole = isinstance(bound, int) and not isinstance(bound, bool) and 0 <= bound <= 1 << 20
        fits = whole and bound & (bound - 1) == 0
        require(fits, "UNetConfig.input_bound", f"must be 0 or a power of two, not {bound!r}")
        _one_of("upsampling", self.upsampling, UPSAMPLINGS)
        _one_of("scales", self.scales, layers.SCALES)
        for flag in ("per_channel", "residual", "batch_norm"):
            require(isinstance(getattr(self, flag), bool), f"UNetConfig.{flag}", "must be true or false")
        _check_bits("weight_bits", self.weight_bits, self.convolutions)
        _check_bits("activation_bits", self.activation_bits, self.activations)
        for name, partner in self.shared_activations.items():
            require(
                self.activation_bits_of(name) == self.activation_bits_of(partner),
                "UNetConfig.activation_bits",
                f"{name} and {partner} meet in a concat and must have the same bits, "
                f"not {self.activation_bits_of(name)} and {self.activation_bits_of(partner)}",
                "give both patterns the same number",
            )

    @property
    def blocks(self) -> tuple[str, ...]:
        """Pairs of 3x3 convolutions, in execution order."""
        down = [f"enc{i}" for i in range(self.depth)]
        return (*down, "bottom", *(f"dec{i}" for i in reversed(range(self.depth))))

    @property
    def convolutions(self) -> tuple[str, ...]:
        """Every layer with weights, in execution order."""
        names: list[str] = []
        for block in self.blocks:
            if block.startswith("dec") and self.upsampling == "transposed":
                names.append(f"up{block[3:]}")
            names += [f"{block}/conv0", f"{block}/conv1"]
        return (*names, "head")

    @property
    def activations(self) -> tuple[str, ...]:
        """Every activation with bits of its own, in execution order."""
        names: list[str] = []
        for name in self.convolutions[:-1]:
            if self.upsampling == "bilinear" and name.startswith("dec") and name.endswith("/conv0"):
                names.append(f"up{name.removeprefix('dec').removesuffix('/conv0')}")
            names.append(name)
            if self.residual and name.endswith("/conv1"):
                names.append(f"{name.removesuffix('/conv1')}/add")
        return tuple(names)

    @property
    def shared_activations(self) -> dict[str, str]:
        """What comes up at each level, and the skip whose quantizer it uses."""
        shared = {}
        for i in range(self.depth):
            below = "bottom" if i == self.depth - 1 else f"dec{i + 1}"
            up = self.output_of(below) if self.upsampling == "nearest" else f"up{i}"
            shared[up] = self.output_of(f"enc{i}")
        return shared

    def output_of(self, block: str) -> str:
        """The name of a block's last activation."""
        return f"{block}/add" if self.residual else f"{block}/conv1"

    def weight_bits_of(self, name: str) -> int:
        """Bits of one convolution's weights."""
        if isinstance(self.weight_bits, int) and name in (self.convolutions[0], self.convolutions[-1]):
            return 8
        return _bits_of(self.weight_bits, name)

    def activation_bits_of(self, name: str) -> int:
        """Bits of one activation."""
        return _bits_of(self.activation_bits, name)

    @property
    def multiple(self) -> int:
        """Height and width must be multiples of this."""
        return int(2**self.depth)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and checkpoints."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        if not self.input_bound:
            del values["input_bound"]  # so that files without it stay the same bytes
        return values

    def settings(self) -> dict[str, Any]:
        """All of it."""
        return self.to_dict()

    def metadata(self) -> dict[str, str]:
        """What an exported file says of it."""
        return {"hwseg.config": json.dumps(self.to_dict(), sort_keys=True)}

    @property
    def fewest(self) -> int:
        """Numbers that a network of it has at least: the weights of one 3x3 convolution on each level."""
        return sum(9 * width * width for width in self.widths)

    @property
    def input_quantizer(self) -> Quantizer:
        """The first quantizer."""
        return layers.pixel_quantizer(self.input_bound)

    def build(self) -> QuantUNet:
        """A network of it."""
        return QuantUNet(self)

    def at(self, name: str) -> UNetConfig:
        """The same network at the bits of a preset."""
        kept = {k: v for k, v in self.to_dict().items() if k not in ("weight_bits", "activation_bits", "per_channel")}
        return preset(name, **{**kept, "widths": tuple(kept["widths"])})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> UNetConfig:
        """The inverse of `to_dict`; unknown keys are refused."""
        known = {f.name for f in fields(cls)}
        for key in values:
            require(
                key in known,
                f"UNetConfig.{key}",
                "is no option of the U-Net",
                f"options are {', '.join(sorted(known))}",
            )
        widths = values.get("widths", ())
        require(isinstance(widths, (list, tuple)), "UNetConfig.widths", f"must be a list of numbers, not {widths!r}")
        return cls(**{**values, "widths": tuple(widths)})


def preset(name: str, **options: Any) -> UNetConfig:
    """A configuration by the name of its bits: "w8a8", "w4a4", or "mixed" (8 at full resolution, 4 below)."""
    _one_of("preset", name, PRESETS)
    if name == "w8a8":
        return UNetConfig(**options)
    if name == "w4a4":
        return UNetConfig(**{"weight_bits": 4, "activation_bits": 4, "per_channel": True, **options})
    shape = UNetConfig(**options)
    full_resolution = [n for n in shape.convolutions if n.startswith(("enc0/", "dec0/", "up0", "head"))]
    weights = {"*": 4, **dict.fromkeys(full_resolution, 8)}
    activations = {"*": 4, **{n: 8 for n in shape.activations if n.startswith(("enc0/", "dec0/", "up0"))}}
    activations.update({up: activations.get(skip, 4) for up, skip in shape.shared_activations.items()})
    return UNetConfig(**{"weight_bits": weights, "activation_bits": activations, "per_channel": True, **options})


class Block(nn.Module):
    """Two 3x3 convolutions, each with normalization and ReLU; `residual` adds the first's result to the second's."""

    def __init__(self, config: UNetConfig, name: str, in_channels: int, out_channels: int, output: nn.Module) -> None:
        super().__init__()
        self.conv0 = _conv(config, f"{name}/conv0", in_channels, out_channels)
        self.norm0 = _norm(config, out_channels)
        self.act0 = layers.relu(config.activation_bits_of(f"{name}/conv0"), config.scales)
        self.conv1 = _conv(config, f"{name}/conv1", out_channels, out_channels)
        self.norm1 = _norm(config, out_channels)
        bits = config.activation_bits_of(f"{name}/conv1")
        self.branch = layers.signed_identity(bits, config.scales) if config.residual else None
        self.output = output

    def forward(self, x: Any) -> Any:
        x = self.act0(self.norm0(plain(self.conv0(x))))
        y = self.norm1(plain(self.conv1(x)))
        if self.branch is not None:
            y = plain(self.branch(y)) + plain(x)
        return self.output(y)


class Up(nn.Module):
    """2x2 transposed convolution with normalization and ReLU."""

    def __init__(self, config: UNetConfig, name: str, in_channels: int, out_channels: int, output: nn.Module) -> None:
        super().__init__()
        self.conv = layers.up_conv(
            in_channels, out_channels, config.weight_bits_of(name), config.scales, config.per_channel
        )
        self.norm = _norm(config, out_channels)
        self.output = output

    def forward(self, x: Any) -> Any:
        return self.output(self.norm(plain(self.conv(x))))


class Interpolation(nn.Module):
    """Bilinear enlarging by 2; its result is rounded by the skip's quantizer, since pixels become sixteenths."""

    def __init__(self, output: nn.Module) -> None:
        super().__init__()
        self.resize = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.output = output

    def forward(self, x: Any) -> Any:
        return self.output(self.resize(plain(x)))


class Concat(nn.Module):
    """Channels of the skip, then of what came up; a module only so that the exported node has a name."""

    def forward(self, skip: Any, up: Any) -> Any:
        return torch.cat([skip, up], dim=1)


class QuantUNet(Quantized):
    """The network of `config`."""

    config: UNetConfig

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths, depth = config.widths, config.depth
        self.input = layers.pixel_input(config.input_bound)
        skips = [self._relu(config.output_of(f"enc{i}")) for i in range(depth)]
        nearest, transposed = (config.upsampling == name for name in ("nearest", "transposed"))
        for i in range(depth):
            channels = widths[i - 1] if i else config.in_channels
            self.add_module(f"enc{i}", Block(config, f"enc{i}", channels, widths[i], skips[i]))
            self.add_module(f"pool{i}", nn.MaxPool2d(2))
        bottom = skips[-1] if nearest else self._relu(config.output_of("bottom"))
        self.bottom = Block(config, "bottom", widths[-2], widths[-1], bottom)
        for i in reversed(range(depth)):
            if transposed:
                self.add_module(f"up{i}", Up(config, f"up{i}", widths[i + 1], widths[i], skips[i]))
            elif not nearest:
                self.add_module(f"up{i}", Interpolation(skips[i]))
            else:
                self.add_module(f"up{i}", nn.Upsample(scale_factor=2, mode="nearest"))
            self.add_module(f"skip{i}", Concat())
            output = skips[i - 1] if i and nearest else self._relu(config.output_of(f"dec{i}"))
            channels = widths[i] + (widths[i] if transposed else widths[i + 1])
            self.add_module(f"dec{i}", Block(config, f"dec{i}", channels, widths[i], output))
        self.head = _conv(config, "head", widths[0], config.out_channels, kernel=1)

    def _relu(self, name: str) -> nn.Module:
        return layers.relu(self.config.activation_bits_of(name), self.config.scales)

    def forward(self, x: Tensor) -> Tensor:
        y: Any = self.input(x)
        skips = []
        for i in range(self.config.depth):
            y = self.get_submodule(f"enc{i}")(y)
            skips.append(y)
            y = self.get_submodule(f"pool{i}")(y)
        y = self.bottom(y)
        for i in reversed(range(self.config.depth)):
            y = self.get_submodule(f"up{i}")(y)
            y = self.get_submodule(f"skip{i}")(skips[i], y)
            y = self.get_submodule(f"dec{i}")(y)
        return plain(self.head(y))

    def fold(self) -> None:
        fold_batch_norm(self)

    def weight_of(self, convolution: str) -> Tensor:
        name = convolution.replace("/", ".") + (".conv" if convolution.startswith("up") else "")
        weight: Tensor = self.get_submodule(name).weight  # type: ignore[assignment]
        return weight


def fold_batch_norm(model: QuantUNet) -> QuantUNet:
    """Merge every batch normalization into the convolution before it, in place; the float network is unchanged.

    The quantized one is not: weight scales follow the new weights.  So fine-tune afterwards.
    """
    for module in model.modules():
        pairs = [("conv0", "norm0"), ("conv1", "norm1")] if isinstance(module, Block) else []
        pairs = [("conv", "norm")] if isinstance(module, Up) else pairs
        for layer, norm in pairs:
            found = getattr(module, norm)
            if isinstance(found, nn.BatchNorm2d):
                layers.merge_batch_norm(getattr(module, layer), found)
                setattr(module, norm, nn.Identity())
    return model


def _conv(config: UNetConfig, name: str, in_channels: int, out_channels: int, kernel: int = 3) -> nn.Module:
    bits = config.weight_bits_of(name)
    return layers.conv(in_channels, out_channels, kernel, bits, config.scales, config.per_channel)


def _norm(config: UNetConfig, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if config.batch_norm else nn.Identity()


def _doubling(width: Any, depth: int) -> tuple[int, ...]:
    _whole("width", width, 1, 1024)
    return tuple(width * 2**i for i in range(depth + 1))


def _whole(option: str, value: Any, low: int, high: int) -> None:
    valid = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    require(valid, f"UNetConfig.{option}", f"must be a whole number from {low} to {high}, not {value!r}")


def _one_of(option: str, value: Any, choices: tuple[str, ...]) -> None:
    require(value in choices, f"UNetConfig.{option}", f"must be {' or '.join(choices)}, not {value!r}")


def _check_bits(option: str, bits: Any, names: tuple[str, ...]) -> None:
    if not isinstance(bits, Mapping):
        _whole(option, bits, 2, 8)
        return
    for pattern, value in bits.items():
        _whole(option, value, 2, 8)
        if not any(fnmatchcase(name, pattern) for name in names):
            raise HwsegError(f"UNetConfig.{option}", f"{pattern!r} matches no layer", f"layers are {', '.join(names)}")


def _bits_of(bits: Bits, name: str) -> int:
    if isinstance(bits, int):
        return bits
    found = [value for pattern, value in bits.items() if fnmatchcase(name, pattern)]
    return found[-1] if found else 8

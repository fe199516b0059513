"""Small random quantized U-Nets, exported to QONNX: what the tests of every rung are made of.

    path = random_unet(seed, folder)                          # everything drawn from the seed
    path = random_unet(seed, folder, scales="float", depth=1)  # some of it chosen
    graph = load(path);  q = random_image(graph, seed)

`build(draw(seed))` is the Brevitas model itself, in evaluation mode, its quantizers calibrated on random pixels.
"""

from __future__ import annotations

import random
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hwseg.ir import Graph

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import brevitas.nn as qnn
    import torch
    from brevitas.export import export_qonnx
    from brevitas.nn.utils import merge_bn
    from brevitas.quant import (
        Int8ActPerTensorFixedPoint,
        Int8ActPerTensorFloat,
        Int8WeightPerChannelFloat,
        Int8WeightPerTensorFixedPoint,
        Int8WeightPerTensorFloat,
        Int32Bias,
        Uint8ActPerTensorFixedPoint,
        Uint8ActPerTensorFloat,
    )
from torch import Tensor, nn


class PowerOfTwoPerChannel(Int8WeightPerTensorFixedPoint):
    """A power-of-two weight scale for each output channel."""

    scaling_per_output_channel = True


@dataclass(frozen=True)
class Recipe:
    """What a network is made of."""

    seed: int = 0
    height: int = 12
    width: int = 20
    channels: int = 1
    depth: int = 1
    widths: tuple[int, ...] = (5, 7)
    upsampling: str = "nearest"  # or "transposed", "bilinear"
    down: str = "pool"  # or "stride"
    scales: str = "power"  # or "power_channel", "float", "float_channel"
    norm: str = "merged"  # or "none", "kept" (with negative factors)
    bias: str = "int32"  # or "none", "float"
    bits: tuple[int, ...] = (8,)
    """Drawn from for every layer's weights and activations."""
    signed: bool = False
    """Some activations are signed (no ReLU)."""
    residual: bool = False
    join: str = "shared"  # or "after": one Quant behind the Concat
    input_quant: bool = True
    head: str = "raw"  # or "quantized"
    final: str = "none"  # or "sigmoid", "softmax", "argmax"
    classes: int = 1

    @property
    def exact(self) -> bool:
        """Are all executors equal to the last bit?"""
        return self.scales.startswith("power") and self.norm != "kept" and self.bias != "float"


def draw(seed: int, **choices: Any) -> Recipe:
    """A random recipe with exact arithmetic; `choices` overrule."""
    rng = random.Random(seed)
    depth = choices.get("depth", rng.choice((1, 1, 2)))
    factor = 1 << depth
    classes = rng.choice((1, 1, 2, 3))
    recipe = Recipe(
        seed=seed,
        height=factor * rng.randint(2, 20 // factor),
        width=factor * rng.randint(2, 24 // factor),
        channels=rng.choice((1, 1, 2, 3)),
        depth=depth,
        widths=tuple(rng.randint(1 + level, 6 + 4 * level) for level in range(depth + 1)),
        upsampling=rng.choice(("nearest", "transposed")),
        down=rng.choice(("pool", "pool", "stride")),
        scales=rng.choice(("power", "power_channel")),
        norm=rng.choice(("none", "merged")),
        bias=rng.choice(("none", "int32")),
        bits=rng.choice(((8,), (4, 8), (2, 3, 4, 5, 6, 7, 8))),
        signed=rng.random() < 0.4,
        residual=rng.random() < 0.4,
        join=rng.choice(("shared", "after")),
        input_quant=rng.random() < 0.8,
        head=rng.choice(("raw", "raw", "quantized")),
        final=rng.choice(("none", "sigmoid") if classes == 1 else ("none", "softmax", "argmax")),
        classes=classes,
    )
    return replace(recipe, **choices)


def random_unet(seed: int, folder: Path, **choices: Any) -> Path:
    """The QONNX file of a random network."""
    path = Path(folder) / f"unet{seed}.onnx"
    path.write_bytes(exported(draw(seed, **choices)))
    return path


@cache
def exported(recipe: Recipe) -> bytes:
    """Its file, which takes Brevitas seconds to write and many tests begin with."""
    with tempfile.TemporaryDirectory() as folder:
        return export(build(recipe), recipe, Path(folder) / "unet.onnx").read_bytes()


@contextmanager
def one_thread() -> Iterator[None]:
    """Small networks are faster so, above all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def export(model: nn.Module, recipe: Recipe, path: Path) -> Path:
    """QONNX as Brevitas writes it."""
    x = torch.zeros(1, recipe.channels, recipe.height, recipe.width)
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export_qonnx(model, args=x, export_path=str(path), dynamo=False)
    return path


def random_image(graph: Graph, seed: int = 0) -> np.ndarray:
    """Integers [H, W, C] over the input's whole range, corners included."""
    kind = graph.types[graph.input]
    q = np.random.default_rng(seed).integers(kind.low, kind.high + 1, kind.shape)
    q[0, 0], q[-1, -1] = kind.low, kind.high
    return q


def floats(graph: Graph, q: np.ndarray) -> np.ndarray:
    """The float32 tensor [1, C, H, W] that the model takes for the integers `q`."""
    scale = float(graph.types[graph.input].scale[0])
    return np.ascontiguousarray((q * scale).transpose(2, 0, 1)[None], np.float32)


def build(recipe: Recipe) -> nn.Module:
    """The Brevitas model, calibrated, in evaluation mode."""
    with one_thread(), torch.random.fork_rng(), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.manual_seed(recipe.seed)
        model = UNet(recipe)
        for name, weight in model.named_parameters():
            if weight.ndim == 4:
                weight.mul_(2.5)  # keeps the signal's power through many layers
            elif name.endswith("bias"):
                weight.uniform_(-0.3, 0.3)
        model.train()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        for _ in range(2):
            model(torch.randint(0, 256, (2, recipe.channels, recipe.height, recipe.width)) / 256)
        return model.eval()


class Parts:
    """Makes layers, each with bits of its own."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.rng = random.Random(recipe.seed + 1)
        self.fewest = 2

    def bits(self) -> int:
        return max(self.fewest, self.rng.choice(self.recipe.bits))

    def weights(self) -> dict[str, Any]:
        kinds = {
            "power": Int8WeightPerTensorFixedPoint,
            "power_channel": PowerOfTwoPerChannel,
            "float": Int8WeightPerTensorFloat,
            "float_channel": Int8WeightPerChannelFloat,
        }
        bias = Int32Bias if self.recipe.bias == "int32" else None
        quantizers = {"weight_quant": kinds[self.recipe.scales], "bias_quant": bias, "weight_bit_width": self.bits()}
        return {**quantizers, "bias": self.recipe.bias != "none"}

    def signed(self) -> qnn.QuantIdentity:
        quant = Int8ActPerTensorFixedPoint if self.recipe.scales.startswith("power") else Int8ActPerTensorFloat
        return qnn.QuantIdentity(act_quant=quant, bit_width=self.bits(), return_quant_tensor=True)

    def unsigned(self) -> qnn.QuantReLU:
        quant = Uint8ActPerTensorFixedPoint if self.recipe.scales.startswith("power") else Uint8ActPerTensorFloat
        return qnn.QuantReLU(act_quant=quant, bit_width=self.bits(), return_quant_tensor=True)

    def activation(self) -> nn.Module:
        return self.signed() if self.recipe.signed and self.rng.random() < 0.5 else self.unsigned()

    def normalization(self, conv: nn.Module, channels: int, output_dim: int = 0) -> nn.Module:
        if self.recipe.norm == "none":
            return nn.Identity()
        norm = nn.BatchNorm2d(channels).eval()
        norm.running_mean.uniform_(-0.2, 0.2)
        norm.running_var.uniform_(0.5, 2)
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.uniform_(-0.2, 0.2)
        if self.recipe.norm == "kept":
            norm.weight[::3] *= -1
            return norm
        merge_bn(conv, norm, output_channel_dim=output_dim)
        if self.recipe.bias == "none":
            conv.bias = None
        return nn.Identity()

    def conv(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
        conv = qnn.QuantConv2d(inputs, outputs, kernel, padding=kernel // 2, stride=stride, **self.weights())
        return nn.Sequential(conv, self.normalization(conv, outputs))

    def transposed(self, inputs: int, outputs: int) -> nn.Sequential:
        conv = qnn.QuantConvTranspose2d(inputs, outputs, 2, stride=2, **self.weights())
        return nn.Sequential(conv, self.normalization(conv, outputs, 1))


class Block(nn.Module):
    """A 3x3 and a 3x3 or 1x1 convolution; if residual, with an addition around them."""

    def __init__(self, parts: Parts, inputs: int, outputs: int) -> None:
        super().__init__()
        kernel = parts.rng.choice((3, 3, 1))
        self.first, self.middle = parts.conv(inputs, outputs), parts.activation()
        self.second, self.last = parts.conv(outputs, outputs, kernel), parts.activation()
        self.residual = parts.recipe.residual
        if self.residual:
            same = inputs == outputs
            self.around = nn.Identity() if same else nn.Sequential(parts.conv(inputs, outputs, 1), parts.signed())
            self.branch = parts.signed()

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.middle(self.first(x)))
        if self.residual:
            y = plain(self.branch(y)) + plain(self.around(x))
        return self.last(y)


class Interpolation(nn.Module):
    """Bilinear enlarging; the join's quantizer rounds it."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.interpolate(plain(x), scale_factor=2, mode="bilinear", align_corners=False)


class Join(nn.Module):
    """Concat under one quantizer: on both branches, or behind it."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.quant = parts.signed() if parts.recipe.signed else parts.unsigned()
        self.after = parts.recipe.join == "after"

    def forward(self, *branches: Tensor) -> Tensor:
        if self.after:
            return self.quant(torch.cat([plain(x) for x in branches], 1))
        return torch.cat([self.quant(x) for x in branches], 1)


class UNet(nn.Module):
    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        parts = Parts(recipe)
        self.recipe = recipe
        widths = recipe.widths
        fixed = {"scaling_impl_type": "const", "scaling_init": 1.0, "return_quant_tensor": True}
        needed = recipe.input_quant or recipe.bias == "int32"
        self.input = qnn.QuantIdentity(act_quant=Uint8ActPerTensorFixedPoint, **fixed) if needed else nn.Identity()
        self.stem = Block(parts, recipe.channels, widths[0])
        self.downs, self.levels = nn.ModuleList(), nn.ModuleList()
        self.ups, self.joins, self.merges = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for below, above in zip(widths[1:], widths, strict=False):
            self.downs.append(self._down(parts, above))
            self.levels.append(Block(parts, above, below))
            self.ups.append(self._up(parts, below, above))
            up = above if recipe.upsampling == "transposed" else below
            self.joins.append(Join(parts))
            self.merges.append(Block(parts, above + up, above))
        parts.fewest = 4  # with fewer bits a head often gives one class everywhere
        self.head = parts.conv(widths[0], recipe.classes, 1)
        self.output = parts.signed() if recipe.head == "quantized" else nn.Identity()

    def _down(self, parts: Parts, channels: int) -> nn.Module:
        if parts.recipe.down == "stride":
            return nn.Sequential(parts.conv(channels, channels, 3, 2), parts.activation())
        return nn.MaxPool2d(2)

    def _up(self, parts: Parts, inputs: int, outputs: int) -> nn.Module:
        if parts.recipe.upsampling == "transposed":
            return nn.Sequential(parts.transposed(inputs, outputs), parts.activation())
        if parts.recipe.upsampling == "bilinear":
            return Interpolation()
        return nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(self.input(x))
        skips = []
        for down, level in zip(self.downs, self.levels, strict=True):
            skips.append(x)
            x = level(down(x))
        for level in reversed(range(self.recipe.depth)):
            x = self.merges[level](self.joins[level](skips[level], self.ups[level](x)))
        x = plain(self.output(self.head(x)))
        if self.recipe.final == "argmax":
            return torch.argmax(x, 1, keepdim=True)
        last = {"none": nn.Identity(), "sigmoid": nn.Sigmoid(), "softmax": nn.Softmax(1)}
        return last[self.recipe.final](x)


def plain(x: Any) -> Tensor:
    """The value of a Brevitas tensor."""
    return x.value if hasattr(x, "value") else x

"""Small model files for the command: quick to load, and with masks that depend on more than one tile's pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.quant.handmade import Net


def small(path: Path, channels: int = 1, classes: int = 1, size: tuple[int, int] = (24, 24), **metadata: str) -> Path:
    """A network of depth 1: it looks 6 pixels far, so 16 in multiples of 2; metadata: hwseg.* with "." as "__"."""
    net = Net((1, channels, *size))
    x = net.image()
    skip = _block(net, x, channels, 3, "one")
    down = net.node("MaxPool", skip, kernel_shape=[2, 2], strides=[2, 2], name="pool")
    deep = _block(net, down, 3, 4, "two")
    scales = net.const("up.scales", [1, 1, 2, 2])
    up = net.node("Resize", deep, net.const("up.roi", []), scales, name="up", mode="nearest", nearest_mode="floor",
                  coordinate_transformation_mode="asymmetric")  # fmt: skip
    joined = net.node("Concat", skip, up, axis=1, name="join")
    bias = net.const("head.bias", np.linspace(-0.4, 0.1, classes))
    out = net.conv(joined, 7, classes, 1, "head", bias)
    model = net.model(out)
    onnx.helper.set_model_props(model, {key.replace("__", "."): value for key, value in metadata.items()})
    path.write_bytes(model.SerializeToString())
    return path


def _block(net: Net, x: str, ins: int, outs: int, name: str) -> str:
    return net.quant(net.node("Relu", net.conv(x, ins, outs, 3, name)), scale=2**-6, signed=0, name=f"{name}.act")


def blobs(size: tuple[int, int], seed: int = 0, dtype: Any = np.uint8, channels: int = 0) -> np.ndarray:
    """Bright discs on noise, over the type's whole range."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    light = rng.normal(0.15, 0.05, size)
    for row, column in rng.uniform(0, 1, (max(3, size[0] * size[1] // 800), 2)) * size:
        light += 0.6 * ((rows - row) ** 2 + (columns - column) ** 2 < 36)
    pixels = (np.clip(light, 0, 1) * np.iinfo(dtype).max).astype(dtype)
    return np.stack([pixels] * channels, axis=2) if channels else pixels

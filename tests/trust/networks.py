"""Networks that segment by brightness, made node by node, and pictures for them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from PIL import Image

from tests.quant.handmade import Net

SIDE = 32


def by_brightness(
    folder: Path, channels: int = 1, name: str = "bright", gain: float = 16.0, scaled: bool = False
) -> Path:
    """Logits of the mean brightness m of 3x3 pixels: gain * (m - 0.4) of one class; of several, class c is brighter
    than c - 1, each channel with a scale of its own.  scaled: for pictures that are scaled to its size.
    """
    net = Net((1, 1, SIDE, SIDE))
    slopes = np.array([gain] if channels == 1 else [gain * 2 * c for c in range(channels)])
    cuts = np.cumsum([0] + [0.25 + 0.25 * c for c in range(channels - 1)])
    offsets = [-0.4 * gain] if channels == 1 else [-2 * gain * cut for cut in cuts]
    weight = net.const("weight", np.repeat(slopes / 9, 9).reshape(channels, 1, 3, 3))
    scale = np.maximum(slopes, 1).reshape(-1, 1, 1, 1) / 512
    quantized = net.quant(weight, scale if channels > 1 else float(scale.item()), 8, name="weight.quant", narrow=1)
    out = net.conv(net.image(), 1, channels, weights=quantized, bias=net.const("bias", offsets), name="head")
    model = net.model(out)
    meaning = {"format": 1, "values": "range 0 256", "bits": 8} | ({"fit": "resize"} if scaled else {})
    model.metadata_props.add(key="hwseg.input", value=json.dumps(meaning))
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path


def pictures(root: Path, count: int = 12, classes: int = 2) -> Path:
    """Noisy discs in images/ and masks/, some drawn a little wrong, with a split.json: 6 train, then val, test, far."""
    random = np.random.default_rng(1)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        y, x = random.integers(8, SIDE - 8, 2)
        distance = (rows - y) ** 2 + (columns - x) ** 2
        mask = np.sum([distance <= (7 - 3 * c) ** 2 for c in range(classes - 1)], axis=0)
        light = 50 + 140 * mask / (classes - 1) + random.normal(0, 30 + 4 * number, (SIDE, SIDE))
        drawn = mask if classes > 2 else mask * 255
        Image.fromarray(np.clip(light, 0, 255).astype(np.uint8)).save(root / "images" / f"p{number}.png")
        Image.fromarray(drawn.astype(np.uint8)).save(root / "masks" / f"p{number}.png")
    names = [f"p{number}.png" for number in range(count)]
    parts = {"train": names[:3], "val": names[3:6], "test": names[6:9], "far": names[9:]}
    (root / "split.json").write_text(json.dumps(parts))
    return root

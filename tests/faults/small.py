"""The smallest of everything: a model of one convolution, a build of it, a picture, and hwseg in another process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from hwseg.builds.build import compile_model
from tests.quant.handmade import Net

ARRAY = "8x1x1"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def model(path: Path, name: str = "conv", side: int = 16) -> Path:
    """A 3x3 convolution from one channel to one, then a sigmoid."""
    net = Net((1, 1, side, side))
    hidden = net.quant(net.node("Relu", net.conv(net.image(), 1, 8, name=name)), 2**-4, 4, signed=0)
    return net.save(path, net.node("Sigmoid", net.conv(hidden, 8, 1, 1, name=f"{name}/head")))


def picture(path: Path, side: int = 16, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def build(folder: Path, name: str = "conv") -> Path:
    """`folder/build`, compiled; the model and `picture.png` beside it."""
    picture(folder / "picture.png")
    return compile_model(model(folder / "model.onnx", name), array=ARRAY, out=folder / "build").path


def hwseg(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, with more environment variables; an empty one is removed."""
    return subprocess.run(
        [sys.executable, "-m", "hwseg", *map(str, words)],
        capture_output=True,
        text=True,
        errors="replace",
        env=environment(variables),
        check=False,
        timeout=900,
    )


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    chosen = {**ENVIRONMENT, **variables}
    return {key: value for key, value in chosen.items() if value}

"""A small build for tests of netlists, what the command finds of it, and cells in Yosys's JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from hwseg.builds.build import compile_model
from hwseg.commands.simulate import command
from hwseg.quant.read.load import load
from hwseg.toolchain import yosys
from tests.quant.models import random_image, random_unet

needs_yosys = pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")

SEED = 0
"""Of the network: eight layers on a picture of 4 x 12, with pooling, transposed convolution and a skip connection."""


def cell(kind, parameters=None, **pins):
    """A cell in Yosys's JSON."""
    return {
        "type": kind,
        "parameters": parameters or {},
        "connections": {pin: [bit] if isinstance(bit, int | str) else list(bit) for pin, bit in pins.items()},
    }


def small_build(folder):
    """A build for 8x2x2, and a picture as .npy."""
    path = compile_model(random_unet(SEED, folder), array="8x2x2", out=folder / "build").path
    np.save(folder / "picture.npy", random_image(load(path / "model.onnx"), SEED).astype(np.uint8))
    return path, folder / "picture.npy"


def simulated(path, picture, folder):
    """`hwseg simulate --netlist`: its result and what --json wrote."""
    results = folder / "results.json"
    options = ["--image", str(picture), "--netlist", "--json", str(results)]
    found = CliRunner().invoke(command, [str(path), *options], standalone_mode=False)
    assert found.exception is None, found.output
    return found, json.loads(results.read_text())

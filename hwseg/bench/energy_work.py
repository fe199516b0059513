"""The work of the energy benchmark: shipped networks on the demo's picture, as programs with all of their maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwseg import golden, models
from hwseg.bench.energy_cores import Sample, samples
from hwseg.bench.energy_unet import SIZE
from hwseg.boards import load_board
from hwseg.compile.program import Program, compile_graph
from hwseg.ir import Graph
from hwseg.pictures.raster import raster
from hwseg.pictures.source import integers, read_input
from hwseg.quant.read.load import load
from hwseg.rtl.config import parse_array

NETWORKS = ("nuclei-w8a8", "nuclei-mixed")
ARRAY, BOARD = "16x8x8-dsp", "zynq7020"
CORNER = (176, 352)
"""Row and column of the demo's picture where the U-Net's picture begins."""

SAMPLES = {"nuclei-w8a8": 2, "nuclei-mixed": 1}
"""Samples of each layer for the calibration."""


@dataclass(frozen=True)
class Case:
    """A network compiled for an array, and the integers of every map on one picture."""

    name: str
    program: Program
    tensors: Mapping[str, np.ndarray]


def case(name: str, array: str = ARRAY, image: Path | None = None) -> Case:
    """A shipped network on a picture, by default the demo's."""
    graph = load(models.path(name))
    tensors = dict(golden.run(graph, picture(graph, image)).tensors)
    return Case(name, compile_graph(graph, parse_array(array), load_board(BOARD)), tensors)


def paper_case(bits: int = 8, array: str = ARRAY, size: int = SIZE) -> Case:
    """The U-Net of the ICECS 2025 paper's work on the demo's picture; weights and activations of 8 or 4 bits.

    size: pixels of a side.  The paper's work fits 160, whose deeper maps fill words of 8 pixels badly; 256 fills them.
    """
    from hwseg import demo
    from hwseg.bench.energy_unet import unet

    row, column = (min(corner, side - size) for corner, side in zip(CORNER, demo.nuclei().pixels.shape, strict=False))
    pixels = demo.nuclei().crop(row, column, size, size).pixels
    pixels = pixels.reshape(size, size, -1)[:, :, :1]
    graph = unet(pixels, bits)
    tensors = dict(golden.run(graph, pixels).tensors)
    return Case(graph.name, compile_graph(graph, parse_array(array), load_board(BOARD)), tensors)


def picture(graph: Graph, image: Path | None) -> np.ndarray:
    """Integers [H, W, C] of the picture, or of the demo's."""
    if image is not None:
        return read_input(image, graph, "crop")
    from hwseg import demo

    return integers(raster(demo.nuclei().crop(*demo.CROP).pixels, "demo"), graph, "crop")


def calibration_samples(image: Path | None = None) -> list[Sample]:
    """Of every layer of the shipped networks whose inputs are unsigned."""
    found = []
    for name in NETWORKS:
        one = case(name, image=image)
        for plan in one.program.plans:
            found += list(samples(plan, one.tensors, one.program.config, SAMPLES[name]))
    return found

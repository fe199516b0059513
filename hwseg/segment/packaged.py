"""A package's accelerator computes tiles: on the board that this runs on, or simulated with the packaged top level."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.pictures.tiles import Size
from hwseg.runtime.accelerator import Accelerator
from hwseg.runtime.model import Model
from hwseg.runtime.package import MODEL, read_package
from hwseg.runtime.run import judge_of
from hwseg.segment.network import Network

BOARD, SIMULATION = "board", "simulation"
ALONE = "segment pictures of the model's own size, one at a time, with accelerator.segment"


@dataclass(frozen=True)
class Packaged:
    """One model of an open accelerator; while a tile is computed, the next is prepared and packed."""

    accelerator: Accelerator
    model: str
    network: Network
    on: str
    many: bool = False

    def tile(self, picture: Size) -> Size:
        return self.network.size

    def classes(self, integers: np.ndarray) -> np.ndarray:
        return next(self.each((integers,)))

    def each(self, inputs: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        return (self.network.result(found.sums, found.mask) for found in self.accelerator.stream(inputs, self.model))

    def close(self) -> None:
        self.accelerator.close()


def open_package(folder: Path, on: str, model: str = "", trust: bool = False) -> Packaged:
    """The accelerator of a package with one of its models, by default the first; HwsegError where there is no board."""
    cure = f"use --on {BOARD} or --on {SIMULATION}, or give the build that the package was made of"
    require(on in (BOARD, SIMULATION), f"--on {on}", f"needs a model or a build, {folder} is a package", cure)
    found = read_package(folder)
    network = network_of(found.model(model or found.models[0]), trust)
    return Packaged(Accelerator.open(folder, on), network.name, network, on)


def network_of(model: Model, trust: bool = False) -> Network:
    """What a model of a package wants of pictures; with `trust` HwsegError where nothing was fitted to it."""
    scaled = model.pixels.meaning.fit == "resize"
    if not scaled and isinstance(model.tiles, str):
        raise HwsegError(model.name, f"cannot be cut into tiles: {model.tiles}", ALONE)
    reach = None if scaled or isinstance(model.tiles, str) else model.tiles
    digest = model.files.digests[f"{model.folder}/{MODEL}"]
    judge = judge_of(model) if trust else None
    return Network(model.name, model.input.shape, model.pixels, reach, digest, judge=judge)

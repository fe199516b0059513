"""What computes a tile.  All of them give the same classes: golden model, machine, simulated engine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from hwseg import golden
from hwseg.compile.program import Program
from hwseg.errors import require
from hwseg.files import MANIFEST, sha256
from hwseg.ir import Graph
from hwseg.pictures.packed import PixelInput
from hwseg.pictures.source import choice_of, chosen, labels_of, quantizer
from hwseg.pictures.tiles import Reach, Size, balanced
from hwseg.reach import reach, reshaped

TARGETS = ("golden", "machine", "simulation")
TILE = (1024, 1024)
"""Of the golden model, at most: larger ones compute less twice, and take 0.2 GB for each."""


@dataclass(frozen=True)
class Network:
    """What a picture must be brought to.  shape: of the network's own input [H, W, C].  digest: of what computes.

    reach: of a pixel; None where pictures are scaled to the network's size and never tiled.  said: one sentence on what
    pixels are taken for, where the model's file does not say.
    """

    name: str
    shape: tuple[int, int, int]
    pixels: PixelInput
    reach: Reach | None
    digest: str
    said: str = ""

    @property
    def size(self) -> Size:
        return self.shape[:2]


class Engine(Protocol):
    """Computes tiles.  many: how many may be computed at once, in other processes."""

    @property
    def network(self) -> Network: ...

    @property
    def on(self) -> str: ...

    @property
    def many(self) -> bool: ...

    def tile(self, picture: Size) -> Size:
        """Size of its tiles for a picture."""

    def classes(self, integers: np.ndarray) -> np.ndarray:
        """uint8 [H, W] of a tile's input [H, W, C]."""

    def close(self) -> None:
        """Give back what is held."""


@dataclass(frozen=True)
class Golden:
    """The golden model, for tiles of any size."""

    graph: Graph
    network: Network
    most: Size | None = None
    on: str = "golden"
    many: bool = True

    def tile(self, picture: Size) -> Size:
        if self.network.reach is None:
            return self.network.size
        if self.most is not None:
            return self.most
        return balanced(picture, self.network.size, TILE, self.network.reach)

    def classes(self, integers: np.ndarray) -> np.ndarray:
        size = integers.shape[0], integers.shape[1]
        return golden.run(reshaped(self.graph, size), integers, taps=()).mask

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True)
class Compiled:
    """A program for tiles of the network's own size, executed instruction by instruction in NumPy."""

    program: Program
    network: Network
    on: str = "machine"
    many: bool = True

    def tile(self, picture: Size) -> Size:
        return self.network.size

    def classes(self, integers: np.ndarray) -> np.ndarray:
        from hwseg.machine.execute import checked

        return checked(self.program, integers)

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True)
class Simulated(Compiled):
    """The Verilog of a build; every map is compared with the golden model's."""

    folder: Path = Path()
    on: str = "simulation"
    many: bool = False

    def classes(self, integers: np.ndarray) -> np.ndarray:
        from hwseg.sim.simulate import simulate_program

        found = simulate_program(self.folder, self.program, integers)
        rule = (
            f"a tile on the simulated engine differs from the golden model: {found.first_mismatch or 'it did not end'}"
        )
        require(found.passed, str(self.folder), rule, "run hwseg simulate on it, and report what it finds")
        return np.asarray(found.mask)


def open_engine(source: Path, on: str = "", meaning: str = "", tile: Size | None = None) -> Engine:
    """What computes, from a model file or a build.

    on: one of `TARGETS`; by default the golden model.  meaning: as of --input.  tile: of the golden model, else chosen.
    """
    place, rule = str(source), "must be a model or a build, but there is none"
    require(os.path.exists(source), place, rule, "check the path")
    rule = "is a package, whose accelerator takes pictures of its model's own size alone"
    packed = (source / "package.json").is_file()
    require(not packed, place, rule, "give hwseg segment the build that the package was made of")
    build, on = source.is_dir(), on or "golden"
    rule = f"needs a build, {source} is a model file"
    require(on == "golden" or build, f"--on {on}", rule, "make one with hwseg compile")
    require(
        tile is None or on == "golden", "--tile", f"goes with --on golden alone, not with {on}", "compile another size"
    )
    if on == "golden":
        graph, digest = _graph(source, meaning)
        return Golden(graph, network_of(graph, digest), tile)
    from hwseg.builds.read import load_build

    _, program, _ = load_build(source)
    program_graph = program.graph
    if meaning:
        program_graph = chosen(program_graph, meaning)
    network = network_of(program_graph, sha256(source / MANIFEST))
    return Compiled(program, network) if on == "machine" else Simulated(program, network, folder=source)


def _graph(source: Path, meaning: str) -> tuple[Graph, str]:
    """The integer graph of a file or a build; of a build, with the planes that it was compiled with."""
    if not source.is_dir():
        from hwseg.quant.read.load import load

        return chosen(load(source), meaning), sha256(source)
    from hwseg.builds.read import load_graph, read_report
    from hwseg.compile.lower.dial import turned

    planes = int(read_report(source).get("planes", 8))
    return chosen(turned(load_graph(source), planes), meaning), sha256(source / MANIFEST)


def network_of(graph: Graph, digest: str) -> Network:
    """What a graph wants of pictures."""
    kind, choice = graph.types[graph.input], choice_of(graph)
    pixels = PixelInput(choice.meaning, quantizer(kind), labels_of(graph))
    looks = None if choice.meaning.fit == "resize" else reach(graph)
    said = choice.sentence(graph.name) if choice.origin == "assumed" else ""
    return Network(graph.name, kind.shape, pixels, looks, digest, said)

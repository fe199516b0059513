"""What computes a tile, from a model, a build or a package.  All of them give the same classes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hwseg import golden
from hwseg.errors import require
from hwseg.files import MANIFEST, sha256
from hwseg.ir import Graph
from hwseg.pictures.packed import PixelInput
from hwseg.pictures.source import choice_of, chosen, labels_of, quantizer
from hwseg.pictures.tiles import Size, balanced
from hwseg.reach import reach, reshaped
from hwseg.runtime.package import PACKAGE
from hwseg.segment.network import Engine, Network
from hwseg.segment.packaged import BOARD, open_package
from hwseg.trust.graph import judge_of

if TYPE_CHECKING:
    from hwseg.compile.program import Program  # jobs of the golden model start without the compiler

TARGETS = ("golden", "machine", "simulation", BOARD)
TILE = (1024, 1024)
"""Of the golden model, at most: larger ones compute less twice, and take 0.2 GB for each."""


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
        found = golden.run(reshaped(self.graph, size), integers, taps=())
        return self.network.result(found.tensors[self.graph.head.tensor], found.mask)

    def each(self, inputs: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        return map(self.classes, inputs)

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
        from hwseg.machine.execute import checked_sums

        sums = checked_sums(self.program, integers)
        return self.network.result(sums, golden.mask(self.program.graph.head, sums))

    def each(self, inputs: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        return map(self.classes, inputs)

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
        return self.network.result(found.sums, np.asarray(found.mask))


def open_engine(
    source: Path,
    on: str = "",
    meaning: str = "",
    tile: Size | None = None,
    model: str = "",
    trust: bool = False,
    output: str = "",
) -> Engine:
    """What computes, from a model file, a build or a package.

    on: one of `TARGETS`; by default the golden model, of a package the board.  meaning: as of --input.  tile: of the
    golden model, else chosen.  model: of a package, else its first.  trust: whether confidence is wanted, too.  output:
    of a model file with several.
    """
    place, rule = str(source), "must be a model, a build or a package, but there is none"
    require(os.path.exists(source), place, rule, "check the path")
    if os.path.isfile(source / PACKAGE):
        _require_none(
            {"--tile": tile, "--input": meaning, "--output": output},
            "a package's models have what they were compiled with",
        )
        return open_package(source, on or BOARD, model, trust)
    _require_none({"--model": model}, "a model or a build is one model")
    build, on = os.path.isdir(source), on or "golden"
    if build:
        _require_none({"--output": output}, "a build has the output that it was compiled with")
    rule, cure = f"needs a package, {source} is a {'build' if build else 'model file'}", "make one with hwseg package"
    require(on != BOARD, f"--on {on}", rule, cure)
    rule = f"needs a build, {source} is a model file"
    require(on == "golden" or build, f"--on {on}", rule, "make one with hwseg compile")
    require(
        tile is None or on == "golden", "--tile", f"goes with --on golden alone, not with {on}", "compile another size"
    )
    if on == "golden":
        graph, digest = _graph(source, meaning, output)
        return Golden(graph, network_of(graph, digest, trust), tile)
    from hwseg.builds.read import load_build

    _, program, _ = load_build(source)
    program_graph = program.graph
    if meaning:
        program_graph = chosen(program_graph, meaning)
    network = network_of(program_graph, sha256(source / MANIFEST), trust)
    return Compiled(program, network) if on == "machine" else Simulated(program, network, folder=source)


def _require_none(options: Mapping[str, object], reason: str) -> None:
    for name, value in options.items():
        require(not value, name, f"does not go with this: {reason}", "leave it out")


def _graph(source: Path, meaning: str, output: str) -> tuple[Graph, str]:
    """The integer graph of a file or a build; of a build, with the planes that it was compiled with."""
    if not os.path.isdir(source):
        from hwseg.quant.read.load import load

        digest = sha256(source)
        return chosen(load(source, output), meaning), f"{digest} {output}" if output else digest
    from hwseg.builds.read import load_graph, read_report
    from hwseg.compile.lower.dial import turned

    planes = int(read_report(source).get("planes", 8))
    return chosen(turned(load_graph(source), planes), meaning), sha256(source / MANIFEST)


def network_of(graph: Graph, digest: str, trust: bool = False) -> Network:
    """What a graph wants of pictures; with `trust` HwsegError where nothing was fitted to it."""
    kind, choice = graph.types[graph.input], choice_of(graph)
    pixels = PixelInput(choice.meaning, quantizer(kind), labels_of(graph))
    looks = None if choice.meaning.fit == "resize" else reach(graph)
    said = choice.sentence(graph.name) if choice.origin == "assumed" else ""
    return Network(graph.name, kind.shape, pixels, looks, digest, said, judge_of(graph) if trust else None)

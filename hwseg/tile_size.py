"""Which tiles are cheapest: predicted cycles for a pixel of the picture, with what is computed twice at their edges.

A tile of H x W computes H * W pixels and gives (H - halo) * (W - halo) of them: larger ones waste less, until their
rows are longer than what the engine's memories hold, and cycles for a pixel rise again.  Cycles are the compiler's, for
the whole program of each size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hwseg.boards import Board
from hwseg.compile.program import compile_graph
from hwseg.errors import HwsegError, require
from hwseg.ir import Graph
from hwseg.pictures.choice import of_metadata
from hwseg.pictures.tiles import Reach, Size, grid
from hwseg.reach import reach, reshaped
from hwseg.rtl.config import EngineConfig

SIDES = (128, 192, 256, 384, 512, 768, 1024)
"""Widths that are tried, up to the next multiple of what a network pools by; heights are one and two widths."""

FIRST = 256
"""The width that is compiled first."""

MOST = 1 << 20
"""Pixels of a tile: larger ones compile long and compute hardly less twice."""

HOPELESS = 1.5
"""A size is not compiled if its pixels alone, at the fewest cycles so far, cost this times the cheapest so far."""

NEAR = 1.05
"""What is at most this times the cheapest is near it: the smallest such tile is proposed."""


@dataclass(frozen=True)
class Candidate:
    """A size of tiles.  cycles: predicted for one.  per_pixel: of the picture.  refused: why it does not compile.

    surplus: pixels computed beyond the picture's own, as a share of those.
    """

    size: Size
    cycles: int = 0
    per_pixel: float = 0.0
    surplus: float = 0.0
    refused: str = ""


def candidates(
    graph: Graph, config: EngineConfig, board: Board, picture: Size | None, told: Callable[[str], None]
) -> tuple[Candidate, ...]:
    """Every size that is tried; picture: that they are for, or None for large ones.

    HwsegError for networks that are not cut into tiles.  Takes a few seconds for each size; told: what is under way.
    """
    meaning = of_metadata(graph.metadata, graph.types[graph.input].shape[2], graph.name).meaning
    cure = "name the size that it was trained with"
    require(meaning.fit != "resize", "--size auto", "goes with networks that are cut into tiles, not scaled", cure)
    looks = reach(graph)
    found: list[Candidate] = []
    tried = sizes(looks, picture)
    for size in sorted(tried, key=lambda size: (size[1] != FIRST, size[0] * size[1])):
        if (refused := _hopeless(found, size, _surplus(looks, size, picture))) is None:
            told(f"tiles of {size[0]}x{size[1]}")
            refused = _candidate(graph, config, board, size, _surplus(looks, size, picture))
        found.append(refused)
    require(any(not one.refused for one in found), graph.name, found[0].refused, "use a larger array, or name a --size")
    return tuple(sorted(found, key=lambda one: tried.index(one.size)))


def sizes(looks: Reach, picture: Size | None = None) -> tuple[Size, ...]:
    """Those that are tried: of which something can be used, and for a picture none that is larger than its whole."""
    found: dict[Size, None] = {}
    least = _halo(looks)[0] + looks.multiple[0], _halo(looks)[1] + looks.multiple[1]
    most = None if picture is None else _whole(picture, looks)
    for side in SIDES:
        for height in (side, 2 * side):
            size = _whole((max(height, least[0]), max(side, least[1])), looks)
            if size[0] * size[1] > MOST:
                continue
            found[size if most is None else (min(size[0], most[0]), min(size[1], most[1]))] = None
    return tuple(found)


def _halo(looks: Reach) -> Size:
    return looks.before[0] + looks.after[0], looks.before[1] + looks.after[1]


def _whole(size: Size, looks: Reach) -> Size:
    height, width = (-(-n // m) * m for n, m in zip(size, looks.multiple, strict=True))
    return height, width


def _surplus(looks: Reach, size: Size, picture: Size | None) -> float:
    if picture is not None:
        return grid(picture, size, size, looks).surplus
    (rows, columns), (height, width) = _halo(looks), size
    return height * width / ((height - rows) * (width - columns)) - 1


def _hopeless(found: Sequence[Candidate], size: Size, surplus: float) -> Candidate | None:
    """A size whose cycles need not be known."""
    fits = [one for one in found if not one.refused]
    if not fits:
        return None
    fewest = min(one.per_pixel / (1 + one.surplus) for one in fits)
    if fewest * (1 + surplus) <= HOPELESS * min(one.per_pixel for one in fits):
        return None
    return Candidate(size, surplus=surplus, refused="not compiled: too much at its edges")


def _candidate(graph: Graph, config: EngineConfig, board: Board, size: Size, surplus: float) -> Candidate:
    try:
        cycles = compile_graph(reshaped(graph, size), config, board, allow_inexact=True).timing().total
    except HwsegError as error:
        return Candidate(size, surplus=surplus, refused=error.rule)
    return Candidate(size, cycles, cycles / (size[0] * size[1]) * (1 + surplus), surplus)


def proposed(found: Sequence[Candidate]) -> Candidate:
    """The smallest of those that are near the cheapest."""
    fits = [one for one in found if not one.refused]
    least = min(one.per_pixel for one in fits)
    near = [one for one in fits if one.per_pixel <= NEAR * least]
    return min(near, key=lambda one: (one.size[0] * one.size[1], one.per_pixel))

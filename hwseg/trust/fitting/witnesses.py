"""Other signs of doubt, for who pays more: the same picture again, and what the runs do not agree on.

    flips2, flips4, flips8      mirrored, turned by 180 degrees, transposed, ...: the engine runs once for each
    planes4                     the accuracy dial (`hwseg.compile.lower.dial`): 8 planes and 4, two builds of a package
    MODEL.onnx                  two networks of one package

The logits of all runs are averaged; a pixel is as sure as that mean is of the class that the first run gave, and not at
all where the mean says another.  (Ensembles: Lakshminarayanan et al., NeurIPS 2017; test-time augmentation: Wang et
al., Neurocomputing 338, 2019.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwseg.boards import load_board
from hwseg.compile.lower.dial import turned
from hwseg.compile.program import compile_graph
from hwseg.datasets.pairs import Pair
from hwseg.errors import require
from hwseg.ir import Graph
from hwseg.quant.read.load import load
from hwseg.target.array import choose_array
from hwseg.trust.confidence import STEPS, SURE
from hwseg.trust.fitting.observe import Progress, Seen, observe, silent
from hwseg.trust.graph import linear

Turn = Callable[[NDArray[Any]], NDArray[Any]]


def _across(x: NDArray[Any]) -> NDArray[Any]:
    return x[:, ::-1]


def _down(x: NDArray[Any]) -> NDArray[Any]:
    return x[::-1]


def _around(x: NDArray[Any]) -> NDArray[Any]:
    return x[::-1, ::-1]


def _transposed(turn: Turn) -> Turn:
    return lambda x: turn(x).swapaxes(0, 1)


def _same(x: NDArray[Any]) -> NDArray[Any]:
    return x


_FOUR: tuple[Turn, ...] = (_same, _across, _down, _around)
TURNS: Mapping[str, tuple[Turn, ...]] = {
    "flips2": _FOUR[:2],
    "flips4": _FOUR,
    "flips8": (*_FOUR, *map(_transposed, _FOUR)),
}
"""By name; the first is the picture as it is."""
PLANES = 4


@dataclass(frozen=True)
class Run:
    """One run of a witness: a network, and how the picture is turned for it."""

    graph: Graph
    turn: Turn = _same


def runs_of(name: str, graph: Graph) -> list[Run]:
    """The runs of a witness beside the network's own; HwsegError for a name that means none."""
    if name in TURNS:
        height, width = graph.types[graph.input].shape[:2]
        rule = f"transposes pictures, which must be square, not {height}x{width}"
        require(name != "flips8" or height == width, "--witness flips8", rule, "use flips4")
        return [Run(graph, turn) for turn in TURNS[name][1:]]
    if name == f"planes{PLANES}":
        return [Run(turned(graph, PLANES))]
    path, known = Path(name), ", ".join((*TURNS, f"planes{PLANES}"))
    require(path.is_file(), "--witness", f"must be {known} or a model's file, not {name!r}")
    other = load(path)
    for what, own, its in (
        ("input", graph.types[graph.input].shape, other.types[other.input].shape),
        ("head", graph.types[graph.head.tensor].shape, other.types[other.head.tensor].shape),
    ):
        shapes = "x".join(map(str, own)), "x".join(map(str, its))
        require(own == its, f"--witness {name}", f"must have the {what} {shapes[0]} of the network, has {shapes[1]}")
    return [Run(other)]


def confidences(
    graph: Graph,
    temperatures: Sequence[float],
    seen: Sequence[Seen],
    pairs: Sequence[Pair],
    runs: Sequence[Run],
    scaling: str = "",
    progress: Progress = silent,
    doing: str = "witnesses",
) -> list[NDArray[np.uint8]]:
    """Bytes of confidence of each picture's own mask, uint8 [H, W], by all runs together."""
    total = [_logits(graph, one.sums) for one in seen]
    for run in runs:
        changes = [run.turn] * len(pairs)
        for place, one in enumerate(observe(run.graph, pairs, scaling, changes, progress, doing)):
            total[place] = total[place] + _logits(run.graph, _back(run.turn, one.sums))
    found = [_bytes(values / (1 + len(runs)), one.mask, temperatures) for values, one in zip(total, seen, strict=True)]
    return found


def _logits(graph: Graph, sums: NDArray[Any]) -> NDArray[np.float64]:
    scale, offset = linear(graph.head, sums.shape[2])
    return np.asarray(sums * np.array([float(s) for s in scale]) + np.array([float(o) for o in offset]))


def _back(turn: Turn, sums: NDArray[Any]) -> NDArray[Any]:
    """What a turned picture gave, as it lies in the picture."""
    shape = sums.shape[:2]
    order = turn(np.arange(shape[0] * shape[1]).reshape(shape)).reshape(-1)  # transposed pictures are square
    result = np.empty_like(sums.reshape(len(order), -1))
    result[order] = sums.reshape(len(order), -1)
    return result.reshape(sums.shape)


def _bytes(values: NDArray[np.float64], mask: NDArray[np.uint8], temperatures: Sequence[float]) -> NDArray[np.uint8]:
    """How sure logits [H, W, C] are of a mask's classes."""
    if values.shape[2] == 1:
        margin, hot = np.where(mask > 0, values[:, :, 0], -values[:, :, 0]), np.full(mask.shape, temperatures[0])
    else:
        own = np.take_along_axis(values, mask[:, :, None].astype(np.intp), axis=2)
        others = values.copy()
        np.put_along_axis(others, mask[:, :, None].astype(np.intp), -np.inf, axis=2)
        margin, hot = own[:, :, 0] - others.max(axis=2), np.asarray(temperatures)[mask]
    return np.asarray(np.clip(np.rint(STEPS * margin / hot), 0, SURE), np.uint8)


def cycles(graph: Graph) -> int:
    """Of one picture, as the compiler predicts them for the array that it takes for the Zynq-7020."""
    board = load_board("zynq7020")
    return compile_graph(graph, choose_array("auto", "table", board), board).timing().total

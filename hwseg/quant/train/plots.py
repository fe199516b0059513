"""Plots of training, search and dial; matplotlib draws into a file and needs no display."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hwseg.borders import install, tool
from hwseg.errors import HwsegError
from hwseg.files import write_whole

FARTHEST = 0.05
"""Dice below the best that a Pareto plot still shows; one ruined network would flatten all others."""


def curves(history: Sequence[tuple[Any, ...]], path: Path) -> None:
    """Loss and validation Dice over steps, one colour per stage; nothing but a line if matplotlib fails."""
    _write(path, lambda: _curves(history))


def _curves(history: Sequence[tuple[Any, ...]]) -> Any:
    figure, (left, right) = _figure(2)
    for stage in dict.fromkeys(row[1] for row in history):
        rows = [row for row in history if row[1] == stage]
        left.plot([row[0] for row in rows], [row[2] for row in rows], marker=".", label=stage)
        right.plot([row[0] for row in rows], [row[4] for row in rows], marker=".", label=stage)
    for axis, what in ((left, "loss"), (right, "validation Dice")):
        axis.set_xlabel("step")
        axis.set_ylabel(what)
        axis.grid(alpha=0.3)
    left.legend()
    return figure


def tensorboard(folder: Path, names: Sequence[str]) -> Callable[[int, Sequence[float]], None]:
    """What takes a step and the values of `names` to an events file of TensorBoard."""
    with tool("tensorboard", "loading it", "pip install tensorboard"):
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(str(folder))

    def write(step: int, values: Sequence[float]) -> None:
        with tool("tensorboard", "writing its events", "train without tensorboard"):
            for name, value in zip(names, values, strict=True):
                writer.add_scalar(name, value, step)
            writer.flush()

    return write


def pareto(points: Sequence[Mapping[str, Any]], chosen: int, path: Path, cost: str = "cycles") -> None:
    """Validation Dice and loss of measured points over what they cost, the chosen one ringed; as `curves`."""
    _write(path, lambda: _pareto(points, chosen, cost, ("validation Dice", "loss"), "before fine-tuning"))


def agreement(points: Sequence[Mapping[str, Any]], chosen: int, cost: str) -> bytes:
    """The same as a PNG of points that were compared with a float network; nothing if matplotlib fails."""
    what = ("Dice with the float network's masks", "mean squared error of probabilities")
    return _png("the search", lambda: _pareto(points, chosen, cost, what, "measured")) or b""


def _pareto(points: Sequence[Mapping[str, Any]], chosen: int, cost: str, names: tuple[str, str], label: str) -> Any:
    figure, axes = _figure(2)
    costs = [point[cost] / points[0][cost] for point in points]
    for axis, key, what in zip(axes, ("dice", "loss"), names, strict=True):
        axis.plot(costs, [point[key] for point in points], marker="o", label=label)
        axis.plot(
            costs[chosen], points[chosen][key], "o", markersize=14, fillstyle="none", color="black", label="chosen"
        )
        axis.set_xlabel(f"predicted {cost.split('_')[0]}, share of the base's")
        axis.set_ylabel(what)
        axis.grid(alpha=0.3)
    best, least = max(point["dice"] for point in points), min(point["loss"] for point in points)
    axes[0].set_ylim(max(axes[0].get_ylim()[0], best - FARTHEST), None)
    axes[1].set_ylim(None, min(axes[1].get_ylim()[1], least + 2 * FARTHEST))
    axes[0].legend(loc="lower right")
    return figure


def _figure(count: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8 * count, 3.6), layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False)[0]


def _write(path: Path, draw: Callable[[], Any]) -> None:
    """A picture beside results that are written already: they are worth more than it."""
    if (content := _png(path.name, draw)) is not None:
        write_whole(path, content)


def _png(name: str, draw: Callable[[], Any]) -> bytes | None:
    buffer = io.BytesIO()
    try:
        with tool("matplotlib", f"drawing {name}", install("train")):
            draw().savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    except HwsegError as error:
        logging.getLogger("hwseg").warning("hwseg: %s", error)
        return None
    return buffer.getvalue()

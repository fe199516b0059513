"""What the tap on the requantizers sees, put back in order: complete maps from blocks of 8 channels x 8 pixels.

Maps that are only stored pooled never reach memory; the tap shows them, and every other map a second time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hwseg.compile.emit.fused import walk_network
from hwseg.compile.plan.plan import LayerPlan, OutputSet, Rectangle
from hwseg.compile.program import Program
from hwseg.rtl.isa import Scatter

LINE_BYTES = 64


def read_blocks(path: Path, sets: int) -> list[np.ndarray]:
    """uint8 [blocks, channel, pixel] of each set, in the order in which they left the requantizers."""
    found: list[list[str]] = [[] for _ in range(sets)]
    with path.open() as lines:
        for line in lines:
            number, _, digits = line.split()
            found[int(number)].append(digits)
    # A line shows the most significant byte first: channel 7, pixel 7.
    return [
        np.frombuffer(bytes.fromhex("".join(lines)), np.uint8).reshape(-1, LINE_BYTES)[:, ::-1].reshape(-1, 8, 8)
        for lines in found
    ]


def maps(program: Program, path: Path) -> dict[int, np.ndarray]:
    """int16 [row, column, channel] of every layer that writes planes, before pooling; -999 where nothing was seen."""
    walk = walk_network(program.chains, program.config, program.memory)
    blocks = read_blocks(path, program.config.sets)
    found: dict[int, np.ndarray] = {}
    taken: dict[int, int] = defaultdict(int)
    for index, number, part in walk.written_blocks:
        plan = program.plans[index]
        if index not in found:
            found[index] = np.full(plan.layer.shape, -999, np.int16)
        half = program.config.sets // 2
        for position in range(program.config.sets):
            chosen = plan.passes[number]
            words = list(_words(plan, part, chosen.split, 0 if position < half else 1))
            start = taken[position]
            taken[position] += len(words)
            chunk = blocks[position][start : start + len(words)]
            sets, which = chosen.sets, position % half if chosen.split else position
            if which < len(sets) and len(chunk) == len(words):
                _place(found[index], plan, sets[which], chosen.scatter, words, _signed(chunk, plan))
    return found


def _words(plan: LayerPlan, part: Rectangle, split: bool, upper: int) -> Iterator[tuple[int, int]]:
    """Row and word column of each step of a RUN; `upper`: in a split pass, of the upper half of the rows."""
    rows = 2 if plan.pair else 1
    columns = range(part.x0 + 1 - upper, part.x1, 2) if split else range(part.x0, part.x1)
    for y in range(part.y0, part.y1, rows):
        for x in columns:
            for d in range(rows):
                yield y + d, x


def _signed(chunk: np.ndarray, plan: LayerPlan) -> np.ndarray:
    return chunk.view(np.int8).astype(np.int16) if plan.layer.clamp[0] < 0 else chunk.astype(np.int16)


def _place(
    target: np.ndarray,
    plan: LayerPlan,
    chosen: OutputSet,
    scatter: Scatter,
    words: list[tuple[int, int]],
    values: np.ndarray,
) -> None:
    _, width, channels = target.shape
    first = 8 * chosen.channel_group
    count = min(8, channels - first)
    for (y, x), block in zip(words, values, strict=True):
        pixels = block[:count].T
        if scatter == Scatter.NONE:
            columns = slice(8 * x, min(8 * x + 8, width))
        else:
            start = 16 * x + (scatter == Scatter.ODD)
            columns = slice(start, min(start + 16, width), 2)
        row = plan.layer.row_phases * y + chosen.phase
        stop = len(range(*columns.indices(width)))
        target[row, columns, first : first + count] = pixels[:stop]

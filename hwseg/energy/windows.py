"""What the array sees: for a layer's tile and a band of rows, the lanes of every step in the order of the walk.

A lane's value is a byte that holds all of its digit planes, most significant first within the tensor's bits: what
happens from one plane to the next is a shift and an exclusive or.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwseg.compile.plan.plan import LayerPlan, Tile
from hwseg.layout import folded
from hwseg.rtl.config import TAPS, WORD_CHANNELS, WORD_PIXELS, EngineConfig
from hwseg.rtl.isa import Mode

Bytes = np.ndarray


def bands(plan: LayerPlan) -> int:
    """Bands of rows that are walked together: pairs of rows where the layer pools, single rows elsewhere."""
    return -(-plan.run_shape[0] // (2 if plan.pair else 1))


def steps(plan: LayerPlan, band: int, config: EngineConfig) -> tuple[np.ndarray, np.ndarray]:
    """Rows [step] and pixels [step, pixel of the array] of one band, in the order of the walk.

    Of a split layer the lower rows' pixels, of the odd word columns, then the upper rows', of the even ones.
    """
    height, columns = 2 if plan.pair else 1, 2 if plan.split else 1
    rows = range(height * band, min(height * (band + 1), plan.run_shape[0]))
    order = [
        (row, word, sub) for word in range(0, plan.words, columns) for row in rows for sub in range(config.substeps)
    ]
    y, word, sub = np.array(order, np.int64).T
    first = [WORD_PIXELS * (word + column) + config.pixels * sub for column in reversed(range(columns))]
    return y, np.concatenate([one[:, None] + np.arange(config.pixels) for one in first], axis=1)


def lanes(
    plan: LayerPlan, tile: Tile, tensors: Mapping[str, np.ndarray], band: int, config: EngineConfig
) -> tuple[Bytes, int]:
    """uint8 [step, pixel, lane] of one tile over one band, and the number of planes; pixels as of `steps`.

    `tensors`: integers [H, W, C] by name.  Outside a map every lane is 0.
    """
    source = plan.sources[tile.source]
    y, x = steps(plan, band, config)
    found = np.zeros((*x.shape, TAPS, config.channels), np.uint8)
    start = tile.slice * config.channels
    if source.mode == Mode.POINT:
        for tap, group in enumerate(source.groups):
            count = min(group.count - start, config.channels)
            if count > 0:
                first = WORD_CHANNELS * group.channel_group + start
                found[:, :, tap, :count] = _gather(tensors[group.tensor], y[:, None], x, first, count)
    else:
        (group,) = source.groups
        stored = folded(tensors[group.tensor], plan.layer.fold)
        count = min(group.count - start, config.channels)
        first = WORD_CHANNELS * group.channel_group + start
        for tap in range(TAPS):
            row, column = _read_at(source.mode, y[:, None], x, *divmod(tap, 3))
            found[:, :, tap, :count] = _gather(stored, row, column, first, count)
    mask = (1 << source.planes) - 1
    return found.reshape(*x.shape, config.lanes) & np.uint8(mask), source.planes


def _read_at(mode: Mode, y: np.ndarray, x: np.ndarray, ky: int, kx: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the stored map that tap (ky, kx) of output (y, x) reads; outside it: negative or too large."""
    if mode == Mode.STRIDE2:
        return 2 * y + ky - 1, 2 * x + kx - 1
    if mode == Mode.NEAREST:
        return (y + ky - 1) >> 1, (x + kx - 1) >> 1
    return y + ky - 1, x + kx - 1


def _gather(tensor: np.ndarray, y: np.ndarray, x: np.ndarray, first: int, count: int) -> np.ndarray:
    """uint8 [step, pixel, channel]; two's complement where the tensor is signed, 0 outside."""
    height, width = tensor.shape[:2]
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    values = tensor[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1), first : first + count]
    return np.where(inside[..., None], values, 0).astype(np.int64).astype(np.uint8)

"""Toggles of lanes and feeds, counted in the digit planes of real maps: bands of rows, all of them or a sample.

Nothing here is fitted: a lane's bits from plane to plane, and the encoder's outputs that follow from them, are what the
array's registers hold.  The sampling error is the bootstrap's: bands drawn again with replacement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwseg.arith.table import LANES, TableSpec
from hwseg.compile.plan.plan import LayerPlan, Tile
from hwseg.energy.engine import Data
from hwseg.energy.windows import bands, lanes
from hwseg.rtl.array import lane_order
from hwseg.rtl.config import EngineConfig

SAMPLES = 24
"""Bands of a layer that are looked at where not all are."""

RESAMPLES = 200


@dataclass(frozen=True)
class Observed:
    """A layer's data, the mean of leading planes that are zero in a whole step, and the relative standard error."""

    data: Data
    skipped_planes: float
    error: float


@dataclass(frozen=True)
class Counted:
    """One band of one tile.  planes: plane cycles.  lane_toggles, feed_toggles, ones: bits, over all pixels.  skipped:
    leading zero planes, over all steps.
    """

    planes: int
    steps: int
    lane_toggles: int
    feed_toggles: float
    ones: int
    skipped: int


def observe(
    plan: LayerPlan,
    pictures: Sequence[Mapping[str, np.ndarray]],
    config: EngineConfig,
    last_share: float,
    full: bool,
    seed: int = 0,
) -> Observed:
    """A layer's data on pictures, each given as the integers [H, W, C] of every map.

    last_share: of steps whose sums are requantized, which take 8 cycles at least.  full: every band of every tile.
    """
    counts = [
        count(*lanes(plan, tile, tensors, band, config), config, last_share)
        for tile, tensors, band in chosen(plan, pictures, full, seed)
    ]
    table = np.array([[c.planes, c.steps, c.lane_toggles, c.feed_toggles, c.ones, c.skipped] for c in counts], float)
    pixels = config.pixels * (2 if plan.split else 1)
    total = table.sum(0)
    data = Data(
        lane_toggles=total[2] / (total[0] * pixels * config.lanes),
        feed_toggles=total[3] / (total[0] * pixels * feed_width(config)),
        ones=total[4] / (total[0] * pixels * config.lanes),
    )
    return Observed(data, total[5] / total[1], 0.0 if full else bootstrap(table[:, 3], table[:, 0], seed))


def chosen(
    plan: LayerPlan, pictures: Sequence[Mapping[str, np.ndarray]], full: bool, seed: int
) -> Iterator[tuple[Tile, Mapping[str, np.ndarray], int]]:
    """Tiles, pictures and bands: all, or `SAMPLES` of them that go round all tiles before one comes again."""
    tiles = [tile for tile in plan.tiles if tile.part == 0]
    every = [(tile, tensors, band) for tensors in pictures for tile in tiles for band in range(bands(plan))]
    if full or len(every) <= SAMPLES:
        yield from every
        return
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(tiles))
    for i in range(SAMPLES):
        tensors = pictures[int(generator.integers(len(pictures)))]
        yield tiles[order[i % len(tiles)]], tensors, int(generator.integers(bands(plan)))


def bootstrap(toggles: np.ndarray, planes: np.ndarray, seed: int) -> float:
    """Relative standard error of sum(toggles) / sum(planes) over bands; 0 for a single band of no toggles."""
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, len(toggles), (RESAMPLES, len(toggles)))
    rates = toggles[drawn].sum(1) / planes[drawn].sum(1)
    mean = float(rates.mean())
    return float(rates.std()) / mean if mean else 0.0


def count(values: np.ndarray, planes: int, config: EngineConfig, last_share: float) -> Counted:
    """Bits of one band, uint8 [step, pixel, lane]."""
    feed, idle = encoded(values, planes, config)
    gaps = (1.0 if planes < 4 else 0.0) * (1 - last_share) + (1.0 if planes < 8 else 0.0) * last_share
    feed_toggles: float = within(feed, planes)
    feed_toggles += (1 - gaps) * between(feed, planes) + gaps * into_idle(feed, idle, planes)
    largest = values.reshape(len(values), -1).max(1)
    skipped = sum(planes - int(v).bit_length() for v in largest)
    return Counted(
        planes=planes * len(values),
        steps=len(values),
        lane_toggles=within(values, planes) + between(values, planes),
        feed_toggles=feed_toggles,
        ones=int(np.bitwise_count(values).sum()),
        skipped=skipped,
    )


def feed_width(config: EngineConfig) -> int:
    """Bits that an encoder sends for one pixel."""
    return config.lanes if config.core == "merged" else TableSpec(config.lanes).tables * LANES


def encoded(values: np.ndarray, planes: int, config: EngineConfig) -> tuple[np.ndarray, np.ndarray]:
    """The encoder's feed of lanes, uint8 [step, pixel, bit of the feed], and what it sends in idle cycles, [bit]."""
    values = values[..., lane_order(config.channels)]
    if config.core == "merged":
        return values, np.zeros(values.shape[2], np.uint8)
    spec, mask = TableSpec(config.lanes), np.uint8((1 << planes) - 1)
    pad = spec.tables * LANES - spec.lanes
    x = np.pad(values, ((0, 0), (0, 0), (0, pad))).reshape(*values.shape[:2], spec.tables, LANES)
    heads = x[..., 0]
    addresses = (~(x[..., 1:] ^ heads[..., None]) & mask).reshape(*values.shape[:2], -1)
    signs = [heads[..., a] ^ heads[..., b] for a, b in spec.pairs]
    feed = np.concatenate([addresses, np.stack([*signs, ~heads[..., 0] & mask], -1)], -1)
    idle = np.zeros(feed.shape[2], np.uint8)
    idle[: addresses.shape[2]] = mask
    return feed, idle


def within(values: np.ndarray, planes: int) -> int:
    """Bits that differ from one plane to the next of the same step."""
    return int(np.bitwise_count((values ^ (values >> 1)) & np.uint8((1 << (planes - 1)) - 1)).sum())


def between(values: np.ndarray, planes: int) -> int:
    """Bits of which a step's first plane differs from the last plane of the step before."""
    return int(((values[1:] >> (planes - 1) & 1) != (values[:-1] & 1)).sum())


def into_idle(feed: np.ndarray, idle: np.ndarray, planes: int) -> int:
    """Bits that change from a step's last plane to the idle feed, and from there to the next step's first plane."""
    still = idle & 1
    return int(((feed[:-1] & 1) != still).sum() + ((feed[1:] >> (planes - 1) & 1) != still).sum())

"""The arrays on which programs run: presets, odd shapes, and memories so small that everything is done in parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.fuzz.under_test import EngineConfig, parse_array

SHAPES = (
    "zynq7020", "small", "sim", "8x8x8-merged", "16x8x8", "8x1x1", "8x2x2", "24x8x4", "32x4x2", "16x8x8-merged",
    "16x4x8-dsp", "8x8x1", "40x2x8", "64x1x4", "16x1x1", "8x4x2-dsp", "48x8x2", "16x2x8", "16x8x8-dsp",
)  # fmt: skip
"""By name, presets first."""

DEPTHS = {
    "bank_words": (64, 128, 256, 512),
    "psum_steps": (16, 32, 64, 256),
    "out_words": (16, 32, 64, 256),
    "loop_words": (16, 32, 64, 256),
    "pool_words": (16, 32, 64, 256),
    "param_slots": (16, 16, 32),
}
"""What memories may be cut to, if they are."""


def random_array(seed: int) -> EngineConfig:
    """An array: half of them as they are, the others with small memories."""
    rng = np.random.default_rng((seed, 2))
    config = parse_array(SHAPES[int(rng.integers(len(SHAPES)))])
    if rng.random() < 0.45:
        return config
    depths = {name: int(rng.choice(choices)) for name, choices in DEPTHS.items()}
    tile = 1 << (config.tile_words - 1).bit_length()
    return replace(config, weight_words=tile * int(rng.choice((1, 2, 4))), **depths)


SIMULATED = (
    "sim", "small", "8x2x2", "8x4x4-merged", "16x8x8", "16x4x4-dsp", "24x8x4", "8x8x1", "16x8x2-merged", "32x4x2",
    "zynq7020", "8x1x8",
)  # fmt: skip
"""Arrays that are simulated: as many simulators are compiled."""


def simulated_array(seed: int) -> EngineConfig:
    rng = np.random.default_rng((seed, 5))
    return parse_array(SIMULATED[int(rng.integers(len(SIMULATED)))])

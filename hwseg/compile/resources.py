"""What an array costs on a 7-series part: an estimate from its parameters, calibrated on synthesized arrays."""

from __future__ import annotations

from hwseg.rtl.config import ROWS_PER_PSUM, EngineConfig
from hwseg.rtl.isa import PARAMETER

LUT_PER_LANE = {"table": 3.35, "merged": 13.3}
LUT_PER_CORE = {"table": 12.0, "merged": 30.0}
LUTRAM_PER_LANE = {"table": 2.0 / 3.0, "merged": 0.0}
LUT_PER_ROW_LANE = {"table": 4.0, "merged": 0.5}
LUT_PER_SET = 900
LUT_FIXED = 6500
LUT_PER_WINDOW_BIT = 6.0
FF_PER_LUT = 1.3
DSP_PER_REQUANTIZER = 4

MARGIN = 0.9
"""Share of a board's resources above which place and route may not close."""

PARAMETER_BITS = sum(width for name, width in PARAMETER.fields.items() if name != "reserved")


def estimate(config: EngineConfig) -> dict[str, float]:
    """lut, lutram, ff, bram36, dsp."""
    core, lanes, rows, pixels = config.core, config.lanes, config.rows, config.pixels
    cores = rows * pixels
    lut = cores * (lanes * LUT_PER_LANE[core] + LUT_PER_CORE[core]) + rows * lanes * LUT_PER_ROW_LANE[core]
    lut += LUT_FIXED + LUT_PER_SET * config.sets + LUT_PER_WINDOW_BIT * 9 * pixels * config.channels
    return {
        "lut": round(lut),
        "lutram": round(cores * lanes * LUTRAM_PER_LANE[core] + 900),
        "ff": round(lut * FF_PER_LUT),
        "bram36": brams(config),
        "dsp": config.sets * pixels * DSP_PER_REQUANTIZER,
    }


def brams(config: EngineConfig) -> float:
    """Block RAMs of 512 words x 72 bits (half ones count half)."""
    psums = config.rows // ROWS_PER_PSUM * memory(config.psum_steps * ROWS_PER_PSUM, 36 * config.pixels)
    outputs = config.sets * (2 * memory(config.out_words, 64) + memory(config.pool_words, 64))
    parameters = config.sets * memory(8 * config.param_slots, PARAMETER_BITS)
    return (
        9 * memory(config.bank_words, 64)
        + psums
        + outputs
        + parameters
        + memory(config.weight_words, 64)
        + memory(1024, 64)
    )


def memory(words: int, bits: int) -> float:
    """Halves of a block RAM that a memory of one read and one write port takes: 512 x 36 each, deeper ones narrower."""
    depth = max(512, 1 << (words - 1).bit_length())
    width = 36 * 512 // min(depth, 16384)
    return -(-bits // width) * -(-depth // 16384) / 2

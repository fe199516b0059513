"""What an array costs on a 7-series part: an estimate from its parameters, calibrated on synthesized arrays."""

from __future__ import annotations

from hwseg.rtl.config import ROWS_PER_PSUM, EngineConfig
from hwseg.rtl.isa import PARAMETER

LUT_PER_LANE = {"table": 3.56, "merged": 7.5}
LUT_PER_ROW_LANE = {"table": 4.54, "merged": 1.0}
LUT_PER_ENCODER_LANE = {"table": 1.0, "merged": 0.0}
LUT_PER_REQUANTIZER = 525
"""With its share of the partial sums' adders and of the output path."""
LUT_PER_WORD_BIT = 20
LUT_FIXED = 3100
LUTRAM_PER_LANE = {"table": 1.37, "merged": 0.0}
LUTRAM_PER_SET = 180
LUTRAM_FIXED = 384
FF_PER_LANE = {"table": 4.15, "merged": 10.4}
FF_PER_REQUANTIZER = 3109
FF_FIXED = 5224
DSP_PER_REQUANTIZER = 4
"""Fitted to yosys's counts of 8x4x4 (both cores), 8x8x8 and 16x8x8: within 5 % of LUTs, 3 % of the rest."""

MARGIN = 0.9
"""Share of a board's resources above which place and route may not close."""

PARAMETER_BITS = sum(width for name, width in PARAMETER.fields.items() if name != "reserved")


def estimate(config: EngineConfig) -> dict[str, float]:
    """lut, lutram, ff, bram36, dsp."""
    core, lanes, rows, pixels = config.core, config.lanes, config.rows, config.pixels
    lane_count, requantizers = rows * pixels * lanes, config.sets * pixels
    lut = lane_count * LUT_PER_LANE[core] + rows * lanes * LUT_PER_ROW_LANE[core]
    lut += pixels * lanes * LUT_PER_ENCODER_LANE[core] + requantizers * LUT_PER_REQUANTIZER
    lut += pixels * config.channels * LUT_PER_WORD_BIT + LUT_FIXED
    return {
        "lut": round(lut),
        "lutram": round(lane_count * LUTRAM_PER_LANE[core] + config.sets * LUTRAM_PER_SET + LUTRAM_FIXED),
        "ff": round(lane_count * FF_PER_LANE[core] + requantizers * FF_PER_REQUANTIZER + FF_FIXED),
        "bram36": brams(config),
        "dsp": requantizers * DSP_PER_REQUANTIZER,
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

"""What an array costs on a 7-series part: an estimate, part by part, calibrated on synthesized engines.

Each part's cost is a line through its counts in Yosys's hierarchical statistics of 8x2x2, 8x4x4 and 16x8x8; `FIXED`
closes the sums to those of the flattened netlists.  `benchmarks/resources.py` measures again, and
tests/target/test_resources.py holds the estimate to what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwseg.rtl.config import ROWS_PER_PSUM, ROWS_PER_SET, EngineConfig
from hwseg.rtl.isa import PARAMETER
from hwseg.rtl.residual import WAITING
from hwseg.rtl.skip import PLANES

MARGIN = 0.9
"""Share of a board's resources above which place and route may not close."""

DSP_PER_REQUANTIZER, DSP_PER_HEAD = 4, 1
DSP_PER_CORE = {"table": 0, "table_dsp": 1, "merged": 0}
PARAMETER_BITS = sum(width for name, width in PARAMETER.fields.items() if name != "reserved")


@dataclass(frozen=True)
class Cost:
    """LUTs, those that are memory among them, and flip-flops."""

    lut: float = 0
    lutram: float = 0
    ff: float = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.lut + other.lut, self.lutram + other.lutram, self.ff + other.ff)

    def __rmul__(self, count: float) -> Cost:
        return Cost(count * self.lut, count * self.lutram, count * self.ff)


@dataclass(frozen=True)
class Line:
    """A cost that grows with a size."""

    fixed: Cost
    each: Cost

    def at(self, size: float) -> Cost:
        return self.fixed + size * self.each


# by lanes
CORE = {
    "table": Line(Cost(14, 4, 71), Cost(2.86, 0.835, 4.03)),
    "table_dsp": Line(Cost(-8.4, 2.6, 50.6), Cost(2.84, 0.868, 3.83)),
    "merged": Line(Cost(31, 10, 41), Cost(6.53, 0.03, 10.06)),
}
LOADER = {
    "table": Line(Cost(2, 0, 37), Cost(4.5, 0, 3.42)),
    "merged": Line(Cost(), Cost(0, 0, 8)),
}
LOADER["table_dsp"] = LOADER["table"]
ENCODER = {
    "table": Line(Cost(0, 0, 19), Cost(1, 0, 1)),
    "merged": Line(Cost(), Cost(0.5, 0, 1)),
}
ENCODER["table_dsp"] = ENCODER["table"]
# by pixels
REQUANTIZERS = Line(Cost(-26, 0, 813), Cost(166, 0, 414.5))
OUTPUT = Line(Cost(1800, 8, 3040), Cost(29, 22, 0))
PARTIAL_SUMS = Line(Cost(17, 0, 252), Cost(60, 0, 132))
# by input channels; fewer pixels bring wider multiplexers in front of fewer lanes
WINDOW = Line(Cost(160, 0, 500), Cost(304, 0, 136))

# by lanes of all pixels: the second operands' way to the upper rows
SPLIT = Line(Cost(60, 12, 40), Cost(2.3, 0.5, 1))
# by blocks of eight words in a bank
LEADING_ZEROS = Line(Cost(250, 0, 150), Cost(0.5625, 0.5625, 0))

# an addend for each requantizer, clamped once more; the queues' registers
RESIDUAL = Cost(820, 44, 1090)

FIXED = Cost(2447, 660, 5020)
"""Dispatcher, queues, compute and memory units, registers, weight mover; less what the parts share in the whole."""


def estimate(config: EngineConfig) -> dict[str, float]:
    """lut, lutram, ff, bram36, dsp."""
    total = logic(config)
    return {
        "lut": round(total.lut),
        "lutram": round(total.lutram),
        "ff": round(total.ff),
        "bram36": brams(config),
        "dsp": config.sets * config.pixels * (DSP_PER_REQUANTIZER + DSP_PER_HEAD)
        + DSP_PER_CORE[config.core] * config.rows * config.pixels,
    }


def logic(config: EngineConfig) -> Cost:
    """Everything but block RAMs and DSPs."""
    core, lanes, pixels = config.core, config.lanes, config.pixels
    operands_and_shadow = Cost(ff=pixels * lanes + 64 * config.row_words)
    row = pixels * CORE[core].at(lanes) + LOADER[core].at(lanes) + operands_and_shadow
    psums = ROWS_PER_SET // ROWS_PER_PSUM * PARTIAL_SUMS.at(pixels)
    one_set = REQUANTIZERS.at(pixels) + OUTPUT.at(pixels) + psums
    window = WINDOW.at(config.channels) + Cost(ff=pixels * lanes)
    array = config.rows * row + pixels * ENCODER[core].at(lanes)
    if config.splits:
        array += SPLIT.at(pixels * lanes)
    if config.adds:
        array += RESIDUAL
    return array + config.sets * one_set + window + LEADING_ZEROS.at(config.bank_words / PLANES) + FIXED


def brams(config: EngineConfig) -> float:
    """Block RAMs of 512 words x 72 bits (half ones count half)."""
    psums = config.rows // ROWS_PER_PSUM * memory(config.psum_steps * ROWS_PER_PSUM, 36 * config.pixels)
    words = (config.out_words, config.out_words, config.loop_words, config.loop_words, config.pool_words)
    outputs = config.sets * sum(memory(depth, 64) for depth in words)
    parameters = config.sets * memory(8 * config.param_slots, PARAMETER_BITS)
    return (
        9 * memory(config.bank_words, 64)
        + psums
        + outputs
        + parameters
        + memory(config.weight_words, 64)
        + (memory(ROWS_PER_SET * WAITING, 64) if config.adds else 0)
        + memory(1024, 64)
    )


def memory(words: int, bits: int) -> float:
    """Halves of a block RAM that a memory of one read and one write port takes: 512 x 36 each, deeper ones narrower."""
    depth = max(512, 1 << (words - 1).bit_length())
    width = 36 * 512 // min(depth, 16384)
    return -(-bits // width) * -(-depth // 16384) / 2

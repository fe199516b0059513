"""What an array costs on a 7-series part: an estimate, part by part, calibrated on synthesized engines.

Parts of a row are lines through 18 and 72 lanes, synthesized alone or in 8x2x2; requantizers, output and partial sums
lines through 8x2x2 and 8x4x4, what only two sets have is from 16x8x8-dsp, the latter two of slightly earlier gates.
`FIXED` closes the sum to the flat 8x2x2.  `benchmarks/resources.py` measures again, tests/target/test_resources.py
holds the estimate to it.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwseg.rtl.block_ram import SHALLOW
from hwseg.rtl.config import ROWS_PER_PSUM, ROWS_PER_SET, EngineConfig
from hwseg.rtl.isa import PARAMETER
from hwseg.rtl.residual import PASSING, WAITING
from hwseg.rtl.shadow import PLACED, ROWS_PER_STAGE, THIRDS, in_memory
from hwseg.rtl.skip import PLANES

MARGIN = 0.9
"""Share of a board's resources above which place and route may not close."""

DSP_PER_REQUANTIZER, DSP_PER_HEAD = 4, 1
DSP_PER_CORE = {"table": 0, "table_dsp": 1, "merged": 0}
PARAMETER_BITS = sum(width for name, width in PARAMETER.fields.items() if name != "reserved")


@dataclass(frozen=True)
class Cost:
    """LUTs, those that are memory among them, flip-flops, and of the memories those that are shift registers."""

    lut: float = 0
    lutram: float = 0
    ff: float = 0
    srl: float = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.lut + other.lut, self.lutram + other.lutram, self.ff + other.ff, self.srl + other.srl)

    def __rmul__(self, count: float) -> Cost:
        return Cost(count * self.lut, count * self.lutram, count * self.ff, count * self.srl)


@dataclass(frozen=True)
class Line:
    """A cost that grows with a size."""

    fixed: Cost
    each: Cost

    def at(self, size: float) -> Cost:
        return self.fixed + size * self.each


# by lanes
CORE = {
    "table": Line(Cost(14.3, 1.33, 40.3), Cost(2.87, 0.815, 1.648)),
    "table_dsp": Line(Cost(-10.3, 1.33, -21), Cost(2.77, 0.815, 1.389)),
    "merged": Line(Cost(29.3, 9.33, 35.7, 9.33), Cost(6.537, 0.037, 10.074, 0.037)),
}
LOADER = {
    "table": Line(Cost(92, 0, 35), Cost(0.944, 0.014, 2, 0.014)),
    "merged": Line(Cost(), Cost(0, 0, 8)),
}
LOADER["table_dsp"] = LOADER["table"]
ENCODER = {
    "table": Line(Cost(1, 0, 12), Cost(1, 0, 1)),
    "merged": Line(Cost(), Cost(0.5, 0, 1)),
}
ENCODER["table_dsp"] = ENCODER["table"]
# of a row: what it passes on beside the feed, by no size; its shadow weights, by words or as memory, which has a
# register of a placed word and its row's number for every few rows
PASSED = Cost(4, 0, 5)
SHADOW_WORD, SHADOW_MEMORY = Cost(ff=65), Cost(lut=48, lutram=48, ff=THIRDS)
SHADOW_STAGE = Cost(ff=PLACED.size + 6)
# by pixels
REQUANTIZERS = Line(Cost(83, 67, 113, 67), Cost(216, 57, 118.5, 57))
OUTPUT = Line(Cost(1170, 8, 2720), Cost(55.5, 22, 8))
PARTIAL_SUMS = Line(Cost(57, 49, 104, 49), Cost(58.5, 0, 93))
# by input channels: of all eight pixels (8x8x8), and of fewer, which wider multiplexers choose (8x2x2 and 8x4x4)
WINDOW = Line(Cost(0, 3, 0, 3), Cost(222, 0.125, 195))
WINDOW_IN_STEPS = Line(Cost(-93, 3, 17, 3), Cost(391, 0, 169))

# by lanes of all pixels: the second operands' way to the upper rows
SPLIT = Line(Cost(), Cost(2.77, 0.375, 1.3, 0.375))
# by blocks of eight words in a bank
LEADING_ZEROS = Line(Cost(145, 0, 144), Cost(0.797, 0.5625, 0.047))

# an addend for each requantizer, clamped once more; the queues' registers
RESIDUAL = Cost(820, 44, 1090)
# the choice between its words and the other sets'
FURTHER_SET = Cost(700, 0, 531)

FIXED = Cost(3243, 929, 5012, 275)
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
    return sum(parts(config).values(), Cost())


def parts(config: EngineConfig) -> dict[str, Cost]:
    """The same part by part; what the array has none of is left out."""
    core, lanes, pixels, rows, sets = config.core, config.lanes, config.pixels, config.rows, config.sets
    shadow = rows * config.row_words * SHADOW_WORD
    if in_memory(config):
        shadow = rows * SHADOW_MEMORY + -(-rows // ROWS_PER_STAGE) * SHADOW_STAGE
    found = {
        "cores": rows * pixels * CORE[core].at(lanes),
        "loaders": rows * LOADER[core].at(lanes),
        "shadow": shadow,
        "feeds": rows * (Cost(ff=pixels * lanes) + PASSED),
        "encoders": pixels * ENCODER[core].at(lanes),
        "requantizers": sets * REQUANTIZERS.at(pixels),
        "outputs": sets * OUTPUT.at(pixels) + (sets - 1) * FURTHER_SET,
        "partial sums": sets * (ROWS_PER_SET // ROWS_PER_PSUM) * PARTIAL_SUMS.at(pixels),
        "window": (WINDOW if config.substeps == 1 else WINDOW_IN_STEPS).at(config.channels),
        "leading zeros": LEADING_ZEROS.at(config.bank_words / PLANES),
        "rest": FIXED,
    }
    if config.splits:
        found["upper operands"] = SPLIT.at(pixels * lanes)
    if config.adds:
        found["residual"] = RESIDUAL
    return found


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
        + (sum(memory(ROWS_PER_SET * blocks, 64) for blocks in (WAITING, PASSING)) if config.adds else 0)
        + memory(1024, 64)
    )


def memory(words: int, bits: int) -> float:
    """Block RAMs that a memory of one read and one write port takes, in halves of 512 x 36, deeper ones narrower; none
    if it is made of LUTs.
    """
    if words <= SHALLOW:
        return 0.0
    depth = max(512, 1 << (words - 1).bit_length())
    width = 36 * 512 // min(depth, 16384)
    return -(-bits // width) * -(-depth // 16384) / 2

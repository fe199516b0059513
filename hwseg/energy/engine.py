"""Events of the engine's parts: gates and memories of an array, times what a layer's program and data make of them.

Cores: events per plane cycle, idle cycle and reload, from their synthesized netlist (`hwseg.power.cores`).  Everything
else is counted from the structure: registers and memories that `hwseg.rtl` builds, with the toggle rates of the data
that pass through them.  Shares that are no count are named at the top of this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hwseg.energy.traffic import Traffic
from hwseg.power.cores import CoreActivity
from hwseg.rtl.array import upper_skew
from hwseg.rtl.config import (
    BANKS,
    PAGE_WORDS,
    PSUM_BITS,
    ROWS_PER_PSUM,
    ROWS_PER_SET,
    WORD_CHANNELS,
    WORD_PIXELS,
    EngineConfig,
)
from hwseg.rtl.cores import FAMILIES
from hwseg.rtl.residual import WAITING
from hwseg.rtl.shadow import PLACED, ROWS_PER_STAGE, TABLES, in_memory
from hwseg.target.resources import (
    DSP_PER_CORE,
    DSP_PER_HEAD,
    DSP_PER_REQUANTIZER,
    LOADER,
    PARAMETER_BITS,
    REQUANTIZERS,
    Cost,
    estimate,
    memory,
    parts,
)
from hwseg.toolchain.yosys import LUTS_PER_RAM

SUM_RATE = 0.4
"""Toggles per bit of partial sums and of what the requantizers pass on, between two values."""

LOADER_RATE = 0.4
"""Toggles per LUT and cycle of a loader at work, and per bit of weights that are moved or read."""

SHIFT_BITS = 32
"""Of a LUT that is a shift register."""

WORD_BITS = 8 * WORD_CHANNELS
"""Of weights."""

READ_BESIDE = 2
"""Bits of a RAM32M that are read where it is written."""

Events = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Data:
    """What data do to an array, per plane cycle.

    lane_toggles: share of lanes whose bit differs from the cycle before.  feed_toggles: the same of an encoder's feed,
    between plane cycles.  ones: share of lanes that are 1.
    """

    lane_toggles: float
    feed_toggles: float
    ones: float


def events(config: EngineConfig, traffic: Traffic, data: Data, core: CoreActivity) -> Events:
    """Events of one layer by part (`hwseg.power.activity.PARTS`)."""
    return {
        "cores": cores(config, traffic, data, core),
        "operands": operands(config, traffic, data),
        "loaders": loaders(config, traffic),
        "memories": memories(config, traffic),
        "outputs": outputs(config, traffic),
        "control": control(config, traffic),
        "clock": clock(config, traffic, core),
        "ps": {"axi_beat": float(traffic.read_words + traffic.written_words)},
        "ddr": {"ddr_byte": 8.0 * (traffic.read_words + traffic.written_words)},
    }


def cores(config: EngineConfig, traffic: Traffic, data: Data, core: CoreActivity) -> dict[str, float]:
    """All cores: planes, reloads, and the clock in every cycle."""
    count = config.rows * config.pixels
    found: dict[str, float] = {}

    def add(counts: Mapping[str, float], times: float) -> None:
        for event, value in counts.items():
            found[event] = found.get(event, 0.0) + count * times * value

    add(core.per_plane(data.feed_toggles, data.ones), traffic.plane_cycles)
    add(core.per_reload, traffic.reloads)
    add(core.per_cycle, traffic.cycles)
    return found


def operands(config: EngineConfig, traffic: Traffic, data: Data) -> dict[str, float]:
    """Window, encoders, and the registers that pass the feed from row to row; the banks' output registers are part of
    the block RAMs, so of their words the nets count alone.

    Where layers can be split, the second operands' columns pass through shift registers to a second encoder, which
    shares its LUTs with the choice of the upper rows' feed.  They do so in every layer, split or not.
    """
    feed = config.pixels * FAMILIES[config.core].feed_bits(config.lanes) * data.feed_toggles
    lanes = data.lane_toggles * config.pixels * config.lanes
    word = WORD_PIXELS * WORD_CHANNELS
    banks, lines = BANKS * word * data.lane_toggles, 3 * 3 * WORD_PIXELS * config.channels * data.lane_toggles
    direct = 8 * WORD_PIXELS * config.channels * data.lane_toggles
    registers = lines + direct + lanes + (1 + config.rows) * feed
    multiplexers = 2 * lines + 2 * lanes + feed
    shifted, length = 0, upper_skew(config) + 1
    if config.splits:
        shifted = (config.pixels + 2) * 3 * config.channels
        multiplexers += shifted * data.lane_toggles + feed
        registers += shifted * data.lane_toggles
    return {
        "ff_toggle": traffic.plane_cycles * registers,
        "net_toggle": traffic.plane_cycles * (registers + banks),
        "lut_toggle": traffic.plane_cycles * multiplexers,
        "lut_net_toggle": traffic.plane_cycles * (2 * lines + lanes) / 2,
        "srl_clock": float(traffic.cycles * shifted * -(-length // SHIFT_BITS)),
    }


def loaders(config: EngineConfig, traffic: Traffic) -> dict[str, float]:
    """A tile's weights from the ring into the shadow, and the loaders while they read them and fill the tables."""
    family = FAMILIES[config.core]
    moved = LOADER_RATE * traffic.weight_words
    working = LOADER_RATE * config.rows * (family.reload_cycles + family.reload_lead) * traffic.reloads
    adding = working * LOADER[config.core].at(config.lanes).lut
    registers = moved * shadow_registers(config)
    found = {
        "ff_toggle": registers + adding,
        "net_toggle": registers + moved * WORD_BITS + adding,
        "lut_toggle": moved * WORD_BITS + adding,
        "lut_net_toggle": adding / 2,
    }
    if in_memory(config):
        written = traffic.weight_words * config.lanes / config.row_words
        found["table_write"] = written
        found["table_toggle"] = LOADER_RATE * READ_BESIDE * written + working * 8 * TABLES
        found["lut_net_toggle"] += working * 8 * TABLES
    return found


def shadow_registers(config: EngineConfig) -> int:
    """Bits of flip-flops that a word of weights passes or shifts on its way from the ring into the shadow: the mover's,
    then a register for every four rows, or the whole chain.
    """
    if in_memory(config):
        return WORD_BITS + -(-config.rows // ROWS_PER_STAGE) * PLACED.size
    return 2 * WORD_BITS + config.tile_words * WORD_BITS


def memories(config: EngineConfig, traffic: Traffic) -> dict[str, float]:
    """Block RAMs: each port counts in the cycles in which it is enabled.

    Read: the nine input banks with a plane, partial sums in steps that do not start them, all sets' output or pool
    memories with a word that is stored and their loop memories with one that is moved, the ring with a word of weights,
    requantizer parameters with a row of sums, rows of residual additions while they wait, which is two RUNs long;
    instructions in every cycle.
    """
    psum = config.rows * memory(config.psum_steps * ROWS_PER_PSUM, PSUM_BITS * config.pixels)
    bank, out, loop = (memory(words, 64) for words in (config.bank_words, config.out_words, config.loop_words))
    pool, ring = memory(config.pool_words, 64), memory(config.weight_words, 64)
    parameters = memory(ROWS_PER_SET * config.param_slots, PARAMETER_BITS)
    read = BANKS * bank * traffic.plane_cycles + psum * (traffic.steps - traffic.first_steps)
    read += 2 * config.sets * (out * (traffic.written_words - traffic.pool_words) + loop * traffic.moved_steps)
    read += config.sets * pool * traffic.pool_words + ring * traffic.ring_words
    waiting = memory(ROWS_PER_SET * WAITING, WORD_BITS) * ROWS_PER_SET * traffic.waiting_steps
    read += 2 * waiting + parameters * config.rows * traffic.last_steps + memory(2 * PAGE_WORDS, 64) * traffic.cycles
    written = psum * (traffic.steps - traffic.last_steps) + bank * traffic.window_words
    written += out * (traffic.written_words - traffic.pool_words) + pool * traffic.pool_words
    written += 2 * loop * traffic.moved_steps + ring * traffic.ring_written
    written += waiting
    return {"bram_read": float(read), "bram_write": float(written)}


def outputs(config: EngineConfig, traffic: Traffic) -> dict[str, float]:
    """Partial sums: selection, addition, write back, of every row of a step; requantizers, of the last sums only.

    A head's slice multiplies every value, though in most layers by 0.
    """
    selected, passed = passing(config, traffic)
    sums, bits = selected * config.pixels, SUM_RATE * PSUM_BITS
    values, each = passed * config.pixels, SUM_RATE * REQUANTIZERS.each
    return {
        "lut_toggle": 2 * bits * sums + each.lut * values,
        "lut_net_toggle": bits * sums + each.lut * values / 2,
        "carry_toggle": bits * sums,
        "ff_toggle": 2 * bits * sums + (bits + each.ff) * values,
        "net_toggle": 3 * bits * sums + (bits + each.ff) * values,
        "dsp_multiply": float((DSP_PER_REQUANTIZER + DSP_PER_HEAD) * values),
    }


def passing(config: EngineConfig, traffic: Traffic) -> tuple[int, int]:
    """Rows of sums that all stores select, and rows that they let out to the requantizers."""
    return traffic.steps * config.rows, traffic.last_steps * config.rows


COUNTED = ("cores", "loaders", "shadow")
"""Parts of the array of which every LUT is counted elsewhere."""


def control(config: EngineConfig, traffic: Traffic) -> dict[str, float]:
    """Every LUT that no other part has counted, in every cycle."""
    rest = sum((cost for name, cost in parts(config).items() if name not in COUNTED), Cost()).lut
    rest -= config.sets * config.pixels * REQUANTIZERS.each.lut
    return {"control_lut": rest * traffic.cycles, "control_net": rest * traffic.cycles}


def clock(config: EngineConfig, traffic: Traffic, core: CoreActivity) -> dict[str, float]:
    """Flip-flops, LUT memories, shift registers and DSP slices outside the cores, in every cycle, and the tree.

    A LUT memory has a clock pin as a flip-flop has.  The shift registers of the upper rows' operands count with these.
    """
    whole, count = estimate(config), config.rows * config.pixels
    outside = {name: cost for name, cost in parts(config).items() if name != "cores"}
    memories = sum(cost.lutram - cost.srl for cost in outside.values()) / LUTS_PER_RAM["RAM32M"]
    shifts = sum(cost.srl for name, cost in outside.items() if name != "upper operands")
    slices = whole["dsp"] - DSP_PER_CORE[config.core] * count
    return {
        "ff_clock": (max(0.0, whole["ff"] - count * core.ff) + memories) * traffic.cycles,
        "srl_clock": shifts * traffic.cycles,
        "dsp_clock": slices * traffic.cycles,
        "clock_tree": float(traffic.cycles),
    }

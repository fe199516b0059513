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
from hwseg.rtl.config import BANKS, PAGE_WORDS, PSUM_BITS, ROWS_PER_PSUM, WORD_CHANNELS, WORD_PIXELS, EngineConfig
from hwseg.rtl.cores import FAMILIES
from hwseg.target.resources import DSP_PER_CORE, DSP_PER_REQUANTIZER, LOADER, PARAMETER_BITS, estimate, memory

SUM_RATE = 0.4
"""Toggles per bit of partial sums and of what the requantizers pass on, between two values."""

LOADER_RATE = 0.4
"""Toggles per LUT and cycle of a loader at work, and per bit of weights that are shifted."""

SHIFT_BITS = 32
"""Of a LUT that is a shift register."""

REQUANTIZER_LUT, REQUANTIZER_FF = 209, 347
"""Of one requantizer: what one value toggles, at `SUM_RATE`."""

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
        "control": control(config, traffic, core),
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
    """Window, encoders, and the registers that pass the feed from row to row.

    Where layers can be split, the second operands' columns pass through shift registers to a second encoder, which
    shares its LUTs with the choice of the upper rows' feed.  They do so in every layer, split or not.
    """
    feed = config.pixels * FAMILIES[config.core].feed_bits(config.lanes) * data.feed_toggles
    lanes = data.lane_toggles * config.pixels * config.lanes
    word = WORD_PIXELS * WORD_CHANNELS
    banks, lines = BANKS * word * data.lane_toggles, 3 * 3 * WORD_PIXELS * config.channels * data.lane_toggles
    direct = 8 * WORD_PIXELS * config.channels * data.lane_toggles
    registers = banks + lines + direct + lanes + (1 + config.rows) * feed
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
    """A tile's weights shifted into place, and the loaders' adders while they fill the tables."""
    shadow = LOADER_RATE * config.rows * config.row_words * 64 * traffic.weight_words
    family = FAMILIES[config.core]
    adding = LOADER_RATE * config.rows * LOADER[config.core].at(config.lanes).lut
    adding *= (family.reload_cycles + family.reload_lead) * traffic.reloads
    return {
        "ff_toggle": shadow + adding,
        "net_toggle": shadow + adding,
        "lut_toggle": adding,
        "lut_net_toggle": adding / 2,
    }


def memories(config: EngineConfig, traffic: Traffic) -> dict[str, float]:
    """Block RAMs: each port counts in the cycles in which it is enabled.

    Read: the nine input banks with a plane, partial sums in steps that do not start them, all sets' output or pool
    memories with a word that is stored and their loop memories with one that is moved, the ring with a word of weights;
    requantizer parameters and instructions in every cycle.
    """
    psum = config.rows * memory(config.psum_steps * ROWS_PER_PSUM, PSUM_BITS * config.pixels)
    bank, out, loop = (memory(words, 64) for words in (config.bank_words, config.out_words, config.loop_words))
    pool, ring = memory(config.pool_words, 64), memory(config.weight_words, 64)
    always = config.sets * memory(8 * config.param_slots, PARAMETER_BITS) + memory(2 * PAGE_WORDS, 64)
    read = BANKS * bank * traffic.plane_cycles + psum * (traffic.steps - traffic.first_steps)
    read += 2 * config.sets * (out * (traffic.written_words - traffic.pool_words) + loop * traffic.moved_steps)
    read += config.sets * pool * traffic.pool_words + ring * traffic.ring_words + always * traffic.cycles
    written = psum * (traffic.steps - traffic.last_steps) + bank * traffic.window_words
    written += out * (traffic.written_words - traffic.pool_words) + pool * traffic.pool_words
    written += 2 * loop * traffic.moved_steps + ring * traffic.ring_written
    return {"bram_read": float(read), "bram_write": float(written)}


def outputs(config: EngineConfig, traffic: Traffic) -> dict[str, float]:
    """Partial sums: selection, addition, write back; requantizers, of the last sums only."""
    sums = traffic.steps * config.rows * config.pixels
    last = traffic.last_steps * config.rows * config.pixels
    bits = SUM_RATE * PSUM_BITS
    return {
        "lut_toggle": 2 * bits * sums + SUM_RATE * REQUANTIZER_LUT * last,
        "lut_net_toggle": bits * sums + SUM_RATE * REQUANTIZER_LUT * last / 2,
        "carry_toggle": bits * sums,
        "ff_toggle": 4 * bits * sums + SUM_RATE * REQUANTIZER_FF * last,
        "net_toggle": 4 * bits * sums + SUM_RATE * REQUANTIZER_FF * last,
        "dsp_multiply": float(DSP_PER_REQUANTIZER * last),
    }


def control(config: EngineConfig, traffic: Traffic, core: CoreActivity) -> dict[str, float]:
    """Every LUT that no other part has counted, in every cycle."""
    count = config.rows * config.pixels
    counted = count * core.lut + config.rows * LOADER[config.core].at(config.lanes).lut
    counted += config.sets * config.pixels * REQUANTIZER_LUT
    rest = max(0.0, estimate(config)["lut"] - counted)
    return {"control_lut": rest * traffic.cycles, "control_net": rest * traffic.cycles}


def clock(config: EngineConfig, traffic: Traffic, core: CoreActivity) -> dict[str, float]:
    """Flip-flops and DSP slices outside the cores, in every cycle, and the tree."""
    whole, count = estimate(config), config.rows * config.pixels
    slices = whole["dsp"] - DSP_PER_CORE[config.core] * count
    return {
        "ff_clock": max(0.0, whole["ff"] - count * core.ff) * traffic.cycles,
        "dsp_clock": slices * traffic.cycles,
        "clock_tree": float(traffic.cycles),
    }

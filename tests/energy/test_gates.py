"""What the estimate counts is what the gates have: clocks of the resources, toggles of the simulated registers."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from amaranth.hdl import Fragment, Module, Signal, Value
from amaranth.lib.wiring import Component, In, Out
from amaranth.sim import Simulator

from hwseg.arith.types import CoreSpec
from hwseg.energy.engine import LOADER_RATE, WORD_BITS, Data, events, passing, shadow_registers
from hwseg.energy.traffic import Traffic
from hwseg.power.cores import core_activity
from hwseg.rtl.array import Row, connect_shadow
from hwseg.rtl.back import Back
from hwseg.rtl.config import ROWS_PER_SET, EngineConfig, parse_array
from hwseg.rtl.cores import FAMILIES
from hwseg.rtl.emit import Library
from hwseg.rtl.shadow import CHAIN, TABLES, THIRDS, chained, in_memory
from hwseg.target.resources import CORE, estimate, logic, parts

NOTHING = Traffic(*(0,) * 15)
STILL = Data(0.0, 0.0, 0.0)
PRODUCTS = tuple(f"{a}_{b}_product_0" for a in ("low", "high") for b in ("low", "high"))
"""Registers of a requantizer, behind its multipliers."""
HALF = 0.5
"""Toggles per bit of random words."""


def counted(config: EngineConfig, traffic: Traffic, event: str) -> float:
    """Of all parts together."""
    core = core_activity(config.core, config.lanes)
    return sum(counts.get(event, 0.0) for counts in events(config, traffic, STILL, core).values())


@pytest.mark.parametrize("core", list(FAMILIES))
def test_a_cycle_clocks_what_the_array_has_and_no_more(core):
    """Flip-flops, LUT memories (four LUTs with a clock pin), shift registers, slices: of every array once.

    Of eight channels, because other cores' events are scaled from these.
    """
    cycle = replace(NOTHING, cycles=1)
    for shape in ("16x8x8", "8x8x8", "64x8x8", "24x4x8", "8x1x8"):
        config = parse_array(shape, core)
        cost = logic(config)
        clocked = cost.ff + (cost.lutram - cost.srl) / 4
        assert counted(config, cycle, "ff_clock") == pytest.approx(clocked, rel=0.01), config.name
        assert counted(config, cycle, "srl_clock") == pytest.approx(cost.srl, rel=0.06), config.name
        assert counted(config, cycle, "dsp_clock") == estimate(config)["dsp"], config.name
        assert counted(config, cycle, "control_lut") <= cost.lut - parts(config)["cores"].lut, config.name


@pytest.mark.parametrize("core", list(FAMILIES))
def test_measured_cores_are_those_of_the_array(core):
    """Cores that were changed since they were measured have other flip-flops, LUTs and memories."""
    found = core_activity(core, 72)
    cost = CORE[core].at(72)
    assert found.ff == pytest.approx(cost.ff, rel=0.1)
    assert found.lut == pytest.approx(cost.lut, rel=0.12 if core != "merged" else 1.0)  # small LUTs are not paired
    pins = found.per_cycle["ff_clock"] - found.ff
    assert pins == pytest.approx((cost.lutram - cost.srl) / 4, abs=0.5)
    assert found.per_cycle["srl_clock"] == pytest.approx(cost.srl, abs=0.5)


def registers(fragment: Any) -> list[Signal]:
    """Flip-flops of an elaborated design, but those inside memories."""
    driven = [statement for domain, every in fragment.statements.items() if domain != "comb" for statement in every]
    signals = {id(signal): signal for statement in driven for signal in statement._lhs_signals()}
    own = [signal for signal in signals.values() if signal.name != "kept"]  # the register in a block RAM
    return own + [signal for below, _, _ in fragment.subfragments for signal in registers(below)]


def history(
    dut: Component, drive: Callable[[Any], Coroutine[Any, Any, None]], *names: str
) -> list[tuple[str, list[int]]]:
    """Every flip-flop's name, or those of these names, and its values in the cycles of `drive`."""
    fragment: Any = Fragment.get(dut, None)
    watched = [signal for signal in registers(fragment) if not names or signal.name in names]
    seen: list[list[int]] = [[] for _ in watched]
    simulator = Simulator(fragment)
    simulator.add_clock(1e-6)

    async def watch(ctx):
        while True:
            await ctx.tick()
            for values, signal in zip(seen, watched, strict=True):
                values.append(ctx.get(Value.cast(signal)))

    simulator.add_testbench(drive)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    return [(signal.name, values) for signal, values in zip(watched, seen, strict=True)]


class Shadows(Component):
    """The shadow weights of an array, as `hwseg.rtl.array` connects them; `enables`: of the rows' LUT memories."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__({"chain": In(CHAIN), "enables": Out(THIRDS * config.rows)})

    def elaborate(self, platform):
        m, library = Module(), Library(flat=True)
        rows = [Row(self.config, library) for _ in range(self.config.rows)]
        connect_shadow(m, self.config, rows, self.chain)
        for number, row in enumerate(rows):
            row._MustUse__used = True  # only its ports are
            if in_memory(self.config):
                m.d.comb += self.enables[THIRDS * number : THIRDS * (number + 1)].eq(row.placed.enable)
                continue
            m.submodules[f"row_{number}"] = below = Module()
            words = chained(below, library, self.config.row_words, row.chain, row.chain_enable)
            below.d.comb += row.chain_next.eq(words[0])
        return m


@pytest.mark.parametrize("array", ["16x8x8-dsp", "8x8x8", "8x2x2", "8x2x1-merged"])
def test_a_word_of_weights_toggles_what_it_passes(array):
    """Two tiles of random words: the second one's toggles, and both tiles' writes of LUT memories."""
    config, rng = parse_array(array), random.Random(0)
    dut, writes = Shadows(config), 0

    async def drive(ctx):
        nonlocal writes
        for _ in range(2):
            for number in range(config.tile_words):
                row, word = divmod(number, config.row_words)
                ctx.set(dut.chain, {"enable": 1, "row": row, "word": word, "data": rng.getrandbits(64)})
                await ctx.tick()
                writes += ctx.get(dut.enables).bit_count()
        ctx.set(dut.chain.enable, 0)
        for _ in range(8):
            await ctx.tick()
            writes += ctx.get(dut.enables).bit_count()

    second = slice(config.tile_words, None)
    toggled = (
        sum((a ^ b).bit_count() for _, values in history(dut, drive) for a, b in pairwise(values[second]))
        / config.tile_words
    )
    # the mover's own register is not simulated here
    assert toggled == pytest.approx(HALF * (shadow_registers(config) - WORD_BITS), rel=0.12)
    words = replace(NOTHING, weight_words=config.tile_words)
    core = core_activity(config.core, config.lanes)
    found = events(config, words, STILL, core)["loaders"]
    assert found["ff_toggle"] == pytest.approx(LOADER_RATE * config.tile_words * shadow_registers(config))
    assert 2 * found.get("table_write", 0) == writes * TABLES // THIRDS


@pytest.mark.parametrize(
    ("core", "planes", "last"),
    [("table_dsp", 8, False), ("table_dsp", 4, True), ("table_dsp", 1, False), ("table", 8, True)],
)
def test_sums_pass_as_often_as_is_counted(core, planes, last):
    """Steps one after the other, with sums that grow plane by plane or are kept, in the gates behind the array: what is
    not wanted is neither selected nor requantized.
    """
    config, delay, steps = parse_array("8x1x1", core), 2, 12
    interval = max(planes, 8 if last else 4)
    dut = Back(config, Library(flat=True), sum_bits=CoreSpec(config.lanes).sum_bits, delay=delay)
    rng, sums = random.Random(planes), [0] * config.rows

    async def drive(ctx):
        for entry in range(ROWS_PER_SET):
            triple = {"offset": rng.getrandbits(20), "shift": 3, "multiplier": rng.getrandbits(20)}
            ctx.set(dut.parameter_write, {"enable": 1, "address": entry, "data": triple})
            await ctx.tick()
        ctx.set(dut.parameter_write.enable, 0)
        for cycle in range(steps * interval):
            ctx.set(dut.token, {"valid": cycle % interval == planes - 1, "first": 1, "last": last})
            for row in range(config.rows):
                plane = (cycle - delay - 1 - row) % interval
                if plane == planes - 1 or (plane < planes and not FAMILIES[core].keeps):
                    sums[row] = rng.getrandbits(16) - (1 << 15)
            ctx.set(dut.sums, [[value] for value in sums])
            await ctx.tick()

    def changes(name: str) -> float:
        """Per step, of all flip-flops of that name, without the first steps and the last."""
        inner = slice(ROWS_PER_SET + 5 * interval, ROWS_PER_SET + (steps - 2) * interval + 1)
        return sum(sum(a != b for a, b in pairwise(values[inner])) for found, values in seen if found == name) / (
            steps - 7
        )

    seen = history(dut, drive, "selected", "acc_0", *PRODUCTS)
    walk = replace(NOTHING, steps=steps, walking=steps * interval, plane_cycles=steps * planes)
    selected, passed = passing(config, replace(walk, last_steps=steps * last))
    assert changes("selected") == pytest.approx(selected / steps, abs=0.01)
    assert changes("acc_0") == pytest.approx(passed / steps, abs=0.01)
    for name in PRODUCTS:
        assert changes(name) <= passed / steps + 0.01, name

"""Shadow weights in LUT memory: every loader reads what the words brought, table by table and lane by lane."""

from __future__ import annotations

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out
from amaranth.sim import Simulator

from hwseg.arith.table import LANES
from hwseg.rtl.array import lane_order
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.cores.table import lane_code
from hwseg.rtl.shadow import CHAIN, ROWS_PER_STAGE, TABLES, ShadowMemory, in_memory, place_words

ROWS = 9


class Shadows(Component):
    """Shadows of some rows, all read at one lane."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        super().__init__(
            {"chain": In(CHAIN), "lane": In(3), "weights": Out(data.ArrayLayout(data.ArrayLayout(8, TABLES), rows))}
        )

    def elaborate(self, platform):
        m = Module()
        for row, placed in enumerate(place_words(m, self.rows, self.chain)):
            m.submodules[f"row_{row}"] = memory = ShadowMemory()
            m.d.comb += [memory.write.eq(placed), memory.lane.eq(self.lane), self.weights[row].eq(memory.weights)]
        return m


@pytest.mark.parametrize("seed", range(3))
def test_each_table_reads_the_weights_of_its_six_lanes(seed):
    """Random tiles with gaps; nothing but the words that are enabled is taken, and rows keep theirs."""
    rng = random.Random(seed)
    config = EngineConfig(rows=16)
    order, dut = lane_order(config.channels), Shadows(ROWS)
    wrong = []

    async def testbench(ctx):
        for _ in range(3):
            tile = [[rng.getrandbits(64) for _ in range(config.row_words)] for _ in range(ROWS)]
            for row, words in enumerate(tile):
                for number, word in enumerate(words):
                    ctx.set(dut.chain, {"enable": 1, "row": row, "word": number, "data": word})
                    await ctx.tick()
                    while rng.random() < 0.3:
                        noise = {"row": rng.randrange(ROWS), "word": rng.randrange(9), "data": rng.getrandbits(64)}
                        ctx.set(dut.chain, {"enable": 0, **noise})
                        await ctx.tick()
            ctx.set(dut.chain.enable, 0)
            for _ in range(2 + ROWS // ROWS_PER_STAGE):
                await ctx.tick()
            for lane in range(LANES):
                ctx.set(dut.lane, lane_code(lane))
                for row, words in enumerate(tile):
                    flat = [word >> 8 * i & 255 for word in words for i in range(8)]
                    for table in range(TABLES):
                        if ctx.get(dut.weights[row][table]) != flat[order[LANES * table + lane]]:
                            wrong.append((row, table, lane))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert not wrong


def test_only_table_cores_of_eight_channels_have_their_shadow_in_memory():
    found = [
        (core, channels)
        for core in ("table", "table_dsp", "merged")
        for channels in (1, 2, 4, 8)
        if in_memory(EngineConfig(channels=channels, core=core))
    ]
    assert found == [("table", 8), ("table_dsp", 8)]

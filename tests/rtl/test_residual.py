"""Input kept for residual additions, against Python lists, in Amaranth's simulator."""

import random
from dataclasses import replace

import pytest
from amaranth.sim import Simulator

from hwseg.rtl.config import parse_array
from hwseg.rtl.emit import verilog
from hwseg.rtl.residual import COPIES, WAITING, ResidualQueues
from hwseg.target.resources import brams


def simulate(dut, bench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def words(block, planes):
    """A block's values [pixel][channel], plane by plane, the most significant first."""
    for plane in reversed(range(planes)):
        yield sum((block[bit // 8][bit % 8] >> plane & 1) << bit for bit in range(64))


def drawn(rng, planes, count):
    return [[[rng.randrange(1 << planes) for _ in range(8)] for _ in range(8)] for _ in range(count)]


async def put(ctx, dut, block, planes, number, gap):
    ctx.set(dut.set, number)
    for plane, word in enumerate(words(block, planes)):
        ctx.set(dut.word, word)
        ctx.set(dut.valid, (1 << COPIES) - 1)
        ctx.set(dut.first, plane == 0)
        ctx.set(dut.last, plane == planes - 1)
        await ctx.tick()
    ctx.set(dut.valid, 0)
    for _ in range(gap):
        await ctx.tick()


async def take(ctx, dut, number):
    ctx.set(dut.take, 1 << number)
    await ctx.tick()
    ctx.set(dut.take, 0)
    return [ctx.get(dut.rows[number][pixel]) for pixel in range(8)]


def rows_of(block):
    return [[block[pixel][channel] for pixel in range(8)] for channel in range(8)]


@pytest.mark.parametrize("planes", [1, 4, 8])
def test_rows_come_out_as_they_went_in(planes):
    """The first set's queue is filled to its end, then the second one's blocks pass, then both are emptied."""
    dut, rng = ResidualQueues(), random.Random(planes)
    waiting, passing = drawn(rng, planes, WAITING), drawn(rng, planes, 4)

    async def bench(ctx):
        for block in waiting:
            await put(ctx, dut, block, planes, 0, 8 - planes)
        for block in passing:
            await put(ctx, dut, block, planes, 1, 8 - planes)
        for _ in range(12):
            await ctx.tick()
        for number, blocks in ((0, waiting), (1, passing)):
            for block in blocks:
                for row in rows_of(block):
                    assert await take(ctx, dut, number) == row

    simulate(dut, bench)


def test_a_queue_goes_round_while_rows_are_taken():
    dut, rng = ResidualQueues(), random.Random(0)
    blocks, found = drawn(rng, 8, 3 * WAITING), []

    async def bench(ctx):
        for k, block in enumerate(blocks):
            await put(ctx, dut, block, 8, 0, 8)
            if k >= 3:
                found.extend([await take(ctx, dut, 0) for _ in range(8)])

    simulate(dut, bench)
    assert found == [row for block in blocks[:-3] for row in rows_of(block)]


def test_a_set_without_channels_takes_nothing():
    """Taking from an empty queue leaves the next block's rows in their order."""
    dut, (block,) = ResidualQueues(), drawn(random.Random(1), 8, 1)

    async def bench(ctx):
        for _ in range(40):
            await take(ctx, dut, 1)
        await put(ctx, dut, block, 8, 1, 12)
        for row in rows_of(block):
            assert await take(ctx, dut, 1) == row

    simulate(dut, bench)


def test_the_queues_take_the_block_ram_that_the_estimate_says():
    """The array with them against the next larger one without, by the estimate."""
    sets = {number: parse_array(f"{8 * number}x8x8") for number in (2, 3)}
    assert [config.adds for config in sets.values()] == [True, False]
    each = brams(sets[3]) - brams(replace(sets[3], rows=32))
    expected = brams(sets[2]) - (brams(sets[3]) + each)
    assert verilog(ResidualQueues(), "part").count("RAMB18E1 #(") == 2 * expected > 0

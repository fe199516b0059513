"""Transfers cut into bursts, against a list of words, in Amaranth's simulator."""

import random

import pytest
from amaranth.sim import Simulator

from hwseg.rtl.bus import PREPARATION, Bursts

BLOCK = 128


def expected(address, words, runs, stride):
    """Address and beats of every burst: runs cut at the blocks' boundaries."""
    found = []
    for run in range(runs):
        at, left = address + run * stride, words
        while left:
            beats = min(left, (BLOCK - at % BLOCK) // 8)
            found.append((at % (1 << 32), beats))
            at, left = at + 8 * beats, left - beats
    return found


def transfers(rng):
    """Short rows of every length at every place of a block; long ones; a burst a cycle."""
    for words in (*range(1, 20), 33, 100):
        yield 0x1000 + 8 * rng.randrange(64), words, rng.randrange(1, 6), 8 * rng.randrange(1, 200)
    yield 0x2078, 1, 40, 8
    yield 0x2000, 4, 20, 32
    yield 0x2078, 2, 9, 128
    yield 0x1F80, 300, 1, 0


@pytest.mark.parametrize("busy", [0.0, 0.5])
def test_bursts_are_the_transfers_words_in_order(busy):
    rng = random.Random(1)
    dut = Bursts()
    wanted = list(transfers(rng))

    async def bench(ctx):
        ctx.set(dut.grant, {"base": 0, "limit": 0x100000 // BLOCK})
        for address, words, runs, stride in wanted:
            ctx.set(dut.transfer, {"address": address, "run_words": words, "runs": runs, "stride": stride})
            ctx.set(dut.load, 1)
            await ctx.tick()
            ctx.set(dut.load, 0)
            waited = 1
            while not ctx.get(dut.prepared):
                waited += 1
                await ctx.tick()
            assert waited <= PREPARATION
            for _ in range(rng.randrange(4)):
                await ctx.tick()
            ctx.set(dut.allow, 1)
            await ctx.tick()
            ctx.set(dut.allow, 0)
            bursts, beats, cycles, ends = [], 0, 0, 0
            while ctx.get(dut.busy):
                ready = rng.random() >= busy
                ctx.set(dut.ready, ready)
                if ctx.get(dut.go):
                    assert ready
                    bursts.append((ctx.get(dut.address), ctx.get(dut.length) + 1))
                beats += ctx.get(dut.beat)
                ends += ctx.get(dut.burst_end)
                assert not ctx.get(dut.outside)
                assert ctx.get(dut.end) == (beats == words * runs and ctx.get(dut.beat))
                cycles += 1
                await ctx.tick()
            assert bursts == expected(address, words, runs, stride)
            assert (beats, ends) == (words * runs, len(bursts))
            if not busy:
                assert cycles == words * runs

    simulate(dut, bench)


@pytest.mark.parametrize(
    ("address", "words", "runs", "stride", "refused"),
    [
        (0x3000, 8, 1, 0, 0x3000),
        (0x2FF8, 2, 1, 0, 0x3000),
        (0xF80, 1, 1, 0, 0xF80),
        (0x1000, 1, 3, 0xFFFFF8, 0x1000FF8),
        (0x1000, 0, 4, 64, None),
        (0x1000, 4, 0, 64, None),
    ],
)
def test_what_lies_outside_or_is_empty_is_refused(address, words, runs, stride, refused):
    dut = Bursts()

    async def bench(ctx):
        ctx.set(dut.grant, {"base": 0x1000 // BLOCK, "limit": 0x3000 // BLOCK})
        ctx.set(dut.ready, 1)
        ctx.set(dut.transfer, {"address": address, "run_words": words, "runs": runs, "stride": stride})
        ctx.set(dut.load, 1)
        await ctx.tick()
        ctx.set(dut.load, 0)
        for _ in range(PREPARATION - 1):
            await ctx.tick()
        ctx.set(dut.allow, 1)
        await ctx.tick()
        ctx.set(dut.allow, 0)
        gone = 0
        while not ctx.get(dut.outside):
            gone += ctx.get(dut.go)
            assert ctx.get(dut.busy)
            await ctx.tick()
        assert refused is None or ctx.get(dut.address) == refused
        assert gone == (0 if refused in (None, address) else 1)
        await ctx.tick()
        assert not ctx.get(dut.busy)

    simulate(dut, bench)


def simulate(dut, bench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()

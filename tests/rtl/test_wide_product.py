"""acc * multiplier + offset in four slices, against Python's integers."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from hwseg.rtl.wide_product import ACC_BITS, MULTIPLIER_BITS, OFFSET_BITS, PRODUCT_BITS, WideProducts


def edges(bits: int, half: int = 17) -> list[int]:
    """Ends of the range, and what has all ones or zeros in a half."""
    top = 1 << (bits - 1)
    found = {0, 1, -1, top - 1, -top, -top + 1, (1 << half) - 1, 1 << half, -(1 << half), (1 << half) + 1}
    return sorted(v for v in found if -top <= v < top)


def cases(seed: int) -> list[tuple[int, int, int]]:
    rng = random.Random(seed)
    offsets = [*edges(OFFSET_BITS, 46), *edges(OFFSET_BITS, 34)]
    every = [(a, b, rng.choice(offsets)) for a in edges(ACC_BITS) for b in edges(MULTIPLIER_BITS)]
    every += [(rng.choice(edges(ACC_BITS)), rng.choice(edges(MULTIPLIER_BITS)), o) for o in offsets for _ in range(8)]
    draws = [(rng.getrandbits(ACC_BITS), rng.getrandbits(MULTIPLIER_BITS), rng.getrandbits(OFFSET_BITS)) for _ in range(200)]
    every += [
        (a - (1 << (ACC_BITS - 1)), b - (1 << (MULTIPLIER_BITS - 1)), o - (1 << (OFFSET_BITS - 1))) for a, b, o in draws
    ]
    rng.shuffle(every)
    return every


@pytest.mark.parametrize("seed", range(2))
def test_every_product_is_exact_one_a_cycle(seed):
    """Modulo 2^62, in which every sum of a network fits."""
    dut, given, found = WideProducts(2), cases(seed), []

    async def testbench(ctx):
        for cycle in range(len(given) + dut.latency):
            acc = given[min(cycle, len(given) - 1)][0]
            ctx.set(dut.acc, [acc, ~acc])
            before = given[min(max(cycle - 1, 0), len(given) - 1)]
            ctx.set(dut.multiplier, before[1])
            ctx.set(dut.offset, before[2])
            if cycle >= dut.latency:
                found.append([ctx.get(value) for value in dut.value])
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    half = 1 << (PRODUCT_BITS - 1)
    assert found == [[(x * b + o + half) % (2 * half) - half for x in (a, ~a)] for a, b, o in given]

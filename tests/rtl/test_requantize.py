"""The requantizers in gates against their definition, in Amaranth's simulator."""

import random
from fractions import Fraction

import pytest
from amaranth.sim import Simulator

from hwseg.arith.requantize import Triple, fit
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.requantize import Requantizers

CONFIG = EngineConfig(rows=8, pixels=2, channels=1, param_slots=16)


def results(cases, low, high):
    """y and raw of each case (triple, acc), one per cycle through the pipeline."""
    dut = Requantizers(CONFIG)
    found = []

    async def bench(ctx):
        # The other half of the configuration must not matter.
        bounds = {"low": low & 0x1FF, "high": high & 0x1FF}
        ctx.set(dut.back, [{"low": 1, "high": 2}, bounds | {f"first_{name}": b for name, b in bounds.items()}])
        ctx.set(dut.token.half, 1)
        for entry, (triple, _) in enumerate(cases):
            ctx.set(
                dut.write,
                {
                    "enable": 1,
                    "address": entry,
                    "data": {"offset": triple.o, "shift": triple.s, "multiplier": triple.m, "dot": entry % 256 - 128},
                },
            )
            await ctx.tick()
        ctx.set(dut.write.enable, 0)
        ctx.set(dut.parameters_at, 0)
        ctx.set(dut.parameters_wanted, 1)
        await ctx.tick()
        for cycle in range(len(cases) + dut.latency):
            ctx.set(dut.parameters_at, min(cycle + 1, len(cases) - 1))
            ctx.set(dut.parameters_wanted, cycle + 1 < len(cases))
            if cycle < len(cases):
                ctx.set(dut.row, cycle % 8)
                ctx.set(dut.token.slot, cycle // 8)
                ctx.set(dut.token.valid, 1)
                ctx.set(dut.acc, [cases[cycle][1], -cases[cycle][1]])
            else:
                ctx.set(dut.token.valid, 0)
            await ctx.tick()
            if ctx.get(dut.out_token.valid):
                assert ctx.get(dut.out_row) == len(found) % 8
                dot = len(found) % 256 - 128
                assert ctx.get(dut.out_dot) == dot
                found.append(([ctx.get(y) for y in dut.y], [ctx.get(r) for r in dut.raw]))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(found) == len(cases)
    return found


def corners(rng):
    yield from (
        (Triple(1, 0, s), a) for s in (0, 1, 7, 8, 15, 16) for a in (0, 1, 3, -1, (1 << 31) - 1, -(1 << 31) + 1)
    )
    for s in (1, 2, 8, 9, 30, 54, 55):
        half = 1 << (s - 1)
        offsets = [o for o in (half, half - 1, 3 * half, -half, (1 << 55) - 1, -(1 << 55)) if abs(o) <= 1 << 55]
        yield from ((Triple(1, o, s), a) for o in offsets if o != 1 << 55 for a in (0, 1))
    for _ in range(40):
        yield (
            Triple(rng.randrange(-(1 << 29) + 1, 1 << 29), rng.randrange(-(1 << 55), 1 << 55), rng.randrange(56)),
            rng.randrange(-(1 << 31), 1 << 31),
        )


@pytest.mark.parametrize(("low", "high"), [(0, 255), (-128, 127), (0, 3), (-8, 7)])
def test_every_output_is_the_rounded_clamped_quotient(low, high):
    cases = list(corners(random.Random(low)))
    for chunk in range(0, len(cases), 128):
        part = cases[chunk : chunk + 128]
        for (triple, acc), (ys, raws) in zip(part, results(part, low, high), strict=True):
            for a, y, raw in zip((acc, -acc), ys, raws, strict=True):
                assert y == triple(a, low, high) & 0xFF
                assert raw == (a * triple.m + triple.o) & 0xFFFFFFFF


def test_fitted_triples_round_ties_to_even():
    triple = fit(Fraction(1, 8), Fraction(0), 0, 255, -100, 3000)
    cases = [(triple, a) for a in range(0, 120)]
    assert [ys[0] for ys, _ in results(cases, 0, 255)] == [round(Fraction(a, 8)) for a in range(120)]


@pytest.mark.parametrize(("first", "last"), [((0, 255), (0, 255)), ((-128, 127), (0, 255)), ((-128, 127), (-100, 90))])
@pytest.mark.parametrize("double", [0, 1])
@pytest.mark.parametrize("halve", [0, 1])
def test_residual_additions(first, last, halve, double):
    """Every addend with requantized values over the whole range; the next row has another configuration."""
    dut = Requantizers(EngineConfig(rows=16, pixels=8, channels=8, param_slots=16))
    rng = random.Random(first[0] + halve)
    sums = [[rng.randrange(first[0] - 9, first[1] + 9) for _ in range(8)] for _ in range(256)]
    addends = [[(row + 31 * pixel) % 256 for pixel in range(8)] for row in range(256)]
    plain = [rng.random() < 0.3 for _ in sums]
    found = []

    def bounds(low, high, name=""):
        return {f"{name}low": low & 0x1FF, f"{name}high": high & 0x1FF}

    def expected(acc, addend, alone):
        value = min(max(acc, first[0]), first[1])
        if alone:
            return value & 0xFF
        total = (value << double) + addend
        return min(max(round(Fraction(total, 2)) if halve else total, last[0]), last[1]) & 0xFF

    async def bench(ctx):
        adding = {"residual": 1, "halve": halve, "double": double} | bounds(*first, "first_") | bounds(*last)
        ctx.set(dut.back, [adding, bounds(*first, "first_") | bounds(*first)])
        parameters = {"offset": 0, "shift": 0, "multiplier": 1, "dot": 0}
        ctx.set(dut.write, {"enable": 1, "address": 0, "data": parameters})
        await ctx.tick()
        ctx.set(dut.write.enable, 0)
        ctx.set(dut.parameters_wanted, 1)
        taken = iter([row for row, alone in zip(addends, plain, strict=True) if not alone])
        await ctx.tick()  # parameters, a cycle before the sums
        following = [0] * 8
        for cycle in range(len(sums) + dut.latency):
            ctx.set(dut.token.valid, cycle < len(sums))
            if cycle < len(sums):
                ctx.set(dut.token.half, plain[cycle])
                ctx.set(dut.acc, sums[cycle])
            ctx.set(dut.addend, following)
            if ctx.get(dut.take):
                following = next(taken, [0] * 8)
            await ctx.tick()
            if ctx.get(dut.out_token.valid):
                found.append([ctx.get(y) for y in dut.y])

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    rows = zip(sums, addends, plain, strict=True)
    assert found == [[expected(a, b, alone) for a, b in zip(acc, row, strict=True)] for acc, row, alone in rows]

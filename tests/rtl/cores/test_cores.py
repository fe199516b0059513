"""All cores against the Python models, every output at every cycle: one class of tests for six rivals."""

from __future__ import annotations

import random
from itertools import product

import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hwseg.arith.table import LANES
from hwseg.arith.types import IntType
from hwseg.errors import HwsegError
from hwseg.rtl.cores import CORES
from tests.rtl.cores.harness import Script, check, compare, expected

BYTE = IntType(8, signed=True)

pytestmark = pytest.mark.parametrize("family", CORES.values(), ids=lambda family: family.name)


class TestCore:
    @pytest.mark.parametrize("lanes", [1, 9, 36, 72])
    def test_every_output_of_every_cycle_equals_the_model(self, family, lanes):
        script = Script(family, lanes, seed=lanes)
        for tile, gaps in enumerate((0, 0.3, 0)):
            script.reload(script.corner_or_random(BYTE) if tile != 1 else [-128] * lanes)
            script.random_sums(8 if lanes > 40 else 14, gaps)
        check(script)

    @pytest.mark.parametrize("bits", range(1, 9))
    @pytest.mark.parametrize("signed", [False, True])
    def test_all_lengths_of_weights(self, family, bits, signed):
        script = Script(family, 7, seed=bits, weight=IntType(bits, signed))
        for _ in range(3):
            script.random_reload()
            script.random_sums(6, 0.1)
        script.reload([script.weight.low] * 7)
        script.sum([255] * 7, IntType(8))
        script.sum([-128] * 7, IntType(8, signed=True))
        check(script)

    @pytest.mark.parametrize("planes", range(1, 9))
    @pytest.mark.parametrize("signed", [False, True])
    def test_a_sum_per_interval(self, family, planes, signed):
        """Back to back: a sum per B cycles, B and the drain for the cascade, one for words."""
        script = Script(family, 9, seed=planes)
        script.random_reload()
        start = len(script.cycles)
        script.random_sums(6, kinds=[IntType(planes, signed)])
        interval = (1 if family.order == "words" else planes) + family.drain(9)
        assert len(script.cycles) - start == 6 * interval - family.drain(9)
        check(script)
        assert sum(row[1] for row in expected(script)) == 6

    def test_weights_change_while_sums_are_in_flight(self, family):
        """Reloads in the cycle after a last plane: that sum still counts with the old weights."""
        script = Script(family, 18, seed=4)
        for tile in range(6):
            script.random_reload()
            script.random_sums(1 + tile % 2, kinds=[IntType(1 + tile)])
        check(script)

    def test_one_lane_exhaustively(self, family):
        """Every weight of 6 bits with every activation of 3 bits, unsigned and signed."""
        script = Script(family, 1, weight=IntType(6, signed=True))
        for weight in range(-32, 32):
            script.reload([weight])
            for kind in (IntType(3), IntType(3, signed=True)):
                for x in range(kind.low, kind.high + 1):
                    script.sum([x], kind)
        check(script)

    @pytest.mark.parametrize(
        "weights", [(1, -2, 4, -8, 16, -32, 64), (-128,) * 7, (127, -128, 127, -128, 127, -128, 0)]
    )
    def test_every_plane_of_seven_lanes(self, family, weights):
        """A full table and one with five lanes missing, all 128 planes."""
        script = Script(family, 7)
        script.reload(weights)
        for plane in range(128):
            signed = plane % 3 == 0
            script.sum([(-1 if signed else 1) * (plane >> i & 1) for i in range(7)], IntType(1, signed))
        check(script)

    def test_stalls_outlast_twice_the_latency(self, family):
        script = Script(family, 9, seed=8)
        script.random_reload()
        for stall in (1, 2, family.latency(9), 2 * family.latency(9), 2 * family.latency(9) + 1):
            for kind in (IntType(8), IntType(3, signed=True)):
                script.sum(script.corner_or_random(kind), kind)
                if family.order != "words":
                    at = len(script.cycles) - 1 - kind.width // 2
                    script.idle(stall)
                    script.cycles[at:] = script.cycles[-stall:] + script.cycles[at:-stall]
                    script.drained += stall
        check(script)

    @pytest.mark.parametrize("lanes", [1, 2, 3, 4, 8, 16])
    def test_weights_of_one_unsigned_bit_reach_the_largest_plane_sum(self, family, lanes):
        """sum|w| is a power of two for a power of two of lanes, and a plane's sum reaches it with a plus."""
        script = Script(family, lanes, seed=lanes, weight=IntType(1))
        for weights in ([1] * lanes, [0] * lanes, [1] * lanes):
            script.reload(weights)
            for kind in (IntType(1), IntType(8), IntType(1, signed=True), IntType(8, signed=True)):
                for x in (kind.high, kind.low, -1 if kind.signed else kind.high):
                    script.sum([x] * lanes, kind)
        check(script)

    @example(seed=2304, lanes=1, gaps=0.0)
    @given(seed=st.integers(0, 2**32 - 1), lanes=st.integers(1, 20), gaps=st.sampled_from([0.0, 0.2, 0.7]))
    @settings(max_examples=8, deadline=None)
    def test_any_script(self, family, seed, lanes, gaps):
        script = Script(family, lanes, seed, IntType(1 + seed % 8, signed=bool(seed & 16)))
        for _ in range(2):
            script.random_reload()
            script.random_sums(script.random.randint(0, 4), gaps)
            script.idle(script.random.randint(0, 3))
        check(script)

    def test_cores_of_a_row_share_one_loader(self, family):
        """The load bundle depends on the weights alone: two loaders of equal weights are equal in every cycle."""
        loader = family.loader(9)
        seen = []

        async def testbench(ctx):
            for weights in ([3, -128, 7, 0, 127, -1, 9, 9, -9], [0] * 9, [3, -128, 7, 0, 127, -1, 9, 9, -9]):
                ctx.set(loader.weights.as_value(), sum((w & 255) << (8 * i) for i, w in enumerate(weights)))
                ctx.set(loader.start, 1)
                trace = []
                for _ in range(family.reload_lead + family.reload_cycles):
                    assert ctx.get(loader.busy)
                    trace.append(ctx.get(loader.load.as_value()))
                    await ctx.tick()
                    ctx.set(loader.start, 0)
                assert not ctx.get(loader.busy)
                seen.append(trace)

        simulator = Simulator(loader)
        simulator.add_clock(1e-8)
        simulator.add_testbench(testbench)
        simulator.run()
        assert seen[0][9:] == seen[2][9:]

    def test_a_loader_that_reads_lane_by_lane_loads_the_same(self, family):
        if family.reader is None:
            pytest.skip("this family's loader takes all weights at once")
        lanes, rng, different = 16, random.Random(7), []
        whole, reading = family.loader(lanes), family.reader(lanes)
        m = Module()
        m.submodules += [whole, reading]
        m.d.comb += [reading.start.eq(whole.start), reading.total.eq(whole.total)]

        async def testbench(ctx):
            for _ in range(4):
                weights = [rng.choice((-128, 127, rng.randint(-128, 127))) for _ in range(lanes)]
                ctx.set(whole.weights.as_value(), sum((w & 255) << (8 * i) for i, w in enumerate(weights)))
                for cycle in range(60):
                    ctx.set(whole.start, cycle == 3)
                    ctx.set(whole.total, rng.randint(-999, 999))
                    lane = (ctx.get(reading.lane) + 2) % LANES
                    for table in range(len(reading.weights)):
                        place = LANES * table + lane
                        ctx.set(reading.weights[table], weights[place] if place < lanes else 0)
                    if ctx.get(whole.load.as_value()) != ctx.get(reading.load.as_value()):
                        different.append(cycle)
                    await ctx.tick()

        simulator = Simulator(m)
        simulator.add_clock(1e-8)
        simulator.add_testbench(testbench)
        simulator.run()
        assert not different

    @pytest.mark.parametrize("make", ["encoder", "loader", "core"])
    def test_parameters_are_checked_where_they_are_born(self, family, make):
        if make != "encoder" or family.name == "table":
            for parameters, rule in (((0,), "lanes must be at least 1, not 0"), ((4, 9), "must be 1 to 8, not 9")):
                with pytest.raises(HwsegError, match=rule):
                    getattr(family, make)(*parameters)

    def test_the_comparison_sees_a_wrong_core(self, family):
        """A core of other weights' length is not mistaken for the right one."""
        script = Script(family, 4, weight=IntType(4, signed=True))
        script.reload([7, -8, 3, 1])
        for x, y in product((0, 15), repeat=2):
            script.sum([x, y, 5, 9], IntType(4))
        wrong = family.core(4, 4, False)
        if not isinstance(wrong.load, type(None)):
            assert compare(script, wrong) is not None

"""Outlets before and behind the port's channels, against a queue, in Amaranth's simulator."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from hwseg.rtl.bus import Outlet


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(("puts", "takes"), [(1.0, 1.0), (1.0, 0.5), (0.5, 1.0), (0.5, 0.5), (1.0, 0.1), (0.1, 1.0)])
def test_payloads_leave_as_they_came(early, puts, takes):
    """In order, none lost or doubled, however both sides wait; unchanged while they wait."""
    rng = random.Random(f"{early} {puts} {takes}")
    dut = Outlet(16, early=early)
    sent, found, cycles = [], [], 600

    async def bench(ctx):
        waiting = None
        for cycle in range(cycles):
            # Long stops of the channel fill every register.
            stopped = cycle % 97 > 85
            ready = not stopped and rng.random() < takes
            # What is put without room is not taken.
            putting, payload = rng.random() < puts, rng.getrandbits(16)
            ctx.set(dut.put, putting)
            ctx.set(dut.payload, payload)
            ctx.set(dut.channel.ready, ready)
            offered = ctx.get(dut.channel.payload) if ctx.get(dut.channel.valid) else None
            assert waiting is None or offered == waiting
            if putting and ctx.get(dut.room):
                sent.append(payload)
            if ready and offered is not None:
                found.append(offered)
            waiting = None if ready else offered
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert found == sent[: len(found)]
    assert len(sent) - len(found) <= (3 if early else 2)
    if puts == takes == 1.0:
        assert len(found) > cycles * 0.8


@pytest.mark.parametrize("early", [False, True])
def test_a_payload_is_offered_a_cycle_after_it_is_put_and_every_cycle_has_one(early):
    dut, found = Outlet(16, early=early), []

    async def bench(ctx):
        ctx.set(dut.channel.ready, 1)
        ctx.set(dut.put, 1)
        for cycle in range(50):
            ctx.set(dut.payload, cycle)
            assert ctx.get(dut.room)
            await ctx.tick()
            assert ctx.get(dut.channel.valid)
            found.append(ctx.get(dut.channel.payload))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert found == list(range(50))

"""The weight ring and its mover against Python lists, in Amaranth's simulator."""

import random

import pytest
from amaranth.sim import Simulator

from hwseg.rtl.config import EngineConfig
from hwseg.rtl.weights import WeightMover

CONFIG = EngineConfig(rows=8, pixels=1, channels=1, weight_words=64)
TILE, HOLD = CONFIG.tile_words, 9


def nibbles(word):
    """Sixteen signed weights of a packed word as the bytes of two."""
    low = [(word >> 4 * i & 15) - (16 if word >> 4 * i & 8 else 0) for i in range(16)]
    return [sum((v & 255) << 8 * i for i, v in enumerate(half)) for half in (low[:8], low[8:])]


@pytest.mark.parametrize("seed", range(6))
def test_tiles_arrive_in_the_order_that_the_runs_name(seed):
    """Tiles are loaded one after the other round the ring; every RUN takes the next one or jumps to one that is there.

    The ring holds four tiles of 16 words, some packed; a tile is written over as soon as no later RUN needs it.
    """
    rng = random.Random(seed)
    packed = [rng.random() < 0.4 for _ in range(24)]
    tiles = [[rng.getrandbits(64) for _ in range(CONFIG.stored_words(p))] for p in packed]
    starts = [sum(map(len, tiles[:k])) for k in range(len(tiles))]
    order = []
    newest = 0
    while newest < len(tiles) - 1:
        # Any tile that can stand in the ring beside the newest one.
        near = [k for k in range(newest + 1) if starts[newest] + len(tiles[newest]) - starts[k] <= 64]
        order.append(rng.choice(near) if rng.random() < 0.6 else newest)
        newest += rng.random() < 0.5
    order.append(newest)
    last_use = {k: max((i for i, t in enumerate(order) if t >= 0 and t <= k), default=-1) for k in range(len(tiles))}
    expected = [[part for word in tiles[t] for part in (nibbles(word) if packed[t] else [word])] for t in order]
    dut, found = WeightMover(CONFIG, HOLD), []
    state = {"taken": 0}

    async def loader(ctx):
        for k, tile in enumerate(tiles):
            # Everything that the new words lie over has been taken for the last time.
            over = [j for j in range(k) if starts[j] < starts[k] + len(tile) - 64]
            while any(last_use[j] >= state["taken"] for j in over):
                await ctx.tick()
            for word in tile:
                while rng.random() < 0.3:
                    await ctx.tick()
                ctx.set(dut.write, {"enable": 1, "packed": packed[k], "data": word})
                await ctx.tick()
                ctx.set(dut.write.enable, 0)

    async def compute(ctx):
        for number, _ in enumerate(order):
            while not ctx.get(dut.full):
                await ctx.tick()
            for _ in range(rng.randrange(4)):
                await ctx.tick()
            following = order[number + 1] if number + 1 < len(order) else None
            jumps = following is not None and starts[following] != starts[order[number]] + len(tiles[order[number]])
            ctx.set(dut.jump, {"enable": jumps, "to": starts[following] % 128 if jumps else 0})
            ctx.set(dut.take, 1)
            await ctx.tick()
            ctx.set(dut.take, 0)
            ctx.set(dut.jump.enable, 0)
            state["taken"] = number + 1

    async def chain(ctx):
        async for _, _, chain in ctx.tick().sample(dut.chain):
            if chain.enable:
                assert CONFIG.row_words * chain.row + chain.word == len(found) % TILE
                found.append(chain.data)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(loader, background=True)
    simulator.add_testbench(compute)
    simulator.add_testbench(chain, background=True)
    simulator.run()
    flat = [word for tile in expected for word in tile]
    assert found[: len(flat)] == flat

"""Toggles of real maps: the lanes that the executed program sees, encoders bit for bit, samples within their error."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from amaranth.sim import Simulator

from benchmarks.graphs import GraphBuilder
from hwseg import golden
from hwseg.arith.table import LANES, TableSpec
from hwseg.compile.program import Program
from hwseg.energy.data import Counted, between, bootstrap, count, encoded, into_idle, observe, within
from hwseg.energy.windows import bands, lanes
from hwseg.ir import Graph
from hwseg.machine.compute import Compute
from hwseg.machine.execute import execute
from hwseg.machine.instruction import Run
from hwseg.rtl.array import lane_order
from hwseg.rtl.config import parse_array
from hwseg.rtl.cores import TABLE
from tests.compile.folding import force
from tests.compile.proof import compiled, image_of

ARRAYS = ("8x8x8", "8x4x4", "16x8x8", "16x4x4")


def modes() -> Graph:
    """3x3 with pooling, of stride 2, on an enlarged map, on a concat; a transposed convolution of 64 channels."""
    b = GraphBuilder(16, 32, 3)
    wide = b.conv("image", 8)
    small = b.pool(wide)
    deep = b.conv(b.conv(small, 64), 64, bits=5)
    joined = b.concat(b.up(b.conv(deep, 8)), b.conv(deep, 8, kernel=2))
    return b.graph(b.sums(b.conv(b.conv(b.concat(joined, wide), 16), 8, stride=2), 1))


def seen_by_program(program: Program, monkeypatch: pytest.MonkeyPatch) -> dict[int, list[np.ndarray]]:
    """Lanes [step, pixel, lane] of every RUN, by layer; of split layers the upper rows' pixels behind the lower's."""
    found: dict[int, list[np.ndarray]] = {}
    original = Compute.execute

    def record(self: Compute, run: Run) -> None:
        depth, c = run.depth, self.config
        halves = []
        for seen in self.window.lanes(run):
            if seen is None:
                continue
            rows, words, _, width = seen.shape
            order = seen.reshape(rows // depth, depth, words, c.substeps, c.pixels, width).transpose(0, 2, 1, 3, 4, 5)
            halves.append(order.reshape(-1, c.pixels, width))
        found.setdefault(run.fields["layer"], []).append(np.concatenate(halves, axis=1))
        original(self, run)

    monkeypatch.setattr(Compute, "execute", record)
    execute(program, image_of(program.graph), "eager", 0)
    return found


def require_lanes_of(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bits that are 1, and bits that change within a step: over all RUNs of a layer, equal integers."""
    executed = seen_by_program(program, monkeypatch)
    tensors = golden.run(program.graph, image_of(program.graph)).tensors
    for plan in program.plans:
        passes = [sum(t in p.tiles for p in plan.passes) for t in range(len(plan.tiles))]
        planes = plan.sources[0].planes
        wanted = np.zeros(2, np.int64)
        for t, tile in enumerate(plan.tiles):
            for band in range(bands(plan)):
                values, _ = lanes(plan, tile, tensors, band, program.config)
                wanted += passes[t] * np.array([int(np.bitwise_count(values).sum()), within(values, planes)])
        found = np.zeros(2, np.int64)
        for seen in executed[plan.index]:
            values = seen.astype(np.int64).astype(np.uint8)
            found += np.array([int(np.bitwise_count(values).sum()), within(values, planes)])
        assert found.tolist() == wanted.tolist(), plan.layer.name


@pytest.mark.parametrize("array", ARRAYS)
def test_lanes_are_those_that_the_executed_program_multiplies(array, monkeypatch):
    program = compiled(modes(), parse_array(array))
    require_lanes_of(program, monkeypatch)
    assert len({plan.sources[0].mode for plan in program.plans}) == 4
    assert any(plan.split for plan in program.plans) == program.config.splits


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("fold", [(2, 1), (2, 2)])
def test_lanes_of_a_folded_picture(array, fold, monkeypatch):
    force(monkeypatch, fold)
    b = GraphBuilder(12, 32, 2)
    program = compiled(b.graph(b.conv(b.conv(b.conv("image", 8), 16), 8)), parse_array(array))
    assert program.plans[0].layer.fold == fold
    require_lanes_of(program, monkeypatch)


@pytest.mark.parametrize("array", ARRAYS)
def test_steps_follow_the_walk(array, monkeypatch):
    """The first band of a layer of one tile is the beginning of its first RUN, value by value."""
    program = compiled(modes(), parse_array(array))
    executed = seen_by_program(program, monkeypatch)
    tensors = golden.run(program.graph, image_of(program.graph)).tensors
    plan = program.plans[0]
    assert plan.pair
    wanted, _ = lanes(plan, plan.tiles[0], tensors, 0, program.config)
    first = executed[0][0][: len(wanted)]
    assert np.array_equal(first.astype(np.int64).astype(np.uint8), wanted)


def test_the_feed_is_what_the_table_core_is_specified_to_read():
    config = parse_array("8x4x4")
    spec, order = TableSpec(config.lanes), lane_order(config.channels)
    values = np.random.default_rng(0).integers(0, 32, (3, 4, config.lanes)).astype(np.uint8)
    feed, idle = encoded(values, 5, config)
    for step, pixel, plane in [(0, 0, 4), (2, 3, 0), (1, 1, 2)]:
        addresses, signs = spec.encode((values[step, pixel, order] >> plane & 1).tolist())
        bits = [address >> i & 1 for address in addresses for i in range(LANES - 1)]
        bits += [signs[a] ^ signs[b] for a, b in spec.pairs] + [signs[0]]
        assert (feed[step, pixel] >> plane & 1).tolist() == bits
    assert idle.tolist() == [31] * (LANES - 1) * spec.tables + [0] * spec.tables


def test_toggles_are_counted_from_plane_to_plane_and_step_to_step():
    values = np.array([[[0b1010]], [[0b1111]]], np.uint8)
    assert within(values, 4) == 3
    assert between(values, 4) == 1  # 0 after 1010, then 1 before 111
    assert into_idle(values, np.array([0b1111], np.uint8), 4) == 1  # 0 to 1, and nothing from there to 1
    config = parse_array("8x1x1-merged")
    one = count(np.zeros((5, 1, config.lanes), np.uint8), 8, config, 1.0)
    assert one == Counted(planes=40, steps=5, lane_toggles=0, feed_toggles=0, ones=0, skipped=40)
    alternating = np.full((4, 1, config.lanes), 0b01010101, np.uint8)
    found = count(alternating, 8, config, 0.0)
    assert found.lane_toggles == config.lanes * (4 * 7 + 3)
    assert found.ones == config.lanes * 16
    assert found.skipped == 4


def test_a_sample_agrees_with_everything_within_its_stated_error():
    """Over the layers of a network and several samples: the distance in units of the stated error is about one."""
    b = GraphBuilder(64, 64, 1, seed=3)
    x = b.conv(b.conv("image", 16), 16)
    program = compiled(b.graph(b.sums(b.conv(b.conv(b.pool(x), 32), 32), 1)), parse_array("8x8x8"))
    y, x = np.mgrid[:64, :64]
    picture = (127 + 100 * np.sin(y / 9) * np.cos(x / (5 + y / 20))).astype(np.uint8)[:, :, None]
    tensors = golden.run(program.graph, picture).tensors
    distances = []
    for plan in program.plans:
        everything = observe(plan, [tensors], program.config, 0.5, full=True)
        assert everything.error == 0
        for seed in range(8):
            sample = observe(plan, [tensors], program.config, 0.5, full=False, seed=seed)
            away = sample.data.feed_toggles / everything.data.feed_toggles - 1
            distances.append(away / max(sample.error, 1e-3))
    assert np.sqrt(np.mean(np.square(distances))) < 2
    assert max(map(abs, distances)) < 5


def test_the_bootstrap_knows_the_error_of_a_mean():
    generator = np.random.default_rng(1)
    toggles = generator.normal(100, 20, 400)
    assert bootstrap(toggles, np.ones(400), 0) == pytest.approx(20 / 100 / 20, rel=0.2)
    assert bootstrap(np.zeros(5), np.ones(5), 0) == 0


def test_the_gates_of_the_encoder_toggle_as_counted():
    """The encoder in Amaranth's simulator, a plane per cycle over consecutive steps: equal numbers of toggles."""
    config = parse_array("8x4x4")
    generator = np.random.default_rng(2)
    values = (generator.integers(0, 256, (5, 1, config.lanes)) * generator.integers(0, 2, (5, 1, 1))).astype(np.uint8)
    dut = TABLE.encoder(config.lanes)
    seen: list[int] = []

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        ctx.set(dut.valid, 1)
        planes = [step[0] >> bit & 1 for step in values for bit in range(7, -1, -1)]
        for cycle in range(len(planes) + TABLE.encoder_latency):
            if cycle < len(planes):
                taken = planes[cycle][lane_order(config.channels)]
                ctx.set(dut.lanes, sum(int(b) << i for i, b in enumerate(taken)))
            await ctx.tick()
            if cycle >= TABLE.encoder_latency - 1:
                seen.append(ctx.get(dut.feed))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    flips = sum((a ^ b).bit_count() for a, b in pairwise(seen[: 8 * len(values)]))
    feed, _ = encoded(values, 8, config)
    assert flips == within(feed, 8) + between(feed, 8) > 0

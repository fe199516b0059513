"""Both families of cores against the Python models, every output at every cycle.

A script is what stands at the inputs of encoder and loader, cycle by cycle; `expected` derives from the models and the
declared latencies what must stand at the outputs, cycle by cycle; `observe` runs the gates.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import product

import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from hwseg.arith.digits import OnTheFly, to_planes
from hwseg.arith.mma import MmaSpec
from hwseg.arith.table import TableSpec
from hwseg.arith.types import IntType
from hwseg.rtl.cores import FAMILIES

families = pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)


@dataclass
class Cycle:
    """One cycle of inputs.  weights: given to the loader together with start."""

    lanes: int = 0
    valid: bool = False
    first: bool = False
    last: bool = False
    negate: bool = False
    weights: tuple[int, ...] | None = None


@dataclass
class Script:
    """Builds the input of a core of `lanes` lanes; idle cycles carry random lanes."""

    family: object
    lanes: int
    seed: int = 0
    cycles: list[Cycle] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def idle(self, count: int = 1) -> None:
        for _ in range(count):
            control = {name: self.random.random() < 0.5 for name in ("first", "last", "negate")}
            self.cycles.append(Cycle(self.random.getrandbits(self.lanes), False, **control))

    def reload(self, weights) -> None:
        """A new tile: start at once, even in the cycle after a last plane; planes as soon as the contract allows."""
        self.cycles.append(Cycle(self.random.getrandbits(self.lanes), weights=tuple(weights)))
        self.idle(self.family.reload_cycles - 1)

    def sum(self, activations, kind: IntType, gaps: float = 0.0) -> None:
        planes = list(zip(*(to_planes(x, kind) for x in activations), strict=True))
        for j, plane in enumerate(planes):
            while self.random.random() < gaps:
                self.idle()
            lanes = sum(bit << i for i, bit in enumerate(plane))
            self.cycles.append(Cycle(lanes, True, j == 0, j == len(planes) - 1, kind.signed and j == 0))

    def corner_or_random(self, low: int, high: int) -> list[int]:
        corners = self.random.choice(([low], [high], [low, high], [0], None))
        pick = self.random.choice
        return [pick(corners) if corners else self.random.randint(low, high) for _ in range(self.lanes)]

    def random_sums(self, count: int, gaps: float = 0.0, kinds=None) -> None:
        for _ in range(count):
            kind = (
                self.random.choice(kinds) if kinds else IntType(self.random.randint(1, 8), self.random.random() < 0.5)
            )
            self.sum(self.corner_or_random(kind.low, kind.high), kind, gaps)


@dataclass(frozen=True)
class Outputs:
    """One cycle of outputs; the merged core has digits as well."""

    sum: int
    sum_valid: int
    residual: int
    digit: int = 0
    digit_valid: int = 0


def expected(script: Script) -> list[Outputs]:
    """The models, delayed by the declared latencies."""
    merged = script.family.name == "merged"
    latency = script.family.encoder_latency + script.family.latency(script.lanes)
    mma, table = MmaSpec(script.lanes, IntType(8), IntType(8, True)), TableSpec(script.lanes)
    weights, residual, total, digit = (0,) * script.lanes, 0, 0, 0
    converted = OnTheFly()
    states = []
    for cycle in script.cycles:
        weights = cycle.weights or weights
        if cycle.valid:
            plane = [cycle.lanes >> i & 1 for i in range(script.lanes)]
            if cycle.first:
                residual, converted = 0, OnTheFly()
            if merged:
                s = sum(w for w, x in zip(weights, plane, strict=True) if x)
                residual, digit = mma.step(residual, -s if cycle.negate else s)
                converted = converted.append(digit)
            else:
                residual = table.step(residual, weights, plane, cycle.negate)
            if cycle.last:
                total = converted.with_residual(residual, mma.growth) if merged else residual
        done = cycle.valid and cycle.last
        shown = 0 if done and not merged else residual
        if not merged and done:
            residual = 0
        states.append((total, int(done), shown, digit, int(cycle.valid)))
    before = (0, 0, 0, 0, 0)
    sums = [before] * latency + states
    inner = [before] * (latency - merged) + states
    return [
        Outputs(a[0], a[1], b[2], *(b[3:] if merged else ())) for a, b in zip(sums, inner[: len(sums)], strict=False)
    ][: len(states)]


def observe(script: Script) -> list[Outputs]:
    """The gates: encoder, loader and core, in the Amaranth simulator."""
    family = script.family
    encoder, loader, core = (make(script.lanes) for make in (family.encoder, family.loader, family.core))
    merged = family.name == "merged"
    m = Module()
    m.submodules += [encoder, loader, core]
    control = delayed = Signal(5)
    for _ in range(family.encoder_latency):
        late = Signal(5)
        m.d.sync += late.eq(delayed)
        delayed = late
    m.d.comb += [
        encoder.valid.eq(control[0]),
        Cat(core.valid, core.first, core.last, core.negate, loader.start).eq(delayed),
        core.feed.eq(encoder.feed),
        core.load.eq(loader.load),
    ]
    names = ("sum", "sum_valid", "residual") + (("digit", "digit_valid") if merged else ())
    seen = []

    async def testbench(ctx):
        held = None
        for cycle in script.cycles:
            ctx.set(encoder.lanes, cycle.lanes)
            bits = (cycle.valid, cycle.first, cycle.last, cycle.negate, cycle.weights is not None)
            ctx.set(control, sum(bool(bit) << i for i, bit in enumerate(bits)))
            if ctx.get(loader.start) or ctx.get(loader.busy):
                assert held is not None
            elif held is not None and not bits[4]:
                held = None
                ctx.set(loader.weights.as_value(), script.random.getrandbits(8 * script.lanes))
            if cycle.weights:
                held = cycle.weights
                ctx.set(loader.weights.as_value(), sum((w & 255) << (8 * i) for i, w in enumerate(held)))
            seen.append(Outputs(*(ctx.get(getattr(core, name)) for name in names)))
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()
    return seen


def check(script: Script) -> None:
    script.idle(script.family.encoder_latency + script.family.latency(script.lanes) + 2)
    seen, wanted = observe(script), expected(script)
    for cycle, (a, b) in enumerate(zip(seen, wanted, strict=True)):
        assert a == b, f"cycle {cycle}"


@families
@pytest.mark.parametrize("lanes", [1, 9, 18, 36, 72])
def test_every_output_of_every_cycle_equals_the_model(family, lanes):
    script = Script(family, lanes, seed=lanes)
    for tile, gaps in enumerate((0, 0.3, 0)):
        script.reload(script.corner_or_random(-128, 127) if tile != 1 else [-128] * lanes)
        script.random_sums(14, gaps)
    check(script)


@families
@pytest.mark.parametrize("planes", range(1, 9))
@pytest.mark.parametrize("signed", [False, True])
def test_a_sum_per_b_cycles(family, planes, signed):
    """Back to back: the initiation interval is the number of planes, for each of them."""
    script = Script(family, 9, seed=planes)
    script.reload(script.corner_or_random(-128, 127))
    script.random_sums(6, kinds=[IntType(planes, signed)])
    check(script)
    assert sum(o.sum_valid for o in expected(script)) == 6


@families
def test_skipping_leading_zero_planes_changes_nothing(family):
    script = Script(family, 9, seed=3)
    script.reload([127, -128, 5, -7, 0, 99, -1, 1, -100])
    for bits, planes in product((1, 2, 5), (5, 8)):
        script.sum([min(x, (1 << bits) - 1) for x in (1, 0, 3, 31, 2, 7, 30, 1, 12)], IntType(min(bits, planes)))
    check(script)


@families
def test_weights_change_while_sums_are_in_flight(family):
    """Starts in the cycle after a last plane: that sum still counts with the old weights."""
    script = Script(family, 18, seed=4)
    for tile in range(6):
        script.reload(script.corner_or_random(-128, 127))
        script.random_sums(1 + tile % 2, kinds=[IntType(1 + tile)])
    check(script)


@families
def test_one_lane_exhaustively(family):
    """Every weight of 8 bits with every activation of 2 bits, unsigned and signed."""
    script = Script(family, 1)
    for weight in range(-128, 128):
        script.reload([weight])
        for kind in (IntType(2), IntType(2, signed=True)):
            for x in range(kind.low, kind.high + 1):
                script.sum([x], kind)
    check(script)


@families
@pytest.mark.parametrize("weights", [(1, -2, 4, -8, 16, -32, 64), (-128,) * 7, (127, -128, 127, -128, 127, -128, 0)])
def test_every_plane_of_seven_lanes(family, weights):
    """A full table and one with five lanes missing, all 128 planes."""
    script = Script(family, 7)
    script.reload(weights)
    for plane in range(128):
        signed = plane % 3 == 0
        script.sum([(-1 if signed else 1) * (plane >> i & 1) for i in range(7)], IntType(1, signed))
    check(script)


@families
@given(seed=st.integers(0, 2**32 - 1), lanes=st.integers(1, 20), gaps=st.sampled_from([0.0, 0.2, 0.7]))
@settings(max_examples=12, deadline=None)
def test_any_script(family, seed, lanes, gaps):
    script = Script(family, lanes, seed)
    for _ in range(2):
        script.reload(script.corner_or_random(-128, 127))
        script.random_sums(script.random.randint(0, 4), gaps)
        script.idle(script.random.randint(0, 3))
    check(script)


@families
def test_cores_of_a_row_share_one_loader(family):
    """The load bundle depends on the weights alone: two loaders of equal weights are equal in every cycle."""
    loader = family.loader(9)
    seen = []

    async def testbench(ctx):
        for weights in ([3, -128, 7, 0, 127, -1, 9, 9, -9], [0] * 9, [3, -128, 7, 0, 127, -1, 9, 9, -9]):
            ctx.set(loader.weights.as_value(), sum((w & 255) << (8 * i) for i, w in enumerate(weights)))
            ctx.set(loader.start, 1)
            trace = []
            for _ in range(family.reload_cycles):
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
    assert seen[0][1:] == seen[2][1:]

"""One bench for every core: scripts of inputs, the Python models' outputs, and the gates in the Amaranth simulator.

A script is what stands at the inputs of encoder and loader, cycle by cycle; `expected` derives from the models and the
declared latencies what must stand at the outputs, cycle by cycle; `observe` runs the gates.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from amaranth.hdl import Cat, Module, Signal
from amaranth.sim import Simulator

from hwseg.arith.baseline import BitSerialSpec
from hwseg.arith.digits import OnTheFly, to_planes
from hwseg.arith.grouped import BIAS_LANES, FIRST_LANES, GroupedSpec
from hwseg.arith.mma import MmaSpec
from hwseg.arith.online import AdderSpec
from hwseg.arith.table import TableSpec
from hwseg.arith.types import PLANES, CoreSpec, IntType
from hwseg.rtl.cores import Family
from hwseg.rtl.cores.cascaded import cascade

BYTE = IntType(8)


@dataclass
class Cycle:
    """One cycle of inputs.  symbols: a bit or a word per lane.  weights, bias: given to the loader with start."""

    symbols: tuple[int, ...] = ()
    valid: bool = False
    first: bool = False
    last: bool = False
    negate: bool = False
    weights: tuple[int, ...] | None = None
    bias: tuple[int, ...] = (0,) * BIAS_LANES


@dataclass
class Script:
    """Builds the input of a core of `lanes` lanes; idle cycles carry random lanes and controls."""

    family: Family
    lanes: int
    seed: int = 0
    weight: IntType = field(default_factory=lambda: IntType(8, signed=True))
    cycles: list[Cycle] = field(default_factory=list)
    free: int = 0
    drained: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.symbol_bits = PLANES if self.family.order == "words" else 1
        self.format = (self.lanes, self.weight.width, self.weight.signed)
        self.core = CoreSpec(*self.format)

    def noise(self) -> tuple[int, ...]:
        return tuple(self.random.getrandbits(self.symbol_bits) for _ in range(self.lanes))

    def idle(self, count: int = 1) -> None:
        for _ in range(count):
            control = {name: self.random.random() < 0.5 for name in ("first", "last", "negate")}
            self.cycles.append(Cycle(self.noise(), False, **control))

    def reload(self, weights, bias=None) -> None:
        """A new tile: at once, even in the cycle after a last plane, and planes as soon as the contract allows."""
        self.idle(max(0, self.free - len(self.cycles)))
        self.free = len(self.cycles) + self.family.reload_lead + self.family.reload_cycles + 1
        word = IntType(self.weight.width, signed=True)
        drawn = [self.random.randint(word.low, word.high) for _ in range(BIAS_LANES)]
        self.cycles.append(Cycle(self.noise(), weights=tuple(weights), bias=tuple(drawn if bias is None else bias)))
        self.idle(self.family.reload_cycles - 1)

    def sum(self, activations, kind: IntType, gaps: float = 0.0) -> None:
        self.idle(max(0, self.drained - len(self.cycles)))
        if self.family.order == "words":
            words = tuple(x & 255 for x in activations)
            self.cycles.append(Cycle(words, True, True, True, kind.signed))
            return
        planes = list(zip(*(to_planes(x, kind) for x in activations), strict=True))
        least = self.family.order == "least"
        for j, plane in enumerate(planes[::-1] if least else planes):
            while j and self.random.random() < gaps:
                self.idle()
            last = j == len(planes) - 1
            self.cycles.append(Cycle(plane, True, j == 0, last, kind.signed and (last if least else j == 0)))
        self.drained = len(self.cycles) + self.family.drain(*self.format)
        while self.random.random() < gaps:
            self.idle()

    def corner_or_random(self, kind: IntType) -> list[int]:
        low, high = kind.low, kind.high
        corners = self.random.choice(([low], [high], [low, high], [0], None))
        pick = self.random.choice
        return [pick(corners) if corners else self.random.randint(low, high) for _ in range(self.lanes)]

    def random_reload(self) -> None:
        self.reload(self.corner_or_random(self.weight))

    def random_sums(self, count: int, gaps: float = 0.0, kinds=None) -> None:
        for _ in range(count):
            kind = (
                self.random.choice(kinds) if kinds else IntType(self.random.randint(1, 8), self.random.random() < 0.5)
            )
            self.sum(self.corner_or_random(kind), kind, gaps)


def plane_sum(weights, cycle: Cycle) -> int:
    return sum(w for w, x in zip(weights, cycle.symbols, strict=True) if x)


class Model:
    """shown: outputs beside the sum.  clears: the residual is 0 after a sum."""

    shown: tuple[str, ...] = ("residual",)
    clears = True

    def reload(self, weights) -> tuple[int, ...] | None:
        """What is shown from the cycle after a reload on."""
        return None


class Horner(Model):
    """Table core: residual and sum, from the tables."""

    def __init__(self, script: Script) -> None:
        self.table, self.residual = TableSpec(*script.format), 0

    def step(self, cycle: Cycle, weights, bias) -> tuple[int, tuple[int, ...]]:
        self.residual = self.table.step(self.residual, weights, cycle.symbols, cycle.negate)
        return self.residual, (self.residual,)


class HornerDsp(Horner):
    """The same in a DSP slice: the register shows S in a reload, and the sum until the next one begins."""

    clears = False

    def reload(self, weights) -> tuple[int, ...]:
        return (sum(weights) >> 1,)

    def step(self, cycle: Cycle, weights, bias) -> tuple[int, tuple[int, ...]]:
        if cycle.first:
            self.residual = 0
        return super().step(cycle, weights, bias)


class Serial(Model):
    """Bit-serial core: the accumulator."""

    def __init__(self, script: Script) -> None:
        self.residual, self.j = 0, 0

    def step(self, cycle: Cycle, weights, bias) -> tuple[int, tuple[int, ...]]:
        self.j = 0 if cycle.first else self.j + 1
        self.residual = BitSerialSpec(BYTE).step(self.residual, plane_sum(weights, cycle), self.j, cycle.negate)
        return self.residual, (self.residual,)


class Words(Model):
    """Bit-parallel core: the dot product."""

    shown = ()
    residual = 0

    def __init__(self, script: Script) -> None:
        pass

    def step(self, cycle: Cycle, weights, bias) -> tuple[int, tuple[int, ...]]:
        words = [x - 256 if cycle.negate and x >= 128 else x for x in cycle.symbols]
        return sum(w * x for w, x in zip(weights, words, strict=True)), ()


class Merged(Model):
    """Merged core: residual, digit, on-the-fly conversion."""

    shown = ("residual", "digit", "digit_valid")

    def __init__(self, script: Script) -> None:
        self.mma = MmaSpec(script.lanes, BYTE, script.weight, script.core.magnitude)
        self.residual, self.converted = 0, OnTheFly()

    def plane(self, cycle: Cycle, weights, bias) -> int:
        return plane_sum(weights, cycle)

    def step(self, cycle: Cycle, weights, bias) -> tuple[int, tuple[int, ...]]:
        if cycle.first:
            self.residual, self.converted = 0, OnTheFly()
        s = self.plane(cycle, weights, bias)
        self.residual, digit = self.mma.step(self.residual, -s if cycle.negate else s)
        self.converted = self.converted.append(digit)
        return self.converted.with_residual(self.residual, self.mma.growth), (self.residual, digit, 1)


class Grouped(Merged):
    """Grouped core: bias lanes, and the sign as soon as the digits tell it."""

    shown = (*Merged.shown, "decided", "negative")

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.mma = GroupedSpec(script.lanes, BYTE, script.weight.width, script.weight.signed).mma
        self.sign = 0

    def plane(self, cycle: Cycle, weights, bias) -> int:
        constant = sum(bias[:FIRST_LANES]) * cycle.first + sum(bias[FIRST_LANES:]) * cycle.last
        return plane_sum(weights, cycle) + constant

    def step(self, cycle: Cycle, weights, bias) -> tuple[int, tuple[int, ...]]:
        total, shown = super().step(cycle, weights, bias)
        self.sign = (0 if cycle.first else self.sign) or shown[1]
        return total, (*shown, int(self.sign != 0), int(self.sign < 0))


MODELS = {
    "table": Horner,
    "table_dsp": HornerDsp,
    "bit_serial": Serial,
    "bit_parallel": Words,
    "merged": Merged,
    "grouped": Grouped,
}


def names(script: Script) -> tuple[str, ...]:
    """Outputs that are compared."""
    shown = ("digit", "digit_valid") if script.family.name == "cascaded" else MODELS[script.family.name].shown
    return ("sum", "sum_valid", *shown)


def expected(script: Script) -> list[tuple[int, ...]]:
    """The models, delayed by the declared latencies."""
    if script.family.name == "cascaded":
        return expected_digits(script)
    model = MODELS[script.family.name](script)
    weights, bias, total = (0,) * script.lanes, (0,) * BIAS_LANES, 0
    states = []
    shown = (0,) * len(model.shown)
    reloaded = None
    for cycle in script.cycles:
        shown = reloaded or shown
        reloaded = None
        if cycle.weights:
            weights, bias = cycle.weights, cycle.bias
            reloaded = model.reload(weights)
        done = cycle.valid and cycle.last
        if cycle.valid:
            value, shown = model.step(cycle, weights, bias)
            if done:
                total = value
        row = dict(zip(model.shown, shown, strict=True))
        if done and model.clears:
            model.residual = 0
            row |= {"residual": 0} if "residual" in row else {}
        if "digit_valid" in row:
            row["digit_valid"] = int(cycle.valid)
        states.append(((total if script.family.keeps else row["residual"], int(done)), tuple(row.values())))
        if done and "decided" in row:
            row |= {"decided": 0, "negative": 0}
        shown = tuple(row.values())
    latency = script.family.encoder_latency + script.family.latency(script.lanes)
    sums = [(0, 0)] * latency + [state[0] for state in states]
    others = [(0,) * len(model.shown)] * latency + [state[1] for state in states]
    return [a + b for a, b in zip(sums, others, strict=False)][: len(states)]


def expected_digits(script: Script) -> list[tuple[int, ...]]:
    """The cascade, one step for every cycle in which its multipliers are not held."""
    spec = cascade(*script.format)
    multiplier, delay = spec.multiplier.mma, spec.multiplier.online_delay + 2 * spec.levels
    weights = (0,) * script.lanes
    residuals = [0] * script.lanes
    rests: dict[tuple[int, int], int] = {}
    inside, step, total, running, ends = False, 0, 0, 0, set()
    sums, digits, digit = [], [], 0
    for cycle in script.cycles:
        weights = cycle.weights or weights
        held = inside and not cycle.valid
        done = False
        if not held:
            nodes = []
            for i, w in enumerate(weights):
                s = w * cycle.symbols[i] * cycle.valid
                residuals[i], z = multiplier.step(residuals[i], -s if cycle.negate else s)
                nodes.append(z)
            for level in range(spec.levels):
                pairs = [(nodes[i], (*nodes, 0)[i + 1]) for i in range(0, len(nodes), 2)]
                nodes = []
                for i, (a, b) in enumerate(pairs):
                    rests[level, i], z = AdderSpec().step(rests.get((level, i), 0), a, b)
                    nodes.append(z)
            (digit,) = nodes
            running, done = 2 * running + digit, step in ends
            if cycle.valid and cycle.last:
                ends.add(step + delay)
            if cycle.valid:
                inside = not cycle.last
            if done:
                total, running = running, 0
            step += 1
        sums.append((total, int(done)))
        digits.append((digit, int(not held)))
    late = script.family.encoder_latency + spec.levels
    ones = [(0, int(i >= spec.levels + 1)) for i in range(late + 1)]
    outputs = zip([(0, 0)] * (late + 2) + sums, ones + digits, strict=False)
    return [(*a, *b) for a, b in outputs][: len(sums)]


def pack(values, bits: int) -> int:
    return sum((v & ((1 << bits) - 1)) << (bits * i) for i, v in enumerate(values))


def observe(script: Script, changed=None) -> list[tuple[int, ...]]:
    """The gates: encoder, loader and core (or `changed`, a core in its place), in the Amaranth simulator."""
    family = script.family
    encoder, loader = (make(*script.format) for make in (family.encoder, family.loader))
    core = changed or family.core(*script.format)
    cores = [core, *([family.neighbour(*script.format)] if family.neighbour else [])]
    m = Module()
    m.submodules += [encoder, loader, *cores]
    control = Signal(5)
    delayed = [control]
    for _ in range(family.encoder_latency):
        late = Signal(5)
        m.d.sync += late.eq(delayed[-1])
        delayed.append(late)
    m.d.comb += [
        encoder.valid.eq(control[0]),
        encoder.reload.eq(control[4]),
        *(Cat(c.valid, c.first, c.last, c.negate).eq(delayed[-1][:4]) for c in cores),
        loader.start.eq(delayed[-1 - family.reload_lead][4]),
        *(c.feed.eq(encoder.feed) for c in cores),
    ]
    family.connect(m, loader, cores)
    word = script.weight.width
    seen = []

    async def testbench(ctx):
        held, young, was_busy = None, 0, False
        for cycle in script.cycles:
            ctx.set(encoder.lanes, pack(cycle.symbols, script.symbol_bits))
            bits = (cycle.valid, cycle.first, cycle.last, cycle.negate, cycle.weights is not None)
            ctx.set(control, sum(bool(bit) << i for i, bit in enumerate(bits)))
            busy = ctx.get(loader.start) or ctx.get(loader.busy)
            assert held is not None or not busy
            assert not (ctx.get(loader.start) and was_busy)
            was_busy = ctx.get(loader.busy)
            young -= 1
            if held is not None and not busy and young < 0:
                held = None
                ctx.set(loader.weights.as_value(), script.random.getrandbits(word * script.lanes))
            if cycle.weights:
                held, young = cycle.weights, family.encoder_latency
                ctx.set(loader.weights.as_value(), pack(held, word))
                if family.name == "grouped":
                    ctx.set(loader.bias.as_value(), pack(cycle.bias, word))
            seen.append(tuple(ctx.get(getattr(core, name)) for name in names(script)))
            for neighbour in cores[1:] if changed is None else ():
                assert ctx.get(neighbour.sum_valid) == ctx.get(core.sum_valid)
                assert not ctx.get(core.sum_valid) or ctx.get(neighbour.sum) == ctx.get(core.sum)
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()
    return seen


def compare(script: Script, changed=None) -> tuple[int, tuple[int, ...], tuple[int, ...]] | None:
    """The first cycle that differs, with what was seen and what was expected."""
    latency = script.family.latency(script.lanes)
    script.idle(script.family.encoder_latency + latency + script.family.drain(*script.format) + 4)
    seen, wanted = observe(script, changed), expected(script)
    assert len(seen) == len(wanted)
    return next(((i, a, b) for i, (a, b) in enumerate(zip(seen, wanted, strict=True)) if a != b), None)


def check(script: Script) -> None:
    different = compare(script)
    assert different is None, f"cycle {different[0]}: {names(script)} {different[1]}, expected {different[2]}"

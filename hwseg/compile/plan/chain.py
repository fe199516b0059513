"""Which layers run fused: their strips take turns, and what one makes the next one reads from the input banks.

    layer a   | strip 0 | strip 1 |         | strip 2 |         | ...
    layer b                       | strip 0 |         | strip 1 |     rows of a's map: loop memory -> ring in the banks

A map inside a chain is written to DDR only if somebody outside reads it.  Each source of each layer of a chain has a
ring of rows in the banks: rows enter once, by LOAD or MOVE, and leave when the last strip that reads them is done.

Strips of a layer end where the next layer's strips need them: a 3x3 convolution reads one row beyond its strip, so the
layer before it is `offset` rows ahead.  `hwseg.compile.plan.planner` weighs every chain of neighbouring layers against
its layers alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from hwseg.clock.constants import Constants
from hwseg.compile.lower.layers import Layer
from hwseg.compile.plan.cost import DRAIN, FILL, Cost, busiest, compute_cycles, waits_for_writer
from hwseg.compile.plan.plan import LayerPlan, Rectangle, Source, region_pitch, span, whole_blocks
from hwseg.compile.plan.problem import Problem
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.isa import MOVE_TAIL, Mode

LONGEST = 5
"""Layers of a chain."""
STRIPS = (2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64)
"""Rows of a strip that are tried."""


@dataclass(frozen=True)
class Strip:
    """Rows [y0, y1) of a stage, in coordinates of RUN."""

    stage: int
    y0: int
    y1: int


@dataclass(frozen=True)
class Ring:
    """Rows of one source in the banks: `units` blocks of three rows (POINT: rows) of `pitch` addresses.

    `moved`: tensors of the chain among the source's groups; all other groups are loaded.
    """

    source: Source
    units: int
    pitch: int
    limit: int
    """Rows of the source's tensor."""
    moved: frozenset[str]

    @property
    def rows(self) -> int:
        """Rows that it holds."""
        return self.units if self.source.mode == Mode.POINT else 3 * self.units

    @property
    def words(self) -> int:
        return self.units * self.pitch

    @property
    def space(self) -> int:
        """Addresses given to it."""
        return whole_blocks(self.words)

    def reads(self, y0: int, y1: int) -> tuple[int, int]:
        """First row, and the row after the last, that outputs [y0, y1) read."""
        found = span(self.source.mode, y0, y1, self.limit, 1)
        return found.first, found.last + 1


@dataclass(frozen=True)
class Stage:
    """One layer of a chain.  `ends`: where its strips end, in rows of RUN."""

    plan: LayerPlan
    rings: tuple[Ring, ...]
    ends: tuple[int, ...]

    @property
    def rows_made(self) -> int:
        """Rows of the map that a row of RUN makes."""
        return self.plan.layer.row_phases

    def keeps(self, ring: Ring, done: int) -> int:
        """First row of the ring's tensor that is still needed when outputs [0, done) exist."""
        if done >= self.ends[-1]:
            return ring.limit
        return ring.reads(done, done + 1)[0]


@dataclass(frozen=True)
class Chain:
    """Layers that run together; one plan and no stages: a layer alone."""

    plans: tuple[LayerPlan, ...]
    stages: tuple[Stage, ...] = ()
    order: tuple[Strip, ...] = field(default=(), repr=False)
    """Strips in the order of the compute unit."""
    expected: float = field(default=0.0, compare=False)
    """Cycles, by the planner's formulas."""


def turns(stages: Sequence[Stage], lead: bool) -> tuple[Strip, ...] | None:
    """Round after round each stage that can makes one strip; None if a ring is too small.

    From the last stage to the first, so that a strip reads what was made in the round before; with `lead` from the
    first to the last, but a stage does not read the newest strip of another one while it can wait: then what it reads
    is always one strip older, and the last stage's strips lie between those that fill the loop memory.
    """
    done, count, before_last = [0] * len(stages), [0] * len(stages), [0] * len(stages)
    patient = lead
    makers = {stage.plan.layer.output: k for k, stage in enumerate(stages) if stage.plan.moved}
    readers: dict[int, list[tuple[int, Ring]]] = {k: [] for k in makers.values()}
    for k, stage in enumerate(stages):
        for ring in stage.rings:
            for tensor in ring.moved:
                readers[makers[tensor]].append((k, ring))

    def ready(k: int) -> bool:
        stage, y0, y1 = stages[k], done[k], stages[k].ends[count[k]]
        for ring in stage.rings:
            first, after = ring.reads(y0, y1)
            if after - first > ring.rows:
                return False
            for tensor in ring.moved:
                maker = makers[tensor]
                finished = count[maker] == len(stages[maker].ends)
                seen = done if finished or not patient else before_last
                if seen[maker] * stages[maker].rows_made < after:
                    return False
        for reader, ring in readers.get(k, ()):
            if y1 * stage.rows_made - ring.rows > stages[reader].keeps(ring, done[reader]):
                return False
        return True

    order: list[Strip] = []
    while any(count[k] < len(stage.ends) for k, stage in enumerate(stages)):
        length = len(order)
        for k in range(len(stages)) if lead else reversed(range(len(stages))):
            if count[k] < len(stages[k].ends) and ready(k):
                end = stages[k].ends[count[k]]
                order.append(Strip(k, done[k], end))
                before_last[k], done[k], count[k] = done[k], end, count[k] + 1
        if len(order) == length and not patient:
            return None
        patient = lead and len(order) != length
    return tuple(order)


def plan_chain(problems: Sequence[Problem], outside: frozenset[str], config: EngineConfig) -> Chain | None:
    """The cheapest strips for layers run together, numbered from 0; None if that is impossible.

    outside: their maps that others read, too.
    """
    layers = [problem.layer for problem in problems]
    if not chainable(layers, problems):
        return None
    inside = {layer.output for layer in layers[:-1] if layer.output}
    readers = [{o.tensor for o in layer.operands} for layer in layers]
    read_inside = {t for t in inside if any(t in r for r in readers)}
    if any(layer.output not in read_inside for layer in layers[:-1]):
        return None
    best: Chain | None = None
    for rows in STRIPS:
        for lead in (False, True):
            for slack in (0, 2, 4):
                chain = _with_strips(rows, slack + lead * rows, lead, problems, config, read_inside, outside)
                if chain is not None:
                    if best is None or chain.expected < best.expected:
                        best = chain
                    break
        if rows >= problems[-1].shape[0]:
            break
    return best


def chainable(layers: Sequence[Layer], problems: Sequence[Problem]) -> bool:
    """What the engine can fuse at all."""
    made: set[str] = set()
    pooled = {layer.pooled for layer in layers}
    phases: dict[str, int] = {}
    for layer, problem in zip(layers, problems, strict=True):
        if layer.columns or layer.repeat_rows:
            return False
        if layer.low_weights is not None or len(problem.passes) > problem.config.param_slots // 4:
            return False
        for source in problem.sources:
            for group in source.groups:
                if group.tensor in pooled:
                    return False
                if group.tensor in made and source.mode == Mode.POINT and phases[group.tensor] > 1:
                    return False
        if layer.output:
            made.add(layer.output)
            phases[layer.output] = layer.row_phases
    return True


def _with_strips(
    rows: int,
    slack: int,
    lead: bool,
    problems: Sequence[Problem],
    config: EngineConfig,
    read_inside: set[str],
    outside: frozenset[str],
) -> Chain | None:
    divided = _ends(rows, problems)
    for ahead in (2, 1):
        # Loaded rows come a whole strip ahead where there is room, else half a one.
        stages: list[Stage] = []
        for number, (problem, ends) in enumerate(zip(problems, divided, strict=True)):
            stage = _stage(number, problem, ends, slack, ahead, config, read_inside, outside)
            if stage is None:
                return None
            stages.append(stage)
        if sum(ring.space for stage in stages for ring in stage.rings) <= config.bank_words:
            break
    else:
        return None
    if sum(len(p.passes) for p in problems) > config.param_slots:
        return None
    order = turns(stages, lead)
    if order is None:
        return None
    expected = _expected(stages, order, problems, config)
    return Chain(tuple(stage.plan for stage in stages), tuple(stages), order, expected)


def _ends(rows: int, problems: Sequence[Problem]) -> list[tuple[int, ...]]:
    """Where the strips of each stage end, in its own rows of RUN: the last stage's every `rows` rows of its map."""
    offset, height, found = 0, rows, []
    for problem, after in zip(reversed(problems), [None, *reversed(problems[1:])], strict=True):
        if after is not None:
            offset += _ahead(problem, after)
        made = problem.layer.row_phases
        unit = problem.unit * made
        offset += -offset % unit
        step = max(unit, height - height % unit)
        limit = problem.shape[0]
        ends = list(range(offset // made, limit, step // made))
        found.append((*(e for e in ends if e > 0), limit))
    return found[::-1]


def _ahead(problem: Problem, after: Problem) -> int:
    """Rows that the next stage reads beyond its strip."""
    modes = {s.mode for s in after.sources if any(g.tensor == problem.layer.output for g in s.groups)}
    return int(modes != {Mode.POINT})


def _stage(
    index: int,
    problem: Problem,
    ends: tuple[int, ...],
    slack: int,
    ahead: int,
    config: EngineConfig,
    read_inside: set[str],
    outside: frozenset[str],
) -> Stage | None:
    tallest = max(b - a for a, b in zip((0, *ends[:-1]), ends, strict=True))
    columns = problem.words
    layer = problem.layer
    moved_out = layer.output in read_inside
    stored = not problem.head_rows and (not moved_out or layer.output in outside) and layer.output is not None
    sizes = [config.loop_words] * moved_out or [config.out_words]
    sizes += [config.out_words] * (stored or bool(problem.head_rows))
    chunk = problem.chunk_rows(tallest, columns, min(sizes))
    if columns > 1023 or not chunk or (problem.scatters == 2 and chunk < tallest):
        return None
    together = len(problem.passes) if layer.residual is None else 1
    if problem.deepest > 1 and problem.steps(tallest, columns) * together > config.psum_steps:
        return None
    rings = []
    for source in problem.sources:
        moved = frozenset(g.tensor for g in source.groups if g.tensor in read_inside)
        if len({g.tensor in read_inside for g in source.groups}) > 1:
            return None
        limit = problem.limits[source.groups[0].tensor][0]
        needed, bounds = 1, (0, *ends)
        for a, b in pairwise(bounds):
            found = span(source.mode, a, b, limit, 1)
            needed = max(needed, found.count)
        needed = min(limit, needed + (slack if moved else ahead * needed // 2))
        units = needed if source.mode == Mode.POINT else -(-needed // 3)
        rings.append(Ring(source, units, region_pitch(source, columns), limit, moved))
    plan = problem.plan(index, tallest, columns, (tuple(range(len(problem.passes))),), False, min(sizes))
    plan = replace(plan, stored=stored, moved=moved_out)
    return Stage(plan, tuple(rings), ends)


def _expected(
    stages: Sequence[Stage], order: Sequence[Strip], problems: Sequence[Problem], config: EngineConfig
) -> float:
    compute = reads = writes = moves = fill = 0.0
    times: list[float] = []
    kept = sum(stage.plan.weight_words for stage in stages) <= config.weight_words
    for stage, problem in zip(stages, problems, strict=True):
        plan = stage.plan
        cycles, weights = compute_cycles(problem, plan.rows, plan.columns)
        times.append(cycles / len(stage.ends))
        compute += cycles + waits_for_writer(problem, plan.rows, plan.columns, plan.stored)
        reads += (problem.weight_tiles if kept else len(stage.ends) * weights) * problem.stored_tile
        for ring in stage.rings:
            words = ring.limit * problem.limits[ring.source.groups[0].tensor][1] * ring.source.planes
            for group in ring.source.groups:
                if group.tensor not in ring.moved:
                    reads += words
                    continue
                halves = 1 if ring.source.mode == Mode.POINT else 2
                moves += words / halves + MOVE_TAIL * 2 * len(stage.ends)
            if not ring.moved:
                fill += len(ring.source.groups) * words / len(stage.ends) * (1 if stage is stages[0] else 0)
        writes += problem.stored_words(plan.stored)
    compute += _waits_for_moves(stages, order, times, config)
    memory = busiest(problems[0], reads, writes, moves)
    serial = FILL * fill + DRAIN * writes / len(stages[-1].ends)
    return Cost(compute, memory, serial).cycles


def _waits_for_moves(
    stages: Sequence[Stage], order: Sequence[Strip], times: Sequence[float], config: EngineConfig
) -> float:
    """Cycles in which a strip waits for the words of one that was made shortly before."""
    makers = {stage.plan.layer.output: k for k, stage in enumerate(stages) if stage.plan.moved}
    completion = Constants.of(config).completion
    clock, waits = 0.0, 0.0
    ready: dict[int, list[tuple[int, float]]] = {k: [] for k in makers.values()}
    for strip in order:
        stage, start = stages[strip.stage], clock
        for ring in stage.rings:
            _, after = ring.reads(strip.y0, strip.y1)
            for tensor in ring.moved:
                start = max(start, next(time for rows, time in ready[makers[tensor]] if rows >= after))
        waits += start - clock
        clock = start + times[strip.stage]
        if strip.stage in ready:
            plan = stage.plan
            chunk = min(plan.chunk_rows, strip.y1 - strip.y0) * stage.rows_made
            words = chunk * plan.words * plan.layer.column_phases * plan.out_planes * -(-plan.layer.shape[2] // 8)
            ready[strip.stage].append((strip.y1 * stage.rows_made, clock + completion + words / 2 + 2 * MOVE_TAIL + 60))
    return waits


def rectangle(plan: LayerPlan, strip: Strip) -> Rectangle:
    """The whole width of a strip."""
    return Rectangle(strip.y0, strip.y1, 0, plan.words)


def plans_of(chains: Sequence[Chain]) -> Iterator[LayerPlan]:
    """All layers' plans in order."""
    for chain in chains:
        yield from chain.plans

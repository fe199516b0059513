"""The search for the cheapest cut of a layer that runs alone: strips, blocks of passes, residency.

`plan_layer` tries what fits the memories, weighs it by `hwseg.compile.plan.cost`, and returns the `LayerPlan` that is
expected to take fewest cycles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hwseg.compile.plan.cost import Cost, strips_cost
from hwseg.compile.plan.plan import LayerPlan, region_words
from hwseg.compile.plan.problem import Problem
from hwseg.errors import require
from hwseg.layout import PIXELS


@dataclass(frozen=True)
class Candidate:
    """Strips of `rows` x `columns`, passes `block` at a time; resident: sources stay in the banks for all blocks."""

    rows: int
    columns: int
    block: int
    resident: bool
    cost: Cost


def plan_layer(index: int, problem: Problem) -> tuple[LayerPlan, float]:
    """The cheapest cut that fits and its cost in cycles, or `HwsegError` naming the memory that is too small."""
    place = f"{problem.layer.name} on array {problem.config.name}"
    require(problem.layer.residual is None, place, "an addition on the way out needs all operands at once")
    found = [(candidate, form) for form in problem.forms for candidate in candidates(form)]
    if not found:
        refuse(problem)
        raise AssertionError
    best, problem = min(found, key=lambda one: (one[0].cost.cycles, one[0].cost.memory, one[0].rows))
    size = -(-len(problem.passes) // best.block)
    per_block = -(-len(problem.passes) // size)
    per_block += per_block % problem.scatters
    numbers = range(len(problem.passes))
    blocks = tuple(tuple(numbers[i : i + per_block]) for i in range(0, len(problem.passes), per_block))
    plan = problem.plan(index, best.rows, best.columns, blocks, best.resident and len(blocks) > 1)
    return plan, best.cost.cycles


def candidates(problem: Problem) -> Iterator[Candidate]:
    """What fits, of the six widest strips that do; split passes walk whole rows, so theirs have all columns."""
    most = 1 if any(p.split for p in problem.passes) else problem.words
    parts = sorted({-(-problem.words // n) for n in range(1, most + 1)}, reverse=True)
    parts = sorted({min(problem.words, w + w % problem.unit) for w in parts}, reverse=True)
    seen = 0
    for columns in parts:
        found = list(_strips(problem, columns))
        yield from found
        seen += bool(found)
        if seen >= 6:
            return


def _strips(problem: Problem, columns: int) -> Iterator[Candidate]:
    """What fits with strips so wide; a strip that is too tall ends it."""
    config, unit, passes = problem.config, problem.unit, len(problem.passes)
    if columns > 1023:
        return
    for rows in range(unit, problem.shape[0] + problem.shape[0] % unit + 1, unit):
        rows = min(rows, problem.shape[0])
        steps = problem.steps(rows, columns)
        largest = max(region_words(s, rows, columns) for s in problem.sources)
        total = sum(region_words(s, rows, columns) for s in problem.sources)
        if largest > config.bank_words or rows > 2048:
            return
        chunk = problem.chunk_rows(rows, columns)
        if not chunk or (problem.scatters == 2 and problem.deepest > 1 and chunk < rows):
            return
        if problem.scatters == 2 and chunk < rows:
            return
        most = passes if problem.deepest == 1 else config.psum_steps // steps
        most -= most % problem.scatters
        if most < problem.scatters:
            return
        blocks = sorted({min(passes, most), problem.scatters, *(b for b in (2, 4, 8, 16) if b < most)})
        for block in blocks:
            count = -(-passes // block)
            if problem.layer.low_weights is not None:
                if block == problem.scatters and _live(problem, rows, columns) <= config.bank_words:
                    yield _candidate(problem, rows, columns, block, count == 1)
                continue
            if 2 * largest <= config.bank_words or (largest <= config.bank_words and len(problem.sources) == 1):
                yield _candidate(problem, rows, columns, block, count == 1)
            if count > 1 and total + largest <= config.bank_words:
                yield _candidate(problem, rows, columns, block, True)


def _candidate(problem: Problem, rows: int, columns: int, block: int, resident: bool) -> Candidate:
    blocks = -(-len(problem.passes) // block)
    return Candidate(rows, columns, block, resident, strips_cost(problem, rows, columns, resident, blocks))


def _live(problem: Problem, rows: int, columns: int) -> int:
    """Bank addresses that one pass needs when it visits every source twice."""
    used = ({problem.tiles[t].source for t in p.tiles} for p in problem.passes)
    return 2 * max(sum(region_words(problem.sources[s], rows, columns) for s in found) for found in used)


def refuse(problem: Problem) -> None:
    """Say which memory one row of the narrowest strip overflows."""
    config, unit = problem.config, problem.unit
    largest = max(region_words(s, unit, unit) for s in problem.sources)
    place = f"{problem.layer.name} on array {config.name}"
    strip = f"the smallest strip, {unit} rows of {8 * unit} pixels,"
    rule = f"{strip} needs {2 * largest} bank words, has {config.bank_words}"
    require(2 * largest <= config.bank_words, place, rule, "use an array with deeper input banks")
    steps = unit * unit * config.substeps * problem.scatters
    rule = f"{strip} needs {steps} partial sums, has {config.psum_steps}"
    require(steps <= config.psum_steps, place, rule, f"use {PIXELS} pixels per step, or a deeper store")
    rule = f"{strip} does not fit {config.out_words} output words"
    require(False, place, rule, "use fewer pixels per step or a larger array")

"""Many graphs: each examined in every way that is asked for, and what they were, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fuzz.arrays import random_array, simulated_array
from tests.fuzz.checks import Finding, Loaded, Refusal, check_golden, loaded
from tests.fuzz.coverage import Coverage
from tests.fuzz.draw import draw
from tests.fuzz.engine import Way, check_dial, check_machine, check_verilog, compiled
from tests.fuzz.recipe import Recipe, build
from tests.fuzz.refusals import reason
from tests.fuzz.shrink import shrunk
from tests.fuzz.under_test import EngineConfig


@dataclass(frozen=True)
class Stages:
    """What is done with a graph beside the golden model and its dial.

    program: compiled for a random array and run on the machine.  verilog: simulated, on `array` or one of a few.
    """

    program: bool = False
    verilog: bool = False
    array: EngineConfig | None = None


@dataclass
class Record:
    """One graph's, or many graphs', results."""

    graphs: int = 0
    programs: int = 0
    simulated: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    findings: list[tuple[int, Finding]] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)

    def add(self, other: Record) -> None:
        self.graphs += other.graphs
        self.programs += other.programs
        self.simulated += other.simulated
        self.refusals += other.refusals
        self.findings += other.findings
        self.coverage.add(other.coverage)

    @property
    def reasons(self) -> Counter[str]:
        return Counter(map(reason, self.refusals))


def examine(seed: int, stages: Stages = Stages(), recipe: Recipe | None = None) -> Record:
    """The graph of a seed, or another recipe in its place, up to the first refusal or finding."""
    record = Record(graphs=1)
    model = build(recipe or draw(seed))
    record.coverage.see_model(model)
    given = loaded(model, seed)
    found = given if not isinstance(given, Loaded) else _examined(given, seed, stages, record)
    if isinstance(found, Refusal):
        record.refusals.append(found)
    elif found is not None:
        record.findings.append((seed, found))
    return record


def _examined(given: Loaded, seed: int, stages: Stages, record: Record) -> Finding | Refusal | None:
    found = check_golden(given) or check_dial(given, 1 + seed % 7)
    if found is not None:
        return found
    if stages.program:
        way = Way.of(seed, random_array(seed))
        made = compiled(given.graph, way)
        if isinstance(made, Finding | Refusal):
            return made
        record.programs += 1
        record.coverage.see_program(made, way.planes)
        if found := check_machine(made, given.picture, way):
            return found
    if stages.verilog:
        way = Way.of(seed, stages.array or simulated_array(seed))
        made = compiled(given.graph, way)
        if isinstance(made, Finding | Refusal):
            return made
        record.simulated += 1
        return check_verilog(made, given.picture, way)
    return None


def smallest(seed: int, finding: Finding, stages: Stages, seconds: float = 60.0) -> tuple[Recipe, Finding]:
    """The simplest recipe with a finding of the same sort, and that finding."""

    def same(recipe: Recipe) -> Finding | None:
        findings = [f for _, f in examine(seed, stages, recipe).findings]
        return next((f for f in findings if (f.stage, f.sort) == (finding.stage, finding.sort)), None)

    recipe = shrunk(draw(seed), lambda other: same(other) is not None, seconds)
    return recipe, same(recipe) or finding


def told(seed: int, finding: Finding, stages: Stages, seconds: float = 60.0) -> str:
    """A finding with what reproduces it."""
    recipe, small = smallest(seed, finding, stages, seconds)
    return f"seed {seed}: {finding}\nsmallest: {small}\n{recipe}"


def spread(graphs: int, programs: int, verilog: int) -> Callable[[int], Stages]:
    """Which of `graphs` graphs, by number, are compiled, and which of those simulated: evenly spread."""

    def chosen(number: int, count: int) -> bool:
        return number * count // graphs != (number + 1) * count // graphs

    return lambda number: Stages(chosen(number, programs), chosen(number, verilog))


__all__ = ["Record", "Stages", "examine", "smallest", "spread", "told"]

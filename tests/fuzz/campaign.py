"""Many graphs: each examined in every way that is asked for, and what they were, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.fuzz.arrays import random_array, simulated_array
from tests.fuzz.checks import Finding, Loaded, Refusal, check_golden, loaded
from tests.fuzz.coverage import Coverage
from tests.fuzz.draw import draw
from tests.fuzz.engine import Way, check_dial, check_machine, check_verilog, compiled
from tests.fuzz.grants import check_grants
from tests.fuzz.recipe import Recipe, build
from tests.fuzz.refusals import accepted, reason
from tests.fuzz.shrink import shrunk
from tests.fuzz.under_test import EngineConfig, parse_array


@dataclass(frozen=True)
class Stages:
    """What is done with a graph beside the golden model and its dial.

    program: compiled for a random array and run on the machine.  verilog: simulated on `array`, or on one of a few.
    way: how, where it does not follow from the seed.
    """

    program: bool = False
    verilog: bool = False
    array: EngineConfig | None = None
    way: Way | None = None


@dataclass
class Record:
    """One graph's, or many graphs', results."""

    graphs: int = 0
    asked: int = 0
    """Graphs that were to be compiled."""
    programs: int = 0
    simulated: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    findings: list[tuple[int, Finding]] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)

    def add(self, other: Record) -> None:
        self.graphs += other.graphs
        self.asked += other.asked
        self.programs += other.programs
        self.simulated += other.simulated
        self.refusals += other.refusals
        self.findings += other.findings
        self.coverage.add(other.coverage)

    @property
    def accepted(self) -> tuple[float, float]:
        """Shares: of the graphs by the loader, of those that were to be compiled by the compiler."""
        return accepted(self.refusals, "load", self.graphs), accepted(self.refusals, "compile", self.asked)

    @property
    def reasons(self) -> Counter[str]:
        return Counter(map(reason, self.refusals))


PLAIN = ("8x8x8", "16x8x8")
"""Arrays on which a finding is tried to be shown."""


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
    record.asked += stages.program or stages.verilog
    if stages.program:
        way = stages.way or Way.of(seed, random_array(seed))
        made = compiled(given.graph, way)
        if isinstance(made, Finding | Refusal):
            return made
        record.programs += 1
        record.coverage.see_program(made, way.planes)
        if found := check_machine(made, given.picture, way) or check_grants(made):
            return found
    if stages.verilog:
        way = stages.way or Way.of(seed, stages.array or simulated_array(seed))
        made = compiled(given.graph, way)
        if isinstance(made, Finding | Refusal):
            return made
        record.simulated += 1
        return check_verilog(made, given.picture, way)
    return None


def smallest(seed: int, finding: Finding, stages: Stages, seconds: float = 60.0) -> tuple[Recipe, Finding]:
    """The simplest recipe with a finding of the same sort, and that finding, in the plainest way that shows it."""

    def same(recipe: Recipe, stages: Stages) -> Finding | None:
        findings = [f for _, f in examine(seed, stages, recipe).findings]
        return next((f for f in findings if (f.stage, f.sort) == (finding.stage, finding.sort)), None)

    recipe = draw(seed)
    if finding.stage in ("compile", "machine"):
        plain = (replace(stages, verilog=False, way=Way(parse_array(name), seed=seed)) for name in PLAIN)
        stages = next((other for other in plain if same(recipe, other)), stages)
    recipe = shrunk(recipe, lambda other: same(other, stages) is not None, seconds)
    return recipe, same(recipe, stages) or finding


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

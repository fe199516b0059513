"""Random graphs through everything: what is accepted is right, what is refused has a reason that is known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.fuzz.campaign import Record, Stages, examine, told
from tests.fuzz.coverage import DETAILS, MODES, Coverage
from tests.fuzz.draw import PAIRS, THROUGH, draw
from tests.fuzz.recipe import build
from tests.fuzz.refusals import ACCEPTED, unknown
from tests.fuzz.under_test import parse_array

GRAPHS = 300
AT_ONCE = 15
DRAWN = 1800
"""Graphs that are only drawn, to see whether operations meet."""
PROGRAM_OF = 10
"""One graph in ten is compiled, and run on the machine."""
SLOW_GRAPHS, SLOW_PROGRAM_OF, SLOW_VERILOG_OF, SLOW_AT_ONCE = 3_000, 3, 75, 100
SLOW_FIRST = 10_000
SIMULATED = (43, 60, 64, 69)
"""Seeds whose programs are simulated on the array that other tests have a simulator of."""

SHOWING = (110, 90, 133, 116, 112, 108, 20)
"""Seeds whose programs show every mode of every unit together: a short way, which the drawing may leave behind."""


def clean(seeds: Sequence[int], stages: dict[int, Stages]) -> Record:
    """The record of some seeds; a difference fails the test with the smallest graph that shows it."""
    total = Record()
    for seed in seeds:
        record = examine(seed, stages[seed])
        for number, finding in record.findings:
            pytest.fail(told(number, finding, stages[seed]))
        total.add(record)
    assert unknown(total.refusals) == []
    return total


@pytest.mark.parametrize("start", range(0, GRAPHS, AT_ONCE))
def test_all_ways_agree(start: int) -> None:
    seeds = range(start, start + AT_ONCE)
    total = clean(seeds, {seed: Stages(program=seed % PROGRAM_OF == 0) for seed in seeds})
    assert len(total.refusals) <= 3, total.reasons


def test_no_pair_of_operations_is_missing() -> None:
    coverage = Coverage()

    def missing() -> list[object]:
        pairs = [pair for pair in PAIRS if pair not in coverage.pairs]
        through = [pair for pair in THROUGH if pair not in coverage.through]
        return [*pairs, *through, *(detail for detail in DETAILS if not coverage.details[detail])]

    for seed in range(DRAWN):
        coverage.see_model(build(draw(seed)))
        if seed % 20 == 19 and not missing():
            break
    assert missing() == []


def test_no_mode_of_a_unit_is_missing() -> None:
    """The graphs one after the other until every mode was there; those that show it soonest first."""
    total = Record()
    for seed in (*SHOWING, *range(GRAPHS)):
        if all(total.coverage.modes[mode] for mode in MODES):
            break
        total.add(clean((seed,), {seed: Stages(program=True)}))
    assert [mode for mode in MODES if not total.coverage.modes[mode]] == []
    # Regions begin in the first three word columns: other values are drawn by the sweep, tests/sim/test_fields.py.
    assert {total.coverage.fields[name, "column_address"] for name in ("LOAD", "MOVE", "RUN")} == {(0, 0)}


@pytest.mark.verilator
@pytest.mark.xdist_group("simulator")
@pytest.mark.parametrize("seed", SIMULATED)
def test_the_verilog_agrees(seed: int) -> None:
    total = clean(range(seed, seed + 1), {seed: Stages(verilog=True, array=parse_array("sim"))})
    assert total.simulated == 1


@pytest.mark.slow
@pytest.mark.verilator
@pytest.mark.parametrize("start", range(SLOW_FIRST, SLOW_FIRST + SLOW_GRAPHS, SLOW_AT_ONCE))
def test_all_ways_agree_on_thousands(start: int) -> None:
    seeds = range(start, start + SLOW_AT_ONCE)
    stages = {seed: Stages(program=seed % SLOW_PROGRAM_OF == 0, verilog=seed % SLOW_VERILOG_OF == 0) for seed in seeds}
    total = clean(seeds, stages)
    assert min(total.accepted) >= ACCEPTED, total.reasons


@pytest.mark.slow
def test_every_mode_of_every_unit_is_used() -> None:
    total = Record()
    for seed in range(400):
        total.add(examine(seed, Stages(program=True)))
    assert [mode for mode in MODES if total.coverage.modes[mode] < 2] == []


def test_a_seed_is_a_graph() -> None:
    for seed in range(0, GRAPHS, 30):
        assert build(draw(seed)).SerializeToString() == build(draw(seed)).SerializeToString()

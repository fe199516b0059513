"""Random graphs: what the golden model computes is what an executor of its own finds in the file."""

from __future__ import annotations

import pytest

from tests.fuzz.checks import Finding, Loaded, Refusal, check_golden, loaded
from tests.fuzz.draw import draw
from tests.fuzz.recipe import Recipe, build
from tests.fuzz.shrink import shrunk

SEEDS = range(300)
AT_ONCE = 20


def examined(recipe: Recipe, seed: int) -> Finding | Refusal | None:
    found = loaded(build(recipe), seed)
    return check_golden(found) if isinstance(found, Loaded) else found


@pytest.mark.parametrize("start", range(SEEDS.start, SEEDS.stop, AT_ONCE))
def test_golden_is_the_executor(start: int) -> None:
    for seed in range(start, start + AT_ONCE):
        found = examined(draw(seed), seed)
        if isinstance(found, Finding):
            smallest = shrunk(draw(seed), lambda r, s=seed, f=found: getattr(examined(r, s), "sort", "") == f.sort)
            pytest.fail(f"seed {seed}: {found}\nsmallest: {examined(smallest, seed)}\n{smallest}")


def test_a_seed_is_a_graph() -> None:
    for seed in range(0, 300, 30):
        assert build(draw(seed)).SerializeToString() == build(draw(seed)).SerializeToString()

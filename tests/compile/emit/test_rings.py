"""Rings: spaces that are live together never meet, wherever the ring stands when they are announced."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import pytest

from hwseg.compile.emit.rings import Ring

CAPACITY = 7


def partitions(total: int) -> Iterator[tuple[int, ...]]:
    """Every row of sizes with this sum."""
    for cuts in range(total):
        for places in combinations(range(1, total), cuts):
            edges = (0, *places, total)
            yield tuple(b - a for a, b in pairwise(edges))


@pytest.mark.parametrize("before", range(CAPACITY + 1))
def test_announced_spaces_never_meet(before: int) -> None:
    for total in range(1, CAPACITY + 1):
        for sizes in partitions(total):
            ring = Ring(CAPACITY)
            for _ in range(before):
                ring.take(1).live = False
            ring.reserve_apart(sizes)
            spaces = [ring.take(size) for size in sizes]
            found = [at for space in spaces for at in range(space.start, space.start + space.size)]
            assert len(found) == len(set(found)) == total
            assert max(found) < CAPACITY


def test_spaces_go_on_from_where_the_ring_is_unless_they_would_meet() -> None:
    """What is loaded is then loaded earlier: less lies there that is still read."""
    for sizes, wanted in (((2, 2), [4, 0]), ((2, 2, 2), [4, 0, 2]), ((2, 3, 2), [0, 2, 5])):
        ring = Ring(CAPACITY)
        for _ in range(4):
            ring.take(1).live = False
        ring.reserve_apart(sizes)
        assert [ring.take(size).start for size in sizes] == wanted

"""Memories that are used round and round: space is given out in order and comes back in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from hwseg.compile.plan.plan import LayerPlan


@dataclass(slots=True)
class Space:
    """Addresses [start, start + size).  `until`: number of RUNs, STOREs or MOVEs after which it may be overwritten."""

    start: int
    size: int
    until: int
    live: bool = True


class Ring:
    """Gives out contiguous spaces of a memory of `capacity` addresses; the oldest ones are overwritten first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.next = 0
        self.spaces: deque[Space] = deque()
        self.released = 0
        """What must be complete before anything given out so far may be written."""

    def reserve(self, size: int) -> None:
        """The next spaces, `size` addresses together, will lie behind each other."""
        assert size <= self.capacity, "the plan fits the memory"
        if self.next + size > self.capacity:
            self._wrap()

    def reserve_apart(self, sizes: Sequence[int]) -> None:
        """The next spaces, of these sizes, will not meet; they would where one behind 0 reaches the first."""
        assert sum(sizes) <= self.capacity, "the plan fits the memory"
        at, wrapped = self.next, False
        for size in sizes:
            if at + size > self.capacity:
                at, wrapped = 0, at != self.next
            at += size
            if wrapped and at > self.next:
                self._wrap()
                return

    def _wrap(self) -> None:
        while self.spaces and self.spaces[0].start >= self.next:
            self._drop()
        self.next = 0

    def take(self, size: int) -> Space:
        """A new space; afterwards `released` says what must be complete before it is written."""
        assert size <= self.capacity, "the plan fits the memory"
        if self.next + size > self.capacity:
            self._wrap()
        start = self.next
        while (
            self.spaces and self.spaces[0].start < start + size and start < self.spaces[0].start + self.spaces[0].size
        ):
            self._drop()
        space = Space(start, size, 0)
        self.spaces.append(space)
        self.next = start + size
        return space

    def _drop(self) -> None:
        old = self.spaces.popleft()
        assert not old.live, "no space is overwritten while the plan still reads it"
        self.released = max(self.released, old.until)


class WeightSpaces:
    """Where tiles lie in the weight ring, counted from the start of the program.

    Tiles of layers that are walked many times stay, if all of them fit; every other one is used once.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.end = 0
        self.following = 0
        """Where the mover reads on."""
        self.spaces: deque[Space] = deque()
        self.kept: dict[tuple[int, int, int], Space] | None = None
        self.after = 0
        """RUNs that must be complete before what was given out last may be written."""

    @contextmanager
    def keeping(self, plans: Sequence[LayerPlan]) -> Iterator[None]:
        """While these layers are walked their tiles stay in the ring, if it holds them."""
        if sum(plan.weight_words for plan in plans) <= self.capacity:
            self.kept = {}
        yield
        self.kept = None

    def find(self, tile: tuple[int, int, int], size: int, run: int) -> tuple[int, int | None]:
        """A tile's place, for RUN number `run`; if it must be loaded, how many RUNs must be complete before."""
        if self.kept and tile in self.kept:
            self.kept[tile].until = run
            return self.kept[tile].start, None
        space = Space(self.end, size, run)
        while self.spaces and self.spaces[0].start < space.start + size - self.capacity:
            self.after = max(self.after, self.spaces.popleft().until + 1)
        self.spaces.append(space)
        self.end += size
        if self.kept is not None:
            self.kept[tile] = space
        return space.start, self.after

"""Memories that are used round and round: space is given out in order and comes back in order."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


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

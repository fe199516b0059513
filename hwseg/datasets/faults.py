"""Everything that is wrong with a data set, not the first of it alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

from hwseg.errors import HwsegError


@dataclass
class Faults:
    """What was found so far, each once and in its order."""

    found: list[HwsegError] = field(default_factory=list)

    @contextmanager
    def each(self) -> Iterator[None]:
        """A fault of the body is noted, and the body ends there."""
        try:
            yield
        except HwsegError as error:
            self.add(error)

    def add(self, error: HwsegError) -> None:
        if str(error) not in map(str, self.found):
            self.found.append(error)

    def refuse(self, place: str) -> None:
        """Raise what was found: itself, or how much it is, which then has been shown."""
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            rule = f"has {len(self.found)} faults, listed above"
            raise HwsegError(place, rule, "mend them, or leave pictures out with --exclude")


def each(faults: Faults | None) -> AbstractContextManager[None]:
    """Note a fault of the body, or, without `faults`, let the first one be raised."""
    return nullcontext() if faults is None else faults.each()

"""Tiles computed at once: in this process, in others through joblib, or on a cluster through joblib's Dask backend."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Any

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.pictures.formats import needed
from hwseg.pictures.tiles import Tile
from hwseg.pictures.whole import Whole
from hwseg.segment.network import Engine

AHEAD = 8
"""Tiles that are prepared for each job at a time."""

EXTRA = "pip install 'hwseg[cluster]'"


@dataclass(frozen=True)
class Task:
    """A tile to be computed.  picture: its number among an item's; index: the tile's.  integers: what goes in."""

    picture: int
    index: int
    tile: Tile
    whole: Whole
    integers: np.ndarray

    @property
    def taken(self) -> tuple[slice, slice]:
        """What is used of its classes; all, where the picture was scaled."""
        return (slice(None), slice(None)) if self.whole.to_size else self.tile.taken

    def classes(self, found: np.ndarray) -> np.ndarray:
        """Of the picture, of what `taken` is of the tile's."""
        return self.whole.restored(found) if self.whole.to_size else found


class Pool:
    """Computes tasks in their order.  jobs: at once, each with one thread.  dask: address of a scheduler."""

    def __init__(self, engine: Engine, jobs: int = 1, dask: str = "") -> None:
        self.engine, self.jobs, self.dask = engine, jobs, dask
        require(jobs >= 1, "--jobs", f"must be 1 or more, is {jobs}")
        alone = engine.many or (jobs == 1 and not dask)
        rule = f"computes one tile at a time with --on {engine.on}"
        require(
            alone, "--dask" if dask else "--jobs", rule, "leave it out, or use --on golden or --on machine of a build"
        )
        self._stack = ExitStack()
        self._parallel: Any = None

    def __enter__(self) -> Pool:
        if self.jobs == 1 and not self.dask:
            return self
        joblib = needed("joblib", "--dask" if self.dask else "--jobs", "several tiles at once", EXTRA)
        try:
            if self.dask:
                distributed = needed("distributed", "--dask", "a cluster", EXTRA)
                client = self._stack.enter_context(_client(distributed, self.dask))
                self.jobs = max(1, sum(client.nthreads().values()))
                self._stack.enter_context(joblib.parallel_config("dask", n_jobs=self.jobs))
            else:
                config = joblib.parallel_config("loky", n_jobs=self.jobs, inner_max_num_threads=1)
                self._stack.enter_context(config)
            self._parallel = self._stack.enter_context(joblib.Parallel(return_as="generator"))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def results(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, np.ndarray]]:
        """Each task with the classes of the picture that it gives."""
        if self._parallel is None:
            yield from self._in_turn(tasks)
            return
        from joblib import delayed

        waiting = iter(tasks)

        while part := list(islice(waiting, AHEAD * self.jobs)):
            found = self._parallel(delayed(compute)(self.engine, task.integers, task.taken) for task in part)
            for task, classes in zip(part, found, strict=True):
                yield task, task.classes(classes)

    def _in_turn(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, np.ndarray]]:
        """The same in this process; the next task is prepared while an accelerator computes one."""
        given: deque[Task] = deque()

        def inputs() -> Iterator[np.ndarray]:
            for task in tasks:
                given.append(task)
                yield task.integers

        for found in self.engine.each(inputs()):
            task = given.popleft()
            yield task, task.classes(np.ascontiguousarray(found[task.taken]))


def compute(engine: Engine, integers: np.ndarray, taken: tuple[slice, slice]) -> np.ndarray:
    """The classes that are taken of one tile; this is what a job does."""
    return np.ascontiguousarray(engine.classes(integers)[taken])


def _client(distributed: Any, address: str) -> Any:
    try:
        return distributed.Client(address, timeout="10s", set_as_default=True)
    except (OSError, ValueError, TypeError) as error:
        rule = f"must be the address of a Dask scheduler: {str(error)[:120] or type(error).__name__}"
        raise HwsegError(
            f"--dask {address}", rule, "start one with dask scheduler, for example tcp://host:8786"
        ) from None

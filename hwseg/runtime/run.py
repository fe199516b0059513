"""One picture on the accelerator: under way, or ended with a mask or an error."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Protocol

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.pictures.fit import nearest
from hwseg.pictures.tiles import Grid
from hwseg.runtime.loaded import Loaded
from hwseg.runtime.model import Model
from hwseg.trust.fitted import FIT
from hwseg.trust.judge import Judge, Review

LONGEST = 86_400.0
"""Seconds: every wait has a limit."""


@dataclass(frozen=True)
class Mask:
    """mask: class of every pixel, uint8 [H, W].  sums: the head's exact integers [H, W, C].

    cycles: of the accelerator, for all tiles.  counters: other registers that count, by name.  grid: how the picture
    was cut; None where it was brought to the network's size, and of a tile.
    """

    mask: np.ndarray
    sums: np.ndarray
    cycles: int
    counters: Mapping[str, int]
    model: Model
    grid: Grid | None = None

    @property
    def logits(self) -> np.ndarray:
        """The model's numbers before its activation, float32 [H, W, C]."""
        return self.model.head.logits(self.sums)

    @property
    def confidence(self) -> np.ndarray:
        """How sure the network is of every pixel's class, uint8 [H, W] (`hwseg.trust.confidence`); 255 is sure.

        HwsegError, as from `deferred` and `review`, where nothing was fitted to the model.
        """
        found = self._sure[0]
        return found if found.shape == self.mask.shape else nearest(found, (self.mask.shape[0], self.mask.shape[1]))

    @property
    def deferred(self) -> np.ndarray:
        """The pixels that a person should decide, bool [H, W]."""
        return self._judge.deferred(self.confidence)

    @property
    def review(self) -> Review:
        """Whether a person should look at the picture: `verdict`, "accept" or "review", and the `reason` in words."""
        return self._judge.review(*self._sure)

    @cached_property
    def _sure(self) -> tuple[np.ndarray, np.ndarray]:
        """Confidence and mask of the network's own size."""
        own = self.mask if self.sums.shape[:2] == self.mask.shape else self.model.head.mask(self.sums)
        return self._judge.confidence(self.sums, own), own

    @property
    def _judge(self) -> Judge:
        return judge_of(self.model)


def judge_of(model: Model) -> Judge:
    """What judges a model's masks; HwsegError where nothing was fitted to it."""
    if model.judge is None:
        rule = "says nothing of doubt: its package has no trust"
        raise HwsegError(f"model {model.name}", rule, f"{FIT}, then compile and package it again")
    return model.judge


class Owner(Protocol):
    """The accelerator, as its runs see it."""

    def status(self) -> frozenset[str]: ...

    def stop(self, run: Run) -> None: ...

    def finish(self, run: Run, timeout: float | None) -> None: ...


class Run:
    """A run under way, or what came of it.

    given_up: nobody will wait for it; the accelerator ends it before it begins another.
    """

    def __init__(self, accelerator: Owner, loaded: Loaded) -> None:
        self._accelerator, self.loaded = accelerator, loaded
        self._mask: Mask | None = None
        self._error: HwsegError | None = None
        self.given_up = False

    @property
    def ended(self) -> bool:
        """Whether it has its mask or its error."""
        return self._mask is not None or self._error is not None

    @property
    def done(self) -> bool:
        """Whether `wait` would return, or raise, at once."""
        return self.ended or "busy" not in self._accelerator.status()

    def stop(self) -> None:
        """End the run before its time: bursts on the bus end first, and `wait` then raises HwsegError."""
        if not self.ended:
            self._accelerator.stop(self)

    def wait(self, timeout: float | None = None) -> Mask:
        """The mask; raises HwsegError after `timeout` seconds, by default 8 times what the compiler predicts.

        After a timeout the run is still under way: `wait` may be called again, or `stop`.  A run that has ended with an
        error raises it at every call.
        """
        seconds = seconds_of(timeout)
        if not self.ended:
            self._accelerator.finish(self, seconds)
        if self._error is not None:
            raise HwsegError(self._error.place, self._error.rule, self._error.cure)
        assert self._mask is not None
        return self._mask

    def end(self, outcome: Mask | HwsegError) -> None:
        """The accelerator tells what came of it."""
        if isinstance(outcome, Mask):
            self._mask = outcome
        else:
            self._error = outcome


def seconds_of(timeout: float | None) -> float | None:
    """A timeout that can be waited for; HwsegError for any other."""
    if timeout is None:
        return None
    given: object = timeout
    real = isinstance(given, Real) and not isinstance(given, bool)
    rule = f"must be seconds from 0 to {LONGEST:g}, is {timeout!r}"
    require(real and 0 <= timeout <= LONGEST, "timeout", rule, "leave it out to wait 8 times as long as is predicted")
    return float(timeout)


class Turn:
    """Who uses the accelerator: one thread at a time, of the process that opened it.

    A second one is refused instead of waiting: it would else overwrite the first one's picture as soon as it may.
    """

    def __init__(self) -> None:
        self._lock, self._process = threading.RLock(), os.getpid()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """The turn, for the body; a thread that has it already keeps it."""
        cure = "use it there, or close it there and open it here"
        require(os.getpid() == self._process, "accelerator", "must be used by the process that opened it", cure)
        cure = "use it from one thread, or guard every use with one lock"
        taken = self._lock.acquire(blocking=False)
        require(taken, "accelerator", "must not be used by two threads at once", cure)
        try:
            yield
        finally:
            self._lock.release()

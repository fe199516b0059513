"""Ctrl-C, SIGTERM and a closed terminal end a command the same way: what it has finished is kept, the rest vanishes.

`terminable` turns SIGTERM and SIGHUP into `Terminated`, which is a `KeyboardInterrupt`, so that whatever cleans up
after Ctrl-C does after these.  `deferred` waits with all three until a step that must not be half done is over.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDINGS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a process to end, beside SIGINT."""

_PR_SET_PDEATHSIG = 1


class Terminated(KeyboardInterrupt):
    """Raised where SIGTERM or SIGHUP arrives.  number: of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def exit_status(stop: BaseException | None) -> int:
    """What a shell expects of a process that a signal ended: 128 and the signal's number; 130 for Ctrl-C."""
    return 128 + (stop.number if isinstance(stop, Terminated) else int(signal.SIGINT))


@contextmanager
def terminable() -> Iterator[None]:
    """In the body SIGTERM and SIGHUP raise `Terminated`; signals that this process was told to ignore stay ignored."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise Terminated(number)

    with _handlers(dict.fromkeys(_heard(ENDINGS), handle)):
        yield


class Asked:
    """Whether the body was asked to end, and by which signal.  set: the signal's number, 0 for none."""

    def __init__(self) -> None:
        self.number = 0

    def __bool__(self) -> bool:
        return self.number != 0

    def check(self) -> None:
        """Raise what would have been raised at once."""
        if self.number:
            raise KeyboardInterrupt if self.number == signal.SIGINT else Terminated(self.number)


@contextmanager
def deferred() -> Iterator[Asked]:
    """The body is told by `Asked` instead of being interrupted; a second signal acts at once."""
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        asked.number = number
        for one, handler in before.items():
            signal.signal(one, handler)

    heard = _heard((signal.SIGINT, *ENDINGS))
    before.update({number: signal.getsignal(number) for number in heard})
    with _handlers(dict.fromkeys(heard, handle)):
        yield asked


def _heard(numbers: tuple[int, ...]) -> list[int]:
    """Those that this process does not ignore, and whose handler it may put back: `nohup` ignores SIGHUP."""
    return [number for number in numbers if signal.getsignal(number) not in (signal.SIG_IGN, None)]


@contextmanager
def _handlers(handlers: dict[int, Callable[[int, FrameType | None], None]]) -> Iterator[None]:
    """Handlers for the time of the body; Python allows them in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_parent() -> None:
    """Let the system kill this process when the one that started it ends, however that ends (Linux)."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(128 + int(signal.SIGKILL))

"""Work that ends at its n-th step on the file system as `kill -9` would end it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

STEPS = {"open", "fcntl.flock", "os.chmod", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"}
STEPS |= {"os.scandir", "shutil.rmtree", "tempfile.mkdtemp", "tempfile.mkstemp", "ctypes.dlsym"}
"""Events of Python's audit hooks; `ctypes.dlsym` comes before the exchange of two names."""

KILLED = 137


def crashes(work: Callable[[], object], most: int = 400) -> Iterator[int]:
    """Do `work` again and again, each time in a process of its own, killed one step later; the number of each step.

    Ends when the work gets to its end.  Before `os.write` half of the bytes are written.
    """
    for step in range(1, most):
        child = os.fork()
        if child == 0:
            _die_at(step)
            try:
                work()
                os._exit(0)
            finally:
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, KILLED), f"step {step}: exit status {status}"
        if status == 0:
            return
        yield step
    raise AssertionError(f"not at its end after {most} steps")


def _die_at(step: int) -> None:
    left = [step]

    def count() -> bool:
        left[0] -= 1
        return left[0] == 0

    def hook(event: str, _: object) -> None:
        if event in STEPS and count():
            os._exit(KILLED)

    write = os.write

    def half(handle: int, data: bytes) -> int:
        if count():
            write(handle, data[: len(data) // 2])
            os._exit(KILLED)
        return write(handle, data)

    os.write = half  # type: ignore[assignment]
    sys.addaudithook(hook)

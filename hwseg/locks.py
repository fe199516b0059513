"""Files and folders that one process has at a time, and two folders that change their names in one step."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hwseg.errors import HwsegError

AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Of renameat2(2), which Python does not offer."""

UNLOCKABLE = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""What file systems without locks answer."""


def lock(handle: int) -> bool:
    """Take the lock of an open file, as long as it is open: False if another open file has it.

    The kernel gives it back when its process ends, however that ends.  Where there are no locks this does nothing.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNLOCKABLE:
            raise
    return True


def unlock(handle: int) -> None:
    """Give the lock back, also where a forked process has the file open still."""
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_UN)


@contextmanager
def held(path: Path, place: str) -> Iterator[None]:
    """Hold the lock file `path`, which is gone afterwards; HwsegError about `place` if another holds it.

    Who waits for nobody cannot hang.  A file that a killed process left is taken over: its lock died with it.
    """
    handle = _take(path, place)
    try:
        yield
    finally:
        # As long as the lock is held nobody else takes a file of this name for theirs.
        path.unlink(missing_ok=True)
        unlock(handle)
        os.close(handle)


def _take(path: Path, place: str) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if not lock(handle):
                raise HwsegError(
                    place, "must not be written by two processes at once", "wait for the other or choose another folder"
                )
            if _is_at(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        # Who held it before has removed it since we opened it.
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def swap(one: Path, other: Path) -> bool:
    """Exchange what two paths name, so that neither is ever missing; False where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(rename(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0)

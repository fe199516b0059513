"""A folder in use is locked: two commands that write into one folder would leave a mixture of both.

The lock is `flock` on the file `.NAME.hwseg-lock` beside the folder, so that it holds for folders that are replaced or
do not exist yet, and a process that ends frees it, however it ends.  The file is removed with the lock; one that a
crash left is taken over.  Where the file system has no locks there is none.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from hwseg.errors import HwsegError, from_os_error

LOCK = ".hwseg-lock"
LONGEST_NAME = 200
"""Bytes of a name that `.NAME.hwseg-lock` and the like are made of; file systems allow 255."""


@dataclass
class _Held:
    """A lock of this process.  count: how often its thread has taken it."""

    handle: int
    shared: bool
    thread: int = field(default_factory=threading.get_ident)
    process: int = field(default_factory=os.getpid)
    count: int = 1


_held: dict[Path, _Held] = {}
_guard = threading.Lock()


@contextmanager
def in_use(folder: str | Path, *, shared: bool = False, wait: bool = False) -> Iterator[bool]:
    """Hold the lock of a folder (or a file) that need not exist; whether the file system has locks.

    shared: others may read it, too, but nobody may write; where the lock's file cannot be made, nobody can replace the
    folder either, and none is needed.  wait: until it is free; otherwise a folder in use raises HwsegError with the
    process that has it.  The thread that has a lock may take it again.
    """
    path = lock_file(folder)
    with _guard:
        own = _held.get(path)
        again = own is not None and own.thread == threading.get_ident() and (shared or not own.shared)
        if own is not None and again:
            own.count += 1
    if not again:
        handle = _take(path, Path(folder), shared, wait)
        if handle is None:
            yield False
            return
        own = _Held(handle, shared)
        with _guard:
            _held.setdefault(path, own)
    assert own is not None
    try:
        yield True
    finally:
        with _guard:
            own.count -= 1
            if own.count == 0:
                if _held.get(path) is own:
                    del _held[path]
                _release(path, own)


def lock_file(folder: str | Path) -> Path:
    """Where the lock of a folder is; the same for every path to it."""
    real = Path(os.path.realpath(folder))
    return real.with_name(f".{stem(real.name)}{LOCK}") if real.name else real / LOCK


def stem(name: str) -> str:
    """A name that leaves room for a beginning and an ending, and is different for different names."""
    content = os.fsencode(name)
    return name if len(content) <= LONGEST_NAME else hashlib.sha256(content).hexdigest()[:32]


def _take(path: Path, folder: Path, shared: bool, wait: bool) -> int | None:
    """An open file with the lock; None where there is no need for one, or no such thing as locks."""
    while True:
        try:
            if not shared:
                path.parent.mkdir(parents=True, exist_ok=True)
            handle = _open(path)
        except OSError as error:
            if shared:
                return None
            raise from_os_error(error, str(folder)) from error
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            holder = _holder(handle)
            os.close(handle)
            cure = "wait until that ends, or choose another folder"
            raise HwsegError(str(folder), f"is in use by another hwseg{holder}", cure) from None
        except OSError:
            os.close(handle)
            return None
        except BaseException:
            os.close(handle)
            raise
        if _is_at(handle, path):
            if not shared:
                with suppress(OSError):  # a full disk, or a file of another user: only the name is missing then
                    os.truncate(handle, 0)
                    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
            return handle
        os.close(handle)  # its owner removed it while this process waited


def _open(path: Path) -> int:
    flags = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        handle = os.open(path, flags | os.O_RDWR, 0o666)
    except PermissionError:
        handle = os.open(path, flags & ~os.O_CREAT | os.O_RDONLY)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise FileExistsError(17, "is no lock", str(path))
    return handle


def _holder(handle: int) -> str:
    with suppress(OSError, ValueError):
        return f", process {int(os.pread(handle, 20, 0))}"
    return ""


def _is_at(handle: int, path: Path) -> bool:
    """Whether the open file is the one at `path`."""
    with suppress(OSError):
        there, here = os.stat(path, follow_symlinks=False), os.fstat(handle)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
    return False


def _release(path: Path, own: _Held) -> None:
    """Remove the file while it is locked, so that nobody can have locked it in between."""
    if own.process != os.getpid():
        return
    with suppress(OSError):
        if own.shared:
            fcntl.flock(own.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while others read
        path.unlink(missing_ok=True)
    os.close(own.handle)


def _forget() -> None:
    """A child process has copies of the open files; the locks are its parent's."""
    for own in _held.values():
        with suppress(OSError):
            os.close(own.handle)
    _held.clear()


os.register_at_fork(after_in_child=_forget)

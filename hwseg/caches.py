"""What was made once and is kept, each entry with the SHA-256 of its content, which is checked whenever it is used.

    text = remembered("engines", key, lambda: verilog(config).encode())        bytes
    folder = kept("simulators", key, lambda scratch: compile_into(scratch))    a folder

An entry that is cut, changed, of another key or missing is made again.  `key` is anything whose `repr` says all that
the content depends on.  One process makes an entry, others that want the same wait for it.  Where the cache cannot be
written (a full disk, a home that is read-only), what is made serves this process alone, and a line on standard error
says so.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from hwseg.errors import HwsegError, file_errors
from hwseg.files import exchange, recover, scratch_folder, sha256, write_whole
from hwseg.locks import in_use

SEAL = "hwseg-seal.json"
"""In an entry that is a folder: its name, and of each file the SHA-256 and whether it may be executed."""

_DIGEST = 64
"""An entry that is a file begins with the SHA-256 of its name and content, in hexadecimal, and a line break."""

_NOT_KEPT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
"""What may be wrong with the cache's disk and need not be with another."""

_FULL_BYTES = 64 << 20
"""A disk with less than the largest entries is full."""

_log = logging.getLogger("hwseg")
_told: set[str] = set()
_own: dict[tuple[str, str], Path] = {}
"""Entries that only this process has."""


def cache_folder(*parts: str) -> Path:
    """`$XDG_CACHE_HOME/hwseg/parts`, by default under ~/.cache; made if missing.  Raises HwsegError if it cannot be."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        home = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    except RuntimeError:
        raise HwsegError("cache", "this user has no home folder", "set XDG_CACHE_HOME to a folder") from None
    folder = home.joinpath("hwseg", *parts)
    with file_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def digest_of(key: object) -> str:
    """The name of an entry: 32 hexadecimal digits."""
    return hashlib.sha256(repr(key).encode()).hexdigest()[:32]


def is_remembered(kind: str, key: object) -> bool:
    """Whether `remembered` would find the entry."""
    path = _place(kind, digest_of(key))
    return path is not None and _read(path) is not None


def remembered(kind: str, key: object, make: Callable[[], bytes]) -> bytes:
    """The entry of `key` among those of a `kind`: from the cache, or made now and kept there."""
    path = _place(kind, digest_of(key))
    if path is None:
        return make()
    if (content := _read(path)) is not None:
        return content
    with _alone(path):
        if (content := _read(path)) is None:
            content = make()
            try:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                write_whole(path, _head(path, content) + content)
            except HwsegError as error:
                _tell(error)
    return content


def _head(path: Path, content: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + b"\n" + content).hexdigest().encode() + b"\n"


def _read(path: Path) -> bytes | None:
    """The content of a sound entry."""
    with suppress(OSError):
        found = path.read_bytes()
        content = found[_DIGEST + 1 :]
        if found[: _DIGEST + 1] == _head(path, content):
            return content
    return None


def kept(kind: str, key: object, make: Callable[[Path], None]) -> Path:
    """The folder of `key` among those of a `kind`: from the cache, or filled by `make` now and kept there."""
    name = digest_of(key)
    if (kind, name) in _own:
        return _own[kind, name]
    path = _place(kind, name)
    if path is not None:
        try:
            fill_once(path, make)
            return path
        except HwsegError as error:
            if not _at_fault(path.parent, error.number):
                raise
            _tell(error)
    with file_errors(tempfile.gettempdir()):
        folder = Path(tempfile.mkdtemp(prefix="hwseg-cache-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        make(folder)
    _own[kind, name] = folder
    return folder


def _at_fault(folder: Path, number: int) -> bool:
    """Whether it is the cache's disk that refused, and not another that was written at the same time."""
    if number in (errno.ENOSPC, errno.EFBIG):
        with suppress(OSError):
            return number == errno.EFBIG or shutil.disk_usage(folder).free < _FULL_BYTES
    return number == errno.EDQUOT or (number in _NOT_KEPT and not os.access(folder, os.W_OK | os.X_OK))


def fill_once(folder: Path, make: Callable[[Path], None]) -> None:
    """Let `make` fill `folder` unless it is there and whole; whoever else does the same at the same time waits."""
    if is_whole(folder):
        return
    with _alone(folder) as locked:
        if is_whole(folder):
            return
        with file_errors(folder):
            recover(folder)
            scratch = scratch_folder(folder, locked)
            try:
                make(scratch)
                (scratch / SEAL).write_text(_seal(scratch, folder.name))
                scratch.chmod(0o755)
                if folder.exists() and not folder.is_dir():
                    folder.unlink()
                exchange(scratch, folder)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)


def is_whole(folder: Path) -> bool:
    """Whether an entry holds exactly the files that it was sealed with, each as it was."""
    with suppress(OSError, ValueError, HwsegError):
        return (folder / SEAL).read_text() == _seal(folder, folder.name)
    return False


def _seal(folder: Path, name: str) -> str:
    files = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) or path == folder / SEAL:
            continue
        if not stat.S_ISREG(mode):
            raise ValueError(f"{path} is no file")
        files[path.relative_to(folder).as_posix()] = [sha256(path), bool(mode & 0o100)]
    return json.dumps({"entry": name, "files": files}, indent=1) + "\n"


def _place(kind: str, name: str) -> Path | None:
    """Where an entry is or would be; None, and a line that says why, where there can be no cache."""
    try:
        return cache_folder(kind) / name
    except HwsegError as error:
        _tell(error)
        return None


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Wait for the lock of an entry; whether there is one.  A cache that cannot be written needs none."""
    with ExitStack() as stack:
        locked = False
        with suppress(HwsegError):
            locked = stack.enter_context(in_use(path, wait=True))
        yield locked


def _tell(error: HwsegError) -> None:
    """Once for each fault, in one line."""
    cure = "free space or set XDG_CACHE_HOME to another folder"
    sentence = f"hwseg: {error.place}: {error.rule}, so that nothing is kept there and it is made each time; {cure}"
    if sentence not in _told:
        _told.add(sentence)
        _log.warning(sentence)

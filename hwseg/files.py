"""Files and folders that are whole or absent, and the sums that prove it.

A build folder carries `hwseg-build.json`, so that hwseg replaces its own folders and nobody else's, and may carry
`manifest.json` with the SHA-256 of each file.  Whoever reads such a file reads it through `Sealed`.

What is being written is called `.NAME.hwseg-partial` until it is whole, and belongs to who holds its lock; what a crash
left of it is removed by the next who writes the same.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hwseg.borders import given
from hwseg.errors import HwsegError, require
from hwseg.errors import file_errors as file_errors
from hwseg.errors import from_os_error as from_os_error
from hwseg.locks import in_use, stem

MARKER = "hwseg-build.json"
MANIFEST = "manifest.json"
MANIFEST_BYTES = 1 << 24

PARTIAL, OLD = ".hwseg-partial", ".hwseg-old"

OTHER = "choose another path"

_CHUNK = 1 << 20
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def write_whole(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` by way of a neighbour and a rename: readers see the old file or the new one."""
    target = Path(path)
    with file_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise HwsegError(str(target), "must be a file, not a folder", OTHER)
        # Renamed over, /dev/null would be a file from then on.
        require(not target.exists() or target.is_file(), str(target), "must be a file, no pipe or device", OTHER)
        scratch, handle = _partial(target)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
            os.fchmod(handle, 0o666 & ~_umask())
            os.replace(scratch, target)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)  # which unlocks it, after the rename


def require_unread(target: str | Path, sources: Iterable[str | Path], cure: str = "choose another -o") -> None:
    """Refuse to write over a file that is read, under whatever name: by a link, or by another way to its folder."""
    for source in sources:
        with suppress(OSError, ValueError):
            same = os.path.realpath(target) == os.path.realpath(source)
            same = same or (os.path.exists(target) and os.path.samefile(target, source))
            require(not same, str(target), f"would be written over {source}, which is read", cure)


def _partial(target: Path) -> tuple[Path, int]:
    """A new file beside `target`, and its handle: `.NAME.hwseg-partial`, locked; where that cannot be, of another name.

    One that a crash left is written over; one that another process is writing is waited for, a rename long.
    """
    scratch = target.with_name(f".{stem(target.name)}{PARTIAL}")
    while True:
        try:
            handle = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR):
                raise
            break
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_uid != os.geteuid():
                os.close(handle)
                break
            fcntl.flock(handle, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                there = os.stat(scratch, follow_symlinks=False)
                if (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino):
                    os.ftruncate(handle, 0)
                    return scratch, handle
        except OSError:
            os.close(handle)
            break
        os.close(handle)  # it was renamed while this process waited
    handle, name = tempfile.mkstemp(prefix=f".{stem(target.name)[:64]}.", suffix=PARTIAL, dir=target.parent)
    return Path(name), handle


def read_file(path: str | Path, most: int = 1 << 26) -> bytes:
    """The content of a regular file of at most `most` bytes; a pipe or a device has no end, and is refused."""
    place = str(path)
    try:
        with file_errors(place):
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                found = os.fstat(handle)
                require(
                    stat.S_ISREG(found.st_mode), place, "must be a file, not a folder, pipe or device", "check the path"
                )
                rule = f"must have at most {most} bytes, has {found.st_size}"
                require(found.st_size <= most, place, rule, "check that it is what you meant")
                return file.read(most)
    except ValueError:  # a NUL in the path
        raise HwsegError(place, "is not a file name", "check the path") from None


@contextmanager
def build_folder(path: str | Path, owner: str = "hwseg-build", manifest: bool = True) -> Iterator[Path]:
    """A scratch folder that becomes `path` when the body ends well, and vanishes when it does not.

    An older build of the same `owner` is replaced; anything else at `path`, but an empty folder, is refused beforehand,
    and so is a folder in use.
    """
    target = Path(os.path.realpath(path))
    _require_replaceable(target, owner)
    with in_use(target) as locked:
        recover(target)
        _require_replaceable(target, owner)
        with file_errors(target):
            scratch = scratch_folder(target, locked)
        try:
            with _build_errors(target, scratch):
                yield scratch
                (scratch / MARKER).write_text(json.dumps({"owner": owner}) + "\n")
                if manifest:
                    (scratch / MANIFEST).write_text(manifest_text(scratch))
                scratch.chmod(0o777 & ~_umask())
                _require_replaceable(target, owner)
                exchange(scratch, target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _build_errors(target: Path, scratch: Path) -> Iterator[None]:
    """As `file_errors`, naming the build folder for its own files and any other file by its own name."""
    try:
        yield
    except OSError as error:
        name = str(error.filename or "")
        own = not name or str(scratch) in name or error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise from_os_error(error, str(target) if own else name) from error


def _require_replaceable(target: Path, owner: str) -> None:
    cure = "choose another folder or remove it"
    with file_errors(target):
        try:
            target.lstat()
        except FileNotFoundError:
            return
        require(target.is_dir(), str(target), "must be a folder, not a file", cure)
        if any(target.iterdir()):
            require(owner_of(target) == owner, str(target), f"exists and was not written by {owner}", cure)


def owner_of(folder: Path) -> str | None:
    """Who wrote a build folder, by its marker; None for any other folder."""
    with suppress(HwsegError, ValueError, RecursionError):
        content = json.loads(read_file(folder / MARKER))
        if isinstance(content, dict) and isinstance(content.get("owner"), str):
            return str(content["owner"])
    return None


def scratch_folder(target: Path, locked: bool) -> Path:
    """An empty folder beside `target`: `.NAME.hwseg-partial` for who holds the lock, whatever a crash left of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{stem(target.name)}{PARTIAL}")
    if locked:
        shutil.rmtree(scratch, ignore_errors=True)
        with suppress(FileExistsError):  # of another user, in a folder such as /tmp
            scratch.mkdir(0o700)
            return scratch
    return Path(tempfile.mkdtemp(prefix=f".{stem(target.name)[:64]}.", suffix=PARTIAL, dir=target.parent))


def recover(target: Path) -> None:
    """Put back what a crash in the middle of `exchange` left aside; for who holds the lock."""
    old = _aside(target)
    with file_errors(target):
        if old.is_dir() and not os.path.lexists(target):
            old.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def exchange(scratch: Path, target: Path) -> None:
    """Rename `scratch` to `target`; what was there is deleted.

    The system exchanges the two names in one step where it can.  Elsewhere the old folder is called `.NAME.hwseg-old`
    for a moment; it is put back if the rename fails, or by `recover` if the process ends in between.
    """
    if not target.exists():
        scratch.rename(target)
    elif _exchanged(scratch, target):
        shutil.rmtree(scratch, ignore_errors=True)
    else:
        old = _aside(target)
        target.rename(old)
        try:
            scratch.rename(target)
        except OSError:
            old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _aside(target: Path) -> Path:
    return target.with_name(f".{stem(target.name)}{OLD}")


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names in one step (Linux's renameat2); False where that is not possible."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with file_errors(path), open(path, "rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def manifest_text(folder: Path) -> str:
    """`manifest.json`: the SHA-256 of each file below `folder` but itself, in the order of their names."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return json.dumps({name: sha256(folder / name) for name in names if name != MANIFEST}, indent=1) + "\n"


@dataclass(frozen=True)
class Sealed:
    """A folder with a manifest: what is read through this is what was written, byte for byte.

    digests: SHA-256 of each file by its path in the folder.  cure: what an error tells to do.
    """

    folder: Path
    digests: Mapping[str, str]
    cure: str

    @staticmethod
    def of(folder: str | Path, cure: str = "build it again") -> Sealed:
        """Read the folder's manifest; HwsegError if there is none, or it is damaged."""
        root = Path(folder)
        place = str(root / MANIFEST)
        entries = parsed_json(read_regular(root / MANIFEST, MANIFEST_BYTES, cure), place, cure)
        sums = isinstance(entries, dict) and all(
            isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) for digest in entries.values()
        )
        for name in entries if isinstance(entries, dict) else ():
            require(is_inside(name), place, f"must not name a file outside the folder: {name!r}", cure)
        require(sums, place, "must list file names and SHA-256 sums", cure)
        return Sealed(root, entries, cure)

    def read(self, name: str, max_bytes: int = 1 << 30) -> bytes:
        """A listed file's bytes; raises HwsegError naming it if it is missing, changed, or not in the manifest."""
        path = self.folder / name
        require(name in self.digests, str(path), "is not listed in the manifest", self.cure)
        require(os.path.lexists(path), str(path), "is listed in the manifest and missing", self.cure)
        content = read_regular(path, max_bytes, self.cure)
        found, digest = hashlib.sha256(content).hexdigest(), self.digests[name]
        rule = f"was changed: SHA-256 {found[:12]}, not {digest[:12]}"
        require(found == digest, str(path), rule, self.cure)
        return content

    def verify(self, used: Iterable[str] = ()) -> None:
        """Every listed file is there and unchanged, and no file that is `used` lies there without being listed."""
        for name in self.digests:
            self.read(name)
        for name in used:
            beside = os.path.lexists(self.folder / name) and name not in self.digests
            require(not beside, str(self.folder / name), "is not listed in the manifest", self.cure)


def verify_manifest(folder: str | Path, used: Iterable[str] = ()) -> None:
    """Raise `HwsegError` naming the first file that is missing or not as in `manifest.json`; `used`: as `verify`."""
    Sealed.of(folder).verify(used)


def read_regular(path: str | Path, max_bytes: int = 1 << 30, cure: str = "check the path") -> bytes:
    """A file's bytes.  What is no file is refused and not waited for, and so is one of more than `max_bytes`."""
    place = str(path)
    with file_errors(place):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except ValueError as error:
            raise HwsegError(repr(place), "is not a file name", cure) from error
        with open(handle, "rb") as file:
            found = os.fstat(handle)
            require(stat.S_ISREG(found.st_mode), place, "must be a file, not a folder, pipe or device", cure)
            require(
                found.st_size <= max_bytes, place, f"must have at most {max_bytes} bytes, has {found.st_size}", cure
            )
            return file.read(found.st_size)


def parsed_json(content: bytes, place: str, cure: str) -> Any:
    """What JSON says; HwsegError for anything else, also for what would take the interpreter's whole stack."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise HwsegError(place, f"must be JSON: {error}", cure) from error


def is_inside(name: str) -> bool:
    """Whether a relative POSIX path stays in the folder that it starts in, and is a name that files can have."""
    path = PurePosixPath(name)
    with suppress(UnicodeEncodeError):
        name.encode()
        return bool(path.name) and not path.is_absolute() and ".." not in path.parts and not {"\\", "\0"} & set(name)
    return False


def extract_zip(
    archive: str | Path, folder: str | Path, max_bytes: int = 1 << 30, max_files: int = 10_000
) -> list[Path]:
    """Unpack a ZIP file into `folder`: no name leaves it, no links, and sizes bounded as unpacked, not as claimed."""
    place, root = str(archive), Path(folder)
    cure = "use an archive from a source that you trust"
    with given(place, "a sound ZIP archive", "fetch it again"), zipfile.ZipFile(place) as content:
        members = [member for member in content.infolist() if not member.is_dir()]
        require(len(members) <= max_files, place, f"must hold at most {max_files} files, not {len(members)}", cure)
        for member in members:
            require(
                is_inside(member.filename), place, f"must not name a file outside its folder: {member.filename!r}", cure
            )
            require((member.external_attr >> 28) in (0, 8), place, f"must not hold links: {member.filename!r}", cure)
        left = max_bytes
        written = []
        for member in members:
            data = _read_bounded(content, member, left, place, max_bytes)
            left -= len(data)
            target = root / member.filename
            write_whole(target, data)
            written.append(target)
    return written


def read_zip_member(archive: str | Path, name: str, max_bytes: int = 1 << 28) -> bytes:
    """One file of a ZIP archive, in memory."""
    with given(archive, "a sound ZIP archive", "fetch it again"), zipfile.ZipFile(archive) as content:
        require(name in content.namelist(), str(archive), f"must contain {name}", "fetch it again")
        return _read_bounded(content, content.getinfo(name), max_bytes, str(archive), max_bytes)


def _read_bounded(content: zipfile.ZipFile, member: zipfile.ZipInfo, left: int, place: str, limit: int) -> bytes:
    with content.open(member) as file:
        data = file.read(left + 1)
    require(
        len(data) <= left, place, f"must unpack to at most {limit} bytes", "use an archive from a source that you trust"
    )
    return data


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

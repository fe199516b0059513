"""Files and folders that are whole or absent, and the sums that prove it.

A build folder carries `hwseg-build.json`, so that hwseg replaces its own folders and nobody else's, and may carry
`manifest.json` with the SHA-256 of each file.  Whoever reads such a file reads it through `Sealed`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hwseg.errors import HwsegError, require
from hwseg.locks import held, swap

MARKER = "hwseg-build.json"
MANIFEST = "manifest.json"
MANIFEST_BYTES = 1 << 24

_CHUNK = 1 << 20


@contextmanager
def file_errors(place: str | Path) -> Iterator[None]:
    """Turn an `OSError` of the body into the sentence that a user understands."""
    try:
        yield
    except OSError as error:
        raise from_os_error(error, str(place)) from error


def from_os_error(error: OSError, place: str = "") -> HwsegError:
    """The `HwsegError` that says what an `OSError` says, with its cure."""
    where = place or str(error.filename or "file")
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return HwsegError(where, "the disk is full", "free space or write elsewhere")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return HwsegError(
                where, "must be accessible: permission denied", "choose another path or change its permissions"
            )
        case errno.ENOENT:
            return HwsegError(where, "must exist", "check the path")
        case errno.ENAMETOOLONG:
            return HwsegError(where[:64] + "...", "the name is too long", "choose a shorter one")
        case _:
            return HwsegError(
                where, f"could not be read or written: {error.strerror or error}", "check the path and the disk"
            )


def write_whole(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` by way of a neighbour and a rename: readers see the old file or the new one."""
    target = Path(path)
    with file_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise HwsegError(str(target), "must be a file, not a folder", "choose another path")
        handle, scratch = tempfile.mkstemp(prefix=f".{target.name[:64]}.", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(scratch).chmod(0o666 & ~_umask())
            os.replace(scratch, target)
        finally:
            Path(scratch).unlink(missing_ok=True)


@contextmanager
def build_folder(path: str | Path, owner: str = "hwseg-build", manifest: bool = True) -> Iterator[Path]:
    """A scratch folder that becomes `path` when the body ends well, and vanishes when it does not.

    An older build of the same `owner` is replaced; anything else at `path`, but an empty folder, is refused beforehand,
    and so is a folder that another process is writing.  What a killed process left beside `path` is removed.
    """
    target = Path(os.path.abspath(path))
    _require_replaceable(target, owner)
    stem = _stem(target.name)
    with ExitStack() as stack:
        with file_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(target.with_name(f".{stem}.lock"), str(target)))
            _clear(target, stem)
            scratch = Path(tempfile.mkdtemp(prefix=f".{stem}.new-", dir=target.parent))
        stack.callback(_remove, scratch)
        with _build_errors(target, scratch):
            yield scratch
            (scratch / MARKER).write_text(json.dumps({"owner": owner}) + "\n")
            if manifest:
                (scratch / MANIFEST).write_text(manifest_text(scratch))
            scratch.chmod(0o777 & ~_umask())
            _require_replaceable(target, owner)
            _exchange(scratch, target, stem)


def _stem(name: str) -> str:
    """What the hidden neighbours of a file or folder begin with: short enough for a suffix, another for each name."""
    return name if len(name) <= 64 else f"{name[:48]}.{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"


def _clear(target: Path, stem: str) -> None:
    """Put back a build that a killed process had moved away, and remove what it had not finished."""
    left = re.compile(re.escape(f".{stem}.") + r"(new|old)-[a-z0-9_]{8}")
    found = [path for path in target.parent.iterdir() if left.fullmatch(path.name)]
    for path in found:
        if ".old-" in path.name and not target.exists() and (path / MARKER).is_file():
            path.rename(target)
        else:
            _remove(path)


def _remove(path: Path) -> None:
    """A folder, or the link that was in its place."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


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
    if not target.exists() and not target.is_symlink():
        return
    cure = "choose another folder or remove it"
    require(target.is_dir(), str(target), "must be a folder, not a file", cure)
    with file_errors(target):
        if any(target.iterdir()):
            require(owner_of(target) == owner, str(target), f"exists and was not written by {owner}", cure)


def owner_of(folder: Path) -> str | None:
    """Who wrote a build folder, by its marker; None for any other folder."""
    with suppress(OSError, ValueError):
        content = json.loads((folder / MARKER).read_text())
        if isinstance(content, dict) and isinstance(content.get("owner"), str):
            return str(content["owner"])
    return None


def _exchange(scratch: Path, target: Path, stem: str) -> None:
    """`scratch` becomes `target`, and what was there `scratch`: in one step where the system can, else in two."""
    if not target.exists():
        scratch.rename(target)
    elif not swap(scratch, target):
        old = Path(tempfile.mkdtemp(prefix=f".{stem}.old-", dir=target.parent))
        old.rmdir()
        target.rename(old)
        try:
            scratch.rename(target)
        except OSError:
            old.rename(target)
            raise
        _remove(old)


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

    def verify(self) -> None:
        """Every listed file is there and unchanged."""
        for name in self.digests:
            self.read(name)


def verify_manifest(folder: str | Path) -> None:
    """Raise `HwsegError` naming the first file that is missing or not what `manifest.json` says."""
    Sealed.of(folder).verify()


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
    with file_errors(place), _open_zip(place) as content:
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
    with file_errors(archive), _open_zip(str(archive)) as content:
        require(name in content.namelist(), str(archive), f"must contain {name}", "fetch it again")
        return _read_bounded(content, content.getinfo(name), max_bytes, str(archive), max_bytes)


@contextmanager
def _open_zip(place: str) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(place) as content:
            yield content
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise HwsegError(place, f"must be a sound ZIP archive: {error}", "fetch it again") from error


def _read_bounded(content: zipfile.ZipFile, member: zipfile.ZipInfo, left: int, place: str, limit: int) -> bytes:
    with content.open(member) as file:
        data = file.read(left + 1)
    require(
        len(data) <= left, place, f"must unpack to at most {limit} bytes", "use an archive from a source that you trust"
    )
    return data


def fill_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, filled by `make` if it is not there; whole or absent, whoever else does the same at the same time.

    Two processes may both make it; the first to rename its copy into place wins and the other takes that one.
    """
    if folder.is_dir():
        return folder
    with file_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            make(scratch)
            scratch.chmod(0o777 & ~_umask())
            try:
                scratch.rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def cache_folder(*parts: str) -> Path:
    """`$XDG_CACHE_HOME/hwseg/parts`, by default under ~/.cache; made if missing."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    folder = home.joinpath("hwseg", *parts)
    with file_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""Files and folders that are whole or absent, and the sums that prove it.

A build folder carries `hwseg-build.json`, so that hwseg replaces its own folders and nobody else's, and may carry
`manifest.json` with the SHA-256 of each file.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from hwseg.errors import HwsegError, require

MARKER = "hwseg-build.json"
MANIFEST = "manifest.json"

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

    An older build of the same `owner` is replaced; anything else at `path`, but an empty folder, is refused beforehand.
    """
    target = Path(os.path.abspath(path))
    _require_replaceable(target, owner)
    with file_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name[:64]}.", dir=target.parent))
    try:
        with _build_errors(target, scratch):
            yield scratch
            (scratch / MARKER).write_text(json.dumps({"owner": owner}) + "\n")
            if manifest:
                (scratch / MANIFEST).write_text(manifest_text(scratch))
            scratch.chmod(0o777 & ~_umask())
            _require_replaceable(target, owner)
            _exchange(scratch, target)
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


def _exchange(scratch: Path, target: Path) -> None:
    """Rename `scratch` to `target`; what was there is put back if that fails, and deleted if it works."""
    if not target.exists():
        scratch.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name[:64]}.old.", dir=target.parent))
    try:
        target.rename(old / "build")
        try:
            scratch.rename(target)
        except OSError:
            (old / "build").rename(target)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


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


def verify_manifest(folder: str | Path) -> None:
    """Raise `HwsegError` naming the first file that is missing or not what `manifest.json` says."""
    root = Path(folder)
    place = root / MANIFEST
    with file_errors(place):
        text = place.read_bytes()
    try:
        expected = json.loads(text)
        entries = [(str(name), str(expected[name])) for name in expected]
    except (ValueError, TypeError) as error:
        raise HwsegError(str(place), "must list file names and SHA-256 sums", "build it again") from error
    for name, digest in entries:
        require(is_inside(name), str(place), f"must not name a file outside the folder: {name!r}", "build it again")
        require((root / name).is_file(), str(root / name), "is listed in the manifest and missing", "build it again")
        found = sha256(root / name)
        require(
            found == digest, str(root / name), f"was changed: SHA-256 {found[:12]}, not {digest[:12]}", "build it again"
        )


def is_inside(name: str) -> bool:
    """Whether a relative POSIX path stays in the folder that it starts in."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name and "\0" not in name


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

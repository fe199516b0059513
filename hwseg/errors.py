"""The one kind of error a user sees: place, rule, value, cure, in one sentence.

    enc1/Conv_3: groups must be 1, not 4; use a dense convolution

Anything a user can cause (a file, a model, an option, a full disk) raises `HwsegError`; the command line prints it as
one line and exits with 2. Anything else that escapes is a bug of hwseg and shows its traceback.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST_PLACE = 240
LONGEST_TEXT = 2000
"""Characters of a rule or a cure; names from files may be of any length."""

_OTHER_PATH = "choose another path or change its permissions"
_SPACE = "free space or write elsewhere"

_SAID: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", _SPACE),
    errno.EDQUOT: ("the disk is full", _SPACE),
    errno.EFBIG: ("the file would be larger than the system's limits allow", "write elsewhere, or raise ulimit -f"),
    errno.EACCES: ("must be accessible: permission denied", _OTHER_PATH),
    errno.EPERM: ("must be accessible: permission denied", _OTHER_PATH),
    errno.EROFS: ("must be accessible: permission denied, the file system is read-only", _OTHER_PATH),
    errno.ENOENT: ("must exist", "check the path"),
    errno.ENOTDIR: ("lies below a file, not below a folder", "check the path"),
    errno.EISDIR: ("must be a file, not a folder", "check the path"),
    errno.ELOOP: ("is a link that leads in a circle", "check the path"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.EMFILE: ("too many files are open", "raise ulimit -n"),
    errno.ENFILE: ("too many files are open", "end other programs"),
    errno.ENOMEM: ("there is not enough memory", "end other programs, or use a smaller model"),
    errno.EBUSY: ("is in use by the system, perhaps as a mount point", "choose a folder below it"),
    errno.EXDEV: ("is another file system than the folder around it", "choose a folder below it"),
    errno.EIO: ("the disk reports a fault", "check the disk, and write elsewhere"),
}
"""What the system says about files that a user can cure, and how."""


class HwsegError(Exception):
    """A fault of the input.  `place`: node, file or option; `rule`: what must hold and what was found; `cure`: what
    to do.

    Each is one line of printable characters, whatever the names in it are.  number: of the system's error, if it was
    one of files (`errno`), else 0.
    """

    number: int = 0

    def __init__(self, place: str, rule: str, cure: str = "") -> None:
        self.place = printable(place, LONGEST_PLACE)
        self.rule = printable(rule, LONGEST_TEXT)
        self.cure = printable(cure, LONGEST_TEXT)
        super().__init__(f"{self.place}: {self.rule}" + (f"; {self.cure}" if self.cure else ""))


def require(condition: bool, place: str, rule: str, cure: str = "") -> None:
    """Raise `HwsegError(place, rule, cure)` unless `condition` holds."""
    if not condition:
        raise HwsegError(place, rule, cure)


def printable(text: object, longest: int = LONGEST_TEXT) -> str:
    """One line that a terminal only prints: other characters as escapes, the middle left out of what is too long."""
    line = " ".join(str(text).split())
    if not line.isprintable():
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    if len(line) > longest:
        line = f"{line[: longest // 2]}...{line[len(line) - longest // 2 + 3 :]}"
    return line


def has_cure(error: OSError) -> bool:
    """Whether the system's error is one of files that `from_os_error` has its own words for, and not a bug."""
    return error.errno in _SAID


def from_os_error(error: OSError, place: str = "") -> HwsegError:
    """The `HwsegError` that says what an `OSError` says, with its cure."""
    where = place or str(error.filename or "file")
    said = _SAID.get(error.errno or 0)
    rule, cure = said or (f"could not be read or written: {error.strerror or error}", "check the path and the disk")
    result = HwsegError(where, rule, cure)
    result.number = error.errno or 0
    return result


@contextmanager
def file_errors(place: str | Path) -> Iterator[None]:
    """Turn an `OSError` of the body into the sentence that a user understands."""
    try:
        yield
    except OSError as error:
        raise from_os_error(error, str(place)) from error

"""Paths that every tool understands: make, sh and Perl scripts split others at spaces or misread them."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hwseg.errors import HwsegError, file_errors

_PLAIN = re.compile(r"[A-Za-z0-9_./+-]+")
_OTHERS = ("/tmp", "/var/tmp", "/dev/shm")
"""Where a plain folder may be, if the folder for temporary files is not."""


def is_plain(path: str | Path) -> bool:
    """Whether a path is of letters, digits and `_./+-`."""
    return _PLAIN.fullmatch(str(path)) is not None


@contextmanager
def plain_folder() -> Iterator[Path]:
    """A new, empty folder with a plain path, deleted afterwards."""
    own = tempfile.gettempdir()
    bases = [base for base in (own, *_OTHERS) if is_plain(base) and os.access(base, os.W_OK | os.X_OK)]
    if not bases:
        cure = "set TMPDIR to a folder whose path has letters, digits and _./+- only"
        raise HwsegError(own, "must not be the only folder for temporary files: make cannot use its path", cure)
    with file_errors(bases[0]), tempfile.TemporaryDirectory(prefix="hwseg-", dir=bases[0]) as folder:
        yield Path(folder)

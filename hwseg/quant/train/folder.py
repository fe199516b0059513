"""The folder of a training run: one process at a time writes to it, and only to what it has read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hwseg.errors import require
from hwseg.files import PARTIAL, sha256
from hwseg.locks import in_use

STATE = "last.pt"
"""Everything that is needed to go on."""


def digest_of(folder: Path) -> str | None:
    """The SHA-256 of the folder's state, None where there is none."""
    file = folder / STATE
    return sha256(file) if os.path.isfile(file) else None


@contextmanager
def alone(folder: Path, found: str | None) -> Iterator[None]:
    """Lock the folder; `found`: the digest of the state that the run was read from, None if it begins anew.

    Raises HwsegError where another process has it, or another run is there.
    """
    with in_use(folder):
        now = digest_of(folder)
        cure = "add --resume to go on, or choose another folder"
        require(now is None or found is not None, str(folder), "already holds a run", cure)
        require(now == found, str(folder), "was changed by another process meanwhile", cure)
        for left in folder.glob(f".*{PARTIAL}"):  # of a run that was killed
            left.unlink(missing_ok=True)
        yield

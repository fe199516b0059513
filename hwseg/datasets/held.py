"""Arrays that are wanted again: in memory up to a limit, beyond it in files that are mapped.

A file is removed from its folder as soon as it is mapped, so nothing is left however the process ends; the system reads
from it only what is looked at, and forgets that again where memory is short.  So random crops of many large pictures
are drawn in bounded memory, and no picture is unpacked twice.
"""

from __future__ import annotations

import mmap
import tempfile
import threading
import weakref
from pathlib import Path

import numpy as np

from hwseg.errors import HwsegError, file_errors

LIMIT = 1 << 31
"""Bytes of arrays that stay in memory."""


class Held:
    """limit: of the bytes in memory.  folder: of the files, by default the system's for temporary ones."""

    def __init__(self, limit: int = LIMIT, folder: Path | None = None) -> None:
        self.limit, self.folder = limit, folder
        self.used = 0
        self._lock = threading.Lock()

    def hold(self, array: np.ndarray) -> np.ndarray:
        """The same numbers, read-only; whoever lets go of them frees their place."""
        with self._lock:
            inside = self.used + array.nbytes <= self.limit
            self.used += array.nbytes if inside else 0
        if not inside and array.nbytes:
            return self._mapped(array)
        kept = np.ascontiguousarray(array).view()
        kept.flags.writeable = False
        weakref.finalize(kept, self._free, array.nbytes)
        return kept

    def _free(self, size: int) -> None:
        with self._lock:
            self.used -= size

    def _mapped(self, array: np.ndarray) -> np.ndarray:
        folder = self.folder or Path(tempfile.gettempdir())
        try:
            with file_errors(folder), tempfile.TemporaryFile(dir=folder) as file:
                file.write(np.ascontiguousarray(array).data)
                file.flush()
                view = mmap.mmap(file.fileno(), array.nbytes, access=mmap.ACCESS_READ)
        except HwsegError as error:
            cure = "set TMPDIR to a folder with room for all pictures, unpacked"
            raise HwsegError(error.place, error.rule, cure) from error
        return np.frombuffer(view, array.dtype).reshape(array.shape)


MEMORY = Held()
"""Of this process."""

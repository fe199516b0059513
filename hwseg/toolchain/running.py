"""A tool that runs for minutes or hours: seen while it works, limited, ended with all that it started, its log kept.

The tool is the first of a process group of its own, so that Ctrl-C reaches it by way of this process alone, and it ends
with this process, however that ends (Linux).
"""

from __future__ import annotations

import codecs
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from hwseg.errors import HwsegError, file_errors

Heard = Callable[[str], None]
"""Called with a line that a tool printed."""

GRACE = 5.0
"""Seconds that a tool has to end after it was asked to."""
HALF, CUT = 1 << 24, b"\n... cut ...\n"
"""Bytes of a log's beginning and of its end, which are kept, and what stands for the rest."""
_LOOK = 0.5
_LATE = 2.0
"""Seconds between looks at the clock; and for what a tool's children print after it has ended."""

# The system kills the tool when this process ends; then the tool takes the place of this little program.
_CHILD = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True)
class Limit:
    """Seconds for all that is done under it; None for none."""

    seconds: float | None = None
    begun: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        return float("inf") if self.seconds is None else self.begun + self.seconds - time.monotonic()

    def error(self, name: str, doing: str, cure: str) -> HwsegError:
        minutes = 0 if self.seconds is None else self.seconds / 60
        return HwsegError(name, f"did not finish {doing} within the {minutes:g} minutes of --time-limit", cure)


class TimeOver(Exception):
    """A tool was ended because its limit was reached."""


def run_logged(
    command: Sequence[str],
    folder: Path,
    log: Path,
    heard: Heard,
    limit: Limit,
    given: str = "",
    output: Path | None = None,
) -> int:
    """Run a command in `folder`; its exit status, negative for a signal.

    log: takes what it prints, as it prints it, without the middle of more than twice `HALF`; `output` what goes to
    standard output, where that is a result.  given: its standard input.  Raises `TimeOver` at the limit; whatever is
    raised, the tool has ended and all that it started, but for what made a session of its own.
    """
    with file_errors(log), open(log, "ab") as file:
        result = open(output, "wb") if output else None  # noqa: SIM115
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-S", "-c", _CHILD, *command],
                cwd=folder,
                stdin=subprocess.PIPE if given else subprocess.DEVNULL,
                stdout=result or subprocess.PIPE,
                stderr=subprocess.PIPE if result else subprocess.STDOUT,
                start_new_session=True,
            )
            lines = _Lines(file, heard)
            try:
                _give(process, given)
                pipe = process.stderr if result else process.stdout
                assert pipe is not None
                _follow(process, pipe.fileno(), lines.take, limit)
            finally:
                _end(process)
                lines.close()
            return process.returncode
        finally:
            if result:
                result.close()


def _give(process: subprocess.Popen[bytes], given: str) -> None:
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.write(given.encode())
        with suppress(BrokenPipeError):
            process.stdin.close()


def _follow(process: subprocess.Popen[bytes], pipe: int, take: Callable[[bytes], None], limit: Limit) -> None:
    """Until the tool has ended and nothing more comes."""
    ended = None
    while True:
        if limit.left() <= 0:
            raise TimeOver
        ready, _, _ = select.select([pipe], [], [], min(_LOOK, max(0.0, limit.left())))
        if ready:
            part = os.read(pipe, 1 << 16)
            if not part:
                break
            take(part)
        if process.poll() is not None:
            ended = ended or time.monotonic()
            if not ready or time.monotonic() - ended > _LATE:
                return
    while process.poll() is None:  # it has closed its output and works on
        if limit.left() <= 0:
            raise TimeOver
        with suppress(subprocess.TimeoutExpired):
            process.wait(min(_LOOK, max(0.0, limit.left())))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the tool's group to end, then make it; nothing of it is left."""
    try:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr, process.stdin):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


class _Lines:
    """Bytes as they come, written to a log and heard line by line."""

    def __init__(self, log: BinaryIO, heard: Heard) -> None:
        self._log, self._heard, self._rest = log, heard, ""
        self._room, self._last, self._cut = HALF, bytearray(), False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def take(self, part: bytes) -> None:
        self._keep(part)
        *lines, self._rest = re.split(r"[\r\n]+", self._rest + self._decoder.decode(part))
        self._rest = self._rest[-1000:]
        for line in lines:
            if line.strip():
                self._heard(line.strip()[:1000])

    def close(self) -> None:
        """Write the end of what was too long."""
        self._log.write((CUT if self._cut or len(self._last) > HALF else b"") + self._last[-HALF:])

    def _keep(self, part: bytes) -> None:
        first, later = part[: self._room], part[self._room :]
        self._room -= len(first)
        self._log.write(first)
        self._log.flush()
        self._last += later
        if len(self._last) > 2 * HALF:
            del self._last[:-HALF]
            self._cut = True

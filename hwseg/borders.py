"""The border to code that others wrote: whatever it raises becomes one sentence that says whose fault it is.

A reader of something that the user gave (a .npy file, a ZIP archive, a checkpoint) fails because of that file:

    with given("mask.npy", "a .npy file of numbers", "write it with numpy.save"):
        array = numpy.load(...)

A tool that hwseg calls with its own data (Yosys, Verilator, wasmtime, matplotlib) fails because of itself or of its
installation, and the user's model or picture is not to blame:

    with tool("matplotlib", "drawing curves.png", install("train")):
        figure.savefig(...)

    finished("yosys", "synthesizing top.v", done.returncode, log, cure)        # of a process

In both, files that cannot be read or written, a full disk and too little memory are told as such, and Ctrl-C passes.
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from hwseg.errors import HwsegError, from_os_error, has_cure

REPORT = "run hwseg doctor, and report this line if that finds nothing"
"""The cure where only hwseg itself or a tool can be wrong."""

BLAMELESS = "your files are not to blame"

FULL = ("No space left on device", "Disk quota exceeded")
"""What compilers and other programs write when the disk is full."""

SCARCE = ("can't allocate memory", "out of memory", "bad allocation", "bad_alloc")
"""What libraries say where Python would raise MemoryError."""

CRASHES = ("SIGABRT", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP")
"""Signals by which a program ends for want of its own sense."""

_MACHINE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO),
    *(errno.EACCES, errno.EPERM),
)
"""What a tool may meet without being at fault; a file that it misses is a part of its installation."""

_LINES = 3
_TOLD = 300
"""Characters of what was raised that a sentence quotes."""


def install(extra: str) -> str:
    """The cure where a package is missing or broken."""
    return f"pip install 'hwseg[{extra}]'"


@contextmanager
def given(place: object, what: str, cure: str) -> Iterator[None]:
    """The body reads `place`, which the user gave and which must be `what`; any failure of a reader is the file's."""
    try:
        yield
    except HwsegError:
        raise
    except Exception as error:
        if system := _of_system(error, str(place)):
            raise system from error
        raise HwsegError(str(place), f"is not {what}, or is damaged ({told(error)})", cure) from error


@contextmanager
def tool(name: str, doing: str, cure: str) -> Iterator[None]:
    """The body calls a package or program `name` with hwseg's own data; any failure is the tool's, `SystemExit` too."""
    try:
        yield
    except HwsegError:
        raise
    except (Exception, SystemExit) as error:
        if system := _of_system(error, ""):
            raise system from error
        if isinstance(error, ImportError):
            missing = f"the package {error.name} is missing or broken ({told(error)})"
            raise HwsegError(name, f"must not fail {doing}: {missing}", cure) from error
        raise HwsegError(name, f"must not fail {doing}, and {BLAMELESS}: {told(error)}", cure) from error


def finished(name: str, doing: str, status: int, log: str, cure: str, blame: str = BLAMELESS) -> None:
    """Raise HwsegError unless a tool's process ended with status 0, and tell a crash as one.  log: all it printed."""
    if status == 0:
        return
    if any(full in log for full in FULL):
        raise from_os_error(OSError(errno.ENOSPC, FULL[0]), name)
    if status == -signal.SIGKILL:
        cure = "end other programs, or choose something smaller"
        raise HwsegError(name, f"was killed {doing}, perhaps because memory was short", cure)
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    if crash := crash_of(status):
        words = lines[-1][:_TOLD] if lines else "it printed nothing"
        raise HwsegError(name, f"crashed ({crash}) {doing}, and {BLAMELESS}; its last words: {words}", cure)
    errors = [line for line in lines if "error" in line.lower()]
    ended = signal.Signals(-status).name if -status in set(signal.Signals) else f"exit status {status}"
    quoted = " | ".join((errors or lines)[-_LINES:]) or ended
    raise HwsegError(name, f"must not fail {doing}, and {blame}: {quoted}", cure)


def crash_of(status: int) -> str:
    """The signal by which a program crashed, also one that a shell around it tells; empty where it did not."""
    number = -status if status < 0 else status - 128
    name = next((one.name for one in signal.Signals if one == number), "")
    return name if name in CRASHES else ""


def told(error: BaseException) -> str:
    """An exception in a few words: its kind, and the first line of what it says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:_TOLD]}" if lines else type(error).__name__


def is_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory, on the processor or on a GPU."""
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in SCARCE)


@contextmanager
def memory_for(what: str, cure: str) -> Iterator[None]:
    """Too little memory in the body is one sentence, with a cure that needs less; everything else passes."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_of_memory(error):
            raise
        raise HwsegError(what, "needs more memory than there is", cure) from error


def _of_system(error: BaseException, place: str) -> HwsegError | None:
    """What is the system's fault, whoever was called."""
    if is_of_memory(error):
        return from_os_error(OSError(errno.ENOMEM, "out of memory"), place or "memory")
    if isinstance(error, OSError) and has_cure(error) and (place or error.errno in _MACHINE):
        return from_os_error(error, place)
    if any(full in str(error) for full in FULL):  # libraries that pass on the words but not the number
        return from_os_error(OSError(errno.ENOSPC, FULL[0]), place or "disk")
    return None

"""The simulator: `top.v` with the bench around it, compiled by Verilator once per content.

A build is kept in the cache under the hash of the Verilog, the bench, the options and the tools' versions; models that
share an engine share it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from hwseg.errors import HwsegError
from hwseg.files import cache_folder, fill_once
from hwseg.toolchain.verilator import verilator_root

HERE = Path(__file__).parent
SOURCES = ("bench.v", "ddr.v")
OPTIONS = ("-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "-Wno-fatal", "-Wno-lint", "-Wno-style")
COMPILER = ("-CFLAGS", "-O2", "-CFLAGS", "-fno-inline-small-functions")
SMALLEST_LOG2_WORDS = 18


@dataclass(frozen=True)
class Simulator:
    """A compiled bench in `folder`; `fresh` says whether it was compiled just now."""

    folder: Path
    fresh: bool
    log2_words: int


def log2_words(memory_bytes: int) -> int:
    """Size of the simulated memory: a power of two of 64-bit words, in steps of four so that builds are shared."""
    words = max(1, -(-memory_bytes // 8))
    exponent = max(SMALLEST_LOG2_WORDS, (words - 1).bit_length())
    return exponent + (exponent - SMALLEST_LOG2_WORDS) % 2


@contextmanager
def tool_environment() -> Iterator[None]:
    """Verilator's variables in the environment of this process, where cocotb's runner looks for them."""
    tool = verilator_root()
    before = dict(os.environ)
    os.environ.update(tool.environment())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def bench_runner() -> Any:
    """cocotb's runner for Verilator, which makes every signal of the design visible and thereby slow; here only the
    bench's.

    With all signals public an engine takes over ten minutes to compile, with the bench's marked ones less than one.
    """
    try:
        from cocotb_tools.runner import Verilator
    except ImportError as error:
        raise HwsegError("cocotb", "must be installed to simulate", "pip install 'hwseg[sim]'") from error

    class Bench(Verilator):  # type: ignore[misc]
        def _build_command(self) -> Any:
            return [[word for word in command if word != "--public-flat-rw"] for command in super()._build_command()]

    return Bench()


def build(top: Path, *, sets: int, memory_bytes: int) -> Simulator:
    """Compile, or find in the cache.  Raises HwsegError with the log's end if Verilator or the compiler refuses."""
    size = log2_words(memory_bytes)
    digest = hashlib.sha256()
    for source in (top, *(HERE / name for name in SOURCES)):
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    versions = [metadata.version("cocotb"), verilator_root().version]
    digest.update(repr((OPTIONS, COMPILER, sets, size, versions)).encode())
    folder = cache_folder("simulators") / digest.hexdigest()[:32]
    fresh = not folder.is_dir()
    fill_once(folder, lambda scratch: _compile(top, scratch, sets, size))
    return Simulator(folder, fresh, size)


def _compile(top: Path, folder: Path, sets: int, size: int) -> None:
    runner = bench_runner()

    log = folder / "build.log"
    os.environ.setdefault("MAKEFLAGS", "-j2")
    with tool_environment():
        try:
            runner.build(
                sources=[*(HERE / name for name in SOURCES), top],
                hdl_toplevel="bench",
                build_args=[*OPTIONS, *COMPILER, f"-GLOG2_WORDS={size}", f"-GSETS={sets}"],
                build_dir=folder,
                log_file=log,
            )
        except (SystemExit, Exception) as error:
            if isinstance(error, HwsegError):
                raise
            tail = log.read_text(errors="replace").splitlines()[-3:] if log.exists() else [str(error)]
            raise HwsegError(str(top), f"does not compile: {' | '.join(tail)}", "compile the model again") from error
    for leftover in folder.glob("*.o"):
        leftover.unlink()

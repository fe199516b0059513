"""The simulator: `top.v` with the bench around it, compiled by Verilator once per content.

A build is kept in the cache under the hash of the Verilog, the bench, the options and the tools' versions; models that
share an engine share it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
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
    """The bench with the memory model in Verilog; see `build_bench` for errors."""
    size = log2_words(memory_bytes)
    sources = [*(HERE / name for name in SOURCES), *engine_sources(top)]
    return build_bench("bench", sources, (f"-GLOG2_WORDS={size}", f"-GSETS={sets}"))


def build_axi_bench(top: Path) -> Simulator:
    """The engine alone, for benches with AXI models of their own."""
    return build_bench("axi_bench", [HERE / "axi_bench.v", *engine_sources(top)], ())


def engine_sources(top: Path) -> list[Path]:
    """`top.v`, and the models of vendor cells beside it if it has any."""
    return [path for path in (top.with_name("sim_cells.v"), top) if path.is_file() or path == top]


def build_bench(bench: str, sources: Sequence[Path], parameters: Sequence[str]) -> Simulator:
    """Compile, or find in the cache.  Raises HwsegError with the log's end if Verilator or the compiler refuses."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    versions = [metadata.version("cocotb"), verilator_root().version]
    digest.update(repr((bench, OPTIONS, COMPILER, tuple(parameters), versions)).encode())
    folder = cache_folder("simulators") / digest.hexdigest()[:32]
    # One process compiles, others that want the same simulator wait for it.
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fresh = not folder.is_dir()
        fill_once(folder, lambda scratch: _compile(bench, sources, scratch, parameters))
    return Simulator(folder, fresh)


def _compile(bench: str, sources: Sequence[Path], folder: Path, parameters: Sequence[str]) -> None:
    runner = bench_runner()
    log = folder / "build.log"
    os.environ.setdefault("MAKEFLAGS", "-j2")
    with tool_environment():
        try:
            runner.build(
                sources=list(sources),
                hdl_toplevel=bench,
                build_args=[*OPTIONS, *COMPILER, *parameters],
                build_dir=folder,
                log_file=log,
            )
        except (SystemExit, Exception) as error:
            if isinstance(error, HwsegError):
                raise
            tail = log.read_text(errors="replace").splitlines()[-3:] if log.exists() else [str(error)]
            cure = "compile the model again"
            raise HwsegError(str(sources[-1]), f"does not compile: {' | '.join(tail)}", cure) from error
    for leftover in folder.iterdir():
        if leftover.name != bench:
            leftover.unlink() if leftover.is_file() else shutil.rmtree(leftover)


def run_cocotb(
    simulator: Simulator, bench: str, module: str, work: Path, plusargs: Sequence[str], **names: str
) -> None:
    """One run of cocotb's test `module` in this process's child; `names` become environment variables of the test.

    The simulator may have been compiled by another installation: cocotb's libraries are those of this one.
    """
    from cocotb_tools.config import libs_dir

    paths = [str(libs_dir), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    with tool_environment():
        bench_runner().test(
            test_module=module,
            hdl_toplevel=bench,
            hdl_toplevel_lang="verilog",
            build_dir=simulator.folder,
            test_dir=work,
            results_xml=str(work / "results.xml"),
            plusargs=list(plusargs),
            extra_env={
                "PYTHONWARNINGS": "ignore",
                "COCOTB_LOG_LEVEL": "WARNING",
                "LD_LIBRARY_PATH": os.pathsep.join(paths),
                **names,
            },
        )

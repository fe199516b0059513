"""The simulator: `top.v` with the bench around it, compiled by Verilator once per content.

A build is kept in the cache under the hash of the Verilog, the bench, the options and the tools' versions; models that
share an engine share it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from hwseg.borders import finished, install, tool
from hwseg.caches import kept
from hwseg.errors import file_errors, require
from hwseg.interrupts import end_with_parent
from hwseg.toolchain.plain import plain_folder
from hwseg.toolchain.verilator import verilator_root

HERE = Path(__file__).parent
SOURCES = ("bench.v", "ddr.v")
OPTIONS = ("-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "-Wno-fatal", "-Wno-lint", "-Wno-style")
COMPILER = ("-CFLAGS", "-fno-inline-small-functions")
OPTIMIZATION = ("OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O2")
"""Of what runs every cycle, of what runs once, of Verilator's runtime.  Of an 8x4x4 engine the largest file takes 7.5 s
with -O1 and 17.1 s with -O2, a file that runs once 2.7 s without and 5.1 s with -O2.
"""
_RECIPE = 2
SMALLEST_LOG2_WORDS = 18
PROGRAMS = ("g++", "make", "perl")

OPTION_VARIABLES = re.compile(
    r"MAKEFLAGS|GNUMAKEFLAGS|MFLAGS|MAKEOVERRIDES|MAKELEVEL|(C|CXX|CPP|LD)FLAGS|LDLIBS|OPT|OPT_.*|VM_.*|VERILATOR_.*"
    r"|COCOTB_.*|GPI_.*|PYGPI_.*|WAVES|GUI|SIM_CMD_.*|PLUSARGS|PYTEST_CURRENT_TEST"
)
"""Environment variables that make, the makefiles, Verilator and cocotb take for options: the environment decides
nothing.
"""


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


def start_child(
    module: str, order: Path, log: Path, variables: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """`python -m module order` in a process group of its own, which `end_child` ends as a whole.

    What it prints goes to `log`.  variables: more of its environment, which has nothing that tools take for options.
    """
    import hwseg

    environment = {key: value for key, value in os.environ.items() if not OPTION_VARIABLES.fullmatch(key)}
    root = str(Path(hwseg.__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (root, environment.get("PYTHONPATH", "")) if p)
    command = [sys.executable, "-P", "-m", module, str(order)]
    with open(log, "wb") as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment | dict(variables or {}),
            start_new_session=True,
        )


def end_child(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all that it started, and wait for it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_child(module: str, order: Path, log: Path, variables: Mapping[str, str] | None = None) -> int:
    """Exit status of `start_child`; whatever interrupts this process ends that one."""
    process = start_child(module, order, log, variables)
    try:
        return process.wait()
    except BaseException:
        end_child(process)
        raise


def bench_runner(libraries: Path | None = None, optimization: Sequence[str] = OPTIMIZATION) -> Any:
    """cocotb's runner for Verilator, which makes every signal of the design visible and thereby slow; here only the
    bench's.

    With all signals public an engine takes over ten minutes to compile, with the bench's marked ones less than one.
    libraries: another path to cocotb's, for makefiles; the simulator finds them by its environment.
    """
    with tool("cocotb", "loading it to simulate", install("sim")):
        from cocotb_tools.config import libs_dir
        from cocotb_tools.runner import Verilator

    class Bench(Verilator):  # type: ignore[misc]
        def _build_command(self) -> Any:
            linking = f"-Wl,-rpath,{libs_dir} -L{libs_dir} -lcocotbvpi_verilator"
            own = {linking: f"-L{libraries or libs_dir} -lcocotbvpi_verilator"}
            verilate, make = super()._build_command()
            words = [own.get(word, word) for word in verilate if word != "--public-flat-rw"]
            return [words, [*make, *optimization]]

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


def build_bench(
    bench: str, sources: Sequence[Path], parameters: Sequence[str], optimization: Sequence[str] = OPTIMIZATION
) -> Simulator:
    """Compile, or find in the cache.  optimization: words in the form of `OPTIMIZATION`.

    Raises HwsegError with the log's end if Verilator or the compiler refuses.
    """
    with file_errors(sources[-1]):
        digests = [hashlib.sha256(source.read_bytes()).hexdigest() for source in sources]
    with tool("cocotb", "loading it to simulate", install("sim")):
        versions = [metadata.version("cocotb"), verilator_root().version]
    fresh = []

    def make(folder: Path) -> None:
        fresh.append(True)
        _compile(bench, sources, folder, parameters, optimization)

    key = (_RECIPE, bench, digests, OPTIONS, COMPILER, tuple(optimization), tuple(parameters), versions)
    return Simulator(kept("simulators", key, make), bool(fresh))


def _compile(
    bench: str, sources: Sequence[Path], folder: Path, parameters: Sequence[str], optimization: Sequence[str]
) -> None:
    """Put the program `bench` into `folder`.  All that makefiles name lies at plain paths for the time."""
    for program in PROGRAMS:
        cure = "install it with the system's package manager"
        require(shutil.which(program) is not None, program, "must be installed to compile a simulator", cure)
    with plain_folder() as work, file_errors(work):
        copies = [work / f"{number}" / source.name for number, source in enumerate(sources)]
        for source, copy in zip(sources, copies, strict=True):
            copy.parent.mkdir()
            shutil.copyfile(source, copy)
        order = work / "order.json"
        job = {"bench": bench, "sources": list(map(str, copies)), "arguments": [*OPTIONS, *COMPILER, *parameters]}
        job["optimization"] = list(optimization)
        order.write_text(json.dumps(job))
        log = work / "build.log"
        status = run_child("hwseg.sim.build", order, log, verilator_root().environment(work))
        text = log.read_text(errors="replace")
        own = any(f"/{source.name}:" in line for source in sources for line in text.splitlines() if "%Error" in line)
        cure = "compile the model again" if own else "run hwseg doctor, which lists what is needed"
        finished("the simulator's compiler", f"on {sources[-1]}", status, text, cure, "the model is not to blame")
        shutil.copyfile(work / "build" / bench, folder / bench)
        (folder / bench).chmod(0o755)


def _serve(order: Path) -> None:
    """The process that compiles: cocotb's runner takes the tools from its process's environment."""
    import cocotb_tools.config as config

    end_with_parent()
    job, work = json.loads(order.read_text()), order.parent
    libraries = work / "libraries"
    libraries.symlink_to(config.libs_dir)
    share = work / "share"
    share.symlink_to(config.share_dir)
    config.share_dir = share
    bench_runner(libraries, job["optimization"]).build(
        sources=[Path(source) for source in job["sources"]],
        hdl_toplevel=job["bench"],
        build_args=job["arguments"],
        build_dir=work / "build",
    )


def run_cocotb(
    simulator: Simulator, bench: str, module: str, work: Path, plusargs: Sequence[str], **names: str
) -> None:
    """One run of cocotb's test `module` in this process's child; `names` become environment variables of the test.

    The simulator may have been compiled by another installation: cocotb's libraries are those of this one.
    """
    with tool("cocotb", "loading it to simulate", install("sim")):
        from cocotb_tools.config import libs_dir

    end_with_parent()
    paths = [str(libs_dir), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
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


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))

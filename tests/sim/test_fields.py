"""Every field of the instruction set, in the machine and in gates: the whole memory and every cycle are equal."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hwseg.clock.timing import predict
from hwseg.machine.machine import Machine
from hwseg.rtl.cells import sim_cells
from hwseg.rtl.config import parse_array
from hwseg.rtl.isa import FORMATS
from hwseg.rtl.registers import STATUS_ERROR
from hwseg.target.engine_text import engine_verilog
from tests.sim.fields_draft import PROGRAM, WORDS
from tests.sim.fields_program import Draft
from tests.sim.fields_segments import FullError
from tests.sim.fields_wanted import COUNTED, EVERY, WIDTHS, Wanted, legal

LATENCY = 40
KINDS = {
    "LOAD": ("load", "load", "load_far", "weights", "parameters"),
    "MOVE": ("move",),
    "STORE": ("store_anything", "planes"),
    "CONFIG": ("planes", "planes", "planes", "raw", "dot", "quiet"),
    "RUN": ("planes", "planes", "raw", "quiet", "sums", "weights"),
    "PARAMETER": ("parameters",),
}
"""Segments that have instructions of a format."""

SERVE = """
import sys
from pathlib import Path
from hwseg.sim.build import build, run_cocotb
work, sets, words, latency, stalls, seed = Path(sys.argv[1]), *map(int, sys.argv[2:7])
plusargs = [f"+image={work / 'image.bin'}", f"+dump={work / 'dump.hex'}", f"+dump_words={words}", f"+seed={seed}",
            f"+latency_min={3 if stalls else latency}", f"+latency_max={latency}", f"+stalls={stalls}"]
simulator = build(work / "top.v", sets=sets, memory_bytes=8 * words)
run_cocotb(simulator, "bench", "tests.sim.fields_bench", work, plusargs, HWSEG_FIELDS=str(work))
"""


@dataclass
class Run:
    """A program, what the machine makes of it, and when the clock says that everything happens."""

    draft: Draft
    program: bytes
    memory: np.ndarray
    saved: list[int]
    skipped: int


def drafts(array: str, seed: int, thorough: bool = False, most: int = 12) -> tuple[list[Draft], Wanted]:
    """Programs until every field has had what it is to have; every other one counts leading zero planes."""
    engine, rng = parse_array(array), random.Random(f"{array} {seed}")
    wanted, made = Wanted(engine, WORDS, rng, thorough), []
    while (wanted.missing or len(made) < 2) and len(made) < most:
        draft = Draft(engine, wanted, rng, aligned=len(made) % 2 == 1)
        made.append(draft)
        with suppress(FullError):
            for _ in range(300 if draft.aligned else 100_000):
                draft.segment(kind(wanted, rng))
                if not wanted.missing:
                    break
    return made, wanted


def kind(wanted: Wanted, rng: random.Random) -> str:
    """Any, or one of a format of which much is missing."""
    missing = wanted.counts
    form = rng.choice(list(KINDS))
    if missing and rng.random() < 0.6:
        form = rng.choices(list(missing), list(missing.values()))[0]
    if wanted.engine.adds and form in ("CONFIG", "RUN") and rng.random() < 0.15:
        return "residual"
    return rng.choice(KINDS[form])


def executed(draft: Draft, number: int) -> Run:
    program, memory = draft.program(), draft.memory.copy()
    policy = ("eager", "lazy", "random")[number % 3]
    machine = Machine(draft.engine, memory, 8 * PROGRAM, len(program), policy, number, skip=draft.aligned)
    machine.run()
    return Run(draft, program, memory, machine.saved, sum(left_out for _, left_out in machine.planes.values()))


def simulated(work: Path, array: str, runs: list[Run], latency: int = LATENCY, stalls: int = 0) -> list[dict]:
    """Results and memory of every program, one after the other in one simulation."""
    engine = parse_array(array)
    top = engine_verilog(engine)
    (work / "top.v").write_text(top)
    if cells := sim_cells(top):
        (work / "sim_cells.v").write_text(cells)
    jobs = []
    for number, run in enumerate(runs):
        folder = work / str(number)
        folder.mkdir()
        (folder / "image.bin").write_bytes(run.draft.memory.tobytes())
        jobs.append({
            "name": str(number), "base": 0, "limit_address": 8 * WORDS, "program": 8 * PROGRAM,
            "program_words": len(run.program) // 8, "limit": 60_000_000, "layers": 256, "skip": int(run.draft.aligned),
        })  # fmt: skip
    (work / "jobs.json").write_text(json.dumps(jobs))
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SERVE, *map(str, (work, engine.sets, WORDS, latency, stalls, 1))],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = []
    for number in range(len(runs)):
        results = work / str(number) / "results.json"
        assert results.exists(), done.stdout[-3000:] + done.stderr[-3000:]
        lines = (work / str(number) / "dump.hex").read_text().split()
        memory = np.array([int(line, 16) for line in lines], np.uint64)
        found.append(json.loads(results.read_text()) | {"memory": memory})
    return found


def first_difference(run: Run, memory: np.ndarray) -> str:
    """The segment that stored the first wrong word, instruction by instruction; empty if none is wrong."""
    wrong = np.flatnonzero(run.memory != memory)
    if not len(wrong):
        return ""
    at = int(wrong[0])
    segment = next((number for words, number in run.draft.regions if at in words), None)
    made = [] if segment is None else run.draft.segments[segment]
    told = "\n".join(f"{form} {fields}" for form, fields in made)
    return f"{len(wrong)} words differ, the first at {at}: {run.memory[at]:016x}, in gates {memory[at]:016x}\n{told}"


def compare(
    tmp_path: Path, array: str, seed: int, thorough: bool = False, latency: int = LATENCY, stalls: int = 0
) -> Wanted:
    """What is still missing after programs that fill the fields, all of them equal in the machine and in gates."""
    made, wanted = drafts(array, seed, thorough, 40 if thorough else 12)
    proven(tmp_path, array, made, latency, stalls)
    return wanted


def proven(tmp_path: Path, array: str, made: list[Draft], latency: int = LATENCY, stalls: int = 0) -> None:
    """Every word of the DDR, every plane left out and, without stalls, every cycle are equal."""
    runs = [executed(draft, number) for number, draft in enumerate(made)]
    for run, result in zip(runs, simulated(tmp_path, array, runs, latency, stalls), strict=True):
        assert result["finished"]
        assert not result["status"] & STATUS_ERROR
        assert not result["fault"]
        assert first_difference(run, result["memory"]) == ""
        assert result["skipped"] == run.skipped
        if not stalls:
            timing = predict(run.program, run.draft.engine, latency, run.saved)
            assert result["startup"] == timing.startup
            cycles = {layer: count for layer, count in enumerate(result["layers"]) if count}
            assert cycles == {layer: count for layer, count in sorted(timing.layers.items()) if count}
            assert result["cycles"] == timing.total


def test_every_field_has_values_to_be_drawn() -> None:
    """A field that is added to the instruction set is swept too."""
    for array in ("8x4x4", "16x8x8"):
        engine = parse_array(array)
        found = legal(engine, WORDS)
        assert set(found) == set(WIDTHS)
        assert all(len(values) <= 1 << WIDTHS[name] for name, values in found.items())
        assert {name for layout in FORMATS.values() for name in layout.fields} >= COUNTED
        assert sum(WIDTHS[name] <= EVERY for name in found) > 60


@pytest.mark.verilator
@pytest.mark.xdist_group("simulator")
def test_every_field_in_the_machine_and_in_gates(tmp_path: Path) -> None:
    assert compare(tmp_path, "8x4x4", 0).missing == {}


@pytest.mark.verilator
@pytest.mark.xdist_group("simulator")
def test_what_only_sixteen_rows_can_do(tmp_path: Path) -> None:
    """Two word columns a step, residual additions, and moves of both sets."""
    engine, rng = parse_array("16x8x8-dsp"), random.Random(3)
    draft = Draft(engine, Wanted(engine, WORDS, rng), rng)
    for number in range(60):
        draft.segment(("residual", "planes", "move")[number % 3])
    drawn = [fields for segment in draft.segments for form, fields in segment if form in ("CONFIG", "MOVE")]
    assert all(sum(fields.get(name, 0) for fields in drawn) > 5 for name in ("residual", "double", "halve", "split"))
    proven(tmp_path, engine.name, [draft])


@pytest.mark.slow
@pytest.mark.verilator
@pytest.mark.xdist_group("simulator")
@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize("array", ["8x4x4", "8x2x2", "8x8x8", "8x4x4-merged", "16x8x8-dsp", "16x4x4"])
def test_more_programs_on_more_arrays(array: str, seed: int, tmp_path: Path) -> None:
    """Seed 1: every count of word columns and the longest waits; others with other latencies, 4 with stalls."""
    latency = (40, 40, 2, 97, 200)[seed]
    assert compare(tmp_path, array, seed, seed == 1, latency, int(seed == 4)).missing == {}

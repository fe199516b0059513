"""A whole network on the simulated engine, compared with the golden model bit by bit and with the prediction cycle by
cycle.

    build folder + picture -> memory image -> Verilator (top.v, DDR, cocotb at the registers) -> every feature map,
    cycles

Maps are compared where they lie in memory, and all maps once more as they leave the requantizers.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hwseg import golden
from hwseg.borders import given
from hwseg.compile.program import Program
from hwseg.errors import require
from hwseg.files import file_errors
from hwseg.layout import pack_input
from hwseg.machine.activity import skipping
from hwseg.rtl.cells import sim_cells
from hwseg.rtl.registers import STATUS_ERROR
from hwseg.sim import serve
from hwseg.sim.build import build, run_child
from hwseg.sim.compared import Mismatch, compared, head_of
from hwseg.sim.taps import maps
from hwseg.target.engine_text import engine_verilog

Progress = Callable[[int, int, str], None]
"""Called with simulated cycles, expected cycles and the layer in work."""

SPACE = "free space for temporary files, or set TMPDIR to another folder"

PATIENCE = 8
"""A simulation ends after this many times the predicted cycles (and 50,000 more): a hang is a result, not a wait."""


@dataclass(frozen=True)
class LayerResult:
    """feed_toggles: bits that changed of the operands entering the array's first row, while the layer was in work."""

    name: str
    mismatches: int
    cycles: int
    predicted_cycles: int
    feed_toggles: int = 0


@dataclass(frozen=True)
class Simulation:
    """mismatches: wrong values over all maps.  cycles: what the engine's own counter says.  exact: whether the memory
    had a fixed latency, so that cycles must equal predicted_cycles.  seconds: of the run, without the simulator's
    build.
    """

    mismatches: int
    first_mismatch: Mismatch | None
    cycles: int
    predicted_cycles: int
    exact: bool
    layers: tuple[LayerResult, ...]
    mask: np.ndarray
    output: np.ndarray
    finished: bool
    fresh_build: bool
    build_seconds: float
    seconds: float
    counters: Mapping[str, int]
    predicted_skipped: int = 0
    """Digit planes of windows that must be left out."""
    sums: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 1), np.int32), repr=False)
    """The head's integers [H, W, C], as the engine left them in memory."""

    @property
    def passed(self) -> bool:
        """Finished, no mismatch, all that can be skipped skipped, and equal cycles where the memory allows a
        prediction.
        """
        right = self.finished and self.mismatches == 0 and self.counters["skipped"] == self.predicted_skipped
        return right and (not self.exact or self.cycles == self.predicted_cycles)


@dataclass(frozen=True)
class Memory:
    """How the simulated DDR behaves: latency drawn between two bounds for every burst, random stalls, contents'
    seed; and whether the engine skips.
    """

    latency: tuple[int, int]
    stalls: bool
    seed: int
    skip: bool


def simulate_program(
    folder: Path,
    program: Program,
    image: np.ndarray,
    *,
    latency: tuple[int, int] | None = None,
    stalls: bool | None = None,
    seed: int = 1,
    skip: bool = False,
    progress: Progress | None = None,
    least_bytes: int = 0,
) -> Simulation:
    """`simulate` for a compiled program whose top.v, sim_cells.v, program.bin and weights.bin lie in `folder`.

    least_bytes: of the simulated memory, so that programs of different size share a simulator.
    """
    graph = program.graph
    bounds = latency or (program.board.ddr_latency,) * 2
    require(2 <= bounds[0] <= bounds[1] <= 10_000, "--latency", f"must be 2 <= MIN <= MAX, is {bounds[0]}:{bounds[1]}")
    memory = Memory(bounds, bounds[0] != bounds[1] if stalls is None else stalls, seed, skip)
    exact = bounds[0] == bounds[1] and not memory.stalls
    expected = golden.run(graph, image)
    left_out = skipping(program, image) if skip else None
    timing = program.timing(bounds[1], None if left_out is None else left_out.saved)

    started = time.perf_counter()
    with file_errors(folder):
        top = folder / "top.v"
        simulator = build(
            top, sets=program.config.sets, memory_bytes=max(least_bytes, program.memory.end(len(program.program)))
        )
    built = time.perf_counter() - started
    with tempfile.TemporaryDirectory(prefix="hwseg-") as scratch:
        work = Path(scratch)
        results, dump = _run(folder, program, image, simulator.folder, memory, work, timing.total, progress)
        found = compared(program, expected, dump, _tapped(program, work / "tap.txt"))
    head = head_of(program, dump)
    layers = tuple(
        LayerResult(
            plan.layer.name,
            found[plan.index][0],
            results["layers"][plan.index],
            timing.layers[plan.index],
            results["feed_toggles"][plan.index],
        )
        for plan in program.plans
    )
    return Simulation(
        mismatches=sum(layer.mismatches for layer in layers),
        first_mismatch=next((found[p.index][1] for p in program.plans if found[p.index][1]), None),
        cycles=results["cycles"],
        predicted_cycles=timing.total,
        exact=exact,
        layers=(LayerResult("start-up", 0, results["startup"], timing.startup), *layers),
        mask=golden.mask(graph.head, head),
        output=golden.output(graph.head, head),
        finished=bool(results["finished"]) and not results["status"] & STATUS_ERROR and not results["fault"],
        fresh_build=simulator.fresh,
        build_seconds=built,
        seconds=time.perf_counter() - started - built,
        counters={name: results[name] for name in ("read_beats", "write_beats", "walking", "skipped")},
        predicted_skipped=0 if left_out is None else left_out.skipped,
        sums=head,
    )


def lay_out(folder: Path, program: Program) -> None:
    """Write what `simulate_program` reads: the engine, models of its cells, program and weights."""
    top = engine_verilog(program.config)
    (folder / "top.v").write_text(top)
    if cells := sim_cells(top):
        (folder / "sim_cells.v").write_text(cells)
    (folder / "program.bin").write_bytes(program.program)
    (folder / "weights.bin").write_bytes(program.weights)


def memory_image(folder: Path, program: Program, image: np.ndarray, seed: int) -> np.ndarray:
    """DDR before the run: program and weights from the build's files, the picture, random words everywhere else."""
    memory = program.memory
    with file_errors(folder):
        code, weights = (folder / "program.bin").read_bytes(), (folder / "weights.bin").read_bytes()
    require(len(weights) == memory.weights_bytes, str(folder / "weights.bin"), "has another size than its model needs")
    total = memory.end(max(len(code), len(program.program)))
    contents = np.random.default_rng(seed).integers(0, 256, total, np.uint8)
    for address, data in (
        (memory.weights_address, weights),
        (memory.program_address, code),
        (memory.tensors[memory.input], pack_input(image, memory.layouts[memory.input])),
    ):
        contents[address : address + len(data)] = np.frombuffer(data, np.uint8)
    return contents


def _run(
    folder: Path,
    program: Program,
    image: np.ndarray,
    simulator: Path,
    memory: Memory,
    work: Path,
    predicted: int,
    progress: Progress | None,
) -> tuple[dict[str, Any], bytes]:
    """Start the simulator's process, watch its progress, read what it left."""
    contents = memory_image(folder, program, image, memory.seed)
    (work / "image.bin").write_bytes(contents.tobytes())
    words = (folder / "program.bin").stat().st_size // 8
    job = {
        "base": 0,
        "limit_address": program.memory.end(words * 8),
        "program": program.memory.program_address,
        "program_words": words,
        "limit": PATIENCE * predicted + 50_000,
        "layers": len(program.plans),
        "skip": int(memory.skip),
        "progress": str(work / "progress"),
        "results": str(work / "results.json"),
    }
    (work / "job.json").write_text(json.dumps(job))
    dump_words = program.memory.program_address // 8
    plusargs = {  # names relative to the folder that it runs in: Verilog's are short
        "image": "image.bin",
        "dump": "dump.hex",
        "dump_words": dump_words,
        "tap": "tap.txt",
        "latency_min": memory.latency[0],
        "latency_max": memory.latency[1],
        "stalls": int(memory.stalls),
        "seed": memory.seed,
    }
    names = [plan.layer.name for plan in program.plans]
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(work / "progress", names, predicted, progress, stop))
    watcher.start()
    try:
        _start(simulator, work, [f"+{name}={value}" for name, value in plusargs.items()])
    finally:
        stop.set()
        watcher.join()
    require(
        (work / "results.json").exists(),
        str(folder),
        f"the simulation broke off: {_last_line(work / 'run.log')}",
        "run hwseg doctor",
    )
    with given(work, "all that the simulator wrote", SPACE):
        dump = np.array((work / "dump.hex").read_text().split(), "S16")
        require(len(dump) == dump_words, str(work), f"must hold {dump_words} words of memory, holds {len(dump)}", SPACE)
        return json.loads((work / "results.json").read_text()), _words(dump)


def _words(lines: np.ndarray) -> bytes:
    """Little-endian bytes of words in hexadecimal, one each."""
    big = np.frombuffer(bytes.fromhex(b"".join(lines.tolist()).decode()), ">u8")
    return big.astype("<u8").tobytes()


def _start(simulator: Path, work: Path, plusargs: list[str]) -> None:
    """cocotb's runner in a process of its own, so that its signals and its output stay there."""
    names = {"HWSEG_RUN": str(work / "job.json")}
    order = serve.ordered(simulator, "bench", "hwseg.sim.run_bench", work, plusargs, names)
    run_child(serve.MODULE, order, work / "run.log")


def _watch(path: Path, names: list[str], predicted: int, progress: Progress | None, stop: threading.Event) -> None:
    while progress is not None and not stop.wait(0.3):
        try:
            cycles, layer = map(int, path.read_text().split())
        except (OSError, ValueError):
            continue
        progress(cycles, predicted, names[layer] if layer < len(names) else "")


def _last_line(log: Path) -> str:
    lines = (
        [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.exists() else []
    )
    return lines[-1] if lines else "no output"


def _tapped(program: Program, path: Path) -> dict[int, np.ndarray]:
    with given(path, "all that the simulator wrote", SPACE):
        return maps(program, path)

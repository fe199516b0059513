"""The gates that the part gets, simulated: the packaged top level after synthesis, in Verilator.

    top.v, hwseg_zynq.v --Yosys--> hwseg.json --netlist_verilog--> cells of the part --+
    models of the cells: Yosys's, and `BlockRam`'s of block RAM -----------------------+--> Verilator
    ps7.v, the processing system with its memory --------------------------------------+

The netlist is the one that `hwseg package --bitstream` places.  The same picture runs once more on the Verilog that was
synthesized, in the same bench: both must end in the same cycle with the same memory, and that must be the golden
model's.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from hwseg import golden
from hwseg.boards.zynq7020.route import NETLIST, synthesize
from hwseg.boards.zynq7020.top import TOP, zynq_verilog
from hwseg.compile.program import Program
from hwseg.errors import file_errors
from hwseg.rtl.registers import OFFSETS, STATUS_BUSY, STATUS_DONE, STATUS_ERROR
from hwseg.sim.build import Simulator, build_bench, log2_words
from hwseg.sim.cells import cell_models, kinds_of, netlist_verilog
from hwseg.sim.compared import Mismatch, compared, head_of
from hwseg.sim.simulate import PATIENCE, memory_image
from hwseg.sim.zynq import HERE, RegisterError, SimulatedBoard, build_zynq
from hwseg.toolchain.running import Limit

GATES, CELLS = "netlist.v", "cells.v"
MODELS = ("ps7_port.v", "ps7.v")
OPTIMIZATION = ("OPT_FAST=-O0", "OPT_SLOW=-O0", "OPT_GLOBAL=-O2")
"""Of gates, which run for some thousand cycles: compiling takes longer than they do, and with -O1 2.6 times as long."""
STEP = 20_000
"""Cycles between two looks at the registers."""

Say = Callable[[str], None]
"""Told what is going on."""
Module = Mapping[str, Any]
"""The flat top level in Yosys's JSON."""


class Job(NamedTuple):
    """A program that is run.  folder: with top.v.  contents: of the memory, with `words` of program at its end."""

    folder: Path
    program: Program
    contents: np.ndarray
    words: int


class Ended(NamedTuple):
    """A run.  memory: up to the program, bytes.  right: it ended by itself, without an error and with all rules of the
    bus kept.  seconds: of the run; build_seconds: until the simulator was there.
    """

    memory: bytes
    cycles: int
    right: bool
    seconds: float
    build_seconds: float


@dataclass(frozen=True)
class NetlistSimulation:
    """mismatches: wrong values over all maps that lie in memory.  cycles: of the netlist; verilog_cycles: of what it
    was made from.  equal_memory: both left the same bytes.  cells: of the netlist, by kind.  seconds: of both runs,
    without the simulators' builds and the synthesis.
    """

    mismatches: int
    first_mismatch: Mismatch | None
    cycles: int
    verilog_cycles: int
    finished: bool
    equal_memory: bool
    mask: np.ndarray
    output: np.ndarray
    cells: Mapping[str, int]
    seconds: float
    build_seconds: float

    @property
    def passed(self) -> bool:
        """Finished, every value right, every byte and the number of cycles those of the Verilog."""
        return self.finished and not self.mismatches and self.equal_memory and self.cycles == self.verilog_cycles


def synthesized(top: Path, program: Program, say: Say = lambda _: None) -> Module:
    """The netlist of the packaged top level around `top`, from the cache or made now: minutes.

    Raises HwsegError without pyosys.
    """
    with file_errors(top):
        engine = top.read_bytes()
    around = zynq_verilog(engine.decode(), program.board).encode()
    sources = {"hardware/top.v": engine, "hardware/hwseg_zynq.v": around}
    folder = synthesize(sources, lambda step, line: say(f"{step} (minutes, once): {line}"), Limit(), {})
    say("reading the netlist")
    with file_errors(folder):
        module: Module = json.loads((folder / NETLIST).read_bytes())["modules"][TOP]
    return module


def simulate_netlist(
    folder: Path, program: Program, image: np.ndarray, *, seed: int = 1, say: Say = lambda _: None
) -> NetlistSimulation:
    """A program whose top.v, program.bin and weights.bin lie in `folder`, on integers [H, W, C], twice.

    seed: of the memory's old contents.  Raises HwsegError without pyosys, or for a cell of which there is no model.
    """
    module = synthesized(folder / "top.v", program, say)
    job = job_of(folder, program, image, seed)
    verilog, gates = run_verilog(job, say), run_gates(module, job, say)
    expected = golden.run(program.graph, image)
    found = compared(program, expected, gates.memory, {})
    head = head_of(program, gates.memory)
    return NetlistSimulation(
        mismatches=sum(count for count, _ in found.values()),
        first_mismatch=next((first for _, first in found.values() if first), None),
        cycles=gates.cycles,
        verilog_cycles=verilog.cycles,
        finished=gates.right and verilog.right,
        equal_memory=gates.memory == verilog.memory,
        mask=golden.mask(program.graph.head, head),
        output=golden.output(program.graph.head, head),
        cells=Counter(cell["type"] for cell in module["cells"].values()),
        seconds=verilog.seconds + gates.seconds,
        build_seconds=verilog.build_seconds + gates.build_seconds,
    )


def job_of(folder: Path, program: Program, image: np.ndarray, seed: int = 1) -> Job:
    """What `simulate_netlist` runs."""
    contents = memory_image(folder, program, image, seed)
    with file_errors(folder):
        return Job(folder, program, contents, (folder / "program.bin").stat().st_size // 8)


def run_verilog(job: Job, say: Say = lambda _: None) -> Ended:
    """What the netlist was made from: top.v in the job's folder and the board's top level around it."""
    with tempfile.TemporaryDirectory(prefix="hwseg-") as scratch:
        hardware = Path(scratch)
        for name in ("top.v", "sim_cells.v"):
            if (job.folder / name).is_file():
                shutil.copyfile(job.folder / name, hardware / name)
        (hardware / "hwseg_zynq.v").write_text(zynq_verilog((hardware / "top.v").read_text(), job.program.board))
        return run(job, hardware, build_zynq, "the Verilog", say)


def run_gates(module: Module, job: Job, say: Say = lambda _: None) -> Ended:
    """The same job on a netlist."""
    with tempfile.TemporaryDirectory(prefix="hwseg-") as scratch:
        folder = Path(scratch)
        (folder / CELLS).write_text(cell_models(kinds_of(module)))
        (folder / GATES).write_text(netlist_verilog(module, TOP))
        return run(job, folder, build_netlist, "the netlist", say)


def build_netlist(folder: Path, memory_bytes: int) -> Simulator:
    """The netlist in `folder` with the models around it, compiled or found in the cache."""
    sources = [*(HERE / name for name in MODELS), folder / CELLS, folder / GATES]
    return build_bench(TOP, sources, (f"-DHWSEG_LOG2_WORDS={log2_words(memory_bytes)}",), OPTIMIZATION)


def run(
    job: Job,
    hardware: Path,
    build: Callable[[Path, int], Simulator],
    what: str,
    say: Say = lambda _: None,
    plusargs: Mapping[str, object] = MappingProxyType({}),
    patience: int | None = None,
) -> Ended:
    """A job on a simulated board with what `build` makes of `hardware`; a register that does not answer ends it.

    patience: cycles until a run that has not ended is given up.
    """
    say(f"building the simulator of {what}")
    program, ports = job.program, job.program.board.ps
    masks = {
        name: sum(1 << int(port.removeprefix("HP")) for port in getattr(ports, name))
        for name in ("read_ports", "write_ports")
    }
    size = -(-len(job.contents) // 4096) * 4096
    mhz = program.board.clock_mhz
    begun = time.perf_counter()
    board = SimulatedBoard(hardware, memory_bytes=size, ports=masks, clock_mhz=mhz, build=build, plusargs=plusargs)
    built = time.perf_counter()
    try:
        buffer = board.allocate(size)
        buffer.array[: len(job.contents)] = job.contents
        buffer.flush(0, size)
        try:
            cycles, right = _started(board, job, (buffer.address, size), patience, what, say)
        except RegisterError:
            cycles, right = 0, False
        buffer.invalidate(0, size)
        right = right and board.state()["violations"] == 0
        memory = buffer.array[: program.memory.program_address].tobytes()
        return Ended(memory, cycles, right, time.perf_counter() - built, built - begun)
    finally:
        board.close()


def _started(
    board: SimulatedBoard, job: Job, window: tuple[int, int], patience: int | None, what: str, say: Say
) -> tuple[int, bool]:
    """Cycles of the run, and whether it ended by itself and without an error.  window: address and size, bytes."""
    program, predicted = job.program, job.program.timing().total
    most = PATIENCE * predicted + 50_000 if patience is None else patience
    for name, value in (
        ("base", window[0]),
        ("limit", sum(window)),
        ("program", program.memory.program_address),
        ("program_words", job.words),
        ("interrupt_enable", 1),
        ("control", 1),
    ):
        board.write(OFFSETS[name], value)
    for waited in range(0, most, STEP):
        say(f"{what}: {waited:,} of about {predicted:,} cycles ({min(99, 100 * waited // predicted)} %)")
        if board.ask("wait", min(STEP, most - waited)):
            break
    status = board.read(OFFSETS["status"])
    cycles = board.read(OFFSETS["cycles"]) | board.read(OFFSETS["cycles_high"]) << 32
    return cycles, bool(status & STATUS_DONE) and not status & (STATUS_BUSY | STATUS_ERROR)

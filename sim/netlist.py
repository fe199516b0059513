"""The gates that the part gets, simulated: the packaged top level after synthesis, in Verilator.

    top.v, hwseg_zynq.v --Yosys--> cells of the part --+
    cells_sim.v (Yosys's), block_ram.v ----------------+--> Verilator, at the processing system's ports
    ps7.v (its stand-in, with the memory) -------------+

The same picture runs once more on the Verilog that was synthesized, in the same bench: both must end in the same cycle
with the same memory, and that must be the golden model's.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hwseg import golden
from hwseg.boards.zynq7020.scripts import KEEP
from hwseg.boards.zynq7020.top import TOP, zynq_verilog
from hwseg.caches import kept
from hwseg.compile.program import Program
from hwseg.errors import file_errors
from hwseg.rtl.registers import OFFSETS, STATUS_BUSY, STATUS_DONE, STATUS_ERROR
from hwseg.sim.build import Simulator, build_bench, log2_words
from hwseg.sim.cells import cell_models
from hwseg.sim.compared import Mismatch, compared, head_of
from hwseg.sim.simulate import PATIENCE, memory_image
from hwseg.sim.zynq import HERE, SimulatedBoard, build_zynq
from hwseg.toolchain import yosys
from hwseg.toolchain.yosys import Resources

NETLIST, CELLS, COUNTS = "netlist.v", "cells.v", "resources.json"
MODELS = ("ps7_port.v", "ps7.v", "block_ram.v")
STEP = 20_000
"""Cycles between two looks at the registers."""
_RECIPE = 1

Say = Callable[[str], None]
"""Told what is going on."""


class Ended(NamedTuple):
    """A run.  memory: up to the program, bytes.  right: it ended by itself, without an error and with all rules of the
    bus kept.
    """

    memory: bytes
    cycles: int
    right: bool


@dataclass(frozen=True)
class NetlistSimulation:
    """mismatches: wrong values over all maps that lie in memory.  cycles: of the netlist; verilog_cycles: of what it
    was made from.  equal_memory: both left the same bytes.  resources: of the netlist.
    """

    mismatches: int
    first_mismatch: Mismatch | None
    cycles: int
    verilog_cycles: int
    finished: bool
    equal_memory: bool
    mask: np.ndarray
    output: np.ndarray
    resources: Resources
    seconds: float

    @property
    def passed(self) -> bool:
        """Finished, every value right, every byte and the number of cycles those of the Verilog."""
        return self.finished and not self.mismatches and self.equal_memory and self.cycles == self.verilog_cycles


def synthesized(top: Path, program: Program) -> Path:
    """A folder with the netlist of the packaged top level around `top`, models of its cells, and their numbers.

    From the cache, or made now: minutes.  Raises HwsegError without pyosys, or for a cell of which there is no model.
    """
    with file_errors(top):
        engine = top.read_text()
    around = zynq_verilog(engine, program.board)

    def make(folder: Path) -> None:
        sources = folder / "top.v", folder / "hwseg_zynq.v"
        for source, text in zip(sources, (engine, around), strict=True):
            source.write_text(text)
        netlist = folder / NETLIST
        found = yosys.synth_xilinx(sources, TOP, (KEEP,), written=netlist)
        for source in sources:
            source.unlink()
        (folder / CELLS).write_text(cell_models(netlist.read_text()))
        (folder / COUNTS).write_text(json.dumps(asdict(found)))

    return kept("netlists", (_RECIPE, engine, around, KEEP, yosys.version()), make)


def build_netlist(folder: Path, memory_bytes: int) -> Simulator:
    """The netlist in `folder` with the models around it, compiled or found in the cache."""
    sources = [*(HERE / name for name in MODELS), folder / CELLS, folder / NETLIST]
    return build_bench(TOP, sources, (f"-DHWSEG_LOG2_WORDS={log2_words(memory_bytes)}",))


def simulate_netlist(
    folder: Path, program: Program, image: np.ndarray, *, seed: int = 1, say: Say = lambda _: None
) -> NetlistSimulation:
    """A program whose top.v, program.bin and weights.bin lie in `folder`, on integers [H, W, C], twice.

    seed: of the memory's old contents.
    """
    say("synthesizing (minutes, once)")
    netlist = synthesized(folder / "top.v", program)
    resources = Resources(**json.loads((netlist / COUNTS).read_text()))
    return compare_netlist(netlist, resources, folder, program, image, seed, say)


def compare_netlist(
    netlist: Path,
    resources: Resources,
    folder: Path,
    program: Program,
    image: np.ndarray,
    seed: int = 1,
    say: Say = lambda _: None,
) -> NetlistSimulation:
    """`simulate_netlist` for a netlist that lies in `netlist` with models of its cells."""
    started = time.perf_counter()
    contents = memory_image(folder, program, image, seed)
    with tempfile.TemporaryDirectory(prefix="hwseg-") as scratch:
        hardware = Path(scratch)
        for name in ("top.v", "sim_cells.v"):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, hardware / name)
        (hardware / "hwseg_zynq.v").write_text(zynq_verilog((hardware / "top.v").read_text(), program.board))
        verilog = _run(hardware, build_zynq, "the Verilog", program, contents, say)
    gates = _run(netlist, build_netlist, "the netlist", program, contents, say)
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
        resources=resources,
        seconds=time.perf_counter() - started,
    )


def _run(
    hardware: Path,
    build: Callable[[Path, int], Simulator],
    what: str,
    program: Program,
    contents: np.ndarray,
    say: Say,
) -> Ended:
    """One run on a simulated board."""
    say(f"building the simulator of {what}")
    ports = program.board.ps
    masks = {
        name: sum(1 << int(port.removeprefix("HP")) for port in getattr(ports, name))
        for name in ("read_ports", "write_ports")
    }
    size = -(-len(contents) // 4096) * 4096
    board = SimulatedBoard(hardware, memory_bytes=size, ports=masks, clock_mhz=program.board.clock_mhz, build=build)
    try:
        buffer = board.allocate(size)
        buffer.array[: len(contents)] = contents
        buffer.flush(0, size)
        for name, value in (
            ("base", buffer.address),
            ("limit", buffer.address + size),
            ("program", program.memory.program_address),
            ("program_words", len(program.program) // 8),
            ("interrupt_enable", 1),
            ("control", 1),
        ):
            board.write(OFFSETS[name], value)
        status = _await(board, what, program.timing().total, say)
        buffer.invalidate(0, size)
        cycles = board.read(OFFSETS["cycles"]) | board.read(OFFSETS["cycles_high"]) << 32
        kept_rules = board.state()["violations"] == 0
        right = bool(status & STATUS_DONE) and not status & (STATUS_BUSY | STATUS_ERROR) and kept_rules
        return Ended(buffer.array[: program.memory.program_address].tobytes(), cycles, right)
    finally:
        board.close()


def _await(board: SimulatedBoard, what: str, predicted: int, say: Say) -> int:
    """The status at the run's end, or when it has taken far too long."""
    for waited in range(0, PATIENCE * predicted + 50_000, STEP):
        say(f"{what}: {waited:,} of about {predicted:,} cycles ({min(99, 100 * waited // predicted)} %)")
        if board.ask("wait", STEP):
            break
    return board.read(OFFSETS["status"])



"""A Zynq board in Verilator: the packaged top level at its processing system's ports, behind the driver's interface.

    driver (hwseg.runtime) <-> SimulatedBoard <-socket-> zynq_bench.py in the simulator: PS7 model, hwseg_zynq.v, top.v

Memory is not coherent, as on the board: the driver writes into an array of this process, and only `flush` brings it to
the simulated DDR, only `invalidate` brings DDR's contents back.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.runtime.backend import Buffer
from hwseg.runtime.package import Package
from hwseg.sim import serve
from hwseg.sim.build import (
    Simulator,
    build_bench,
    end_child,
    engine_sources,
    log2_words,
    start_child,
)

HERE = Path(__file__).parent
MODELS = ("zynq_cells.v", "ps7_port.v", "ps7.v")
HARDWARE = ("hardware/top.v", "hardware/hwseg_zynq.v", "hardware/sim_cells.v")
"""Of a package; the last one where its core has vendor cells."""
MEMORY = 0x1000_0000
"""Where the simulated memory begins."""
REGISTERS = 0x4000_0000
NO_ADDRESS = 0xFFFF_FFFF
START_SECONDS = 120
ANSWER_SECONDS = 3600
ANSWER_CYCLES = 100_000
"""In which a register answers, if it ever does."""
SILENT = 4
"""In place of a response: none came."""


def open_simulation(package: Package) -> SimulatedBoard:
    """The packaged hardware, as its manifest has it, with memory for all models of the package."""
    for name in HARDWARE:
        if name in package.files.digests or (package.folder / name).exists():
            package.files.read(name)
    pages = sum(-(-package.model(name).total_bytes // 4096) for name in package.models)
    return SimulatedBoard(
        package.folder / "hardware",
        memory_bytes=4096 * pages,
        ports=ports_of(package),
        clock_mhz=package.board.clock_mhz,
    )


def ports_of(package: Package) -> dict[str, int]:
    """High-performance ports that the package's hardware reads and writes at: bit n of each mask is HPn."""
    return {
        what: sum(1 << int(name.removeprefix("HP")) for name in names)
        for what, names in (("read_ports", package.board.read_ports), ("write_ports", package.board.write_ports))
    }


def build_zynq(hardware: Path, memory_bytes: int) -> Simulator:
    """The packaged hardware in `hardware` with the models around it, compiled or found in the cache."""
    sources = [*(HERE / name for name in MODELS), *engine_sources(hardware / "top.v"), hardware / "hwseg_zynq.v"]
    return build_bench("hwseg_zynq", sources, (f"-DHWSEG_LOG2_WORDS={log2_words(memory_bytes)}",))


class RegisterError(HwsegError):
    """A register that answers with an error, or not at all."""


class SimulatedBoard:
    """A backend of `hwseg.runtime.Accelerator`.

    ports: masks of the ports that may be asked, `read_ports` and `write_ports`; a request elsewhere is a violation.
    latency: bounds of the memory's latency in cycles, drawn for every burst; write_latency: of the answers to writes,
    by default the same.  stalls: random ones on every channel.  clock_mhz: what turns the driver's seconds into cycles.
    build: makes the simulator of what lies in `hardware`, by default of its Verilog.  plusargs: more for the simulator.
    """

    grace = 0.001
    """Seconds (of the simulated clock) that a wait lasts at least."""

    def __init__(
        self,
        hardware: Path,
        *,
        memory_bytes: int,
        ports: Mapping[str, int],
        latency: tuple[int, int] = (40, 40),
        write_latency: tuple[int, int] | None = None,
        stalls: bool = False,
        seed: int = 1,
        clock_mhz: float = 150.0,
        build: Callable[[Path, int], Simulator] = build_zynq,
        plusargs: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        self.name = f"simulation of {hardware}"
        self.memory_bytes, self.clock_mhz = memory_bytes, clock_mhz
        self._free = MEMORY
        self._scratch = tempfile.TemporaryDirectory(prefix="hwseg-board-")
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._asked, self._asking = 0, False
        self._messenger = ThreadPoolExecutor(1, "hwseg-simulation")
        work = Path(self._scratch.name)
        self._exchange = work / "exchange"
        try:
            simulator = build(hardware, memory_bytes)
            answers = write_latency or latency
            options = {"exchange": self._exchange, "latency_min": latency[0], "latency_max": latency[1]}
            options |= {"write_latency_min": answers[0], "write_latency_max": answers[1]}
            options |= {**ports, "stalls": int(stalls), "seed": seed, **plusargs}
            self._start(simulator, work, [f"+{name}={value}" for name, value in options.items()])
        except BaseException:
            self.close()
            raise

    def _start(self, simulator: Simulator, work: Path, plusargs: list[str]) -> None:
        socket = str(work / "socket")
        job = {"registers": REGISTERS, "exchange": str(self._exchange), "socket": socket}
        job |= {"patience": ANSWER_CYCLES, "silent": SILENT}
        (work / "job.json").write_text(json.dumps(job))
        names = {"HWSEG_BOARD": str(work / "job.json")}
        order = serve.ordered(simulator.folder, "hwseg_zynq", "hwseg.sim.zynq_bench", work, plusargs, names)
        with Listener(socket, "AF_UNIX") as listener:
            listener._listener._socket.settimeout(1)  # type: ignore[attr-defined]  # it has no option for this
            self._process = start_child(serve.MODULE, order, work / "run.log")
            end = time.monotonic() + START_SECONDS
            while self._connection is None:
                try:
                    self._connection = listener.accept()
                except OSError as error:
                    if self._process.poll() is not None or time.monotonic() > end:
                        raise self._broken() from error
            self._connection.recv_bytes()

    def _broken(self) -> HwsegError:
        log = Path(self._scratch.name) / "run.log"
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return HwsegError(self.name, f"broke off: {lines[-1] if lines else 'no output'}", "run hwseg doctor")

    def ask(self, name: str, *arguments: int) -> Any:
        """One request to the simulator; raises HwsegError if it ended or does not answer.

        Whoever waits may be interrupted: messages are written and read by a thread of their own, which no signal
        interrupts, and an answer that nobody waits for is left out.
        """
        require(self._connection is not None, self.name, "must be open, was closed", "open it again")
        assert self._connection is not None
        cure = "wait for it, in a signal handler too"
        require(not self._asking, self.name, "must not be asked while it answers another request", cure)
        self._asking = True
        try:
            self._asked += 1
            request = {"name": name, "arguments": arguments, "number": self._asked}
            return self._messenger.submit(_exchanged, self._connection, request).result()
        except TimeoutError as error:
            rule = f"does not answer within {ANSWER_SECONDS} s"
            raise HwsegError(self.name, rule, "run hwseg doctor") from error
        except (EOFError, OSError) as error:
            raise self._broken() from error
        finally:
            self._asking = False

    def read(self, offset: int) -> int:
        answer = self.ask("read", offset)
        self._require_okay(answer["response"], offset)
        return int(answer["value"])

    def write(self, offset: int, value: int) -> None:
        self._require_okay(self.ask("write", offset, value)["response"], offset)

    def _require_okay(self, response: int, offset: int) -> None:
        if response == SILENT:
            rule = f"did not answer within {ANSWER_CYCLES:,} cycles"
            raise RegisterError(f"register at {offset:#x}", rule, "simulate the package as it was written")
        if response != 0:
            kind = {2: "SLVERR", 3: "DECERR"}.get(response, str(response))
            cure = "use the register table of this package"
            raise RegisterError(f"register at {offset:#x}", f"answered {kind}", cure)

    def allocate(self, size: int) -> Buffer:
        start = self._free
        room = MEMORY + self.memory_bytes - start
        cure = "simulate with more memory_bytes"
        require(size <= room, "memory", f"must hold {size} bytes more, has {room} left", cure)
        self._free = start + -(-size // 4096) * 4096
        return SimulatedBuffer(self, start, size)

    def now(self) -> float:
        return self.state()["cycles"] / (self.clock_mhz * 1e6)

    def wait(self, seconds: float) -> bool:
        return bool(self.ask("wait", round(seconds * self.clock_mhz * 1e6)))

    def copy_in(self, address: int, data: np.ndarray) -> None:
        """Bytes to the simulated DDR, whole words."""
        self._exchange.write_bytes(data.tobytes())
        self.ask("load", (address - MEMORY) // 8, data.size // 8)

    def copy_out(self, address: int, size: int) -> np.ndarray:
        """Bytes of the simulated DDR, whole words."""
        self.ask("dump", (address - MEMORY) // 8, size // 8)
        big = np.frombuffer(bytes.fromhex("".join(self._exchange.read_text().split())), ">u8")
        return big.astype("<u8").view(np.uint8)

    def state(self) -> dict[str, int]:
        """Cycles, register accesses, cycles that they took, and violations of AXI's rules, since the beginning."""
        return dict(self.ask("state"))

    def fault(self, address: int = NO_ADDRESS) -> None:
        """Make the word at `address` answer SLVERR; by default none."""
        self.ask("fault", address)

    def reset(self, cycles: int) -> int:
        """Pull the fabric's reset for so many cycles; the processing system's ports go on.

        In the middle of it the processor begins to read register 0; what it reads once the reset is over.
        """
        answer = self.ask("reset", cycles)
        self._require_okay(answer["response"], 0)
        return int(answer["value"])

    def close(self) -> None:
        if self._connection is not None:
            # Behind a request that was interrupted and is still answered.
            self._messenger.submit(_quit, self._connection)
        if self._process is not None:
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                end_child(self._process)
            self._process = None
        self._messenger.shutdown()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._scratch.cleanup()


def _exchanged(connection: Connection, request: dict[str, Any]) -> Any:
    """The answer to a request, whole."""
    connection.send_bytes(json.dumps(request).encode())
    while True:
        if not connection.poll(ANSWER_SECONDS):
            raise TimeoutError
        answer = json.loads(connection.recv_bytes())
        if answer["number"] == request["number"]:
            return answer["answer"]


def _quit(connection: Connection) -> None:
    with suppress(OSError):  # it may have ended, or be closed
        connection.send_bytes(json.dumps({"name": "quit"}).encode())


class SimulatedBuffer:
    """Memory as the processor's cache sees it; DDR is in the simulator."""

    def __init__(self, board: SimulatedBoard, address: int, size: int) -> None:
        self.board, self.address = board, address
        self.array = np.zeros(-(-size // 8) * 8, np.uint8)

    def flush(self, start: int, size: int) -> None:
        first, last = start // 8 * 8, -(-(start + size) // 8) * 8
        self.board.copy_in(self.address + first, self.array[first:last])

    def invalidate(self, start: int, size: int) -> None:
        first, last = start // 8 * 8, -(-(start + size) // 8) * 8
        self.array[first:last] = self.board.copy_out(self.address + first, last - first)

    def free(self) -> None:
        """Simulated memory is given back when the board is closed."""

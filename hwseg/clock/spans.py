"""When each instruction ran: the same recurrence as `timing.predict`, with every interval kept.

    array    dispatch | turn | input or output | weights | reload | turn | walk        one row for each CONFIG and RUN
    reader   LOAD of input, weights, parameters or program; MOVE
    writer   STORE

Intervals of one unit are disjoint, in order, and half-open: [start, end) in cycles from the start pulse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hwseg.clock.timing import LATENCY, STARTUP, STORED, Constants, Timing, _Clock, unpack
from hwseg.rtl.config import PAGE_WORDS, EngineConfig
from hwseg.rtl.isa import Opcode, Target

Columns = dict[Opcode, tuple[np.ndarray, dict[str, np.ndarray]]]

WALK = "compute"
READS = ("input", "weights", "parameters", "program", "move")
"""What the reader brings; "move": from the loop memory, without DDR."""
STORE = "store"
WAITS = ("none", "input", "output")
KIND = {Target.WINDOW: 0, Target.POINT: 0, Target.WEIGHTS: 1, Target.PARAMETERS: 2, Target.PROGRAM: 3}


@dataclass(frozen=True)
class Compute:
    """int64 [n]: every CONFIG and RUN in order.  run: 1 for RUN.

    idle: cycles since the one before, with nothing dispatched; wait: for `WAITS[cause]`; weights, reload: for the
    weight tile and the tables; walk: cycles that the array multiplies.  start: where `idle` begins; end: free again.
    """

    layer: np.ndarray
    run: np.ndarray
    start: np.ndarray
    idle: np.ndarray
    wait: np.ndarray
    cause: np.ndarray
    weights: np.ndarray
    reload: np.ndarray
    walk: np.ndarray
    end: np.ndarray


@dataclass(frozen=True)
class Transfers:
    """int64 [n]: what the reader (kind: index into `READS`) or the writer moved, in order."""

    layer: np.ndarray
    kind: np.ndarray
    start: np.ndarray
    end: np.ndarray


@dataclass(frozen=True)
class Spans:
    """One frame of the engine.  timing: as `predict` gives it, of the same run."""

    timing: Timing
    compute: Compute
    reader: Transfers
    writer: Transfers

    def array(self) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
        """Cause, starts, ends and layers of the array's intervals; together they cover every cycle but "turn"."""
        c = self.compute
        yield STARTUP, c.start[:1], c.start[:1] + c.idle[:1], c.layer[:1]
        taken = c.start + c.idle
        yield "dispatch", c.start[1:], taken[1:], c.layer[1:]
        at = taken + 1
        for number, name in enumerate(WAITS[1:], 1):
            length = np.where(c.cause == number, c.wait, 0)
            yield name, at, at + length, c.layer
        at = at + c.wait
        yield "weights", at, at + c.weights, c.layer
        at = at + c.weights
        yield "reload", at, at + c.reload, c.layer
        yield WALK, c.end - c.walk, c.end, c.layer


def record(program: bytes, config: EngineConfig, latency: int = LATENCY) -> Spans:
    """`predict` with its intervals; a third slower than it."""
    opcodes, columns = unpack(program)
    clock = _Recorder(config, Constants.of(config, latency))
    timing = clock.run(opcodes, columns, len(program) // 8)
    words = min(len(program) // 8, PAGE_WORDS)
    return Spans(
        timing,
        clock.computed(opcodes, columns),
        clock.read(opcodes, columns, words),
        clock.written(columns),
    )


class _Recorder(_Clock):
    """Keeps what the vectorized formulas below cannot derive from the clock's own lists."""

    def __init__(self, config: EngineConfig, constants: Constants) -> None:
        super().__init__(config, constants)
        self.frees: list[int] = []
        self.read_starts: list[int] = []
        self.waits: dict[str, tuple[list[int], list[int]]] = {name: ([], []) for name in ("input", "output", "weights")}

    def _compute(self) -> bool:
        done = super()._compute()
        if done:
            self.frees.append(self.compute.free)
        return done

    def _stall(self, layer: int, cause: str, cycles: int) -> None:
        super()._stall(layer, cause, cycles)
        if cycles > 0 and cause in self.waits:
            rows, lengths = self.waits[cause]
            rows.append(len(self.frees))
            lengths.append(cycles)

    def _read(self, start: int) -> None:
        super()._read(start)
        self.read_starts.append(start)

    def computed(self, opcodes: np.ndarray, columns: Columns) -> Compute:
        n = len(self.frees)
        end, taken = np.array(self.frees), np.array(self.compute.taken)
        start = np.concatenate(([0], end[:-1]))
        waits = {name: np.zeros(n, np.int64) for name in self.waits}
        for name, (rows, lengths) in self.waits.items():
            np.add.at(waits[name], np.array(rows, np.int64), np.array(lengths, np.int64))
        order = np.flatnonzero((opcodes == Opcode.RUN) | (opcodes == Opcode.CONFIG))
        run = (opcodes[order] == Opcode.RUN).astype(np.int64)
        reload = np.zeros(n, np.int64)
        reload[run == 1] = columns[Opcode.RUN][1]["reload"] * (self.constants.reload - 1)
        wait = waits["input"] + waits["output"]
        return Compute(
            layer=np.array([layer for layer, _ in self.segments]),
            run=run,
            start=start,
            idle=taken - start,
            wait=wait,
            cause=np.where(waits["input"] > 0, 1, np.where(wait > 0, 2, 0)),
            weights=waits["weights"],
            reload=reload,
            walk=np.where(run == 1, end - taken - 2 - wait - waits["weights"] - reload, 0),
            end=end,
        )

    def read(self, opcodes: np.ndarray, columns: Columns, first_page: int) -> Transfers:
        """Every LOAD and MOVE, the hardware's own transfer of the first page before them."""
        order = np.flatnonzero((opcodes == Opcode.LOAD) | (opcodes == Opcode.MOVE))
        layer, kind, length = (np.zeros(len(opcodes), np.int64) for _ in range(3))
        table = np.array([KIND[target] for target in sorted(KIND)])
        rows, f = columns[Opcode.LOAD]
        layer[rows], kind[rows], length[rows] = f["layer"], table[f["target"]], f["run_words"] * f["runs"]
        rows, f = columns[Opcode.MOVE]
        layer[rows], kind[rows], length[rows] = f["layer"], READS.index("move"), f["cost"]
        start = np.array(self.read_starts)
        lengths = np.concatenate(([first_page], length[order]))
        return Transfers(
            np.concatenate(([0], layer[order])),
            np.concatenate(([READS.index("program")], kind[order])),
            start,
            start + 1 + lengths,
        )

    def written(self, columns: Columns) -> Transfers:
        f = columns[Opcode.STORE][1]
        end = np.array(self.stores, np.int64) - STORED
        return Transfers(f["layer"], np.zeros(len(end), np.int64), end - 1 - f["run_words"] * f["runs"], end)

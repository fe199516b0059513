"""When each instruction ran: every interval of the clock that `timing.predict` adds up.

    array    dispatch | turn | input or output | weights | reload | turn | walk        one row for each CONFIG and RUN
    reader   LOAD of input, weights, parameters or program; MOVE
    writer   STORE

Intervals of one unit are disjoint, in order, and half-open: [start, end) in cycles from the start pulse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hwseg.clock.clock import Clock
from hwseg.clock.columns import layers_of, unpack
from hwseg.clock.constants import LATENCY, STORED, Constants
from hwseg.clock.timing import STARTUP, Timing
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.isa import Opcode, Target

WALK = "compute"
READS = ("input", "weights", "parameters", "program", "move")
"""What the reader brings; "move": from the loop memory, without DDR."""
STORE = "store"
WAITS = ("none", "input", "output")
KIND = {Target.WINDOW: 0, Target.POINT: 0, Target.WEIGHTS: 1, Target.PARAMETERS: 2, Target.PROGRAM: 3}


@dataclass(frozen=True)
class Instructions:
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
    compute: Instructions
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
    """`predict` with its intervals."""
    opcodes, columns = unpack(program)
    clock = Clock(opcodes, columns, config, Constants.of(config, latency)).run()
    return Spans(Timing.of(clock), _computed(clock), _read(clock), _written(clock))


def _computed(clock: Clock) -> Instructions:
    """Every CONFIG and RUN."""
    unit, opcodes = clock.compute, clock.opcodes
    run = (opcodes[np.isin(opcodes, (Opcode.RUN, Opcode.CONFIG))] == Opcode.RUN).astype(np.int64)
    end, taken = np.array(unit.ends), np.array(unit.taken)
    start = np.concatenate(([0], end[:-1]))
    for_input, for_output, weights = map(np.array, (unit.input_waits, unit.output_waits, unit.weight_waits))
    wait = for_input + for_output
    reload = np.zeros(len(run), np.int64)
    reload[run == 1] = clock.columns[Opcode.RUN][1]["reload"] * (clock.constants.reload - 1)
    return Instructions(
        layer=layers_of(opcodes, clock.columns, Opcode.CONFIG, Opcode.RUN),
        run=run,
        start=start,
        idle=taken - start,
        wait=wait,
        cause=np.where(for_input > 0, 1, np.where(wait > 0, 2, 0)),
        weights=weights,
        reload=reload,
        walk=np.where(run == 1, end - taken - 2 - wait - weights - reload, 0),
        end=end,
    )


def _read(clock: Clock) -> Transfers:
    """Every LOAD and MOVE, the hardware's own transfer of the first page before them."""
    opcodes, columns = clock.opcodes, clock.columns
    kind, length = np.zeros(len(opcodes), np.int64), np.zeros(len(opcodes), np.int64)
    table = np.array([KIND[target] for target in sorted(KIND)])
    rows, f = columns[Opcode.LOAD]
    kind[rows], length[rows] = table[f["target"]], f["run_words"] * f["runs"]
    rows, f = columns[Opcode.MOVE]
    kind[rows], length[rows] = READS.index("move"), f["cost"]
    order = np.isin(opcodes, (Opcode.LOAD, Opcode.MOVE))
    start = np.array(clock.reader.starts)
    return Transfers(
        layer=np.append(0, layers_of(opcodes, columns, Opcode.LOAD, Opcode.MOVE)),
        kind=np.append(READS.index("program"), kind[order]),
        start=start,
        end=start + 1 + np.append(clock.first_page, length[order]),
    )


def _written(clock: Clock) -> Transfers:
    """Every STORE."""
    f = clock.columns[Opcode.STORE][1]
    end = np.array(clock.counters.stores, np.int64) - STORED
    return Transfers(f["layer"], np.zeros(len(end), np.int64), end - 1 - f["run_words"] * f["runs"], end)

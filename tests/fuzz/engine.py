"""Programs of a graph: the dial, the machine on an array, and the Verilog."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from tests.fuzz.checks import Finding, Loaded, Refusal, crash
from tests.fuzz.under_test import (
    Board,
    EngineConfig,
    Graph,
    HwsegError,
    Program,
    compile_graph,
    execute,
    golden,
    lay_out,
    load_board,
    simulate_program,
    skipping,
    turned,
)

POLICIES = ("eager", "lazy", "random")
RATES = (1.0, 1.0, 0.02, 0.2, 5.0)
"""Of the memory, as a share of the board's: what folds, fuses and splits depends on it."""
MEMORY = 1 << 21
"""Bytes of the simulated memory: one simulator for all programs of an array."""


@cache
def boards() -> tuple[Board, ...]:
    board = load_board("zynq7020")
    return tuple(replace(board, ddr_bytes_per_second=rate * board.ddr_bytes_per_second) for rate in RATES)


@dataclass(frozen=True)
class Way:
    """How a graph is compiled and run; all of it follows from the seed.

    planes: the dial, 8 for none.  board: number of `boards()`.  policy: of the machine.
    """

    config: EngineConfig
    planes: int = 8
    board: int = 0
    policy: str = "eager"
    seed: int = 0

    @staticmethod
    def of(seed: int, config: EngineConfig) -> Way:
        rng = np.random.default_rng((seed, 3))
        planes = int(rng.integers(1, 8)) if rng.random() < 0.3 else 8
        board = int(rng.integers(len(RATES)))
        return Way(config, planes, board, POLICIES[int(rng.integers(3))], seed)

    def __str__(self) -> str:
        return f"{self.config}, {self.planes} planes, memory x {RATES[self.board]}, {self.policy}, seed {self.seed}"


def check_dial(given: Loaded, planes: int) -> Finding | None:
    """The golden model with at most `planes` planes, against the golden model of the turned graph: values and mask."""
    try:
        graph = turned(given.graph, planes)
        expected = golden.run(given.graph, given.picture, planes=planes)
        found = golden.run(graph, given.picture)
    except Exception as error:
        return crash("dial", error)
    for name, kind in graph.types.items():
        for channel in range(kind.shape[2]):
            unit, other = (t[name].scale[channel % len(t[name].scale)] for t in (given.graph.types, graph.types))
            ratio = other / unit if unit else 1
            theirs = found.tensors[name][..., channel].astype(np.int64) * int(ratio)
            if ratio.denominator != 1 or not np.array_equal(theirs, expected.tensors[name][..., channel]):
                return Finding("dial", "values", f"{planes} planes: {name}, channel {channel}")
    if not np.array_equal(expected.mask, found.mask):
        wrong = int((expected.mask != found.mask).sum())
        return Finding("dial", "mask", f"{planes} planes: {wrong} of {found.mask.size} pixels")
    return None


def compiled(graph: Graph, way: Way) -> Program | Refusal | Finding:
    """The program of a graph, its dial turned."""
    try:
        return compile_graph(turned(graph, way.planes), way.config, boards()[way.board])
    except HwsegError as error:
        return Refusal("compile", error.place, error.rule)
    except Exception as error:
        return crash("compile", error)


def check_machine(program: Program, picture: np.ndarray, way: Way) -> Finding | None:
    """Every tensor that the program leaves in memory, the head among them."""
    graph = program.graph
    expected = golden.run(graph, picture).tensors
    try:
        found = execute(program, picture, way.policy, way.seed)
        skipping(program, picture)
    except Exception as error:
        return crash("machine", error)
    if graph.head.tensor not in found:
        return Finding("machine", "no head", f"{way}: {graph.head.tensor}")
    makers = {graph.input: "the input"} | {node.output: type(node.op).__name__ for node in graph.nodes}
    for name, maker in makers.items():
        if name in found and not np.array_equal(found[name], expected[name]):
            wrong = np.argwhere(found[name] != expected[name])
            place = tuple(map(int, wrong[0]))
            first = f"{found[name][place]}, not {expected[name][place]}"
            text = f"{len(wrong)} of {found[name].size} values of {name}, the first at {place}: {first}; {way}"
            return Finding("machine", f"values of {maker}", text)
    return None


def check_verilog(program: Program, picture: np.ndarray, way: Way) -> Finding | None:
    """The simulated engine: every map, every cycle where the memory's latency is fixed, every plane left out."""
    rng = np.random.default_rng((way.seed, 4))
    stalling, skip = bool(rng.random() < 0.3), bool(rng.random() < 0.5)
    latency = (3, int(rng.integers(10, 150))) if stalling else None
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        folder = Path(scratch)
        try:
            lay_out(folder, program)
            result = simulate_program(
                folder, program, picture, latency=latency, seed=way.seed + 1, skip=skip, least_bytes=MEMORY
            )
        except Exception as error:
            return crash("verilog", error)
    if result.passed:
        return None
    sort = "cycles"
    if not result.finished:
        sort = "does not finish"
    elif result.mismatches:
        sort = "values"
    elif result.counters["skipped"] != result.predicted_skipped:
        sort = "skipped planes"
    text = f"{result.first_mismatch}; {result.cycles} cycles, {result.predicted_cycles} predicted; {way}"
    return Finding("verilog", sort, f"{text}, latency {latency}, skip {skip}")

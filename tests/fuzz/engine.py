"""Programs of a graph: the dial, the machine on an array, and the Verilog."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np

from tests.fuzz import exact
from tests.fuzz.checks import Finding, Loaded, Refusal, crash
from tests.fuzz.recipe import cycled
from tests.fuzz.under_test import (
    ROUNDING,
    Add,
    Board,
    Concat,
    EngineConfig,
    Graph,
    HwsegError,
    PRelu,
    Program,
    Requantize,
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
RATES = (1.0, 1.0, 0.02, 0.1, 5.0, 0.02)
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
    """The golden model with at most `planes` planes: each rounding by definition, and all of the turned graph."""
    try:
        graph = turned(given.graph, planes)
        expected = golden.run(given.graph, given.picture, planes=planes)
        found = golden.run(graph, given.picture)
    except HwsegError as error:
        return None if "too near to a tie" in error.rule else crash("dial", error)
    except Exception as error:
        return crash("dial", error)
    units: dict[str, int] = {}
    for name, kind in graph.types.items():
        ratios = {b / a if a else Fraction(1) for a, b in _both(given.graph.types[name].scale, kind.scale)}
        if len(ratios) > 1 or max(ratios).denominator != 1:
            return Finding("dial", "scale", f"{planes} planes: {name}")
        units[name] = int(max(ratios))
        if not np.array_equal(found.tensors[name].astype(np.int64) * units[name], expected.tensors[name]):
            return Finding("dial", "values", f"{planes} planes: {name}")
    if not np.array_equal(expected.mask, found.mask):
        wrong = int((expected.mask != found.mask).sum())
        return Finding("dial", "mask", f"{planes} planes: {wrong} of {found.mask.size} pixels")
    return _check_roundings(given.graph, expected.tensors, units, planes)


def _check_roundings(
    graph: Graph, tensors: Mapping[str, np.ndarray], units: Mapping[str, int], planes: int
) -> Finding | None:
    """y = unit * clamp(round(x / unit)) for each rounding, the clamp to multiples of the unit within the bounds, or to
    the one below where there is none.

    The unit leaves `planes` planes, or more where other members of a concatenation have fewer to lose.
    """
    joined = {name for node in graph.nodes if isinstance(node.op, Concat) for name in node.inputs}
    for node in reversed(graph.nodes):
        if node.output in joined and not isinstance(node.op, ROUNDING):
            joined |= set(node.inputs)
    for node in graph.nodes:
        op, unit, kind = node.op, units[node.output], graph.types[node.output]
        if not isinstance(op, Requantize | PRelu | Add):
            continue
        channels = kind.shape[2]
        most = max(0, kind.bits - planes)
        if unit > 1 << most or (node.output not in joined and unit != 1 << most):
            return Finding("dial", "unit", f"{planes} planes: {node.output} of {kind.bits} is in units of {unit}")
        multipliers = [(m,) for m in op.multipliers] if isinstance(op, Add) else [op.multiplier]
        offset = (op.offset,) if isinstance(op, Add) else op.offset
        terms = [
            exact.scaled(tensors[name].transpose(2, 0, 1).astype(np.int64), cycled(m, channels))
            for name, m in zip(node.inputs, multipliers, strict=True)
        ]
        x = terms[0] if len(terms) == 1 else exact.added(terms[0], terms[1])
        x = exact.affine(x, [Fraction(1)] * channels, cycled(offset, channels))
        slopes = op.slope if isinstance(op.slope, tuple) else (op.slope,)
        x = x if slopes == (1,) else exact.relu(x, slopes)
        most = op.high // unit
        y = exact.quantized(x, [Fraction(unit)] * channels, min(-(-op.low // unit), most), most)
        if not np.array_equal(y.integers.transpose(1, 2, 0) * unit, tensors[node.output]):
            return Finding("dial", "rounding", f"{planes} planes: {node.output}")
    return None


def _both(a: tuple[Fraction, ...], b: tuple[Fraction, ...]) -> list[tuple[Fraction, Fraction]]:
    """Scales of the same channels."""
    count = max(len(a), len(b))
    return list(zip(cycled(a, count), cycled(b, count), strict=True))


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
        if way.seed % 3 == 0:
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

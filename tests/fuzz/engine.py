"""Programs of a graph: the dial, and the machine on an array."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from tests.fuzz.checks import Finding, Loaded, Refusal, crash
from tests.fuzz.under_test import EngineConfig, Graph, HwsegError, Program, compile_graph, execute, golden, load_board
from tests.fuzz.under_test import turned as turned_graph

POLICIES = ("eager", "lazy", "random")


@cache
def board() -> object:
    return load_board("zynq7020")


@dataclass(frozen=True)
class Compiled:
    """A program, and the graph that it computes: the given one, or with its dial turned."""

    program: Program
    graph: Graph


def turned(graph: Graph, planes: int) -> Graph | Finding:
    try:
        return turned_graph(graph, planes)
    except Exception as error:
        return crash("dial", error)


def check_dial(given: Loaded, planes: int) -> Finding | None:
    """The golden model with at most `planes` planes, against the golden model of the turned graph: values and mask."""
    graph = turned(given.graph, planes)
    if isinstance(graph, Finding):
        return graph
    try:
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


def compiled(graph: Graph, config: EngineConfig) -> Compiled | Refusal | Finding:
    try:
        return Compiled(compile_graph(graph, config, board()), graph)
    except HwsegError as error:
        return Refusal("compile", error.place, error.rule)
    except Exception as error:
        return crash("compile", error)


def check_machine(given: Loaded, made: Compiled, policy: str, seed: int) -> Finding | None:
    """Every tensor that the program leaves in memory, the head among them."""
    expected = golden.run(made.graph, given.picture).tensors
    try:
        found = execute(made.program, given.picture, policy, seed)
    except Exception as error:
        return crash("machine", error)
    if made.graph.head.tensor not in found:
        return Finding("machine", "head", "is not there")
    for name, values in found.items():
        if name in expected and not np.array_equal(values, expected[name]):
            wrong = np.argwhere(values != expected[name])
            place = tuple(map(int, wrong[0]))
            first = f"{values[place]}, not {expected[name][place]}"
            text = f"{len(wrong)} of {values.size} values of {name}, the first at {place}: {first}"
            return Finding("machine", "values", f"{made.program.config}, {policy}: {text}")
    return None

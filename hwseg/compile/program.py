"""From an integer graph to a program: everything but the files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hwseg.boards import Board
from hwseg.clock.spans import Spans, record
from hwseg.clock.timeline import Timeline, timeline
from hwseg.clock.timing import Timing, predict
from hwseg.compile.emit.fused import walk_network
from hwseg.compile.emit.memory import MemoryMap, map_memory
from hwseg.compile.emit.parameters import images, layer_triples
from hwseg.compile.emit.schedule import Pace, schedule
from hwseg.compile.explain import Explanation, explain
from hwseg.compile.lower.layers import Network
from hwseg.compile.lower.lowering import lower
from hwseg.compile.plan.chain import Chain, plans_of
from hwseg.compile.plan.plan import LayerPlan
from hwseg.compile.plan.variants import plan_cheapest
from hwseg.errors import require
from hwseg.ir import Graph
from hwseg.rtl.config import EngineConfig

MAX_LAYERS = 256
MAX_PROGRAM_WORDS = 1 << 24


Progress = Callable[[str], None]
"""Called with what begins, as a phrase."""


def silent(_: str) -> None:
    """No progress."""


@dataclass(frozen=True)
class Program:
    """A graph compiled for an array: everything but the files."""

    graph: Graph
    network: Network
    config: EngineConfig
    board: Board
    chains: tuple[Chain, ...]
    memory: MemoryMap
    program: bytes
    weights: bytes
    inexact: Mapping[str, int]

    @property
    def plans(self) -> tuple[LayerPlan, ...]:
        """Every layer's plan, in order."""
        return tuple(plans_of(self.chains))

    @cached_property
    def spans(self) -> Spans:
        """When each instruction runs, with the board's memory latency."""
        return record(self.program, self.config, self.board.ddr_latency)

    def timeline(self) -> Timeline:
        """One frame, to be drawn."""
        return timeline(self.spans, [plan.layer.name for plan in self.plans])

    def timing(self, latency: int | None = None, saved: Sequence[int] | None = None) -> Timing:
        """Predicted cycles; the board's memory latency unless another is given.  `saved`: by skipping, of every RUN
        (`hwseg.machine.activity.skipping`); without it execution is dense, which is a bound.
        """
        if latency in (None, self.board.ddr_latency) and saved is None and "spans" in self.__dict__:
            return self.spans.timing
        return predict(self.program, self.config, self.board.ddr_latency if latency is None else latency, saved)

    def explain(self) -> tuple[Explanation, ...]:
        """Where each layer's predicted cycles go, and what would help."""
        lanes = self.config.rows * self.config.pixels * self.config.lanes
        busy = [p.layer.array_macs * max(s.planes for s in p.sources) / lanes for p in self.plans]
        return explain(self.chains, self.timing(), busy)

    def memory_json(self) -> dict[str, Any]:
        return self.memory.to_json(len(self.program), self.config)


def compile_graph(
    graph: Graph,
    config: EngineConfig,
    board: Board,
    allow_inexact: bool = False,
    progress: Progress = silent,
    clock_mhz: float | None = None,
) -> Program:
    """Plan, schedule and encode.  The program paces itself to the board's memory at `clock_mhz` (the board's own)."""
    progress("planning layers")
    network, inexact = lower(graph, allow_inexact)
    require(
        len(network.layers) <= MAX_LAYERS,
        graph.name,
        f"must have at most {MAX_LAYERS} layers, has {len(network.layers)}",
        "use a smaller network",
    )
    pace = Pace.of(board.ddr_bytes_per_second, clock_mhz or board.clock_mhz)
    network, chains = plan_cheapest(network, config, pace.cycles_per_word)
    plans = tuple(plans_of(chains))
    memory = map_memory(network, plans, config, board.ddr_bytes)
    tiles, parameters = [], []
    for plan in plans:
        progress(f"weights of {plan.layer.name}, layer {plan.index + 1} of {len(plans)}")
        triples = layer_triples(plan.layer, allow_inexact)
        if triples.wrong:
            inexact[plan.layer.name] = inexact.get(plan.layer.name, 0) + triples.wrong
        weights, words = images(plan, triples.triples, memory.tiles[plan.index], config)
        tiles.append(weights)
        parameters.append(words)
    progress("scheduling")
    walk = walk_network(chains, config, memory)
    program = schedule(walk, config, memory.program_address, pace, board.ddr_latency)
    require(
        len(program) // 8 < MAX_PROGRAM_WORDS,
        graph.name,
        f"needs a program of {len(program) // 32} instructions, the engine counts to {MAX_PROGRAM_WORDS // 4}",
        "use a larger array or smaller images",
    )
    return Program(graph, network, config, board, chains, memory, program, b"".join(tiles + parameters), inexact)

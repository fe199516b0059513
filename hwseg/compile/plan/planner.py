"""The cheapest division of a network into chains of layers, and what was planned before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hwseg.compile.lower.layers import Layer, Network
from hwseg.compile.plan.chain import LONGEST, Chain, plan_chain
from hwseg.compile.plan.problem import Problem, problem_of
from hwseg.compile.plan.search import plan_layer
from hwseg.errors import HwsegError
from hwseg.rtl.config import EngineConfig


class Planner:
    """Plans networks, and remembers what it planned: networks that differ in few layers share the rest."""

    def __init__(self, config: EngineConfig, cycles_per_word: float) -> None:
        self.config, self.cycles_per_word = config, cycles_per_word
        self.problems: dict[int, Problem] = {}
        self.alone: dict[int, Chain | HwsegError] = {}
        self.fused: dict[tuple[tuple[int, ...], frozenset[str]], Chain | None] = {}

    def network(self, network: Network) -> tuple[Chain, ...]:
        """The cheapest division into chains, or `HwsegError` for a layer that fits in no way."""
        problems = [self.problem(layer, network) for layer in network.layers]
        best: list[tuple[float, tuple[Chain, ...]]] = [(0.0, ())]
        for end in range(1, len(problems) + 1):
            found: list[tuple[float, tuple[Chain, ...]]] = []
            alone = self._alone(problems[end - 1])
            if isinstance(alone, Chain):
                found.append((best[end - 1][0] + alone.expected, (*best[end - 1][1], alone)))
            for start in range(max(0, end - LONGEST), end):
                chain = self.chain(start, problems[start:end], network)
                if chain is not None:
                    found.append((best[start][0] + chain.expected, (*best[start][1], chain)))
            if not found:
                assert isinstance(alone, HwsegError)
                raise alone
            best.append(min(found, key=lambda item: item[0]))
        return numbered(best[-1][1])

    def problem(self, layer: Layer, network: Network) -> Problem:
        """Problems stay, so no other layer gets the identity of one that is remembered."""
        if id(layer) not in self.problems:
            self.problems[id(layer)] = problem_of(layer, network, self.config, self.cycles_per_word)
        return self.problems[id(layer)]

    def _alone(self, problem: Problem) -> Chain | HwsegError:
        key = id(problem.layer)
        if key not in self.alone:
            try:
                plan, expected = plan_layer(0, problem)
                self.alone[key] = Chain((plan,), expected=expected)
            except HwsegError as error:
                self.alone[key] = error
        return self.alone[key]

    def chain(self, start: int, problems: Sequence[Problem], network: Network) -> Chain | None:
        """Layers start, start + 1, ... run together."""
        read = {
            o.tensor
            for i, layer in enumerate(network.layers)
            if not start <= i < start + len(problems)
            for o in layer.operands
        }
        made = {problem.layer.output for problem in problems if problem.layer.output}
        outside = frozenset((read | {network.head}) & made)
        key = tuple(id(problem.layer) for problem in problems), outside
        if key not in self.fused:
            self.fused[key] = plan_chain(problems, outside, self.config)
        return self.fused[key]


def numbered(chains: Sequence[Chain]) -> tuple[Chain, ...]:
    """With the layers' numbers in the network."""
    found, index = [], 0
    for chain in chains:
        plans = tuple(replace(plan, index=index + i) for i, plan in enumerate(chain.plans))
        stages = tuple(replace(stage, plan=plan) for stage, plan in zip(chain.stages, plans, strict=False))
        found.append(replace(chain, plans=plans, stages=stages))
        index += len(plans)
    return tuple(found)

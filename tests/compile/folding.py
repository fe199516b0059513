"""Programs whose picture is folded in a given way, whatever the planner expects of it."""

from __future__ import annotations

import pytest

from hwseg.compile import program as api
from hwseg.compile.lower.fold import foldings
from hwseg.compile.lower.layers import Network
from hwseg.compile.plan.chain import Chain
from hwseg.compile.plan.planner import Planner
from hwseg.layout import Fold
from hwseg.rtl.config import EngineConfig


def force(monkeypatch: pytest.MonkeyPatch, fold: Fold) -> None:
    """What is compiled from now on has its picture folded so; a network that cannot be is an error of the test."""

    def plan(network: Network, config: EngineConfig, cycles_per_word: float) -> tuple[Network, tuple[Chain, ...]]:
        ways = {found.tensors[found.input].fold: found for found in (network, *foldings(network))}
        return ways[fold], Planner(config, cycles_per_word).network(ways[fold])

    monkeypatch.setattr(api, "plan_cheapest", plan)

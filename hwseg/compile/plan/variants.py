"""Which form of a network takes fewest cycles: additions on the way out or as layers, the branches of a LeakyReLU put
together by a 1x1 or read by all its readers, the picture folded or not.

Every choice is planned with and without, one after the other, and kept where that is expected to save cycles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from hwseg.compile.lower.branches import apart, joins
from hwseg.compile.lower.fold import GAIN, foldings
from hwseg.compile.lower.head import fuse_head
from hwseg.compile.lower.layers import Layer, Network
from hwseg.compile.lower.residual import Move, additions, with_moved
from hwseg.compile.plan.chain import Chain
from hwseg.compile.plan.planner import Planner
from hwseg.errors import HwsegError
from hwseg.rtl.config import EngineConfig

Change = Callable[[Network], Iterator[Network]]
"""Other forms of a network."""


@dataclass(frozen=True)
class Form:
    """A network with its head still a layer, what is compiled of it, and its chains."""

    network: Network
    compiled: Network
    chains: tuple[Chain, ...]

    @property
    def cycles(self) -> float:
        """By the planner's formulas."""
        return sum(chain.expected for chain in self.chains)


def plan_cheapest(network: Network, config: EngineConfig, cycles_per_word: float) -> tuple[Network, tuple[Chain, ...]]:
    """The network with additions, head and picture in the cheapest form, and its chains.

    Raises HwsegError for a layer that fits in no form.
    """
    planner = Planner(config, cycles_per_word)
    heads: dict[int, tuple[Layer, Layer]] = {}

    def planned(form: Network) -> Form:
        # The planner remembers layers as objects: one with the head in it must be the same one every time.
        compiled, layers = fuse_head(form, config.rows), []
        for before, after in zip(form.layers, compiled.layers, strict=False):
            layers.append(after if after is before else heads.setdefault(id(before), (before, after))[1])
        compiled = replace(compiled, layers=tuple(layers))
        return Form(form, compiled, planner.network(compiled))

    refusal: HwsegError | None = None
    best: Form | None = None
    try:
        best = planned(network)
    except HwsegError as error:
        refusal = error
    changes = [(_moving(move), 0.0) for move in (additions(network) if config.adds else ())]
    changes += [(_without(name), 0.0) for name in joins(network)]
    for change, gain in (*changes, (foldings, GAIN)):
        before = best
        for form in change(before.network if before else network):
            try:
                found = planned(form)
            except HwsegError:
                continue
            limit = before.cycles / (1 + gain) if before else math.inf
            if found.cycles < limit and (best is None or found.cycles < best.cycles):
                best = found
    if best is None:
        assert refusal is not None
        raise refusal
    return best.compiled, best.chains


def _without(join: str) -> Change:
    def change(network: Network) -> Iterator[Network]:
        yield from apart(network, join)

    return change


def _moving(move: Move) -> Change:
    def change(network: Network) -> Iterator[Network]:
        yield with_moved(network, move)

    return change

"""What draws: seeded choices, and the network so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import log2
from typing import TypeVar

import numpy as np

from tests.fuzz.net import Map, Net
from tests.fuzz.recipe import Picture, Recipe, Step, emitted

T = TypeVar("T")

SMALLEST, LARGEST = 2.0**-120, 2.0**120
"""Scales stay within what float32 holds exactly."""


class Pen:
    """Choices that follow from one seed.

    settled: what is drawn should leave an activation that needs no further quantizer, if it can: constants that change
    nothing, sums of few bits.
    """

    def __init__(self, *seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.settled = False

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def integer(self, low: int, high: int) -> int:
        """Both ends included."""
        return int(self.rng.integers(low, high + 1))

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def choice(self, options: Sequence[T]) -> T:
        return options[int(self.rng.integers(len(options)))]

    def weighted(self, options: Mapping[T, float]) -> T:
        shares = np.array(list(options.values()), float)
        return list(options)[int(self.rng.choice(len(shares), p=shares / shares.sum()))]

    def seed(self) -> int:
        return self.integer(1, 999_999)

    def float32(self, about: float, spread: float = 0.5) -> float:
        """A float32 within a factor of 2**spread."""
        found = about * 2 ** self.uniform(-spread, spread)
        return float(np.float32(min(max(found, SMALLEST), LARGEST)))

    def power_of_two(self, about: float, spread: int = 1) -> float:
        exponent = round(log2(min(max(about, SMALLEST), LARGEST))) + self.integer(-spread, spread)
        return 2.0 ** min(max(exponent, -120), 120)

    def values(self, count: int, low: float, high: float) -> tuple[float, ...]:
        """float32 numbers, one or one per channel."""
        count = 1 if self.chance(0.3) else count
        return tuple(float(np.float32(self.uniform(low, high))) for _ in range(count))


@dataclass
class Sketch:
    """A recipe while it grows, and its tensors."""

    picture: Picture
    opset: int
    steps: list[Step] = field(default_factory=list)
    maps: list[Map] = field(init=False)
    net: Net = field(init=False)

    def __post_init__(self) -> None:
        self.net = Net(self.opset)
        self.maps = [self.picture.emit(self.net)]

    def add(self, step: Step) -> int:
        """The number of the tensor that the step makes.  Raises Unbuildable, and is as before then."""
        mark = self.mark()
        try:
            self.maps.append(emitted(step, self.net, self.maps))
        except Exception:
            self.back(mark)
            raise
        self.steps.append(step)
        return len(self.maps) - 1

    def mark(self) -> tuple[int, int, int]:
        return len(self.steps), len(self.net.nodes), len(self.net.constants)

    def back(self, mark: tuple[int, int, int]) -> None:
        """As it was at the mark."""
        steps, nodes, constants = mark
        del self.steps[steps:], self.maps[steps + 1 :], self.net.nodes[nodes:], self.net.constants[constants:]

    def alike(self, at: int) -> list[int]:
        """Tensors of the same rows and columns."""
        size = self.maps[at].rows, self.maps[at].columns
        return [i for i, x in enumerate(self.maps) if (x.rows, x.columns) == size and x.open]

    def loose(self, at: int) -> list[int]:
        """Tensors that nobody reads, besides this one."""
        read = {number for step in self.steps for number in step.inputs} | {at}
        return [i for i, x in enumerate(self.maps) if i not in read and x.open]

    def scales(self) -> list[float]:
        """Those of all activations, as floats."""
        return [float(x.scale) for x in self.maps if x.scale is not None]

    def recipe(self, order: int, dead: tuple[int, ...], inline: bool, qdq: bool, others: tuple[int, ...]) -> Recipe:
        return Recipe(self.picture, tuple(self.steps), self.opset, order, dead, inline, qdq, others)

"""Loop nests: what an operation reads, writes and does, from which golden model, hardware and reports follow alike.

A `LoopNest` is parallel loops (one output element each), reduction loops, one affine map per operand, and a scalar body
(the structured-op form of MLIR's linalg).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import prod
from typing import Any


class Body(Enum):
    """The scalar operation inside the loops."""

    MULTIPLY_ADD = "acc += x * w"
    MAXIMUM = "acc = max(acc, x)"
    SUM = "acc += x"
    COPY = "y = x"
    ADD = "y = a + b"


@dataclass(frozen=True)
class AffineIndex:
    """One index, floor((sum coefficients[i] * loop[i] + offset) / divisor); integers, NumPy grids and signals alike."""

    coefficients: tuple[int, ...]
    offset: int = 0
    divisor: int = 1

    def __call__(self, *loops: Any) -> Any:
        total: Any = self.offset
        for coefficient, loop in zip(self.coefficients, loops, strict=True):
            if coefficient:
                total = total + (loop if coefficient == 1 else coefficient * loop)
        return total if self.divisor == 1 else total // self.divisor

    def interval(self, *ranges: tuple[int, int]) -> tuple[int, int]:
        """Smallest and largest value over inclusive loop ranges: the halo of a tile."""
        ends = [sorted((c * a, c * b)) for c, (a, b) in zip(self.coefficients, ranges, strict=True)]
        low, high = (sum(e[k] for e in ends) + self.offset for k in (0, 1))
        return low // self.divisor, high // self.divisor


AffineMap = tuple[AffineIndex, ...]


@dataclass(frozen=True)
class LoopNest:
    """Loop bounds, operand maps over (parallel..., reduction...) loops, and the body."""

    parallel: tuple[int, ...]
    reduction: tuple[int, ...]
    reads: tuple[AffineMap, ...]
    write: AffineMap
    body: Body

    @property
    def points(self) -> int:
        """Executions of the body; for MULTIPLY_ADD the MAC count."""
        return prod(self.parallel) * prod(self.reduction)

    @property
    def macs(self) -> int:
        return self.points if self.body is Body.MULTIPLY_ADD else 0


def unit(loop: int, loops: int) -> AffineIndex:
    """The index that is loop variable number `loop` of `loops`."""
    return AffineIndex(tuple(int(i == loop) for i in range(loops)))

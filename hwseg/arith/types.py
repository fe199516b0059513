"""Integer words: the smallest two's complement or unsigned word of an interval, and the word lengths of a core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwseg.errors import require

PLANES = 8
"""Digit planes of the longest activation."""


@dataclass(frozen=True)
class IntType:
    """`width`-bit integers, two's complement if `signed`."""

    width: int
    signed: bool = False

    def __post_init__(self) -> None:
        require(self.width >= 1, f"IntType {self.width}", f"width must be at least 1, not {self.width}")

    @classmethod
    def of(cls, low: int, high: int) -> IntType:
        """The smallest word that holds [low, high]; unsigned if low is not negative."""
        require(low <= high, f"IntType of [{low}, {high}]", "low must not exceed high")
        if low >= 0:
            return cls(max(1, high.bit_length()))
        return cls(1 + max((~low).bit_length(), high.bit_length() if high > 0 else 0), signed=True)

    @property
    def low(self) -> int:
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        return (1 << (self.width - self.signed)) - 1

    def __contains__(self, value: int) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class CoreSpec:
    """Word lengths of a core: `lanes` products of a weight and an activation of up to 8 digit planes.

    magnitude: the largest sum|w|.  plane_bits, sum_bits: words of one plane's sum and of the whole sum.
    """

    lanes: int
    weight_bits: int = 8
    weight_signed: bool = True

    def __post_init__(self) -> None:
        place = f"core of {self.lanes} lanes"
        require(self.lanes >= 1, place, f"lanes must be at least 1, not {self.lanes}")
        require(self.weight_bits in range(1, 9), place, f"weight_bits must be 1 to 8, not {self.weight_bits}")

    @property
    def weight(self) -> IntType:
        return IntType(self.weight_bits, self.weight_signed)

    @property
    def magnitude(self) -> int:
        return self.lanes * max(-self.weight.low, self.weight.high)

    def check(self, weights: Sequence[int]) -> None:
        """Refuse a wrong number of weights and weights outside their word."""
        place = f"core of {self.lanes} lanes"
        require(len(weights) == self.lanes, place, f"needs {self.lanes} weights, not {len(weights)}")
        for i, w in enumerate(weights):
            low, high = self.weight.low, self.weight.high
            require(int(w) in self.weight, place, f"weight {i} must be in [{low}, {high}], is {w}")

    @property
    def plane_bits(self) -> int:
        """Of [-magnitude, largest sum]: unsigned weights reach +magnitude, which signed ones do not."""
        return IntType.of(-self.magnitude, self.lanes * self.weight.high).width

    @property
    def sum_bits(self) -> int:
        bound = self.magnitude * ((1 << PLANES) - 1)
        return IntType.of(-bound, bound).width

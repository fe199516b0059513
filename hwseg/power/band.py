"""A figure with its error band, and the boundaries at which energy is counted."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from hwseg.errors import require

BOUNDARIES = ("core", "pl", "pl_ps", "board")
"""From the inside out, each with everything that is in the one before.

core: dynamic energy of the array's cores, their clock among it.
pl: the whole programmable logic, dynamic and static.
pl_ps: with the processing system, its memory controller, and the DDR chips.
board: with regulators and everything else that the supply feeds.
"""

OBJECTIVES = {"cycles": "cycles", "energy": "energy_mj"}
"""What may be saved, by its key in the rows of a search for bits."""


def require_boundary(name: str) -> str:
    """The name itself; raises HwsegError where it is none of `BOUNDARIES`."""
    require(name in BOUNDARIES, f"boundary {name}", f"must be one of {', '.join(BOUNDARIES)}", "use pl_ps")
    return name


@dataclass(frozen=True)
class Band:
    """low <= mid <= high.  Sums add low to low and high to high: errors of coefficients are common to all terms."""

    low: float
    mid: float
    high: float

    def __post_init__(self) -> None:
        text = f"{self.low:g}, {self.mid:g}, {self.high:g}"
        finite = all(math.isfinite(v) for v in (self.low, self.mid, self.high))
        require(finite, "band", f"must have finite values, has {text}", "check what it was computed from")
        ordered = self.low <= self.mid <= self.high
        require(ordered, "band", f"must have low <= middle <= high, has {text}", "put the three values in order")

    @classmethod
    def exactly(cls, value: float) -> Band:
        """A figure that is known."""
        return cls(value, value, value)

    def __add__(self, other: Band) -> Band:
        return Band(self.low + other.low, self.mid + other.mid, self.high + other.high)

    def __mul__(self, factor: Band | float) -> Band:
        """Scaled; both factors must not be negative."""
        by = factor if isinstance(factor, Band) else Band.exactly(factor)
        require(min(self.low, by.low) >= 0, "band", "must not be negative to be scaled", "scale magnitudes")
        return Band(self.low * by.low, self.mid * by.mid, self.high * by.high)

    __rmul__ = __mul__

    def per(self, divisor: Band) -> Band:
        """self / divisor, the low end with the divisor's high one; 0 for a divisor of 0 (nothing to divide by)."""
        ends = ((self.low, divisor.high), (self.mid, divisor.mid), (self.high, divisor.low))
        return Band(*(a / b if b else 0.0 for a, b in ends)) if divisor.low > 0 else Band(0.0, 0.0, 0.0)

    def widened(self, share: float) -> Band:
        """With a relative error of `share` (at least 0) on both sides."""
        require(share >= 0, "band", f"must be widened by at least 0, not {share:g}", "give the error as a share")
        return self * Band(max(0.0, 1 - share), 1.0, 1 + share)

    def json(self) -> dict[str, float]:
        """Keys `low`, `mid`, `high`."""
        return {"low": self.low, "mid": self.mid, "high": self.high}


def total(bands: Iterable[Band]) -> Band:
    """The sum in the order given, so that it is the same bits whoever adds."""
    found = Band(0.0, 0.0, 0.0)
    for band in bands:
        found = found + band
    return found

"""Scales, ticks, labels and rounded numbers, for drawings 960 units wide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10
from typing import Any

from hwseg.clock.timing import STARTUP

Row = Mapping[str, Any]

WIDTH = 960
LONGEST_NAME = 30
LABEL_SPOTS = ((0, 17), (0, -9), (14, 4), (-14, 4), (12, 14), (-12, 14))
"""Where a point's number may stand, the best first."""


def si(value: float) -> str:
    """Three digits and a suffix."""
    for factor, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= factor:
            return f"{value / factor:.3g}{suffix}" if value < 999.5 * factor else f"{value / factor:.0f}{suffix}"
    return f"{value:.0f}"


def three(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    digits = max(0, 2 - floor(log10(abs(value))))
    return f"{value:,.{min(digits, 9)}f}"


def kind(row: Row) -> str:
    """Class of its colour."""
    return "start" if row["op"] == STARTUP else str(row["bound"])


def short(name: str, longest: int = LONGEST_NAME) -> str:
    """The end of a long name tells more than its beginning."""
    return name if len(name) <= longest else "…" + name[1 - longest :]


def described(row: Row) -> str:
    """What a pointer resting on a layer shows."""
    if row["op"] == STARTUP:
        return f"{STARTUP}: {row['cycles']:,} cycles"
    return (
        f"{row['name']}: {row['op']}, {row['cycles']:,} cycles, {row['gops']:.1f} GOPS, "
        f"{100 * row['utilization']:.0f} % utilization, {row['ddr_bytes'] / 1e3:,.1f} KB"
    )


def round_step(value: float) -> float:
    """1, 2 or 5 times a power of ten, not below `value`."""
    power = 10.0 ** floor(log10(value)) if value > 0 else 1.0
    return next(m * power for m in (1, 2, 5, 10) if m * power >= value)


def linear_ticks(longest: float, start: float, width: float, count: int = 4) -> tuple[float, list[dict[str, Any]]]:
    """Units of drawing per value, and marks from 0 to `longest` at round values."""
    scale = width / longest
    step = round_step(longest / count)
    marks = range(int(longest / step * (1 + 1e-9)) + 1)
    return scale, [{"at": round(start + i * step * scale, 1), "value": i * step} for i in marks]


class Axis:
    """A logarithmic scale between two 1-2-5 values."""

    STEPS = (1, 2, 5)

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> Axis:
        """The narrowest that leaves a little room on both sides."""
        powers = range(floor(log10(min(values))) - 1, ceil(log10(max(values))) + 2)
        marks = [m * 10.0**e for e in powers for m in cls.STEPS]
        low = max(mark for mark in marks if mark <= min(values) / 1.15)
        high = min(mark for mark in marks if mark >= max(values) * 1.25)
        return cls(low, high, start, end)

    def at(self, value: float) -> float:
        share = (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[dict[str, Any]]:
        wide = self.high / self.low > 1e4
        powers = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
        marks = [m * 10.0**e for e in powers for m in ((1,) if wide else self.STEPS)]
        return [
            {"at": self.at(mark), "text": f"{mark:.6g}"}
            for mark in marks
            if self.low * 0.999 <= mark <= self.high * 1.001
        ]


def place_labels(places: Sequence[tuple[float, float]]) -> list[tuple[float, float] | None]:
    """A free spot beside each point, or None where there is no room: the pointer still tells what it is."""
    taken: list[tuple[float, float]] = []
    found: list[tuple[float, float] | None] = []
    for px, py in places:
        spots = [(px + dx, py + dy) for dx, dy in LABEL_SPOTS]

        def free(spot: tuple[float, float]) -> bool:
            x, y = spot[0], spot[1] - 4
            clear = all(abs(x - a) > 15 or abs(y - b) > 10 for a, b in taken)
            return clear and all(abs(x - a) > 11 or abs(y - b) > 9 for a, b in places)

        spot = next((s for s in spots if free(s)), None)
        if spot:
            taken.append((spot[0], spot[1] - 4))
        found.append(spot and (round(spot[0], 1), round(spot[1], 1)))
    return found

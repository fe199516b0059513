"""report.html: one self-contained page with the layers' cycles as bars, a roofline, resources and the layers' table.

Names come from model files that may be anybody's; the template escapes them, and the page may load nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from math import ceil, floor, log10
from typing import Any

from hwseg.compile.report import STARTUP
from hwseg.compile.resources import MARGIN

Row = Mapping[str, Any]

WIDTH = 960
LONGEST_NAME = 30
LABEL_SPOTS = ((0, 17), (0, -9), (14, 4), (-14, 4), (12, 14), (-12, 14))
"""Where a point's number may stand, the best first."""


def html(report: Mapping[str, Any]) -> str:
    """The page of one report."""
    from jinja2 import Environment, StrictUndefined

    text = files("hwseg.compile").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    rows = report["layers"]
    return environment.from_string(text).render(
        r=report,
        cards=list(cards(report["totals"])),
        bars=bars(rows),
        roof=roofline(report),
        resources=list(resource_rows(report["resources"])),
        layers=list(layer_rows(rows)),
        total=total_cells(report["totals"]),
        inexact=sorted(report["inexact"].items()),
    )


def cards(totals: Row) -> Iterator[dict[str, str]]:
    """The headline."""
    for name, value in (
        ("frames per second", f"{totals['fps']:.1f}"),
        ("latency", f"{totals['latency_ms']:.2f} ms"),
        (f"GOPS of {totals['peak_gops']:.1f}", f"{totals['gops']:.1f}"),
        ("of the lanes at work", f"{100 * totals['utilization']:.0f} %"),
        ("cycles", f"{totals['cycles']:,}"),
        ("MACs per frame", si(totals["macs"])),
        ("weights", si(totals["weights"])),
        ("moved per frame", f"{totals['ddr_bytes'] / 1e6:.2f} MB"),
    ):
        yield {"name": name, "value": value}


def si(value: float) -> str:
    """Three digits and a suffix."""
    for factor, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= factor:
            return f"{value / factor:.3g}{suffix}" if value < 999.5 * factor else f"{value / factor:.0f}{suffix}"
    return f"{value:.0f}"


def kind(row: Row) -> str:
    """Class of its colour."""
    return "start" if row["op"] == STARTUP else str(row["bound"])


def short(name: str) -> str:
    """The end of a long name tells more than its beginning."""
    return name if len(name) <= LONGEST_NAME else "…" + name[1 - LONGEST_NAME :]


def described(row: Row) -> str:
    """What a pointer resting on a layer shows."""
    if row["op"] == STARTUP:
        return f"{STARTUP}: {row['cycles']:,} cycles"
    return (
        f"{row['name']}: {row['op']}, {row['cycles']:,} cycles, {row['gops']:.1f} GOPS, "
        f"{100 * row['utilization']:.0f} % utilization, {row['ddr_bytes'] / 1e3:,.1f} KB"
    )


def bars(rows: Sequence[Row]) -> dict[str, Any]:
    """Length is cycles; the strong part is the share of lane cycles that do the layer's work."""
    number, name, left, room, top, pitch = 22, 32, 250, 190, 26, 22
    longest = max(row["cycles"] for row in rows) or 1
    scale = (WIDTH - left - room) / longest
    step = round_step(longest / 4)
    drawn = []
    for i, row in enumerate(rows):
        width = max(1.0, row["cycles"] * scale)
        text = f"{row['cycles']:,}"
        if row["op"] != STARTUP:
            text += f" · {row['gops']:.1f} GOPS · {100 * row['utilization']:.0f} %"
        drawn.append(
            {
                "number": i or "",
                "name": short(row["name"]),
                "full": described(row),
                "kind": kind(row),
                "y": top + pitch * i,
                "text_y": top + pitch * i + 12,
                "width": round(width, 1),
                "busy": round(width * row.get("utilization", 0.0), 1),
                "after": round(left + width + 7, 1),
                "text": text,
            }
        )
    ticks = [{"at": round(left + at * step * scale, 1), "text": si(at * step)} for at in range(int(longest / step) + 1)]
    return {
        "width": WIDTH,
        "height": top + pitch * len(rows),
        "top": top,
        "left": left,
        "number": number,
        "name": name,
        "rows": drawn,
        "ticks": ticks,
    }


def round_step(value: float) -> float:
    """1, 2 or 5 times a power of ten, not below `value`."""
    power = 10.0 ** floor(log10(max(value, 1)))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= value)


def roofline(report: Mapping[str, Any]) -> dict[str, Any]:
    """Layers by MACs per byte and operations per second, on logarithmic axes, under the two limits."""
    totals = report["totals"]
    peak, rate = totals["peak_gops"], totals["memory_bytes_per_second"] / 1e9
    ridge = peak / (2 * rate)
    points = [
        (row["macs"] / row["ddr_bytes"], row["gops"], i, row)
        for i, row in enumerate(report["layers"])
        if row["macs"] and row["ddr_bytes"] and row["gops"] > 0
    ]
    x = Axis.over([p[0] for p in points] + [ridge], 56, WIDTH - 20)
    y = Axis.over([p[1] for p in points] + [peak], 352, 28)
    entry = max(x.low, y.low / (2 * rate))
    corners = [(entry, 2 * rate * entry)] if entry < ridge else []
    corners += [(max(ridge, x.low), peak), (x.high, peak)]
    places = [(x.at(a), y.at(b)) for a, b, _, _ in points]
    labels = place_labels(places)
    return {
        "width": WIDTH,
        "height": 400,
        "left": x.start,
        "right": x.end,
        "top": y.end,
        "base": y.start,
        "x_ticks": x.ticks(),
        "y_ticks": y.ticks(),
        "line": " ".join(f"{x.at(a)},{y.at(b)}" for a, b in corners),
        "notes": list(notes(x, y, peak, rate, totals["gops"])),
        "mean_y": y.at(max(totals["gops"], y.low)),
        "dots": [
            {
                "x": px,
                "y": py,
                "kind": kind(row),
                "number": i,
                "full": f"{i}  {described(row)}",
                "label": label is not None,
                "label_x": label and label[0],
                "label_y": label and label[1],
            }
            for (_, _, i, row), (px, py), label in zip(points, places, labels, strict=True)
        ],
    }


def notes(x: Axis, y: Axis, peak: float, rate: float, mean: float) -> Iterator[dict[str, Any]]:
    """The lines' names, written above the slope, where no layer can be."""
    ridge = peak / (2 * rate)
    corner = x.at(max(ridge, x.low))
    roomy = corner - x.start > 150
    look, at = ("end", corner - 10) if roomy else ("", corner + 4)
    yield {"look": look, "x": round(at, 1), "y": round(y.at(peak) - 9, 1), "text": f"peak {peak:.1f} GOPS"}
    if roomy:
        middle = (max(x.low, y.low / (2 * rate)) * ridge) ** 0.5
        spot = {"x": round(x.at(middle) - 10, 1), "y": round(y.at(2 * rate * middle) - 4, 1)}
        yield {"look": "end", **spot, "text": f"memory {rate:.2f} GB/s"}
    below = y.at(max(mean, y.low)) + 14
    yield {"look": "quiet small", "x": x.start + 6, "y": below, "text": f"whole network {mean:.1f} GOPS"}


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


def resource_rows(resources: Mapping[str, Row]) -> Iterator[dict[str, Any]]:
    """Measured where synthesis was run, otherwise estimated."""
    for name, row in resources.items():
        used, source = (row["estimated"], "estimate") if row["measured"] is None else (row["measured"], "synthesis")
        share = used / row["available"]
        yield {
            "name": name.upper(),
            "width": round(100 * min(1.0, share), 1),
            "share": f"{100 * share:.0f} %",
            "crowded": share > (1 if name == "dsp" else MARGIN),
            "used": f"{used:,}",
            "available": f"{row['available']:,}",
            "source": source,
            "estimated": f"{row['estimated']:,}",
        }


def layer_rows(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Cells of the table, start-up first."""
    for number, row in enumerate(rows):
        if row["op"] == STARTUP:
            cells = ["", "", "", "", f"{row['cycles']:,}", "", "", "", ""]
            yield {"number": "", "name": STARTUP, "op": "", "cells": cells}
            continue
        low, high = row["accumulator"]
        cells = [
            "×".join(map(str, row["input_shape"])),
            "×".join(map(str, row["output_shape"])),
            str(row["planes"]),
            f"{row['macs'] / 1e6:,.2f}",
            f"{row['cycles']:,}",
            f"{100 * row['utilization']:.0f} %",
            f"{row['ddr_bytes'] / 1e3:,.1f}",
            f"{row['gops']:.1f}",
            f"{low:,} … {high:,}",
        ]
        yield {"number": number, "name": row["name"], "op": row["op"], "cells": cells}


def total_cells(totals: Row) -> list[str]:
    return [
        "",
        "",
        "",
        f"{totals['macs'] / 1e6:,.2f}",
        f"{totals['cycles']:,}",
        f"{100 * totals['utilization']:.0f} %",
        f"{totals['ddr_bytes'] / 1e3:,.1f}",
        f"{totals['gops']:.1f}",
        "",
    ]

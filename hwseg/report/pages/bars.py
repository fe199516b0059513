"""Layers as bars: cycles, energy and GOPS/W with their bands, digit planes that are skipped, parts of the energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hwseg.clock.timing import STARTUP
from hwseg.power.activity import PARTS
from hwseg.power.band import BOUNDARIES
from hwseg.report.pages.draw import WIDTH, Row, described, kind, linear_ticks, short, si, three

NUMBER, NAME, LEFT, TOP, PITCH = 22, 32, 250, 26, 22
BAR = 15

PART_NAMES = {
    "cores": "cores",
    "operands": "operands to the cores",
    "loaders": "weights' loading",
    "memories": "block RAM",
    "outputs": "sums and requantizers",
    "control": "control",
    "clock": "clock",
    "static": "leakage",
    "ps": "processing system",
    "ddr": "DDR",
    "supply": "regulators and board",
}


def cycle_bars(rows: Sequence[Row]) -> dict[str, Any]:
    """Length is cycles; the strong part is the share of lane cycles that do the layer's work."""
    longest = max(row["cycles"] for row in rows) or 1
    scale, ticks = linear_ticks(longest, LEFT, WIDTH - LEFT - 215)
    drawn = []
    for i, row in enumerate(rows):
        width = max(1.0, row["cycles"] * scale)
        text = f"{row['cycles']:,}"
        if row["op"] != STARTUP:
            text += f" · {row['gops']:.1f} GOPS · {100 * row['utilization']:.0f} %"
        drawn.append(
            _labelled(i, row)
            | {
                "full": described(row),
                "kind": kind(row),
                "width": round(width, 1),
                "busy": round(width * row["utilization"], 1),
                "after": round(LEFT + width + 7, 1),
                "text": text,
            }
        )
    marks = [{"at": tick["at"], "text": si(tick["value"])} for tick in ticks]
    return _frame(len(rows)) | {"rows": drawn, "ticks": marks}


def _labelled(number: int, row: Row) -> dict[str, Any]:
    y = TOP + PITCH * number
    return {"number": number or "", "name": short(row["name"]), "y": y, "text_y": y + 12}


def _frame(rows: int) -> dict[str, Any]:
    return {"width": WIDTH, "height": TOP + PITCH * rows, "top": TOP, "left": LEFT, "number": NUMBER, "name": NAME}


PANELS = {"energy_mj": (LEFT, 210.0, "mJ"), "gops_per_w": (620, 210.0, "GOPS/W")}
"""Left end and width of the bars, and the unit; a number stands behind the longest."""


def energy_bars(rows: Sequence[Row]) -> dict[str, Any]:
    """Energy and GOPS/W of each layer, once per boundary: the bar ends at the middle, the whisker spans the band."""
    views = []
    for boundary in BOUNDARIES:
        panels = []
        for key, (left, width, unit) in PANELS.items():
            longest = max(row[key][boundary]["high"] for row in rows) or 1.0
            scale, ticks = linear_ticks(longest, left, width, 3)
            drawn = [
                _banded(i, row, row[key][boundary], left, scale)
                for i, row in enumerate(rows)
                if key == "energy_mj" or row["macs"]
            ]
            marks = [{"at": tick["at"], "text": f"{tick['value']:.6g}"} for tick in ticks]
            panels.append({"left": left, "unit": unit, "rows": drawn, "ticks": marks})
        views.append({"boundary": boundary, "panels": panels})
    return _frame(len(rows)) | {"labels": [_labelled(i, row) for i, row in enumerate(rows)], "views": views}


def _banded(number: int, row: Row, band: Mapping[str, float], left: float, scale: float) -> dict[str, Any]:
    y = TOP + PITCH * number
    low, mid, high = (round(left + band[end] * scale, 1) for end in ("low", "mid", "high"))
    return {
        "y": y,
        "middle": y + BAR / 2,
        "width": round(max(0.8, mid - left), 1),
        "low": low,
        "high": high,
        "after": high + 6,
        "text_y": y + 12,
        "text": three(band["mid"]),
        "full": f"{row['name']}: {three(band['mid'])} ({three(band['low'])} to {three(band['high'])})",
    }


def part_bars(totals: Row) -> list[dict[str, Any]]:
    """Where the frame's energy goes, at each boundary: shares of the middle estimate, the largest parts named."""
    views = []
    for boundary in BOUNDARIES:
        inside = BOUNDARIES[: BOUNDARIES.index(boundary) + 1]
        names = [part for part, innermost in PARTS.items() if innermost in inside]
        sizes = [totals["energy_parts_mj"][part]["mid"] for part in names]
        whole, at, drawn = sum(sizes) or 1.0, 0.0, []
        for part, size in zip(names, sizes, strict=True):
            share = size / whole
            drawn.append(
                {
                    "part": list(PARTS).index(part),
                    "x": round(WIDTH * at, 1),
                    "width": round(WIDTH * share, 1),
                    "name": PART_NAMES[part],
                    "share": f"{100 * share:.1f} %",
                    "text": f"{three(size)} mJ",
                }
            )
            at += share
        views.append({"boundary": boundary, "parts": drawn})
    return views


def skip_bars(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Digit planes of each layer, and how many of them are leading planes that are zero; None where nobody looked."""
    looked = [(i, row) for i, row in enumerate(rows) if row["macs"] and row.get("skipped_planes") is not None]
    if not any(row["skipped_planes"] > 0 for _, row in looked):
        return None
    scale, ticks = linear_ticks(8, LEFT, 480, 8)
    drawn = []
    for line, (i, row) in enumerate(looked):
        y = TOP + PITCH * line
        left = row["planes"] - row["skipped_planes"]
        drawn.append(
            {
                "number": i,
                "name": short(row["name"]),
                "y": y,
                "text_y": y + 12,
                "all": round(row["planes"] * scale, 1),
                "left": round(left * scale, 1),
                "after": round(LEFT + row["planes"] * scale + 7, 1),
                "text": f"{left:.2f} of {row['planes']} planes, {row['planes'] / left if left else 0:.2f} times fewer",
            }
        )
    work = sum(row["macs"] * row["planes"] for _, row in looked)
    done = sum(row["macs"] * (row["planes"] - row["skipped_planes"]) for _, row in looked)
    marks = [{"at": tick["at"], "text": f"{tick['value']:g}"} for tick in ticks]
    return _frame(len(looked)) | {"rows": drawn, "ticks": marks, "fewer": f"{work / done:.3f}" if done else "0"}

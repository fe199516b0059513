"""A timeline's shares as paths: each state an area, painted from the tallest sum to the lowest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from hwseg.clock.spans import STORE, WALK
from hwseg.clock.timeline import LANES, STACK, TURN, Lane, Timeline
from hwseg.clock.timing import STARTUP
from hwseg.report.pages.draw import Row, linear_ticks, short, si

LEFT, RIGHT = 250, 940
HEIGHTS = {"array": 56, "reads": 30, "writes": 22}
ROW = 15
GAP = 7
LEVELS = 24
"""Steps of a share in the drawing."""

NAMES = {
    WALK: "multiplying",
    "reload": "loading tables",
    "weights": "waiting for weights",
    "input": "waiting for input",
    "output": "waiting for output memory",
    "dispatch": "no instruction yet",
    TURN: "between instructions",
    STARTUP: "start-up",
}
TRANSFERS = {
    "input": "input",
    "weights": "weights",
    "parameters": "parameters",
    "program": "program",
    "move": "moved on the chip",
    STORE: "stored",
}


def view(found: Timeline, rows: Sequence[Row]) -> dict[str, Any]:
    """Lanes and layers from top to bottom; rows: of the report, without start-up."""
    bins = len(found.lanes[0].shares[WALK])
    y, lanes = 22.0, []
    for lane in found.lanes:
        height = HEIGHTS[lane.name]
        lanes.append(_drawn(lane, lane.name, y, height, bins) | {"number": "", "name": lane.name, "full": ""})
        y += height + GAP
    y += GAP
    for number, (lane, row) in enumerate(zip(found.layers, rows, strict=True), 1):
        labels = {"number": number, "name": short(row["name"]), "full": _told(row)}
        lanes.append(_drawn(lane, "array", y, ROW - 2, bins) | labels)
        y += ROW
    _, ticks = linear_ticks(found.total, LEFT, RIGHT - LEFT, 6)
    return {
        "lanes": lanes,
        "height": round(y + 4),
        "left": LEFT,
        "right": RIGHT,
        "ticks": [{"at": tick["at"], "text": si(tick["value"])} for tick in ticks],
        "total": found.total,
        "instructions": found.instructions,
        "packed": found.packed,
        "legend": list(_legend(found)),
        "states": [{"kind": state, "name": NAMES[state]} for state in STACK if _seen(found.lanes[0], state)],
        "transfers": [
            {"kind": kind, "name": TRANSFERS[kind]}
            for lane in found.lanes[1:]
            for kind in lane.shares
            if _seen(lane, kind)
        ],
    }


def _legend(found: Timeline) -> Iterator[dict[str, Any]]:
    """Two rows of keys below a drawing that stands alone."""
    rows = (
        [(state, NAMES[state]) for state in STACK if _seen(found.lanes[0], state)],
        [(k, TRANSFERS[k]) for lane in found.lanes[1:] for k in lane.shares if _seen(lane, k)],
    )
    for line, items in enumerate(rows):
        x = 32
        for kind, name in items:
            yield {"kind": kind, "name": name, "x": x, "y": 6 + 18 * line}
            x += 24 + round(5.3 * len(name))


def _told(row: Row) -> str:
    """A layer's states, the longest first."""
    parts = {WALK: row["compute_cycles"], **row["stalls"]}
    whole = row["cycles"] or 1
    told = [
        f"{NAMES[state]} {100 * n / whole:.1f} %" for state, n in sorted(parts.items(), key=lambda p: -p[1]) if n > 0
    ]
    return f"{row['name']}: {row['cycles']:,} cycles; " + ", ".join(told)


def _seen(lane: Lane, kind: str) -> bool:
    return bool(lane.shares[kind].any())


def _drawn(lane: Lane, unit: str, y: float, height: float, bins: int) -> dict[str, Any]:
    x_scale, y_scale = (RIGHT - LEFT) / bins, height / LEVELS
    return {
        "y": round(y, 1),
        "text_y": round(y + height / 2 + 4, 1),
        "base": round(y + height, 1),
        "transform": f"translate({LEFT} {round(y + height, 1):g}) scale({x_scale:.6g} {-y_scale:.6g})",
        "areas": list(_areas(lane, unit)),
    }


def _areas(lane: Lane, unit: str) -> Iterator[dict[str, str]]:
    sums, found = np.zeros(len(next(iter(lane.shares.values())))), []
    before = np.zeros(len(sums), int)
    for kind in LANES[unit]:
        if kind not in lane.shares:
            continue
        sums = sums + lane.shares[kind]
        levels = np.rint(np.minimum(sums, 1) * LEVELS).astype(int)
        if (levels > before).any():
            found.append({"kind": kind, "path": area(levels.tolist())})
        before = levels
    yield from reversed(found)


def area(levels: Sequence[int]) -> str:
    """The area under steps, as an SVG path in bins and levels; parts where the level is 0 are left out."""
    path, x, y, pen = [], 0, 0, -1
    for level, run in groupby(levels):
        width = len(list(run))
        if level and pen != x:
            path.append(f"M{x} 0" if pen < 0 else f"m{x - pen} 0")
        if level:
            path.append(f"v{level - y}h{width}")
            y, pen = level, x + width
        elif y:
            path.append(f"v{-y}")
            y = 0
        x += width
    if y:
        path.append(f"v{-y}")
    return "".join(path)

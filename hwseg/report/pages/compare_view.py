"""compare.html: each figure a group of bars, one per build, with bands and ratios to the first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwseg.power.band import BOUNDARIES
from hwseg.report.compare import Comparison, Figure, layers_by, ratio_text
from hwseg.report.energy import BOUNDARY_NAMES, BOUNDARY_TEXTS, DEFAULT_BOUNDARY
from hwseg.report.pages.draw import WIDTH, short
from hwseg.report.pages.render import page

DRAWN = (
    "fps",
    "gops",
    "gops_per_w",
    "energy_mj",
    "watts",
    "utilization",
    "cycles",
    "ddr_bytes",
    "lut",
    "bram36",
    "dsp",
)
LEFT, RIGHT, PITCH, TOP = 200, 250, 22, 4


def compare_html(found: Comparison, boundary: str = DEFAULT_BOUNDARY) -> str:
    """The page of one comparison; `boundary`: shown at first."""
    drawn = sorted((f for f in found.figures if f.key in DRAWN), key=lambda f: DRAWN.index(f.key))
    return page(
        "compare.html.j2",
        ("sort.js",),
        c=found,
        boundary=boundary,
        boundary_names=BOUNDARY_NAMES,
        boundary_texts=BOUNDARY_TEXTS,
        panels=[panel(figure, found.names) for figure in drawn],
        height=TOP + PITCH * len(found.names),
        width=WIDTH,
        left=LEFT,
        rows=[_row(figure) for figure in found.figures],
        cycles=[_row(figure) for figure in layers_by(found, "")],
        energies=[(name, [_row(figure) for figure in layers_by(found, name)]) for name in BOUNDARIES],
    )


def panel(figure: Figure, names: tuple[str, ...]) -> dict[str, Any]:
    """Bars from 0, as long as their middles."""
    ends = [v["high"] if isinstance(v, Mapping) else v for v in figure.values]
    scale = (WIDTH - LEFT - RIGHT) / (max(ends) or 1)
    bars = []
    for i, (value, mid, text, ratio) in enumerate(
        zip(figure.values, figure.mids, figure.texts, figure.ratios, strict=True)
    ):
        banded = isinstance(value, Mapping)
        bars.append(
            {
                "name": short(names[i], 26),
                "full": names[i],
                "y": TOP + PITCH * i,
                "width": round(max(0.8, mid * scale), 1),
                "low": round(LEFT + value["low"] * scale, 1) if banded else None,
                "high": round(LEFT + value["high"] * scale, 1) if banded else None,
                "after": round(LEFT + ends[i] * scale + 7, 1),
                "text": text if i == 0 or ratio is None else f"{text} · {ratio_text(ratio)}",
            }
        )
    return {"name": figure.name, "better": figure.better, "boundary": figure.boundary, "bars": bars}


def _row(figure: Figure) -> dict[str, Any]:
    cells = []
    for i, (mid, text, ratio) in enumerate(zip(figure.mids, figure.texts, figure.ratios, strict=True)):
        cells.append({"value": mid, "text": text})
        if i:
            cells.append({"value": "" if ratio is None else ratio, "text": ratio_text(ratio)})
    return {"name": figure.name, "boundary": figure.boundary, "cells": cells}

"""report.html: energy and cycles by layer, the network, the timeline, a roofline, resources and a table that sorts."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwseg import golden
from hwseg.clock.timeline import Timeline
from hwseg.clock.timing import STARTUP
from hwseg.ir import Graph
from hwseg.pictures.draw import overlay_png
from hwseg.pictures.source import labels_of
from hwseg.power.band import BOUNDARIES
from hwseg.report.energy import BOUNDARY_NAMES, BOUNDARY_TEXTS, DEFAULT_BOUNDARY, has_energy
from hwseg.report.pages import bars, timeline_view
from hwseg.report.pages.draw import Row, si, three
from hwseg.report.pages.network import network
from hwseg.report.pages.render import page
from hwseg.report.pages.roofline import roofline
from hwseg.target.resources import MARGIN
from hwseg.trust.graph import judge_with, trust_of
from hwseg.trust.judge import Doubts


@dataclass(frozen=True)
class Picture:
    """A PNG to be shown; `caption` is also what a reader who sees no pictures gets."""

    png: bytes
    caption: str


CALIBRATED = "The mask that the exact integers find in the calibration picture."


def segmented(graph: Graph, q: np.ndarray, result: golden.Result, caption: str) -> Picture:
    """The input's integers with the mask's outline; pixels that are deferred hatched, where that was fitted."""
    trust, mask, deferred = trust_of(graph), result.mask, None
    if trust is not None:
        doubts = Doubts.of(judge_with(graph, trust), result.tensors[graph.head.tensor], mask)
        caption = f"{caption} Hatched pixels are deferred to a person. {doubts.sentence().capitalize()}."
        deferred = doubts.deferred
    overlay = overlay_png(q, graph.types[graph.input], mask, labels=labels_of(graph), deferred=deferred)
    return Picture(overlay, caption)


def html(
    report: Mapping[str, Any],
    timeline: Timeline | None = None,
    pictures: Sequence[Picture] = (),
    simulated: str = "",
    boundary: str = DEFAULT_BOUNDARY,
) -> str:
    """The page of one report.  simulated: a sentence on what the simulation found; boundary: shown at first."""
    rows, energetic = report["layers"], has_energy(report)
    layers = [row for row in rows if row["op"] != STARTUP]
    names = [row["name"] for row in layers]
    legend = [{"kind": "compute", "name": "cycles"}]
    if energetic:
        legend.append({"kind": "energy", "name": f"energy ({BOUNDARY_NAMES[DEFAULT_BOUNDARY]})"})
    return page(
        "report.html.j2",
        ("sort.js", "timeline.js"),
        r=report,
        energy=report.get("energy") if energetic else None,
        boundary_names=BOUNDARY_NAMES,
        boundary_texts=BOUNDARY_TEXTS,
        boundary=boundary,
        simulated=simulated,
        cards=list(cards(report["totals"], energetic)),
        pictures=[shown(picture) for picture in pictures],
        net=network(rows),
        net_legend=legend,
        power=bars.energy_bars(rows) if energetic else None,
        parts=bars.part_bars(report["totals"]) if energetic else None,
        bars=bars.cycle_bars(rows),
        t=None if timeline is None else timeline_view.view(timeline, layers),
        words={"layers": names, "states": timeline_view.NAMES, "transfers": timeline_view.TRANSFERS},
        roof=roofline(report),
        skips=bars.skip_bars(rows),
        resources=list(resource_rows(report["resources"])),
        heads=heads(energetic),
        layers=list(layer_rows(rows, energetic)),
        total=total_cells(report["totals"], energetic),
        inexact=sorted(report["inexact"].items()),
    )


def timeline_svg(report: Mapping[str, Any], timeline: Timeline) -> str:
    """The timeline as a drawing of its own."""
    layers = [row for row in report["layers"] if row["op"] != STARTUP]
    title = f"{report['model']}: a frame of {timeline.total:,} cycles on {report['array']}"
    return page("timeline.svg.j2", t=timeline_view.view(timeline, layers), title=title)


def shown(picture: Picture) -> dict[str, str]:
    data = base64.b64encode(picture.png).decode()
    return {"data": f"data:image/png;base64,{data}", "alt": picture.caption, "caption": picture.caption}


def cards(totals: Row, energetic: bool) -> Iterator[dict[str, Any]]:
    """The headline.  `by`, `range`: of figures that depend on the boundary."""
    for name, value in (
        ("frames per second", f"{totals['fps']:.1f}"),
        ("latency", f"{totals['latency_ms']:.2f} ms"),
        (f"GOPS of {totals['peak_gops']:.1f}", f"{totals['gops']:.1f}"),
        ("of the lanes at work", f"{100 * totals['utilization']:.0f} %"),
    ):
        yield _card(name, value)
    if energetic:
        yield _banded("GOPS/W", totals["gops_per_w"], "")
        yield _banded("energy per frame", totals["energy_mj"], " mJ")
        yield _banded("power", totals["watts"], " W")
    yield _card("cycles", f"{totals['cycles']:,}")
    yield _card("MACs per frame", si(totals["macs"]))
    yield _card("weights", si(totals["weights"]))
    yield _card("moved per frame", f"{totals['ddr_bytes'] / 1e6:.2f} MB")


def _card(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "value": value, "by": None, "range": None}


def _banded(name: str, bands: Row, unit: str) -> dict[str, Any]:
    return {
        "name": name,
        "value": "",
        "by": {b: three(bands[b]["mid"]) + unit for b in BOUNDARIES},
        "range": {b: f"{three(bands[b]['low'])} to {three(bands[b]['high'])}{unit}" for b in BOUNDARIES},
    }


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


LEFT_HEADS = ("layer", "operation")
HEADS = ("#", *LEFT_HEADS, "output", "planes", "M MACs", "cycles", "utilization", "KB moved", "GOPS")


def heads(energetic: bool) -> list[dict[str, Any]]:
    names = [*HEADS, *(("mJ", "GOPS/W") if energetic else ()), "sum bits"]
    return [{"name": name, "left": name in LEFT_HEADS} for name in names]


Cell = list[dict[str, Any]]
"""One value, or one per boundary; `value` is what the table sorts by."""


def cell(value: Any = "", text: str | None = None) -> Cell:
    return [{"value": value, "text": str(value) if text is None else text, "at": ""}]


def layer_rows(rows: Sequence[Row], energetic: bool) -> Iterator[dict[str, Any]]:
    """Cells of the table, start-up first."""
    for number, row in enumerate(rows):
        if row["op"] == STARTUP:
            cells = [cell()] * 3 + [cell(row["cycles"], f"{row['cycles']:,}"), *([cell()] * 3)]
            cells += [*_energy_cells(row, energetic), cell()]
            yield {"number": 0, "name": STARTUP, "op": "", "cells": cells}
            continue
        low, high = row["accumulator"]
        cells = [
            _shape(row["output_shape"]),
            cell(row["planes"]),
            *_figures(row),
            *_energy_cells(row, energetic),
            cell(max((-low - 1).bit_length(), high.bit_length()) + 1),
        ]
        yield {"number": number, "name": row["name"], "op": row["op"], "cells": cells}


def total_cells(totals: Row, energetic: bool) -> list[Cell]:
    return [
        cell(),
        cell(totals["planes"], f"{totals['planes']:.2f}"),
        *_figures(totals),
        *_energy_cells(totals, energetic),
        cell(),
    ]


def _figures(row: Row) -> list[Cell]:
    return [
        cell(row["macs"], f"{row['macs'] / 1e6:,.2f}"),
        cell(row["cycles"], f"{row['cycles']:,}"),
        cell(row["utilization"], f"{100 * row['utilization']:.0f} %"),
        cell(row["ddr_bytes"], f"{row['ddr_bytes'] / 1e3:,.1f}"),
        cell(row["gops"], f"{row['gops']:.1f}"),
    ]


def _energy_cells(row: Row, energetic: bool) -> list[Cell]:
    """Middle estimates at every boundary; the style shows one."""
    if not energetic:
        return []
    found = []
    for key in ("energy_mj", "gops_per_w"):
        empty = key == "gops_per_w" and not row["macs"]
        mids = {b: row[key][b]["mid"] for b in BOUNDARIES}
        found.append(
            [{"value": "" if empty else v, "text": "" if empty else three(v), "at": b} for b, v in mids.items()]
        )
    return found


def _shape(shape: Sequence[int]) -> Cell:
    size = 1
    for extent in shape:
        size *= extent
    return cell(size, "×".join(map(str, shape)))

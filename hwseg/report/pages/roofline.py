"""Layers under the two limits: the array's peak and the memory's rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hwseg.compile.plan.plan import MIN_INTERVAL
from hwseg.report.pages.draw import WIDTH, Axis, Row, described, kind, place_labels


def roofline(report: Row) -> dict[str, Any]:
    """Layers by MACs per byte and operations per second, on logarithmic axes.

    A layer of fewer planes has a higher peak: `roofs` holds one line for each number of planes that occurs.
    """
    totals = report["totals"]
    planes = sorted({max(row["planes"], MIN_INTERVAL) for row in report["layers"] if row["macs"]})
    full, rate = totals["peak_gops"], totals["memory_bytes_per_second"] / 1e9
    peaks = {8: full} | {count: 8 * full / count for count in planes}
    highest = max(peaks.values())
    points = [
        (row["macs"] / row["ddr_bytes"], row["gops"], i, row)
        for i, row in enumerate(report["layers"])
        if row["macs"] and row["ddr_bytes"] and row["gops"] > 0
    ]
    x = Axis.over([p[0] for p in points] + [peak / (2 * rate) for peak in peaks.values()], 56, WIDTH - 20)
    y = Axis.over([p[1] for p in points] + list(peaks.values()), 352, 28)
    entry = max(x.low, y.low / (2 * rate))
    corner = max(highest / (2 * rate), x.low)
    slope = [(entry, 2 * rate * entry), (corner, highest)] if entry < highest / (2 * rate) else []
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
        "slope": " ".join(f"{x.at(a)},{y.at(b)}" for a, b in slope),
        "roofs": [{"x": x.at(max(p / (2 * rate), x.low)), "y": y.at(p)} for p in peaks.values()],
        "notes": list(notes(x, y, peaks, rate, totals["gops"])),
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


def notes(x: Axis, y: Axis, peaks: Mapping[int, float], rate: float, mean: float) -> Iterator[dict[str, Any]]:
    """The lines' names, written above the slope, where no layer can be."""
    highest = max(peaks.values())
    for planes, peak in peaks.items():
        corner = x.at(max(peak / (2 * rate), x.low))
        roomy = corner - x.start > 190
        look, at = ("end", corner - 10) if roomy else ("", corner + 4)
        text = f"peak {peak:.1f} GOPS" + (f" at {planes} planes" if len(peaks) > 1 else "")
        yield {"look": look, "x": round(at, 1), "y": round(y.at(peak) - 9, 1), "text": text}
    if x.at(max(highest / (2 * rate), x.low)) - x.start > 150:
        middle = (max(x.low, y.low / (2 * rate)) * min(peaks.values()) / (2 * rate)) ** 0.5
        spot = {"x": round(x.at(middle) - 10, 1), "y": round(y.at(2 * rate * middle) - 4, 1)}
        yield {"look": "end", **spot, "text": f"DDR {rate:.2f} GB/s"}
    below = y.at(max(mean, y.low)) + 14
    yield {"look": "quiet small", "x": x.start + 6, "y": below, "text": f"whole network {mean:.1f} GOPS"}

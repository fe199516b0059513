"""report.html: one self-contained page with the layers' cycles as bars and a roofline, readable in light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import floor, log10
from typing import Any

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 16, 48

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ r.model }} on {{ r.board }}</title>
<style>
:root { color-scheme: light dark; --text: #1d2330; --soft: #5b6472; --line: #d5d9e0; --back: #ffffff;
  --compute: #2563a8; --memory: #c2630f; --quiet: #eef1f5; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ee; --soft: #a0a8b5; --line: #3a414d; --back: #14171c;
  --compute: #6fa8e8; --memory: #f0a04b; --quiet: #20252d; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p { margin: .3rem 0; } .soft { color: var(--soft); }
.figures { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0; }
.figure { background: var(--quiet); border-radius: .4rem; padding: .5rem .9rem; }
.figure b { display: block; font-size: 1.15rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .5rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
.axis { stroke: var(--line); } .roof { stroke: var(--text); stroke-width: 1.5; fill: none; }
.compute { fill: var(--compute); } .memory { fill: var(--memory); }
.key { display: inline-block; width: .8rem; height: .8rem; border-radius: .15rem; margin: 0 .3rem 0 1rem; }
.key.compute { background: var(--compute); } .key.memory { background: var(--memory); }
</style>
</head>
<body>
<h1>{{ r.model }} on {{ r.board }}</h1>
<p class="soft">Array {{ r.array }} (output channels x pixels x input channels, {{ r.core }} core) at
{{ "%g" % r.clock_mhz }} MHz. Predicted before simulation; dense execution.</p>
<div class="figures">
{% for name, value in figures %}<div class="figure"><b>{{ value }}</b>{{ name }}</div>
{% endfor %}</div>

<h2>Cycles by layer</h2>
<p><span class="key compute"></span>bound by the array<span class="key memory"></span>bound by memory</p>
<svg viewBox="0 0 {{ width }} {{ bars_height }}" role="img" aria-label="Cycles by layer">
{% for bar in bars %}<text x="{{ bar.label_x }}" y="{{ bar.y + 13 }}" text-anchor="end">{{ bar.name }}</text>
<rect class="{{ bar.bound }}" x="{{ bar.x }}" y="{{ bar.y + 2 }}" width="{{ bar.width }}" height="14" rx="2"/>
<text x="{{ bar.x + bar.width + 5 }}" y="{{ bar.y + 13 }}">{{ bar.text }}</text>
{% endfor %}</svg>

<h2>Roofline</h2>
<svg viewBox="0 0 {{ width }} {{ height }}" role="img" aria-label="Operations per second over operations per byte">
{% for tick in roof.x_ticks %}<line class="axis" x1="{{ tick.at }}" x2="{{ tick.at }}" y1="{{ top }}"
 y2="{{ base }}"/><text x="{{ tick.at }}" y="{{ base + 16 }}" text-anchor="middle">{{ tick.text }}</text>
{% endfor %}{% for tick in roof.y_ticks %}<line class="axis" x1="{{ left }}" x2="{{ edge }}" y1="{{ tick.at }}"
 y2="{{ tick.at }}"/><text x="{{ left - 6 }}" y="{{ tick.at + 4 }}" text-anchor="end">{{ tick.text }}</text>
{% endfor %}<polyline class="roof" points="{{ roof.line }}"/>
{% for dot in roof.dots %}<circle class="{{ dot.bound }}" cx="{{ dot.x }}" cy="{{ dot.y }}" r="4.5"><title>
{{- dot.text }}</title></circle>
{% endfor %}<text x="{{ edge }}" y="{{ base + 34 }}" text-anchor="end">operations per byte moved</text>
<text x="{{ left }}" y="{{ top - 4 }}">GOPS</text>
</svg>

<h2>Layers</h2>
<div class="scroll"><table>
<tr><th>layer</th><th>operation</th><th>output</th><th>planes</th><th>MACs</th><th>cycles</th><th>utilization</th>
<th>KB moved</th><th>GOPS</th><th>accumulator</th></tr>
{% for row in r.layers %}<tr><td>{{ row.name }}</td>
{%- if row.output_shape %}<td>{{ row.op }}</td><td>{{ row.output_shape | join("x") }}</td><td>{{ row.planes }}</td>
<td>{{ "{:,}".format(row.macs) }}</td><td>{{ "{:,}".format(row.cycles) }}</td>
<td>{{ "%.0f %%" % (100 * row.utilization) }}</td><td>{{ "{:,.1f}".format(row.ddr_bytes / 1000) }}</td>
<td>{{ "%.1f" % row.gops }}</td><td>{{ "{:,} to {:,}".format(*row.accumulator) }}</td>
{%- else %}<td></td><td></td><td></td><td></td><td>{{ "{:,}".format(row.cycles) }}</td>
<td></td><td></td><td></td><td></td>{% endif %}</tr>
{% endfor %}</table></div>

<h2>Resources</h2>
<div class="scroll"><table>
<tr><th>resource</th><th></th><th>estimated</th><th>measured</th><th>available</th></tr>
{% for name, row in r.resources.items() %}<tr><td>{{ name | upper }}</td><td></td>
<td>{{ "{:,}".format(row.estimated) }}</td>
<td>{% if row.measured is not none %}{{ "{:,}".format(row.measured) }}{% endif %}</td>
<td>{{ "{:,}".format(row.available) }}</td></tr>
{% endfor %}</table></div>
{% for name, count in r.inexact.items() %}<p>{{ name }}: {{ count }} requantization steps or pairs differ from the exact
ones.</p>
{% endfor %}</body>
</html>
"""


def html(report: Mapping[str, Any], bytes_per_second: float) -> str:
    """The page of one report; names from the model are escaped."""
    from jinja2 import Environment

    totals = report["totals"]
    figures = (
        ("cycles", f"{totals['cycles']:,}"),
        ("latency", f"{totals['latency_ms']:.3f} ms"),
        ("frames per second", f"{totals['fps']:.1f}"),
        ("GOPS", f"{totals['gops']:.1f}"),
        ("of peak", f"{100 * totals['utilization']:.0f} %"),
        ("moved per frame", f"{totals['ddr_bytes'] / 1e6:.2f} MB"),
    )
    rows = report["layers"]
    template = Environment(autoescape=True, trim_blocks=False).from_string(TEMPLATE)
    return template.render(
        r=report,
        figures=figures,
        bars=list(bars(rows)),
        bars_height=20 * len(rows) + 6,
        roof=roofline(report, bytes_per_second),
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        top=TOP,
        base=HEIGHT - BOTTOM,
        edge=WIDTH - RIGHT,
    )


def bars(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    label, room = 190, 110
    longest = max(row["cycles"] for row in rows) or 1
    for i, row in enumerate(rows):
        width = max(1.0, row["cycles"] / longest * (WIDTH - label - room))
        name = row["name"] if len(row["name"]) <= 28 else "…" + row["name"][-27:]
        text = f"{row['cycles']:,}" + (f", {100 * row['utilization']:.0f} %" if "utilization" in row else "")
        yield {
            "name": name,
            "label_x": label - 8,
            "x": label,
            "y": 20 * i + 3,
            "width": round(width, 1),
            "text": text,
            "bound": row["bound"],
        }


def roofline(report: Mapping[str, Any], bytes_per_second: float) -> dict[str, Any]:
    """Layers by operations per byte and operations per second, on logarithmic axes, under the two limits."""
    peak = report["totals"]["peak_gops"]
    layers = [row for row in report["layers"] if row["macs"] and row["ddr_bytes"]]
    points = [(2 * row["macs"] / row["ddr_bytes"], max(row["gops"], 1e-3), row) for row in layers]
    ridge = peak * 1e9 / bytes_per_second
    xs = [p[0] for p in points] + [ridge]
    ys = [p[1] for p in points] + [peak]
    x0, x1 = floor(log10(min(xs))), floor(log10(max(xs))) + 1
    y0, y1 = floor(log10(min(ys))), floor(log10(max(ys))) + 1

    def x(value: float) -> float:
        return round(LEFT + (log10(value) - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (log10(value) - y0) / (y1 - y0) * (HEIGHT - BOTTOM - TOP), 1)

    start = max(10.0**x0, 10.0**y0 * 1e9 / bytes_per_second)
    corners = [(start, start * bytes_per_second / 1e9), (ridge, peak), (10.0**x1, peak)]
    if start >= ridge:
        corners = [(10.0**x0, peak), (10.0**x1, peak)]
    return {
        "x_ticks": [{"at": x(10.0**e), "text": f"{10.0**e:g}"} for e in range(x0, x1 + 1)],
        "y_ticks": [{"at": y(10.0**e), "text": f"{10.0**e:g}"} for e in range(y0, y1 + 1)],
        "line": " ".join(f"{x(a)},{y(b)}" for a, b in corners),
        "dots": [
            {"x": x(a), "y": y(b), "bound": row["bound"], "text": f"{row['name']}: {b:.1f} GOPS, {a:.0f} per byte"}
            for a, b, row in points
        ],
    }

"""Builds side by side: the same figures of each, and their ratios to the first."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hwseg.errors import require
from hwseg.power.band import BOUNDARIES
from hwseg.report.energy import BOUNDARY_NAMES, DEFAULT_BOUNDARY, band_text
from hwseg.report.figures import RESOURCES
from hwseg.report.pages.draw import si, three
from hwseg.report.text import plain, table_row

Report = Mapping[str, Any]

LARGE, SMALL, NEITHER = "larger is better", "smaller is better", ""


@dataclass(frozen=True)
class Figure:
    """One figure of all builds.  values: numbers, or bands of `low`, `mid`, `high`; ratios: to the first, of the
    middles; None where the first is 0.
    """

    key: str
    name: str
    better: str
    values: tuple[Any, ...]
    texts: tuple[str, ...]
    boundary: str = ""

    @property
    def mids(self) -> tuple[float, ...]:
        return tuple(v["mid"] if isinstance(v, Mapping) else v for v in self.values)

    @property
    def ratios(self) -> tuple[float | None, ...]:
        first = self.mids[0]
        return tuple(v / first if first else None for v in self.mids)


@dataclass(frozen=True)
class Comparison:
    """names: of the builds.  notes: what makes them unlike beyond what is compared.  layers: cycles, and energy at
    every boundary, of those that all builds have, by name.
    """

    names: tuple[str, ...]
    models: tuple[str, ...]
    figures: tuple[Figure, ...]
    layers: tuple[Figure, ...]
    notes: tuple[str, ...]


PLAIN: Mapping[str, tuple[str, str, Callable[[float], str]]] = {
    "fps": ("frames/s", LARGE, lambda v: f"{v:,.1f}"),
    "latency_ms": ("latency, ms", SMALL, three),
    "gops": ("GOPS", LARGE, lambda v: f"{v:,.1f}"),
    "utilization": ("lanes at work", LARGE, lambda v: f"{100 * v:.0f} %"),
    "cycles": ("cycles", SMALL, lambda v: f"{v:,}"),
    "macs": ("MACs", NEITHER, si),
    "planes": ("planes of a MAC", NEITHER, lambda v: f"{v:.2f}"),
    "weights": ("weights", NEITHER, si),
    "ddr_bytes": ("MB moved", SMALL, lambda v: f"{v / 1e6:.2f}"),
}
BANDED = {"energy_mj": ("mJ", SMALL), "watts": ("W", SMALL), "gops_per_w": ("GOPS/W", LARGE)}


def compare(names: Sequence[str], reports: Sequence[Report]) -> Comparison:
    """`reports`: each with energy; raises HwsegError for fewer than two."""
    require(len(reports) >= 2, "hwseg compare", "needs at least two builds", "name the folders of two builds")
    figures = [
        Figure(key, name, better, tuple(r["totals"][key] for r in reports), tuple(t(r["totals"][key]) for r in reports))
        for key, (name, better, t) in PLAIN.items()
    ]
    for key, (name, better) in BANDED.items():
        for boundary in BOUNDARIES:
            bands = tuple(r["totals"][key][boundary] for r in reports)
            title = f"{name}, {BOUNDARY_NAMES[boundary]}"
            figures.append(Figure(key, title, better, bands, tuple(map(band_text, bands)), boundary))
    figures += list(_resources(reports))
    models = tuple(f"{r['model']}, {r['array']}, {r['clock_mhz']:g} MHz, {r['board']}" for r in reports)
    return Comparison(distinct(names), models, tuple(figures), tuple(_layers(reports)), tuple(_notes(reports)))


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Numbers behind names that occur twice."""
    return tuple(
        f"{name} ({names[: i + 1].count(name)})" if names.count(name) > 1 else name for i, name in enumerate(names)
    )


def _resources(reports: Sequence[Report]) -> Iterator[Figure]:
    for name in RESOURCES:
        rows = [r["resources"][name] for r in reports]
        used = tuple(row["estimated"] if row["measured"] is None else row["measured"] for row in rows)
        texts = tuple(f"{v:,}" for v in used)
        yield Figure(name, name.upper(), SMALL, used, texts)


def _layers(reports: Sequence[Report]) -> Iterator[Figure]:
    tables = [{row["name"]: row for row in r["layers"]} for r in reports]
    common = [name for name in tables[0] if all(name in table for table in tables)]
    for name in common:
        cycles = tuple(table[name]["cycles"] for table in tables)
        yield Figure("cycles", name, SMALL, cycles, tuple(f"{v:,}" for v in cycles))
    for boundary in BOUNDARIES:
        for name in common:
            bands = tuple(table[name]["energy_mj"][boundary] for table in tables)
            yield Figure("energy_mj", name, SMALL, bands, tuple(map(band_text, bands)), boundary)


def _notes(reports: Sequence[Report]) -> Iterator[str]:
    """Why ratios are not of like and like."""
    if len({r["totals"]["macs"] for r in reports}) > 1:
        yield "The builds do different work: compare GOPS and GOPS/W, not frames."
    if len({r["board"] for r in reports}) > 1:
        yield "The builds are for different boards."
    if len({r["clock_mhz"] for r in reports}) > 1:
        yield "The builds run at different clocks."
    energies = [r["energy"] for r in reports]
    if len({e["activity_source"] for e in energies}) > 1:
        yield "Their energies are of different activity: " + "; ".join(
            dict.fromkeys(e["activity_source"] for e in energies)
        )
    for key, what in (("temperature_c", "temperatures"), ("coefficients_sha256", "coefficient files")):
        if len({e[key] for e in energies}) > 1:
            yield f"Their energies are of different {what}."
    if any(row["measured"] is None for r in reports for row in r["resources"].values()):
        yield "Resources are estimated where they were not synthesized."


def ratio_text(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.0f}x"


def as_json(found: Comparison) -> dict[str, Any]:
    """Every figure with its values and its ratios to the first build."""
    return {
        "builds": [{"name": n, "model": m} for n, m in zip(found.names, found.models, strict=True)],
        "figures": [_entry(figure) for figure in found.figures],
        "layers": [_entry(figure) for figure in found.layers],
        "notes": list(found.notes),
    }


def _entry(figure: Figure) -> dict[str, Any]:
    boundary = {"boundary": figure.boundary} if figure.boundary else {}
    values = {"values": list(figure.values), "ratios": list(figure.ratios)}
    return {"key": figure.key, "name": figure.name, "better": figure.better, **boundary, **values}


def csv_table(found: Comparison) -> str:
    """One line per figure: middle, low and high of each build, and the ratio."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    ends = ("", " low", " high", " ratio")
    writer.writerow(["figure", "boundary", "layer", *(f"{name}{end}" for name in found.names for end in ends)])
    for rows, layered in ((found.figures, False), (found.layers, True)):
        for figure in rows:
            cells: list[Any] = [figure.key, figure.boundary, figure.name if layered else ""]
            for value, ratio in zip(figure.values, figure.ratios, strict=True):
                banded = isinstance(value, Mapping)
                cells += [value["mid"], value["low"], value["high"]] if banded else [value, "", ""]
                cells.append("" if ratio is None else ratio)
            writer.writerow(cells)
    return buffer.getvalue()


def layers_by(found: Comparison, boundary: str) -> tuple[Figure, ...]:
    """Layers' cycles ("") or their energies at a boundary."""
    return tuple(figure for figure in found.layers if figure.boundary == boundary)


def shown(found: Comparison, boundary: str = DEFAULT_BOUNDARY) -> Iterator[Figure]:
    """Figures without a boundary, and those at one."""
    return (figure for figure in found.figures if figure.boundary in ("", boundary))


def markdown_table(found: Comparison, boundary: str = DEFAULT_BOUNDARY) -> str:
    """Figures of the whole frame, then cycles and energy of the layers that all builds have."""
    lines = ["# Comparison", ""]
    lines += [f"- {plain(name)}: {plain(model)}" for name, model in zip(found.names, found.models, strict=True)]
    lines += [
        "",
        "Ratios are to the first build, of middle estimates.",
        *(("", *map(plain, found.notes)) if found.notes else ()),
    ]
    cycles, energy = layers_by(found, ""), layers_by(found, boundary)
    tables = (("figure", shown(found, boundary)), ("cycles of layer", cycles), (f"mJ of layer ({boundary})", energy))
    for title, figures in tables:
        heads = [found.names[0], *(head for name in found.names[1:] for head in (name, "ratio"))]
        lines += ["", table_row([title, *heads]), "|---|" + "--:|" * len(heads)]
        for figure in figures:
            cells = [figure.name, figure.texts[0]]
            for text, ratio in zip(figure.texts[1:], figure.ratios[1:], strict=True):
                cells += [text, ratio_text(ratio)]
            lines.append(table_row(cells))
    return "\n".join(lines) + "\n"
